use super::*;
use crate::model::Reason;

fn store(services: &[&str]) -> Store {
    let services = services.iter().map(|name| name.parse().unwrap());
    let ranges = ["/services/", "/sidekick/"].map(|range| Range::Prefix(range.into()));
    Store::new(Prefixes::default(), ranges, Some(services.collect()))
}

fn entry(key: &str, value: &str, mod_revision: i64) -> Entry {
    Entry {
        key: key.into(),
        value: value.into(),
        mod_revision,
        lease: 1,
    }
}

fn listed(revision: i64, entries: Vec<Entry>) -> Update {
    Update::Listed { revision, entries }
}

fn put(entry: Entry) -> Update {
    let revision = entry.mod_revision;
    let changes = vec![Change::Put(entry)];
    Update::Changed { revision, changes }
}

fn deleted(key: &str, revision: i64) -> Update {
    let changes = vec![Change::Deleted {
        key: key.into(),
        mod_revision: revision,
    }];
    Update::Changed { revision, changes }
}

fn name(service: &str) -> ServiceName {
    service.parse().unwrap()
}

const A: &str = "/services/web/a";
const SPLIT: &str = "/sidekick/splits/web";
const RECORDS: usize = 0;
const META: usize = 1;
const KINDS: [Kind; 2] = [Kind::Record, Kind::Split];

#[test]
fn a_listing_swaps_its_own_range_and_leaves_the_others() {
    let mut store = store(&["web"]);
    store.update(
        META,
        &listed(5, vec![entry(SPLIT, r#"{"weights":{"v1":1}}"#, 2)]),
    );
    store.update(RECORDS, &listed(6, vec![entry(A, "10.0.0.1:80", 3)]));
    let delta = store.update(
        RECORDS,
        &listed(9, vec![entry("/services/web/b", "10.0.0.2:80", 8)]),
    );
    assert_eq!(delta.before.len(), 2, "one came and one went: {delta:?}");
    assert!(delta.deleted.is_empty(), "how one went is not known");
    let keys: Vec<_> = store.items().map(|(key, _)| key.to_vec()).collect();
    assert_eq!(keys, [b"/services/web/b".to_vec(), SPLIT.into()]);
}

#[test]
fn what_a_listing_repeats_is_no_change() {
    let mut store = store(&["web"]);
    let same = || {
        listed(
            5,
            vec![entry(A, "10.0.0.1:80", 3), entry("/services/x", "stray", 4)],
        )
    };
    let first = store.update(RECORDS, &same());
    assert_eq!(store.news(&first, &KINDS).0.len(), 1);
    let again = store.update(RECORDS, &same());
    assert!(again.before.is_empty(), "{again:?}");
}

#[test]
fn what_is_written_and_deleted_in_one_update_is_known_as_it_was_last() {
    let mut store = store(&["web"]);
    store.update(RECORDS, &listed(5, vec![entry(A, "10.0.0.1:80", 3)]));
    let draining = r#"{"host":"10.0.0.1","port":80,"state":"draining"}"#;
    let changes = vec![
        Change::Put(entry(A, draining, 6)),
        Change::Deleted {
            key: A.into(),
            mod_revision: 7,
        },
    ];
    let delta = store.update(
        RECORDS,
        &Update::Changed {
            revision: 7,
            changes,
        },
    );
    let [last] = delta.deleted.as_slice() else {
        panic!("{delta:?}");
    };
    assert_eq!(last.record().unwrap().state, crate::model::State::Draining);
    let before = delta.before[A.as_bytes()].as_ref().unwrap();
    assert_eq!(before.record().unwrap().state, crate::model::State::Up);
    assert_eq!(store.revision(RECORDS, &name("web")), Some(7));
}

#[test]
fn what_cannot_be_read_is_told_once_and_again_when_it_can() {
    let mut store = store(&["web"]);
    store.update(RECORDS, &listed(5, vec![]));
    let news = |store: &mut Store, update: Update| {
        let delta = store.update(RECORDS, &update);
        let (quarantined, readable) = store.news(&delta, &KINDS);
        (quarantined.len(), readable)
    };
    assert_eq!(news(&mut store, put(entry(A, "oops", 6))), (1, vec![]));
    assert_eq!(news(&mut store, put(entry(A, "oops", 7))), (0, vec![]));
    assert_eq!(
        news(&mut store, put(entry(A, "{", 8))).0,
        1,
        "for another reason"
    );
    assert_eq!(store.quarantined(&KINDS).count(), 1);
    let readable = (0, vec![A.to_owned()]);
    assert_eq!(news(&mut store, put(entry(A, "10.0.0.1:80", 9))), readable);
    assert_eq!(news(&mut store, put(entry(A, "oops", 10))).0, 1);
    assert_eq!(news(&mut store, deleted(A, 11)), readable);
}

#[test]
fn what_a_split_said_whose_last_write_was_not_seen_is_recalled() {
    let mut store = store(&["web"]);
    let unreadable = |revision| {
        let other = entry("/sidekick/splits/other", "{", 3);
        listed(revision, vec![other, entry(SPLIT, "{", revision)])
    };
    let mut relist = |revision, former| {
        let update = unreadable(revision);
        let unseen = store.unseen(&update).len();
        if unseen > 0 {
            store.recall(Formers::from([(SPLIT.into(), former)]));
        }
        store.update(META, &update);
        let item = store.get(SPLIT.as_bytes()).unwrap();
        (unseen, item.split().map(|split| split.weights().len()))
    };
    let stands = |split: &str| {
        let subject = Prefixes::default().key(SPLIT.as_bytes()).unwrap().subject;
        Former::Stands(subject.unwrap().decode(split.as_bytes(), 0).unwrap())
    };
    let one = || stands(r#"{"weights":{"v1":1}}"#);
    assert_eq!(relist(9, one()), (1, Some(1)));
    assert_eq!(relist(9, Former::Nothing), (0, Some(1)), "it was seen");
    let two = || stands(r#"{"weights":{"v1":1,"v2":1}}"#);
    assert_eq!(relist(12, two()), (1, Some(2)), "it was written in between");
    let unknown = Former::Unknown("compacted");
    assert_eq!(relist(14, unknown), (1, Some(2)), "what was seen stands");
    assert_eq!(relist(16, Former::Nothing), (1, None), "it was deleted");
}

#[test]
fn a_split_that_cannot_be_read_leaves_the_one_before_it_standing_also_over_a_listing() {
    let mut store = store(&["web"]);
    store.update(
        META,
        &listed(5, vec![entry(SPLIT, r#"{"weights":{"v1":1}}"#, 2)]),
    );
    let weights = |store: &Store| {
        let item = store.get(SPLIT.as_bytes())?;
        Some(item.split()?.weights().len())
    };
    store.update(META, &put(entry(SPLIT, "[", 6)));
    assert_eq!(weights(&store), Some(1));
    store.update(META, &listed(7, vec![entry(SPLIT, "{", 7)]));
    assert_eq!(weights(&store), Some(1));
    store.update(META, &deleted(SPLIT, 8));
    store.update(META, &put(entry(SPLIT, "[", 9)));
    assert_eq!(weights(&store), None, "its deletion ended it");
}

#[test]
fn what_ends_with_its_pusher_and_has_no_lease_is_quarantined() {
    let mut store = store(&[]);
    let status = |lease| Entry {
        lease,
        ..entry(
            "/sidekick/pushers/edge",
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
            3,
        )
    };
    store.update(META, &listed(5, vec![status(0)]));
    let [forged] = store
        .quarantined(&[Kind::Pusher])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(forged.reason, Reason::NoLease);
    store.update(META, &put(status(7)));
    assert_eq!(
        store.items().filter_map(|(_, item)| item.pusher()).count(),
        1
    );
}

#[test]
fn a_service_that_is_followed_later_is_unknown_until_a_listing_tells_of_it() {
    let mut store = store(&["web"]);
    store.update(
        RECORDS,
        &listed(5, vec![entry("/services/shop/a", "10.0.0.1:80", 3)]),
    );
    assert_eq!(store.items().count(), 0, "others are not kept");
    assert!(store.follow(["web", "shop"].map(name).into()));
    assert_eq!(store.revision(RECORDS, &name("shop")), None);
    assert_eq!(store.revision(RECORDS, &name("web")), Some(5));
    store.update(RECORDS, &listed(6, vec![]));
    assert_eq!(store.revision(RECORDS, &name("shop")), Some(6));
    assert!(!store.follow([name("shop")].into()));
    assert_eq!(store.revision(RECORDS, &name("web")), None);
}

#[test]
fn a_hold_on_a_host_concerns_every_service_and_a_restored_etcd_takes_revisions_back() {
    let mut store = store(&["web", "shop"]);
    store.update(META, &listed(5, vec![]));
    let hold = entry("/sidekick/host-holds/10.0.0.5", r#"{"reason":"disk"}"#, 8);
    let delta = store.update(META, &put(hold));
    assert_eq!(delta.services.len(), 2);
    assert_eq!(store.revision(META, &name("shop")), Some(8));
    store.update(META, &listed(6, vec![]));
    assert_eq!(store.revision(META, &name("shop")), Some(6));
    assert_eq!(store.changed(META, &name("shop")), 0);
}

#[test]
fn what_lies_outside_a_range_that_became_narrower_is_forgotten_and_never_called_readable() {
    let mut store = store(&["web", "shop"]);
    let bad = entry("/services/none", "{x", 3);
    let of_nobody = Kind::Record;
    let delta = store.update(RECORDS, &listed(5, vec![bad.clone()]));
    assert_eq!(store.news(&delta, &[of_nobody]).0.len(), 1);
    store.watch(RECORDS, &Range::Prefix("/services/web/".into()));
    let delta = store.update(RECORDS, &listed(6, vec![]));
    assert_eq!(store.news(&delta, &[of_nobody]), (Vec::new(), Vec::new()));
    assert_eq!(store.quarantined(&[of_nobody]).count(), 0);
    store.watch(RECORDS, &Range::Prefix("/services/".into()));
    let delta = store.update(RECORDS, &listed(7, vec![bad]));
    assert_eq!(
        store.news(&delta, &[of_nobody]).0.len(),
        1,
        "it is watched again"
    );
}

#[test]
fn a_listing_that_is_older_than_what_is_known_comes_from_an_etcd_without_memory() {
    let known = || {
        let mut store = store(&["web"]);
        store.update(RECORDS, &listed(6, vec![entry(A, "10.0.0.1:80", 3)]));
        store.update(RECORDS, &put(entry(A, "10.0.0.1:80", 20)));
        store
    };
    let again = |revision, at| {
        let entries = vec![entry(A, "10.0.0.1:80", at)];
        known()
            .update(RECORDS, &listed(revision, entries))
            .forgotten
    };
    assert!(!again(20, 20));
    assert!(!again(30, 25));
    assert!(again(19, 19), "etcd was wiped or restored");
    assert!(again(40, 9), "and has been written to a lot since");
    let first = store(&["web"]).update(RECORDS, &listed(6, Vec::new()));
    assert!(!first.forgotten);
}
