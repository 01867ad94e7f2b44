use super::*;
use crate::etcd::watch::{Change, Entry};

fn entry(key: &str, value: &str) -> Entry {
    Entry {
        key: key.into(),
        value: value.into(),
        mod_revision: 1,
        lease: 0,
    }
}

fn listed(revision: i64, entries: &[(&str, &str)]) -> Overrides {
    let mut overrides = Overrides::new(MetaPrefix::default(), ["web".parse().unwrap()]);
    list(&mut overrides, revision, entries);
    overrides
}

fn list(overrides: &mut Overrides, revision: i64, entries: &[(&str, &str)]) -> Effect {
    let entries = entries.iter().map(|(key, value)| entry(key, value));
    overrides.update(&Update::Listed {
        revision,
        entries: entries.collect(),
    })
}

fn put(overrides: &mut Overrides, revision: i64, key: &str, value: &str) -> Effect {
    let put = Change::Put(Entry {
        mod_revision: revision,
        ..entry(key, value)
    });
    let changes = vec![put];
    overrides.update(&Update::Changed { revision, changes })
}

fn delete(overrides: &mut Overrides, revision: i64, key: &str) -> Effect {
    let changes = vec![Change::Deleted {
        key: key.into(),
        mod_revision: revision,
    }];
    overrides.update(&Update::Changed { revision, changes })
}

/// The overrides: revision, split, holds.
fn shown(overrides: &Overrides) -> (i64, Option<String>, Vec<String>) {
    let overrides = overrides.service(&"web".parse().unwrap()).unwrap();
    let split = overrides.split.as_ref().map(|split| {
        let weights = split.weights().iter();
        let shown = weights.map(|(version, weight)| format!("{version}={weight}"));
        shown.collect::<Vec<_>>().join(" ")
    });
    let held = overrides.held.keys().map(ToString::to_string).collect();
    (overrides.revision, split, held)
}

const SPLIT: &str = "/sidekick/splits/web";
const HOLD: &str = "/sidekick/holds/web/one";
const V1: &str = r#"{"weights":{"v1":1}}"#;

#[test]
fn nothing_is_chosen_before_the_first_whole_listing() {
    let mut overrides = Overrides::new(MetaPrefix::default(), ["web".parse().unwrap()]);
    put(&mut overrides, 3, SPLIT, V1);
    assert_eq!(overrides.service(&"web".parse().unwrap()), None);
    list(&mut overrides, 7, &[]);
    assert_eq!(shown(&overrides), (7, None, vec![]));
}

#[test]
fn splits_and_holds_come_and_go() {
    let mut overrides = listed(7, &[(HOLD, r#"{"reason":"disk"}"#)]);
    assert_eq!(shown(&overrides), (7, None, vec!["one".to_owned()]));
    put(&mut overrides, 8, SPLIT, V1);
    assert_eq!(
        shown(&overrides),
        (8, Some("v1=1".to_owned()), vec!["one".to_owned()])
    );
    delete(&mut overrides, 9, HOLD);
    delete(&mut overrides, 11, SPLIT);
    assert_eq!(shown(&overrides), (11, None, vec![]));
    let effect = put(&mut overrides, 12, "/sidekick/pushers/edge", "{}");
    assert_eq!(effect, Effect::default());
    let effect = put(&mut overrides, 13, "/sidekick/splits/other", V1);
    assert_eq!(effect, Effect::default());
    assert_eq!(shown(&overrides).0, 11);
}

#[test]
fn a_split_that_cannot_be_read_leaves_the_one_before_it() {
    let mut overrides = listed(7, &[(SPLIT, V1)]);
    let effect = put(&mut overrides, 8, SPLIT, "half");
    assert_eq!(effect.quarantined.len(), 1);
    assert_eq!(shown(&overrides), (8, Some("v1=1".to_owned()), vec![]));
    list(&mut overrides, 9, &[(SPLIT, "half")]);
    assert_eq!(shown(&overrides), (9, Some("v1=1".to_owned()), vec![]));
    let effect = put(&mut overrides, 10, SPLIT, V1);
    assert_eq!(effect.readable_again, [SPLIT]);
    put(&mut overrides, 11, SPLIT, "half");
    let effect = list(&mut overrides, 12, &[]);
    assert_eq!(effect.readable_again, [SPLIT], "gone while nobody looked");
    assert_eq!(shown(&overrides), (12, None, vec![]));
}

#[test]
fn a_hold_holds_whatever_its_value_says() {
    let mut overrides = listed(7, &[]);
    let effect = put(&mut overrides, 8, HOLD, "");
    assert_eq!(effect.quarantined.len(), 1);
    assert_eq!(shown(&overrides), (8, None, vec!["one".to_owned()]));
    for key in [SERVICE_HOLD, HOST_HOLD] {
        let effect = put(&mut overrides, 9, key, "[");
        assert_eq!(effect.quarantined.len(), 1, "{key}");
    }
    let overrides = overrides.service(&"web".parse().unwrap()).unwrap();
    assert!(overrides.all_held.is_some() && overrides.held_hosts.len() == 1);
}

const SERVICE_HOLD: &str = "/sidekick/service-holds/web";
const HOST_HOLD: &str = "/sidekick/host-holds/10.0.0.5";
const WHY: &str = r#"{"reason":"disk"}"#;

/// Why `web/one` at this address is out.
fn why(overrides: &Overrides, address: &str) -> Option<String> {
    let value = format!(r#"{{"host":"{address}","port":80}}"#);
    let record = crate::model::decode(
        &crate::model::Prefix::default(),
        b"/services/web/one",
        value.as_bytes(),
    );
    let overrides = overrides.service(&"web".parse().unwrap()).unwrap();
    let why = overrides.hold_on(&"one".parse().unwrap(), &record.unwrap().1);
    why.map(str::to_owned)
}

fn holds(overrides: &Overrides, address: &str) -> bool {
    why(overrides, address).is_some()
}

#[test]
fn a_hold_tells_why_the_narrowest_first() {
    let mut overrides = listed(7, &[(HOST_HOLD, WHY)]);
    let told = |overrides: &Overrides| why(overrides, "10.0.0.5");
    assert_eq!(told(&overrides).as_deref(), Some("host 10.0.0.5: disk"));
    put(&mut overrides, 8, SERVICE_HOLD, WHY);
    assert_eq!(told(&overrides).as_deref(), Some("all of web: disk"));
    put(&mut overrides, 9, HOLD, "[");
    assert!(told(&overrides).is_some_and(|told| told.starts_with("the hold is quarantined: ")));
}

#[test]
fn a_hold_of_a_whole_service_holds_every_instance_until_it_ends() {
    let mut overrides = listed(7, &[(SERVICE_HOLD, WHY)]);
    assert!(holds(&overrides, "10.0.0.5"));
    put(&mut overrides, 8, "/sidekick/service-holds/other", WHY);
    assert_eq!(shown(&overrides).0, 7);
    delete(&mut overrides, 9, SERVICE_HOLD);
    assert!(!holds(&overrides, "10.0.0.5"));
    assert_eq!(shown(&overrides).0, 9);
}

#[test]
fn a_hold_of_a_host_holds_every_instance_at_its_address_until_the_last_of_them_ends() {
    let mut overrides = listed(7, &[]);
    let effect = put(&mut overrides, 8, HOST_HOLD, WHY);
    assert_eq!(
        effect.services.len(),
        1,
        "every routed service is decided anew"
    );
    assert!(holds(&overrides, "10.0.0.5") && holds(&overrides, "::ffff:10.0.0.5"));
    assert!(!holds(&overrides, "10.0.0.6"));
    let other = "/sidekick/host-holds/::ffff:10.0.0.5";
    put(&mut overrides, 9, other, WHY);
    delete(&mut overrides, 10, HOST_HOLD);
    assert!(
        holds(&overrides, "10.0.0.5"),
        "the other spelling holds it yet"
    );
    delete(&mut overrides, 11, other);
    assert!(!holds(&overrides, "10.0.0.5"));
    assert_eq!(shown(&overrides).0, 11);
    put(&mut overrides, 12, HOST_HOLD, WHY);
    list(&mut overrides, 13, &[]);
    assert!(!holds(&overrides, "10.0.0.5"), "a listing replaces all");
}

#[test]
fn no_host_is_held_before_the_first_whole_listing() {
    let mut overrides = Overrides::new(MetaPrefix::default(), ["web".parse().unwrap()]);
    assert_eq!(put(&mut overrides, 3, HOST_HOLD, WHY), Effect::default());
}
