use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::etcd::range::Range;
use crate::etcd::watch::{Change, Entry, Update};
use crate::model::{MetaPrefix, Prefix, ServiceName};
use crate::upstream::choose::Selection;
use crate::upstream::overrides::Overrides;
use crate::upstream::pool::Pool;
use crate::upstream::records::{Effect, Records};
use crate::upstream::state::Desired;

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn records(services: &[&str]) -> Records {
    Records::new(
        Prefix::default(),
        services.iter().map(|service| name(service)),
    )
}

fn listed(revision: i64, entries: &[(&str, &str)]) -> Records {
    let mut records = records(&["website", "shop"]);
    list(&mut records, revision, entries);
    records
}

fn entry(mod_revision: i64, key: &str, value: &str) -> Entry {
    Entry {
        key: key.into(),
        value: value.into(),
        mod_revision,
        lease: 0,
    }
}

fn list(records: &mut Records, revision: i64, entries: &[(&str, &str)]) -> Effect {
    let entries = entries
        .iter()
        .map(|(key, value)| entry(1, key, value))
        .collect();
    records.update(&Update::Listed { revision, entries })
}

fn put(records: &mut Records, revision: i64, key: &str, value: &str) -> Effect {
    let changes = vec![Change::Put(entry(revision, key, value))];
    records.update(&Update::Changed { revision, changes })
}

fn delete(records: &mut Records, revision: i64, key: &str) -> Effect {
    let changes = vec![Change::Deleted {
        key: key.into(),
        mod_revision: revision,
    }];
    records.update(&Update::Changed { revision, changes })
}

fn desired(records: &Records, service: &str) -> Option<Desired> {
    let mut overrides = Overrides::new(MetaPrefix::default(), [name(service)]);
    overrides.update(&Update::Listed {
        revision: 1,
        entries: vec![],
    });
    let decision = Pool::new(name(service), Selection::default()).decide(records, &overrides);
    decision.map(|decision| decision.desired)
}

fn shown(records: &Records, service: &str) -> (i64, Vec<String>) {
    let desired = desired(records, service).unwrap();
    let servers = desired.servers.iter();
    let servers =
        servers.map(|(endpoint, server)| format!("{endpoint} {} {}", server.state, server.weight));
    (desired.revision, servers.collect())
}

const ONE: (&str, &str) = ("/services/website/one", "10.0.0.1:80");
const TWO: (&str, &str) = ("/services/website/two", "10.0.0.2:80");

#[test]
fn nothing_is_desired_before_the_first_whole_listing() {
    let mut records = records(&["website"]);
    put(&mut records, 5, ONE.0, ONE.1);
    assert_eq!(desired(&records, "website"), None);
    list(&mut records, 7, &[]);
    assert_eq!(shown(&records, "website"), (7, vec![]));
}

#[test]
fn a_listing_replaces_everything_and_counts_for_every_service() {
    let mut records = listed(7, &[ONE]);
    let effect = list(&mut records, 9, &[TWO]);
    assert_eq!(effect.services, [name("shop"), name("website")].into());
    assert_eq!(
        shown(&records, "website"),
        (9, vec!["10.0.0.2:80 up 1".to_owned()])
    );
    assert_eq!(shown(&records, "shop"), (9, vec![]));
}

#[test]
fn a_restored_etcd_may_count_lower() {
    let mut records = listed(900, &[ONE]);
    list(&mut records, 3, &[TWO]);
    assert_eq!(shown(&records, "website").0, 3);
}

#[test]
fn a_change_moves_the_revision_of_its_own_service_only() {
    let mut records = listed(7, &[ONE]);
    let effect = put(&mut records, 8, TWO.0, TWO.1);
    assert_eq!(effect.services, [name("website")].into());
    assert_eq!(shown(&records, "website").0, 8);
    assert_eq!(shown(&records, "shop").0, 7);
    let effect = delete(&mut records, 9, ONE.0);
    assert_eq!(effect.services, [name("website")].into());
    assert_eq!(
        shown(&records, "website"),
        (9, vec!["10.0.0.2:80 up 1".to_owned()])
    );
}

#[test]
fn services_that_are_not_routed_cost_nothing() {
    let mut records = listed(7, &[("/services/other/one", "10.0.0.1:80")]);
    assert_eq!(
        put(&mut records, 8, "/services/other/two", "\u{1}"),
        Effect::default()
    );
    assert_eq!(
        delete(&mut records, 9, "/services/other/two"),
        Effect::default()
    );
    assert_eq!(desired(&records, "other"), None);
    assert_eq!(records.quarantined().count(), 0);
    assert_eq!(shown(&records, "website").0, 7);
}

#[test]
fn two_instances_with_one_address_are_one_server() {
    let at = |state: &str, weight: u16| {
        format!(r#"{{"host":"10.0.0.1","port":80,"state":"{state}","weight":{weight}}}"#)
    };
    let merged = |one: String, two: String| {
        let records = listed(1, &[(ONE.0, &one), (TWO.0, &two)]);
        let (_, servers) = shown(&records, "website");
        assert_eq!(servers.len(), 1);
        servers.into_iter().next().unwrap()
    };
    assert_eq!(merged(at("up", 2), at("down", 9)), "10.0.0.1:80 up 2");
    assert_eq!(merged(at("draining", 2), at("up", 3)), "10.0.0.1:80 up 3");
    assert_eq!(
        merged(at("down", 2), at("draining", 3)),
        "10.0.0.1:80 draining 3"
    );
    assert_eq!(merged(at("up", 2), at("up", 3)), "10.0.0.1:80 up 3");
    assert_eq!(
        merged(at("up", 0), at("draining", 3)),
        "10.0.0.1:80 draining 3"
    );
}

#[test]
fn a_weight_of_0_takes_no_traffic() {
    let records = listed(1, &[(ONE.0, r#"{"host":"10.0.0.1","port":80,"weight":0}"#)]);
    assert_eq!(shown(&records, "website").1, ["10.0.0.1:80 down 1"]);
}

#[test]
fn udp_records_are_not_for_http_upstreams() {
    let mut records = listed(
        1,
        &[(ONE.0, r#"{"host":"10.0.0.1","port":80,"protocol":"udp"}"#)],
    );
    assert_eq!(shown(&records, "website"), (1, vec![]));
    put(&mut records, 2, ONE.0, ONE.1);
    assert_eq!(shown(&records, "website").1, ["10.0.0.1:80 up 1"]);
}

#[test]
fn a_hostile_record_is_set_aside_and_nothing_else_notices() {
    let mut records = listed(7, &[ONE]);
    let effect = put(&mut records, 8, TWO.0, "{\"host\":\"; }\",\"port\":1}");
    assert_eq!(effect.quarantined.len(), 1);
    assert_eq!(
        shown(&records, "website"),
        (8, vec!["10.0.0.1:80 up 1".to_owned()])
    );
    for stray in ["/services/a b/c", "/services/website/a/b", "/other/x/y"] {
        let effect = put(&mut records, 9, stray, "10.0.0.9:80");
        assert_eq!(effect.quarantined.len(), 1, "{stray}");
    }
    assert_eq!(records.quarantined().count(), 4);
    assert_eq!(shown(&records, "website").1, ["10.0.0.1:80 up 1"]);
}

#[test]
fn what_is_set_aside_is_told_once_and_its_release_too() {
    let bad = (TWO.0, "nonsense");
    let mut records = listed(7, &[ONE, bad]);
    assert_eq!(list(&mut records, 8, &[ONE, bad]).quarantined, []);
    assert_eq!(put(&mut records, 9, bad.0, bad.1).quarantined, []);
    assert_eq!(
        put(&mut records, 10, bad.0, "").quarantined.len(),
        1,
        "for another reason"
    );
    assert_eq!(put(&mut records, 11, TWO.0, TWO.1).readable_again, [TWO.0]);
    put(&mut records, 12, bad.0, bad.1);
    assert_eq!(delete(&mut records, 13, bad.0).readable_again, [TWO.0]);
    put(&mut records, 14, bad.0, bad.1);
    assert_eq!(list(&mut records, 15, &[ONE]).readable_again, [TWO.0]);
    assert_eq!(records.quarantined().count(), 0);
}

#[test]
fn a_deletion_was_noticed_before_when_the_record_took_no_traffic() {
    let mut records = listed(7, &[ONE]);
    assert_eq!(delete(&mut records, 8, ONE.0).withdrawn, [].into());
    for last in [
        r#""state":"down""#,
        r#""state":"draining""#,
        r#""weight":0"#,
    ] {
        put(
            &mut records,
            9,
            ONE.0,
            &format!(r#"{{"host":"10.0.0.1","port":80,{last}}}"#),
        );
        let noticed = (name("website"), "one".parse().unwrap());
        assert_eq!(delete(&mut records, 10, ONE.0).withdrawn, [noticed].into());
    }
}

#[test]
fn a_record_that_turns_bad_is_no_longer_served() {
    let mut records = listed(7, &[ONE, TWO]);
    put(&mut records, 8, TWO.0, "{}");
    assert_eq!(
        shown(&records, "website"),
        (8, vec!["10.0.0.1:80 up 1".to_owned()])
    );
}

proptest! {
    /// Any history of changes comes to the same as a listing of what it left.
    #[test]
    fn changes_come_to_the_same_as_a_listing(history in proptest::collection::vec((0..6_u8, 0..6_u8), 0..40)) {
        let key = |slot: u8| match slot {
            0..4 => format!("/services/website/{slot}"),
            4 => "/services/shop/4".to_owned(),
            _ => "/services/web site/5".to_owned(),
        };
        let value = |kind: u8| match kind {
            0 => "nonsense".to_owned(),
            1 => r#"{"host":"10.0.0.1","port":80,"state":"draining"}"#.to_owned(),
            kind => format!("10.0.0.{kind}:80"),
        };
        let mut told = listed(1, &[]);
        let mut left = BTreeMap::new();
        for (at, (slot, kind)) in history.into_iter().enumerate() {
            let revision = 2 + i64::try_from(at).unwrap();
            if kind == 5 {
                left.remove(&key(slot));
                delete(&mut told, revision, &key(slot));
            } else {
                left.insert(key(slot), value(kind));
                put(&mut told, revision, &key(slot), &value(kind));
            }
        }
        let entries: Vec<_> = left.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let fresh = listed(1, &entries);
        for service in ["website", "shop"] {
            prop_assert_eq!(shown(&told, service).1, shown(&fresh, service).1);
        }
        let aside = |records: &Records| records.quarantined().collect::<Vec<_>>();
        prop_assert_eq!(aside(&told), aside(&fresh));
    }
}

fn everything() -> Range {
    Range::Prefix("/services/".into())
}

#[test]
fn nothing_is_desired_of_a_service_that_is_routed_later_before_the_next_listing() {
    let mut records = records(&["website"]);
    list(&mut records, 7, &[ONE]);
    let services = |names: &[&str]| names.iter().map(|service| name(service)).collect();
    assert!(records.route(&services(&["website", "shop"]), &everything()));
    assert_eq!(desired(&records, "shop"), None);
    assert_eq!(
        shown(&records, "website"),
        (7, vec!["10.0.0.1:80 up 1".to_owned()]),
        "what was known of others stands"
    );
    let shop = ("/services/shop/one", "10.0.0.3:80");
    list(&mut records, 9, &[ONE, shop]);
    assert_eq!(
        shown(&records, "shop"),
        (9, vec!["10.0.0.3:80 up 1".to_owned()])
    );
    assert!(!records.route(&services(&["shop"]), &everything()));
    assert_eq!(desired(&records, "website"), None);
    assert_eq!(shown(&records, "shop").0, 9);
}
