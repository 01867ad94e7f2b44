//! The load balancers that pushers feed, as etcd tells of them, and who feeds them at the moment.

use std::collections::{BTreeMap, BTreeSet};

use super::namesake::Namesake;
use super::settings::Settings;
use crate::record::{Balancer, MetaPrefix, Nonce, Presence, PusherId};
use crate::registry::watch::{Change, Entry, Update};

/// What the keys of all pushers say about their targets. Keys without a lease are nobody's: they are not looked at.
#[derive(Debug)]
pub(super) struct Balancers {
    meta: MetaPrefix,
    id: PusherId,
    /// Which keys are the own ones.
    own: Nonce,
    /// The own targets, as they are shown.
    targets: BTreeSet<String>,
    /// The same as others read them.
    read_back: BTreeSet<String>,
    /// Which process each live pusher is.
    live: BTreeMap<PusherId, Nonce>,
    /// The targets of each pusher, live or not, and which process said so.
    feeding: BTreeMap<PusherId, (Nonce, BTreeSet<String>)>,
}

impl Balancers {
    /// Nothing is known yet.
    pub(super) fn new(settings: &Settings, own: Nonce) -> Self {
        Self {
            meta: settings.meta.clone(),
            id: settings.id.clone(),
            own,
            targets: Balancer::shown(&settings.identities()),
            read_back: Balancer::read_back(&settings.identities()),
            live: BTreeMap::new(),
            feeding: BTreeMap::new(),
        }
    }

    /// From now on these are the own targets.
    pub(super) fn route(&mut self, settings: &Settings) {
        self.targets = Balancer::shown(&settings.identities());
        self.read_back = Balancer::read_back(&settings.identities());
    }

    /// Takes in what the watch of everything below the meta prefix tells; whether it is news.
    pub(super) fn hear(&mut self, update: &Update) -> bool {
        let before = (self.live.clone(), self.feeding.clone());
        match update {
            Update::Listed { entries, .. } => {
                self.live.clear();
                self.feeding.clear();
                entries.iter().for_each(|entry| self.put(entry));
            }
            Update::Changed { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(entry) => self.put(entry),
                        Change::Deleted { key, .. } => self.delete(key),
                    }
                }
            }
        }
        before != (self.live.clone(), self.feeding.clone())
    }

    fn put(&mut self, entry: &Entry) {
        self.delete(&entry.key);
        if entry.lease == 0 {
            return;
        }
        if let Some(id) = self.meta.pusher(&entry.key) {
            if let Ok(presence) = Presence::decode(&entry.value) {
                self.live.insert(id, presence.nonce);
            }
        } else if let Some(id) = self.meta.balancer(&entry.key)
            && let Ok(balancer) = Balancer::decode(&entry.value)
        {
            let told = (balancer.nonce, balancer.targets);
            self.feeding.insert(id, told);
        }
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(id) = self.meta.pusher(key) {
            self.live.remove(&id);
        } else if let Some(id) = self.meta.balancer(key) {
            self.feeding.remove(&id);
        }
    }

    /// Why the own id is not free, if it is not: somebody who is no former self has it, or had it last. A former self that fed
    /// none but the own targets leaves nothing behind.
    pub(super) fn namesake(&self) -> Option<Namesake> {
        let lives = self.live.get(&self.id);
        let lives = lives.filter(|nonce| **nonce != self.own);
        let fed = self.feeding.get(&self.id);
        let fed = fed.filter(|(author, _)| *author != self.own);
        match (lives, fed) {
            (Some(nonce), Some((author, targets))) if nonce == author => {
                (*targets != self.read_back).then(|| Namesake::Lives(targets.clone()))
            }
            // Between its first key and its second.
            (Some(_), _) => Some(Namesake::Unknown),
            (None, Some((_, targets))) => {
                let foreign: BTreeSet<_> = targets - &self.targets;
                (!foreign.is_empty()).then_some(Namesake::Silent(foreign))
            }
            (None, None) => None,
        }
    }

    /// The other live pushers that feed this target too.
    pub(super) fn also_feeding(&self, target: &str) -> Vec<&PusherId> {
        let target = Balancer::read_back(&[target.to_owned()].into());
        let others = self.live.iter().filter(|(_, nonce)| **nonce != self.own);
        let others = others.filter(|(id, nonce)| {
            let feeding = self.feeding.get(*id);
            feeding
                .is_some_and(|(author, targets)| author == *nonce && targets.is_superset(&target))
        });
        others.map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
impl Balancers {
    /// Of a pusher of this id and with these targets.
    pub(super) fn of(id: &str, own: &str, targets: &[&str]) -> Self {
        let targets = targets.iter().map(|target| (*target).to_owned());
        let targets: BTreeSet<_> = targets.collect();
        Self {
            meta: MetaPrefix::default(),
            id: id.parse().unwrap(),
            own: own.parse().unwrap(),
            read_back: targets.clone(),
            targets,
            live: BTreeMap::new(),
            feeding: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Prefix;

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

    fn told(entries: Vec<Entry>) -> Balancers {
        let mut balancers = Balancers::of("edge", "own", &["here"]);
        let revision = 9;
        balancers.hear(&Update::Listed { revision, entries });
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
    fn load_balancers_of_a_silent_pusher_of_the_same_id_are_waited_for_unless_this_one_feeds_them()
    {
        let silent = Some(Namesake::Silent(of("elsewhere")));
        let elsewhere = || balancer("edge", "other", "elsewhere");
        assert_eq!(told(vec![elsewhere()]).namesake(), silent);
        assert_eq!(told(vec![live(0), elsewhere()]).namesake(), silent);
        let mut more = Balancers::of("edge", "own", &["elsewhere", "here"]);
        let (revision, entries) = (9, vec![elsewhere()]);
        more.hear(&Update::Listed { revision, entries });
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
        let mut balancers = told(vec![
            pusher("edge", "other"),
            balancer("edge", "other", "elsewhere"),
        ]);
        let gone = |balancers: &mut Balancers, key: &str| {
            let change = Change::Deleted {
                key: key.as_bytes().to_vec(),
                mod_revision: 10,
            };
            let (revision, changes) = (10, vec![change]);
            assert!(balancers.hear(&Update::Changed { revision, changes }));
            balancers.namesake()
        };
        let silent = Some(Namesake::Silent(of("elsewhere")));
        assert_eq!(gone(&mut balancers, "/sidekick/pushers/edge"), silent);
        assert_eq!(gone(&mut balancers, "/sidekick/balancers/edge"), None);
        let (revision, changes) = (11, Vec::new());
        assert!(!balancers.hear(&Update::Changed { revision, changes }));
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
}
