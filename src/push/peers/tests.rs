use super::*;
use crate::etcd::watch::{Change, Entry};
use crate::model::{MetaPrefix, PusherStatus, Release};

fn known() -> Known {
    Known {
        own: "own".parse().unwrap(),
        others: BTreeMap::new(),
        releases: BTreeMap::new(),
        missed: BTreeSet::new(),
        overrides: Overrides::new(MetaPrefix::default(), []),
        balancers: Balancers::of("edge", "own", &[]),
    }
}

fn status_record(id: &str, nonce: &str) -> Entry {
    let status_record = PusherStatus {
        prefix: None,
        services: BTreeMap::new(),
        targets: BTreeMap::new(),
        releases: BTreeMap::new(),
        nonce: nonce.parse().unwrap(),
        since: jiff::Timestamp::UNIX_EPOCH,
    };
    entry(&format!("/sidekick/pushers/{id}"), &status_record.encode())
}

fn entry(key: &str, value: &[u8]) -> Entry {
    Entry {
        key: key.into(),
        value: value.into(),
        mod_revision: 1,
        lease: 1,
    }
}

fn listed(entries: Vec<Entry>) -> Update {
    let revision = 1;
    Update::Listed { revision, entries }
}

fn put(entry: Entry) -> Update {
    let changes = vec![Change::Put(entry)];
    Update::Changed {
        revision: 2,
        changes,
    }
}

fn deleted(key: &str) -> Update {
    let (key, mod_revision) = (key.into(), 3);
    let changes = vec![Change::Deleted { key, mod_revision }];
    Update::Changed {
        revision: 3,
        changes,
    }
}

#[test]
fn the_others_are_those_with_a_lease_and_another_nonce() {
    let mut known = known();
    assert!(
        known.apply(&listed(vec![])).others,
        "known for the first time"
    );
    assert!(known.apply(&put(status_record("b", "b1"))).others);
    assert!(!known.apply(&put(status_record("b", "b1"))).others);
    assert!(!known.apply(&put(status_record("a", "own"))).others);
    assert!(!known.apply(&put(entry("/sidekick/pushers/c", b"{"))).others);
    let forged = Entry {
        lease: 0,
        ..status_record("evil", "e1")
    };
    assert!(!known.apply(&put(forged)).others, "nobody's");
    assert!(known.apply(&deleted("/sidekick/pushers/b")).others);
    assert!(known.others.is_empty());
}

#[test]
fn a_release_that_stood_before_this_pusher_listened_is_not_for_it() {
    let mut known = known();
    let release = |nonce: &str| {
        let nonce = nonce.parse().unwrap();
        let since = jiff::Timestamp::UNIX_EPOCH;
        let value = Release { nonce, since }.encode();
        entry("/sidekick/releases/website", &value)
    };
    known.apply(&listed(vec![release("r1")]));
    assert!(known.missed.contains(&"r1".parse().unwrap()));
    known.apply(&listed(vec![release("r2")]));
    assert!(!known.missed.contains(&"r2".parse().unwrap()));
}

#[test]
fn releases_are_told_while_they_stand() {
    let mut known = known();
    let release = |nonce: &str| {
        let nonce = nonce.parse().unwrap();
        let since = jiff::Timestamp::UNIX_EPOCH;
        entry(
            "/sidekick/releases/website",
            &Release { nonce, since }.encode(),
        )
    };
    let mut apply = |update: Update| known.apply(&update).releases;
    assert!(!apply(listed(vec![])));
    assert!(apply(put(release("r1"))));
    assert!(!apply(listed(vec![release("r1")])));
    assert!(apply(put(release("r2"))));
    assert!(!apply(put(entry("/sidekick/releases/shop", b"{}"))));
    assert!(!apply(put(entry("/sidekick/releases/a b", b"{}"))));
    assert!(apply(deleted("/sidekick/releases/website")));
    assert!(known.releases.is_empty());
}
