use super::*;
use crate::etcd::watch::{Change, Entry};
use crate::model::{MetaPrefix, Prefix, Reason};

fn overview(only: Option<&str>) -> Overview {
    let place = Place {
        cluster: crate::etcd::client::Cluster::new(Default::default()),
        prefix: Prefix::default(),
        meta: MetaPrefix::default(),
        patience: std::time::Duration::ZERO,
    };
    Overview::new(&place, only.map(|name| name.parse().unwrap()))
}

fn entry(key: &str, value: &str, mod_revision: i64) -> Entry {
    Entry {
        key: key.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
        mod_revision,
        lease: 0,
    }
}

fn put(key: &str, value: &str, revision: i64) -> Update {
    let changes = vec![Change::Put(entry(key, value, revision))];
    Update::Changed { revision, changes }
}

fn deleted(key: &str, revision: i64) -> Update {
    let key = key.as_bytes().to_vec();
    let mod_revision = revision;
    let changes = vec![Change::Deleted { key, mod_revision }];
    Update::Changed { revision, changes }
}

const A: &str = "/services/web/a";
const A_HELD: &str = "/sidekick/holds/web/a";
const UP: &str = r#"{"host":"10.0.0.5","port":80,"version":"v1"}"#;

fn revisions(records: i64, overrides: i64) -> Revisions {
    Revisions { records, overrides }
}

fn records(records: i64) -> Revisions {
    revisions(records, 0)
}

fn state_of(overview: &Overview) -> Option<&'static str> {
    let line = overview.line(A.as_bytes())?;
    line.state().map(InstanceState::as_str)
}

#[test]
fn a_hold_shows_on_the_line_of_its_record_until_it_ends() {
    let mut overview = overview(None);
    overview.update(Kind::Record, &put(A, UP, 5));
    assert_eq!(state_of(&overview), Some("up"));
    let touched = overview.update(Kind::Hold, &put(A_HELD, r#"{"reason":"disk"}"#, 6));
    assert!(touched.contains(A.as_bytes()), "{touched:?}");
    assert_eq!(state_of(&overview), Some("held"));
    let web = "web".parse().unwrap();
    assert_eq!(overview.newest(&web), revisions(5, 6));
    let touched = overview.update(Kind::Hold, &deleted(A_HELD, 9));
    assert!(touched.contains(A.as_bytes()), "{touched:?}");
    assert_eq!(state_of(&overview), Some("up"));
    assert_eq!(overview.newest(&web), revisions(5, 9));
}

#[test]
fn what_cannot_be_read_is_shown_with_its_reason_and_takes_the_place_of_what_was_there() {
    let mut overview = overview(None);
    overview.update(Kind::Record, &put(A, UP, 5));
    overview.update(Kind::Record, &put(A, "oops", 6));
    let line = overview.line(A.as_bytes()).unwrap();
    assert!(matches!(line, Line::Quarantined(_)), "{line:?}");
    assert_eq!(overview.instances(&"web".parse().unwrap()).count(), 0);
    overview.update(Kind::Record, &put(A, UP, 7));
    assert_eq!(state_of(&overview), Some("up"));
    overview.update(Kind::Hold, &put("/sidekick/holds/web", "{}", 8));
    overview.update(Kind::Split, &put("/sidekick/splits/web", "[]", 9));
    let unreadable = |line: &Line| matches!(line, Line::Quarantined(_));
    assert_eq!(overview.lines().filter(unreadable).count(), 2);
    assert_eq!(state_of(&overview), Some("up"));
    overview.update(Kind::Hold, &deleted("/sidekick/holds/web", 10));
    overview.update(Kind::Split, &deleted("/sidekick/splits/web", 11));
    assert_eq!(overview.lines().filter(unreadable).count(), 0);
}

#[test]
fn a_hold_that_cannot_be_read_holds_all_the_same_and_says_why_it_cannot() {
    for (kind, key) in [
        (Kind::Hold, A_HELD),
        (Kind::ServiceHold, "/sidekick/service-holds/web"),
        (Kind::HostHold, "/sidekick/host-holds/10.0.0.5"),
    ] {
        let mut overview = overview(None);
        overview.update(Kind::Record, &put(A, UP, 5));
        let touched = overview.update(kind, &put(key, "{}", 8));
        assert!(touched.contains(A.as_bytes()), "{key}: {touched:?}");
        assert_eq!(state_of(&overview), Some("held"), "{key}");
        let web = "web".parse().unwrap();
        let (_, record, held) = overview.instances(&web).next().unwrap();
        assert!(!takes_traffic(record.value, held.as_ref()), "{key}");
        assert_eq!(held.unwrap().hold, Err(Reason::Missing("reason")), "{key}");
        assert_eq!(overview.newest(&web), revisions(5, 8), "{key}");
        let line = overview.line(key.as_bytes()).unwrap();
        assert!(matches!(line, Line::Quarantined(_)), "{key}: {line:?}");
        overview.update(kind, &deleted(key, 9));
        assert_eq!(state_of(&overview), Some("up"), "{key}");
        assert_eq!(overview.line(key.as_bytes()), None, "{key}");
        assert_eq!(overview.newest(&web), revisions(5, 9), "{key}");
    }
}

#[test]
fn the_holds_of_a_service_and_of_a_host_show_on_all_their_records_and_by_themselves() {
    const WHY: &str = r#"{"reason":"disk"}"#;
    let mut overview = overview(None);
    overview.update(Kind::Record, &put(A, UP, 5));
    let elsewhere = UP.replace("10.0.0.5", "10.0.0.6");
    overview.update(Kind::Record, &put("/services/web/b", &elsewhere, 6));
    let host = "/sidekick/host-holds/::ffff:10.0.0.5";
    overview.update(Kind::HostHold, &put(host, WHY, 7));
    overview.update(Kind::HostHold, &put("/sidekick/host-holds/a b", WHY, 7));
    let held = |overview: &Overview| {
        let web = "web".parse().unwrap();
        let held = overview
            .instances(&web)
            .filter(|(_, _, held)| held.is_some());
        held.map(|(id, _, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(held(&overview), ["web/a"]);
    let own = overview.line(host.as_bytes()).unwrap();
    assert!(matches!(own, Line::Hold(_)), "{own:?}");
    let stray = overview.line(b"/sidekick/host-holds/a b").unwrap();
    assert!(matches!(stray, Line::Quarantined(_)), "{stray:?}");
    let service = "/sidekick/service-holds/web";
    overview.update(Kind::ServiceHold, &put(service, WHY, 8));
    assert_eq!(held(&overview), ["web/a", "web/b"]);
    let Some(Line::Record { holds, .. }) = overview.line(A.as_bytes()) else {
        panic!("no record");
    };
    let scopes: Vec<_> = holds.iter().map(|held| held.scope.kind()).collect();
    assert_eq!(scopes, ["service", "host"]);
    let listed = Update::Listed {
        revision: 9,
        entries: Vec::new(),
    };
    overview.update(Kind::HostHold, &listed);
    overview.update(Kind::ServiceHold, &listed);
    assert_eq!(held(&overview), Vec::<String>::new());
    assert_eq!(overview.lines().count(), 2);
}

#[test]
fn a_listing_replaces_all_of_its_kind_and_nothing_else() {
    let mut overview = overview(None);
    overview.update(Kind::Record, &put(A, UP, 5));
    overview.update(Kind::Record, &put("/services/x", "stray", 6));
    overview.update(
        Kind::Split,
        &put("/sidekick/splits/web", r#"{"weights":{"v1":1}}"#, 7),
    );
    let listed = Update::Listed {
        revision: 9,
        entries: vec![entry("/services/web/b", UP, 8)],
    };
    let touched = overview.update(Kind::Record, &listed);
    assert_eq!(touched.len(), 3, "{touched:?}");
    let keys: Vec<_> = overview.keys().into_iter().collect();
    let text = |key: &Vec<u8>| String::from_utf8(key.clone()).unwrap();
    let keys: Vec<_> = keys.iter().map(text).collect();
    assert_eq!(keys, ["/services/web/b", "/sidekick/splits/web"]);
}

#[test]
fn one_service_alone_shows_nothing_of_others() {
    let mut overview = overview(Some("web"));
    overview.update(Kind::Record, &put(A, UP, 5));
    overview.update(Kind::Record, &put("/services/shop/a", UP, 6));
    overview.update(Kind::Record, &put("/services/shop/b", "oops", 6));
    overview.update(
        Kind::Split,
        &put("/sidekick/splits/shop", r#"{"weights":{"v1":1}}"#, 7),
    );
    overview.update(
        Kind::Hold,
        &put("/sidekick/holds/shop/a", r#"{"reason":"x"}"#, 7),
    );
    assert_eq!(overview.lines().count(), 1);
}

#[test]
fn the_changes_behind_a_revision_are_counted_and_dated_where_they_can_be() {
    let mut overview = overview(None);
    let since =
        |second: &str| UP.replace('}', &format!(r#","since":"2026-01-02T03:04:{second}Z"}}"#));
    overview.update(Kind::Record, &put(A, &since("05"), 5));
    overview.update(Kind::Record, &put("/services/web/b", &since("09"), 8));
    let draining = since("01").replace('}', r#","state":"draining"}"#);
    overview.update(Kind::Record, &put("/services/web/c", &draining, 9));
    let web = "web".parse().unwrap();
    assert_eq!(overview.since(&web, records(9)), (0, None));
    assert_eq!(overview.since(&web, records(8)), (1, None));
    let first = "2026-01-02T03:04:09Z".parse().unwrap();
    assert_eq!(overview.since(&web, records(5)), (2, Some(first)));
    overview.update(Kind::Hold, &put(A_HELD, r#"{"reason":"x"}"#, 12));
    assert_eq!(
        overview.since(&web, records(9)),
        (1, None),
        "a hold is no record"
    );
    assert_eq!(overview.since(&web, revisions(9, 12)), (0, None));
}

#[test]
fn what_was_deleted_counts_as_a_change_unless_it_is_there_again() {
    let mut overview = overview(None);
    overview.update(Kind::Record, &put(A, UP, 5));
    let keys = |keys: &[(&str, i64)]| {
        let keys = keys.iter();
        keys.map(|(key, at)| (key.as_bytes().to_vec(), *at))
            .collect()
    };
    let records = keys(&[(A, 6), ("/services/web/b", 7), ("/services/other/c", 8)]);
    overview.note_deleted(Kind::Record, records);
    overview.note_deleted(Kind::HostHold, keys(&[("/sidekick/host-holds/h", 9)]));
    let web = "web".parse().unwrap();
    assert_eq!(overview.newest(&web), revisions(7, 9));
    assert_eq!(overview.since(&web, revisions(5, 5)), (2, None));
    assert_eq!(overview.since(&web, revisions(7, 8)), (1, None));
    assert_eq!(overview.since(&web, revisions(7, 9)), (0, None));
}
