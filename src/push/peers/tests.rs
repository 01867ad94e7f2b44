use super::*;
use crate::etcd::watch::{Change, Entry};
use crate::model::{MetaPrefix, PusherStatus, Release};

fn said() -> Said {
    Said {
        own: "own".parse().unwrap(),
        others: BTreeMap::new(),
        releases: BTreeMap::new(),
        missed: BTreeSet::new(),
        overrides: Overrides::new(MetaPrefix::default(), []),
        balancers: Balancers::of("edge", "own", &[]),
    }
}

fn presence(id: &str, nonce: &str) -> Entry {
    let presence = PusherStatus {
        prefix: None,
        services: BTreeMap::new(),
        targets: BTreeMap::new(),
        releases: BTreeMap::new(),
        nonce: nonce.parse().unwrap(),
        since: jiff::Timestamp::UNIX_EPOCH,
    };
    entry(&format!("/sidekick/pushers/{id}"), &presence.encode())
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
    let mut said = said();
    assert!(
        said.hear(&listed(vec![])).others,
        "known for the first time"
    );
    assert!(said.hear(&put(presence("b", "b1"))).others);
    assert!(!said.hear(&put(presence("b", "b1"))).others);
    assert!(!said.hear(&put(presence("a", "own"))).others);
    assert!(!said.hear(&put(entry("/sidekick/pushers/c", b"{"))).others);
    let forged = Entry {
        lease: 0,
        ..presence("evil", "e1")
    };
    assert!(!said.hear(&put(forged)).others, "nobody's");
    assert!(said.hear(&deleted("/sidekick/pushers/b")).others);
    assert!(said.others.is_empty());
}

#[test]
fn a_release_that_stood_before_this_pusher_listened_is_not_for_it() {
    let mut said = said();
    let release = |nonce: &str| {
        let nonce = nonce.parse().unwrap();
        let since = jiff::Timestamp::UNIX_EPOCH;
        let value = Release { nonce, since }.encode();
        entry("/sidekick/releases/website", &value)
    };
    said.hear(&listed(vec![release("r1")]));
    assert!(said.missed.contains(&"r1".parse().unwrap()));
    said.hear(&listed(vec![release("r2")]));
    assert!(!said.missed.contains(&"r2".parse().unwrap()));
}

#[test]
fn releases_are_told_while_they_stand() {
    let mut said = said();
    let release = |nonce: &str| {
        let nonce = nonce.parse().unwrap();
        let since = jiff::Timestamp::UNIX_EPOCH;
        entry(
            "/sidekick/releases/website",
            &Release { nonce, since }.encode(),
        )
    };
    let mut heard = |update: Update| said.hear(&update).releases;
    assert!(!heard(listed(vec![])));
    assert!(heard(put(release("r1"))));
    assert!(!heard(listed(vec![release("r1")])));
    assert!(heard(put(release("r2"))));
    assert!(!heard(put(entry("/sidekick/releases/shop", b"{}"))));
    assert!(!heard(put(entry("/sidekick/releases/a b", b"{}"))));
    assert!(heard(deleted("/sidekick/releases/website")));
    assert!(said.releases.is_empty());
}
