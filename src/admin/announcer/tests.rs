use super::*;

fn left(left: u64) -> Option<TimeLeft> {
    Some(TimeLeft {
        granted: Duration::from_secs(15),
        left: Duration::from_secs(left),
    })
}

#[test]
fn a_lease_that_is_renewed_has_somebody_who_lives() {
    assert_eq!(sign(left(11), left(14)), Some(true));
    assert_eq!(sign(left(1), left(14)), Some(true));
}

#[test]
fn a_lease_that_missed_its_renewal_or_is_gone_has_nobody() {
    assert_eq!(sign(None, left(8)), Some(false));
    assert_eq!(sign(left(9), left(8)), Some(false));
    assert_eq!(sign(left(9), None), Some(false));
}

#[test]
fn nothing_is_known_of_a_lease_between_two_renewals() {
    for seconds in 9..15 {
        assert_eq!(sign(None, left(seconds)), None, "{seconds}");
        assert_eq!(sign(left(seconds), left(seconds)), None, "{seconds}");
    }
}

#[test]
fn who_keeps_a_record_is_told_by_its_lease() {
    let entry = |value: &str, lease| Entry {
        key: b"/services/a/b".to_vec(),
        value: value.as_bytes().to_vec(),
        mod_revision: 1,
        lease,
    };
    let json = r#"{"host":"a","port":1,"nonce":"n1"}"#;
    assert_eq!(Keeper::of(&entry(json, 0)), None);
    assert_eq!(Keeper::of(&entry(json, 0x51de_ca00_0000_0007)), None);
    let named = Keeper::of(&entry(json, 7)).unwrap();
    assert_eq!(named.name, "an announcer (nonce n1)");
    let plain = Keeper::of(&entry("10.0.0.5:80", 0xabc)).unwrap();
    assert!(plain.name.contains("lease abc"), "{}", plain.name);
}
