use super::*;
use crate::etcd::watch::{Change, Entry, Update};
use crate::model::{MetaPrefix, Prefix};
use crate::upstream::overrides::Overrides;

fn entry(key: &str, value: Vec<u8>, lease: i64) -> Entry {
    Entry {
        key: format!("/sidekick/{key}").into_bytes(),
        value,
        mod_revision: 1,
        lease,
    }
}

fn pusher(id: &str, nonce: &str) -> Entry {
    let value = format!(r#"{{"nonce":"{nonce}","since":"2026-01-02T03:04:05Z"}}"#);
    entry(&format!("pushers/{id}"), value.into_bytes(), 7)
}

fn balancer(id: &str, nonce: &str, target: &str) -> Entry {
    let balancer = Balancer {
        prefix: Prefix::default(),
        services: BTreeSet::new(),
        targets: [target.to_owned()].into(),
        routes: BTreeMap::new(),
        nonce: nonce.parse().unwrap(),
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    entry(&format!("balancers/{id}"), balancer.encode(), 8)
}

fn listed(entries: Vec<Entry>) -> Overrides {
    let mut overrides = Overrides::new(MetaPrefix::default(), []);
    let revision = 9;
    overrides.update(&Update::Listed { revision, entries });
    overrides
}

fn told(entries: Vec<Entry>) -> Balancers {
    let mut balancers = Balancers::of("edge", "own", &["here"]);
    balancers.apply(listed(entries).store());
    balancers
}

fn live(lease: i64) -> Entry {
    Entry {
        lease,
        ..pusher("edge", "other")
    }
}

fn of(target: &str) -> BTreeSet<String> {
    [target.to_owned()].into()
}

#[test]
fn the_id_is_free_while_nothing_else_was_fed_under_it() {
    for entries in [
        vec![],
        vec![live(0), balancer("edge", "other", "here")],
        vec![live(7), balancer("edge", "other", "here")],
        vec![balancer("edge", "gone", "here")],
        vec![pusher("edge", "own"), balancer("edge", "own", "elsewhere")],
        vec![
            pusher("edge-2", "other"),
            balancer("edge-2", "other", "elsewhere"),
        ],
    ] {
        assert_eq!(told(entries.clone()).namesake(), None, "{entries:?}");
    }
}

#[test]
fn a_live_pusher_of_the_same_id_is_waited_for_unless_it_feeds_the_same() {
    let elsewhere = balancer("edge", "other", "elsewhere");
    let lives = Some(Namesake::Lives(of("elsewhere")));
    assert_eq!(told(vec![live(7), elsewhere]).namesake(), lives);
    // It has its first key only: what the second says was said by a former one.
    let unknown = Some(Namesake::Unknown);
    assert_eq!(told(vec![live(7)]).namesake(), unknown);
    for target in ["here", "elsewhere"] {
        let former = balancer("edge", "gone", target);
        assert_eq!(told(vec![live(7), former]).namesake(), unknown, "{target}");
    }
}

#[test]
fn load_balancers_of_a_silent_pusher_of_the_same_id_are_waited_for_unless_this_one_feeds_them() {
    let silent = Some(Namesake::Silent(of("elsewhere")));
    let elsewhere = || balancer("edge", "other", "elsewhere");
    assert_eq!(told(vec![elsewhere()]).namesake(), silent);
    assert_eq!(told(vec![live(0), elsewhere()]).namesake(), silent);
    let mut more = Balancers::of("edge", "own", &["elsewhere", "here"]);
    more.apply(listed(vec![elsewhere()]).store());
    assert_eq!(more.namesake(), None, "one target was added");
}

#[test]
fn of_more_targets_than_are_read_none_is_taken_for_another() {
    let names: Vec<_> = (0..300).map(|number| format!("t{number:03}")).collect();
    let all: BTreeSet<_> = names.iter().cloned().collect();
    let mut balancers = Balancers::of("edge", "own", &[]);
    balancers.targets = Balancer::shown(&all);
    balancers.read_back = Balancer::read_back(&all);
    // One that sorts first is new: the last of those that were read is not read any more.
    let former: BTreeSet<_> = names[1..].iter().cloned().collect();
    let told = ("gone".parse().unwrap(), Balancer::read_back(&former));
    balancers.feeding.insert("edge".parse().unwrap(), told);
    assert_eq!(balancers.namesake(), None);
}

#[test]
fn a_namesake_that_is_retired_is_none_any_more_and_that_is_news() {
    let mut overrides = listed(vec![
        pusher("edge", "other"),
        balancer("edge", "other", "elsewhere"),
    ]);
    let mut balancers = Balancers::of("edge", "own", &["here"]);
    balancers.apply(overrides.store());
    let mut gone = |balancers: &mut Balancers, key: &str| {
        let change = Change::Deleted {
            key: key.as_bytes().to_vec(),
            mod_revision: 10,
        };
        let (revision, changes) = (10, vec![change]);
        overrides.update(&Update::Changed { revision, changes });
        assert!(balancers.apply(overrides.store()));
        balancers.namesake()
    };
    let silent = Some(Namesake::Silent(of("elsewhere")));
    assert_eq!(gone(&mut balancers, "/sidekick/pushers/edge"), silent);
    assert_eq!(gone(&mut balancers, "/sidekick/balancers/edge"), None);
    assert!(!balancers.apply(overrides.store()));
}

#[test]
fn other_live_pushers_of_the_same_target_are_named() {
    let balancers = told(vec![
        pusher("a", "a"),
        balancer("a", "a", "here"),
        pusher("b", "b"),
        balancer("b", "b", "elsewhere"),
        balancer("silent", "s", "here"),
        pusher("edge", "own"),
        balancer("edge", "own", "here"),
    ]);
    let named = balancers.also_feeding("here");
    assert_eq!(named, [&"a".parse::<PusherId>().unwrap()]);
}
