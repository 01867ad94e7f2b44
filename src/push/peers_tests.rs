use super::*;
use crate::record::Kept;
use crate::record::MetaPrefix;

fn said() -> Said {
    Said {
        meta: MetaPrefix::default(),
        own: "own".parse().unwrap(),
        listed: false,
        others: Others::new(),
        releases: BTreeMap::new(),
        choices: Choices::new(MetaPrefix::default(), []),
        balancers: Balancers::of("edge", "own", &[]),
    }
}

fn server(address: &str) -> KeptServer {
    KeptServer {
        endpoint: address.parse().unwrap(),
        weight: std::num::NonZeroU16::MIN,
        instance: "i".parse().unwrap(),
        until: None,
        rules: 1,
    }
}

fn presence(id: &str, nonce: &str, kept: &[&str]) -> Entry {
    let servers = kept.iter().map(|address| server(address)).collect();
    let kept = Kept {
        servers,
        ..Kept::default()
    };
    let presence = Presence {
        prefix: None,
        services: BTreeMap::new(),
        targets: BTreeMap::new(),
        kept: [("website".to_owned(), kept)].into(),
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

/// What is kept now, and what was by those that are gone; `None` when nothing of it is new.
fn hear(said: &mut Said, update: &Update) -> Option<(Vec<String>, Vec<String>)> {
    let name = |server: &KeptServer| server.endpoint.to_string();
    let orphans = said.hear(update).kept?;
    let kept = keeping(&said.others).flat_map(|(_, kept)| kept);
    Some((kept.map(name).collect(), orphans.iter().map(name).collect()))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_others_keep_is_said_when_it_changes() {
    let mut said = said();
    assert_eq!(
        hear(&mut said, &listed(vec![])),
        Some((vec![], vec![])),
        "known for the first time"
    );
    assert_eq!(hear(&mut said, &put(presence("b", "b1", &[]))), None);
    let kept = presence("b", "b1", &["10.0.0.1:80"]);
    assert_eq!(
        hear(&mut said, &put(kept.clone())),
        Some((names(&["10.0.0.1:80"]), vec![]))
    );
    assert_eq!(hear(&mut said, &put(kept)), None);
    assert_eq!(
        hear(&mut said, &put(presence("b", "b1", &[]))),
        Some((vec![], vec![])),
        "let go"
    );
    let own = presence("a", "own", &["10.0.0.9:80"]);
    assert_eq!(hear(&mut said, &put(own)), None);
    assert_eq!(
        hear(&mut said, &put(entry("/sidekick/pushers/c", b"{"))),
        None
    );
}

#[test]
fn what_was_kept_by_a_process_that_is_gone_is_orphaned() {
    let orphaned = Some((vec![], names(&["10.0.0.1:80"])));
    let kept = || listed(vec![presence("b", "b1", &["10.0.0.1:80"])]);
    let mut heard = said();
    hear(&mut heard, &kept());
    assert_eq!(hear(&mut heard, &deleted("/sidekick/pushers/b")), orphaned);
    hear(&mut heard, &kept());
    assert_eq!(hear(&mut heard, &listed(vec![])), orphaned);
    hear(&mut heard, &kept());
    assert_eq!(
        hear(&mut heard, &put(presence("b", "own", &[]))),
        orphaned,
        "its successor is this process"
    );
    hear(&mut heard, &kept());
    assert_eq!(
        hear(&mut heard, &put(presence("b", "b2", &[]))),
        orphaned,
        "or another one"
    );
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
