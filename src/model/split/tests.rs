use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn split(weights: &[(&str, u16)]) -> Split {
    let weights = weights
        .iter()
        .map(|(name, weight)| (version(name), *weight));
    Split::new(weights.collect(), None).unwrap()
}

fn spread(split: &Split, instances: &[(&str, u16)]) -> Option<Vec<u16>> {
    let versions: Vec<_> = instances.iter().map(|(name, _)| version(name)).collect();
    let shares = versions.iter().zip(instances);
    let shares = shares.map(|(version, (_, weight))| Share {
        version: Some(version),
        weight: *weight,
    });
    split.spread(&shares.collect::<Vec<_>>())
}

#[test]
fn a_split_is_one_line_of_json_in_the_contracts_order() {
    let mut canary = split(&[("v0.2.0", 10), ("v0.1.0", 90)]);
    canary.since = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let text = String::from_utf8(canary.encode()).unwrap();
    assert_eq!(
        text,
        r#"{"weights":{"v0.1.0":90,"v0.2.0":10},"since":"2026-01-02T03:04:05Z"}"#
    );
}

#[test]
fn what_is_no_split_is_refused_with_a_reason() {
    for (text, named) in [
        ("", "JSON"),
        ("[]", "object"),
        ("{}", "\"weights\" is missing"),
        (r#"{"weights":[]}"#, "\"weights\""),
        (r#"{"weights":{}}"#, "at least one version"),
        (r#"{"weights":{"v1":0,"v2":0}}"#, "above 0"),
        (r#"{"weights":{"v1":65536}}"#, "65535"),
        (r#"{"weights":{"v1":-1}}"#, "65535"),
        (r#"{"weights":{"v1":"9"}}"#, "65535"),
        (r#"{"weights":{"v 1":9}}"#, "versions"),
        (r#"{"weights":{"":9}}"#, "versions"),
        (r#"{"weights":{"v1":9},"since":"now"}"#, "\"since\""),
    ] {
        let reason = Split::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(reason.contains(named), "{text}: {reason}");
    }
    let many: Vec<_> = (0..=MAX_VERSIONS).map(|n| format!("\"v{n}\":1")).collect();
    let many = format!(r#"{{"weights":{{{}}}}}"#, many.join(","));
    let reason = Split::decode(many.as_bytes()).unwrap_err().to_string();
    assert!(reason.contains(&MAX_VERSIONS.to_string()), "{reason}");
}

#[test]
fn weights_are_spread_over_the_instances_of_each_version() {
    let canary = split(&[("v1", 90), ("v2", 10)]);
    let three_and_two = [("v1", 1), ("v1", 1), ("v1", 1), ("v2", 1), ("v2", 1)];
    assert_eq!(spread(&canary, &three_and_two), Some(vec![6, 6, 6, 1, 1]));
    assert_eq!(spread(&canary, &[("v1", 1), ("v2", 1)]), Some(vec![9, 1]));
    let own_weights = [("v1", 2), ("v1", 1), ("v2", 7)];
    assert_eq!(spread(&canary, &own_weights), Some(vec![6, 3, 1]));
}

#[test]
fn what_is_not_named_and_what_has_no_weight_gets_nothing() {
    let switch = split(&[("v1", 0), ("v2", 100)]);
    let all = [("v1", 1), ("v2", 1), ("v3", 1), ("v2", 0)];
    assert_eq!(spread(&switch, &all), Some(vec![0, 1, 0, 0]));
    let unnamed = [Share {
        version: None,
        weight: 1,
    }];
    assert_eq!(switch.spread(&unnamed), None);
}

#[test]
fn a_split_that_would_leave_nobody_is_not_to_be_followed() {
    let switch = split(&[("v1", 0), ("v2", 100)]);
    assert_eq!(spread(&switch, &[("v1", 1), ("v3", 1)]), None);
    assert_eq!(spread(&switch, &[("v2", 0)]), None);
    assert_eq!(spread(&switch, &[]), None);
}

#[test]
fn a_version_that_is_gone_leaves_its_share_to_the_others() {
    let canary = split(&[("v1", 90), ("v2", 10)]);
    assert_eq!(spread(&canary, &[("v2", 1), ("v2", 1)]), Some(vec![1, 1]));
}

#[test]
fn shares_too_fine_for_nginx_are_rounded_but_never_to_nothing() {
    let fine = split(&[("v1", 65_535), ("v2", 1)]);
    let weights = spread(&fine, &[("v1", 1), ("v2", 60_000), ("v2", 1)]).unwrap();
    assert_eq!(weights, [65_535, 1, 1]);
}

fn weights() -> impl Strategy<Value = BTreeMap<Version, u16>> {
    let versions = "[!-~]{1,12}".prop_map(|text| text.parse().unwrap());
    let some = |weights: &BTreeMap<_, u16>| weights.values().any(|weight| *weight > 0);
    proptest::collection::btree_map(versions, any::<u16>(), 1..6).prop_filter("no share", some)
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(weights in weights()) {
        let split = Split::new(weights, None).unwrap();
        let value = split.encode();
        prop_assert!(!value.contains(&b'\n'));
        prop_assert_eq!(Split::decode(&value).unwrap(), split);
    }

    #[test]
    fn every_version_gets_its_share_and_nobody_is_forgotten(
        parts in proptest::collection::vec((0_u16..=100, 1_usize..8), 1..5),
    ) {
        let names: Vec<_> = (0..parts.len()).map(|n| version(&format!("v{n}"))).collect();
        let weights = names.iter().cloned().zip(parts.iter().map(|(weight, _)| *weight));
        let Ok(split) = Split::new(weights.collect(), None) else {
            return Ok(());
        };
        let instances: Vec<_> = names
            .iter()
            .zip(&parts)
            .flat_map(|(name, (_, count))| vec![Share { version: Some(name), weight: 1 }; *count])
            .collect();
        let got = split.spread(&instances).unwrap();
        let total: u32 = got.iter().map(|weight| u32::from(*weight)).sum();
        let asked: u32 = parts.iter().map(|(weight, _)| u32::from(*weight)).sum();
        for (name, (weight, _)) in names.iter().zip(&parts) {
            let own = instances.iter().zip(&got).filter(|(share, _)| share.version == Some(name));
            let own: u32 = own.map(|(_, weight)| u32::from(*weight)).sum();
            // own / total == weight / asked
            prop_assert_eq!(own * asked, u32::from(*weight) * total);
        }
    }

    #[test]
    fn whatever_the_weights_are_who_has_a_share_gets_one_and_nobody_else(
        weights in weights(),
        shares in proptest::collection::vec((0_usize..6, any::<u16>()), 0..40),
    ) {
        let split = Split::new(weights, None).unwrap();
        let names: Vec<_> = split.weights().keys().collect();
        let instances: Vec<_> = shares
            .iter()
            .map(|(name, weight)| Share { version: names.get(*name).copied(), weight: *weight })
            .collect();
        let due = |share: &Share<'_>| split.weight(share.version) > 0 && share.weight > 0;
        match split.spread(&instances) {
            None => prop_assert!(!instances.iter().any(due)),
            Some(got) => {
                prop_assert_eq!(got.len(), instances.len());
                for (share, weight) in instances.iter().zip(got) {
                    prop_assert_eq!(weight > 0, due(share));
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Split::decode(&bytes);
    }
}
