//! The load balancers that pushers feed, as etcd tells of them, and who feeds them at the moment.

use std::collections::{BTreeMap, BTreeSet};

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
    targets: BTreeSet<String>,
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
            targets: Balancer::read_back(&settings.identities()),
            live: BTreeMap::new(),
            feeding: BTreeMap::new(),
        }
    }

    /// From now on these are the own targets.
    pub(super) fn route(&mut self, settings: &Settings) {
        self.targets = Balancer::read_back(&settings.identities());
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

    /// The targets of another live pusher that has the own id and feeds something else: it is no former self.
    pub(super) fn namesake(&self) -> Option<&BTreeSet<String>> {
        let nonce = self
            .live
            .get(&self.id)
            .filter(|nonce| **nonce != self.own)?;
        let (author, targets) = self.feeding.get(&self.id)?;
        (author == nonce && *targets != self.targets).then_some(targets)
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
        Self {
            meta: MetaPrefix::default(),
            id: id.parse().unwrap(),
            own: own.parse().unwrap(),
            targets: targets.collect(),
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

    #[test]
    fn only_a_live_pusher_of_the_same_id_with_other_targets_is_a_namesake() {
        let other = |lease| Entry {
            lease,
            ..pusher("edge", "other")
        };
        let elsewhere = || balancer("edge", "other", "elsewhere");
        assert!(told(vec![other(7), elsewhere()]).namesake().is_some());
        for entries in [
            vec![],
            vec![elsewhere()],
            vec![other(7)],
            vec![other(0), elsewhere()],
            vec![other(7), balancer("edge", "other", "here")],
            vec![other(7), balancer("edge", "gone", "elsewhere")],
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
    fn a_namesake_that_ends_is_none_any_more_and_that_is_news() {
        let mut balancers = told(vec![
            pusher("edge", "other"),
            balancer("edge", "other", "elsewhere"),
        ]);
        let gone = Change::Deleted {
            key: b"/sidekick/pushers/edge".to_vec(),
            mod_revision: 10,
        };
        let (revision, changes) = (10, vec![gone]);
        assert!(balancers.hear(&Update::Changed { revision, changes }));
        assert_eq!(balancers.namesake(), None);
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
