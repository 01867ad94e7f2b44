use super::*;

const BY_HAND: i64 = 0x51de_ca00_0000_0007;

fn wanted(address: &str, format: Format, ttl: Option<u64>) -> Wanted {
    let address: crate::model::Address = address.parse().unwrap();
    let mut record = Record::from(address);
    record.nonce = Some("us".parse().unwrap());
    Wanted {
        id: "web/a".parse().unwrap(),
        record,
        format,
        ttl: ttl.map(Duration::from_secs),
    }
}

fn step(wanted: &Wanted, value: &str, lease: i64) -> Step {
    let entry = Entry {
        key: b"/services/web/a".to_vec(),
        value: value.as_bytes().to_vec(),
        mod_revision: 5,
        lease,
    };
    let known = decode(&crate::model::Prefix::default(), &entry.key, &entry.value);
    let known = known.ok().map(|(_, record)| record);
    wanted.step(Some(&entry), known.as_ref())
}

const V1: &str = r#"{"host":"10.0.0.5","port":80,"version":"v1","nonce":"x","since":"2026-01-02T03:04:05Z","rack":7}"#;

#[test]
fn the_same_record_is_not_written_again() {
    let permanent = wanted("10.0.0.5:80/v1", Format::Json, None);
    assert_eq!(step(&permanent, V1, 0), Step::Keep);
    let leased = wanted("10.0.0.5:80/v1", Format::Json, Some(60));
    assert_eq!(step(&leased, V1, BY_HAND), Step::Renew(BY_HAND));
    let plain = wanted("10.0.0.5:80", Format::Plain, None);
    assert_eq!(step(&plain, "10.0.0.5:80", 0), Step::Keep);
    let without_room = wanted("10.0.0.5:80/v1", Format::Plain, None);
    assert_eq!(step(&without_room, "10.0.0.5:80", 0), Step::Keep);
}

#[test]
fn whatever_differs_is_written() {
    let permanent = wanted("10.0.0.5:80/v1", Format::Json, None);
    assert_eq!(permanent.step(None, None), Step::Write);
    assert_eq!(step(&permanent, &V1.replace("v1", "v2"), 0), Step::Write);
    assert_eq!(step(&permanent, "10.0.0.5:80", 0), Step::Write);
    assert_eq!(step(&permanent, "no record", 0), Step::Write);
    let draining = V1.replace("\"nonce\"", "\"state\":\"draining\",\"nonce\"");
    assert_eq!(step(&permanent, &draining, 0), Step::Write);
    // To last for ever, or not any more.
    assert_eq!(step(&permanent, V1, BY_HAND), Step::Write);
    let leased = wanted("10.0.0.5:80/v1", Format::Json, Some(60));
    assert_eq!(step(&leased, V1, 0), Step::Write);
}

#[test]
fn a_process_that_keeps_the_record_is_deposed_where_that_can_be_said() {
    for ttl in [None, Some(60)] {
        let json = wanted("10.0.0.5:80/v1", Format::Json, ttl);
        assert_eq!(step(&json, V1, 7), Step::Write);
    }
    let leased = wanted("10.0.0.5:80", Format::Plain, Some(60));
    assert_eq!(step(&leased, V1, 7), Step::Write);
    let permanent = wanted("10.0.0.5:80", Format::Plain, None);
    assert!(matches!(step(&permanent, V1, 7), Step::Refuse(_)));
}
