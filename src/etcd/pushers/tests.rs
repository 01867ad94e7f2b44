use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::etcd::watch::{Change, Entry};
use crate::model::{InstanceId, Prefix, Reasons, ServiceName, ServiceStatus};

fn entry(key: String, value: Vec<u8>) -> Entry {
    Entry {
        key: key.into_bytes(),
        value,
        mod_revision: 1,
        lease: 1,
    }
}

fn status_record(id: &str, services: Vec<(&str, ServiceStatus)>) -> Entry {
    let services = services.into_iter();
    let services = services.map(|(name, status)| (name.parse().unwrap(), status));
    let text = r#"{"services":{},"targets":{},"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
    let mut value = PusherStatus::decode(text.as_bytes()).unwrap();
    value.services = services.collect();
    value.prefix = Some(Prefix::default());
    entry(format!("/sidekick/pushers/{id}"), value.encode())
}

fn at(applied: i64) -> ServiceStatus {
    ServiceStatus {
        applied,
        ..ServiceStatus::default()
    }
}

fn reasons(listed: &[(&str, &str)]) -> Reasons {
    let one = |(name, why): &(&str, &str)| (name.parse().unwrap(), (*why).to_owned());
    Reasons::of(listed.iter().map(one))
}

fn pusher_entry(id: &str, services: &[(&str, i64)]) -> Entry {
    let services = services.iter();
    let services = services.map(|(name, applied)| (*name, at(*applied)));
    status_record(id, services.collect())
}

fn balancer(id: &str, services: &[&str], targets: &[&str]) -> Entry {
    let value = Balancer {
        prefix: Prefix::default(),
        services: services.iter().map(|name| name.parse().unwrap()).collect(),
        targets: targets.iter().map(|name| (*name).to_owned()).collect(),
        routes: BTreeMap::new(),
        nonce: "n".parse().unwrap(),
        since: jiff::Timestamp::UNIX_EPOCH,
    };
    entry(format!("/sidekick/balancers/{id}"), value.encode())
}

fn all(revision: i64, records: Vec<Entry>, balancers: Vec<Entry>) -> Pushers {
    let mut pushers = Pushers::new(MetaPrefix::default());
    for (part, entries) in [(STATUS, records), (BALANCERS, balancers)] {
        pushers.update(part, &Update::Listed { revision, entries });
    }
    pushers
}

fn pushers(revision: i64, records: Vec<Entry>) -> Pushers {
    all(revision, records, Vec::new())
}

fn web() -> ServiceName {
    "web".parse().unwrap()
}

fn id() -> InstanceId {
    "web/a".parse().unwrap()
}

fn applied(pushers: &Pushers, revision: i64) -> Applied {
    pushers.applied(&Prefix::default(), &web(), Revision::Records(revision))
}

fn leaving(pushers: &Pushers, revision: i64) -> Leaving {
    pushers.leaving(&Prefix::default(), &id(), revision)
}

fn names(pushers: &BTreeSet<PusherId>) -> Vec<&str> {
    pushers.iter().map(PusherId::as_str).collect()
}

#[test]
fn a_service_that_nobody_routes_has_no_pusher() {
    let others = all(
        50,
        vec![pusher_entry("edge", &[("shop", 40)])],
        vec![balancer("edge", &["shop"], &["t"])],
    );
    assert!(applied(&others, 10).is_nobody());
}

#[test]
fn all_that_route_the_service_must_have_reached_the_revision() {
    let ahead = pusher_entry("a", &[("web", 12)]);
    let behind = pusher_entry("b", &[("web", 9)]);
    let not_yet = pusher_entry("c", &[("web", 0)]);
    let both = pushers(50, vec![ahead.clone(), behind, not_yet]);
    let both = applied(&both, 10);
    assert_eq!(
        (names(&both.by), names(&both.not_by)),
        (vec!["a"], vec!["b", "c"])
    );
    assert!(is_by_all(&applied(&pushers(50, vec![ahead]), 12)));
}

/// Whether every load balancer that routes the service has applied it, and there is one.
fn is_by_all(applied: &Applied) -> bool {
    !applied.by.is_empty() && applied.not_by.is_empty() && applied.unknown.is_empty()
}

#[test]
fn a_revision_from_before_a_restore_counts_for_nothing() {
    let restored = pushers(50, vec![pusher_entry("a", &[("web", 900)])]);
    assert_eq!(names(&applied(&restored, 40).not_by), ["a"]);
}

#[test]
fn a_balancer_whose_pusher_is_silent_or_does_not_speak_of_the_service_is_unknown() {
    let own = balancer("edge", &["web"], &["t"]);
    let silent = all(50, vec![], vec![own.clone()]);
    assert_eq!(names(&applied(&silent, 10).unknown), ["edge"]);
    let other = pusher_entry("edge", &[("shop", 40)]);
    let lacks = all(50, vec![other], vec![own.clone()]);
    assert_eq!(names(&applied(&lacks, 10).unknown), ["edge"]);
    let back = all(50, vec![pusher_entry("edge", &[("web", 40)])], vec![own]);
    assert!(is_by_all(&applied(&back, 10)));
}

#[test]
fn a_pusher_that_ends_leaves_its_balancer_unknown_until_that_is_retired() {
    let status = pusher_entry("edge", &[("web", 40)]);
    let own = balancer("edge", &["web"], &["t"]);
    let mut pushers = all(50, vec![status.clone()], vec![own.clone()]);
    let mut delete = |part, entry: &Entry| {
        let deleted = Change::Deleted {
            key: entry.key.clone(),
            mod_revision: 51,
        };
        let changes = vec![deleted];
        let revision = 51;
        pushers.update(part, &Update::Changed { revision, changes });
        applied(&pushers, 10)
    };
    assert_eq!(names(&delete(STATUS, &status).unknown), ["edge"]);
    assert!(delete(BALANCERS, &own).is_nobody());
}

#[test]
fn an_unreadable_status_record_says_nothing_and_its_balancer_is_unknown() {
    let garbled = entry("/sidekick/pushers/a".to_owned(), b"{".to_vec());
    assert!(applied(&pushers(50, vec![garbled.clone()]), 10).is_nobody());
    let both = all(50, vec![garbled], vec![balancer("a", &["web"], &["t"])]);
    assert_eq!(names(&applied(&both, 10).unknown), ["a"]);
}

#[test]
fn a_silent_balancer_is_ignored_when_live_pushers_feed_all_its_targets() {
    let live = pusher_entry("new", &[("web", 40)]);
    let old = |targets: &[&str]| balancer("old", &["web"], targets);
    let unknown = |old: Entry, services: &[&str]| {
        let new = balancer("new", services, &["t1", "t2"]);
        let all = all(50, vec![live.clone()], vec![old, new]);
        applied(&all, 10).unknown.len()
    };
    assert_eq!(unknown(old(&["t1"]), &["web"]), 0);
    assert_eq!(unknown(old(&["t1", "t3"]), &["web"]), 1);
    assert_eq!(unknown(old(&[]), &["web"]), 1);
    assert_eq!(
        unknown(old(&["t1"]), &["shop"]),
        1,
        "it feeds another service"
    );
}

#[test]
fn what_hangs_on_no_lease_and_what_follows_another_prefix_is_none_of_ours() {
    let mut status = pusher_entry("a", &[("web", 1)]);
    let mut own = balancer("b", &["web"], &["t"]);
    (status.lease, own.lease) = (0, 0);
    let forged = all(50, vec![status.clone()], vec![own.clone()]);
    assert!(applied(&forged, 10).is_nobody());
    (status.lease, own.lease) = (1, 1);
    let elsewhere = all(50, vec![status], vec![own]);
    let prefix: Prefix = "/other".parse().unwrap();
    let revision = Revision::Records(10);
    assert!(elsewhere.applied(&prefix, &web(), revision).is_nobody());
    assert!(!applied(&elsewhere, 10).is_nobody());
}

#[test]
fn a_pusher_without_a_target_that_routes_holds_nothing_back_and_confirms_nothing() {
    let idle = ServiceStatus {
        idle: true,
        ..ServiceStatus::default()
    };
    let status = status_record("edge", vec![("web", idle)]);
    let idle = all(50, vec![status], vec![balancer("edge", &["web"], &["t"])]);
    assert!(applied(&idle, 10).is_nobody());
    assert!(leaving(&idle, 10).is_answered());
}

#[test]
fn a_reason_to_stay_in_rotation_is_an_answer_once_it_is_about_this_leaving() {
    let status = |applied| ServiceStatus {
        still_routed: reasons(&[("a", "web/x has its address")]),
        ..at(applied)
    };
    let told = pushers(50, vec![status_record("edge", vec![("web", status(10))])]);
    let left = leaving(&told, 10);
    assert!(left.is_answered());
    assert_eq!(
        left.still().unwrap(),
        "still routed by edge: web/x has its address"
    );
    // A reason from an earlier stay, told before this leaving.
    let before = pushers(50, vec![status_record("edge", vec![("web", status(9))])]);
    assert!(!leaving(&before, 10).is_answered());
    let mut later = status_record("edge", vec![("web", status(9))]);
    later.mod_revision = 11;
    assert!(leaving(&pushers(50, vec![later]), 10).is_answered());
}

#[test]
fn of_a_list_that_is_cut_short_nobody_is_said_to_have_let_go_or_to_route() {
    let mut cut = at(40);
    cut.still_routed.more = 1;
    cut.not_routed.more = 1;
    let cut = pushers(50, vec![status_record("edge", vec![("web", cut)])]);
    assert!(leaving(&cut, 10).still().unwrap().contains("256"));
    let routed = cut.routed(&Prefix::default(), &id(), 10);
    assert_eq!(routed.refused.len(), 1);
}

#[test]
fn who_refuses_an_instance_is_told_from_who_holds_it() {
    let with = |why: &str| ServiceStatus {
        not_routed: reasons(&[("a", why)]),
        ..at(40)
    };
    let pushers = pushers(
        50,
        vec![
            status_record("one", vec![("web", with("edge: no resolver"))]),
            status_record("two", vec![("web", with("held: disk full"))]),
            pusher_entry("three", &[("web", 40)]),
        ],
    );
    let routed = pushers.routed(&Prefix::default(), &id(), 10);
    let named = |all: &[Obstacle]| {
        let names = all.iter().map(|it| it.pusher.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(named(&routed.refused), ["one"]);
    assert_eq!(named(&routed.withheld), ["two"]);
    assert_eq!(routed.applied.by.len(), 3);
}

#[test]
fn history_matters_from_the_oldest_revision_that_a_live_pusher_stands_at() {
    let at = |records: Vec<Entry>| {
        let pushers = pushers(50, records);
        pushers.oldest_applied(&Prefix::default(), &web())
    };
    let (a, b) = (
        pusher_entry("a", &[("web", 12)]),
        pusher_entry("b", &[("web", 9)]),
    );
    assert_eq!(at(vec![a.clone(), b]), Some(9));
    // Neither has applied anything of this history.
    let (new, restored) = (
        pusher_entry("c", &[("web", 0)]),
        pusher_entry("d", &[("web", 900)]),
    );
    assert_eq!(
        at(vec![new, restored, pusher_entry("e", &[("shop", 3)])]),
        None
    );
    let idle = ServiceStatus {
        idle: true,
        ..super::tests::at(3)
    };
    assert_eq!(
        at(vec![a, status_record("f", vec![("web", idle)])]),
        Some(12)
    );
}
