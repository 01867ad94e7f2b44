//! Whether every load balancer has applied a change: the announcer's end of the closed chain.

use std::collections::BTreeMap;

use super::client::Cluster;
use super::watch::{Change, Entry, Range, Update, Watcher};
use crate::record::{MetaPrefix, Presence, PusherId, ServiceName};

/// The live pushers, as their presences tell.
#[derive(Debug, Default)]
pub struct Pushers {
    presences: BTreeMap<PusherId, Presence>,
    /// The newest revision of etcd seen here.
    revision: i64,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// A revision of the service's records.
    Records(i64),
    /// A revision of its split and holds.
    Choices(i64),
}

/// How far the pushers are with one revision of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// No live pusher routes the service.
    NoPusher,
    /// All that route it have applied the revision.
    ByAll,
    /// These have not yet.
    NotBy(Vec<PusherId>),
}

impl Pushers {
    /// How far the pushers are with `revision` of `service`.
    ///
    /// A presence that names a revision which etcd itself has not reached comes from before a restore, and counts as
    /// nothing applied.
    #[must_use]
    pub fn applied(&self, service: &ServiceName, revision: Revision) -> Applied {
        let mut routed = false;
        let mut behind = Vec::new();
        for (id, presence) in &self.presences {
            let Some(status) = presence.services.get(service) else {
                continue;
            };
            routed = true;
            let (applied, wanted) = match revision {
                Revision::Records(wanted) => (status.applied, wanted),
                Revision::Choices(wanted) => (status.overrides, wanted),
            };
            if applied < wanted || applied > self.revision {
                behind.push(id.clone());
            }
        }
        match (routed, behind.is_empty()) {
            (false, _) => Applied::NoPusher,
            (true, true) => Applied::ByAll,
            (true, false) => Applied::NotBy(behind),
        }
    }

    /// How many pushers route the service.
    #[must_use]
    pub fn routing(&self, service: &ServiceName) -> usize {
        let presences = self.presences.values();
        presences
            .filter(|presence| presence.services.contains_key(service))
            .count()
    }

    /// What each of them tells.
    pub fn presences(&self) -> impl Iterator<Item = (&PusherId, &Presence)> {
        self.presences.iter()
    }

    /// Takes in what the watch of the presences tells.
    fn update(&mut self, meta: &MetaPrefix, update: Update) {
        match update {
            Update::Listed { revision, entries } => {
                self.revision = revision;
                self.presences.clear();
                for entry in &entries {
                    self.put(meta, entry);
                }
            }
            Update::Changed { revision, changes } => {
                self.revision = self.revision.max(revision);
                for change in &changes {
                    match change {
                        Change::Put(entry) => self.put(meta, entry),
                        Change::Deleted { key, .. } => {
                            if let Some(id) = meta.pusher(key) {
                                self.presences.remove(&id);
                            }
                        }
                    }
                }
            }
        }
    }

    /// An unreadable presence is as good as none: nobody can wait for what it does not say.
    fn put(&mut self, meta: &MetaPrefix, entry: &Entry) {
        let Some(id) = meta.pusher(&entry.key) else {
            return;
        };
        match Presence::decode(&entry.value) {
            Ok(presence) => {
                self.presences.insert(id, presence);
            }
            Err(reason) => {
                tracing::warn!(%id, %reason, "ignoring the presence of a pusher: it cannot be read");
                self.presences.remove(&id);
            }
        }
    }
}

/// Waits for pushers.
#[derive(Debug)]
pub struct Watch {
    cluster: Cluster,
    watcher: Watcher,
    meta: MetaPrefix,
    pushers: Pushers,
    /// Nothing is known before the first listing.
    listed: bool,
}

impl Watch {
    /// A watch that has not asked yet.
    #[must_use]
    pub fn new(cluster: Cluster, meta: MetaPrefix) -> Self {
        let range = Range::Prefix(meta.pushers_range().into_bytes());
        Self {
            watcher: Watcher::new(cluster.clone(), range),
            cluster,
            meta,
            pushers: Pushers::default(),
            listed: false,
        }
    }

    /// Forgets what it has heard, which ages while nobody waits: a pusher that was restarted meanwhile would be found gone
    /// before it is found back.
    pub fn forget(&mut self) {
        *self = Self::new(self.cluster.clone(), self.meta.clone());
    }

    /// The pushers as far as etcd has told of them.
    #[must_use]
    pub fn known(&self) -> &Pushers {
        &self.pushers
    }

    /// Whether etcd has told of them at all.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        self.listed
    }

    /// How far the pushers are with `revision` of `service`; `None` before etcd has told.
    #[must_use]
    pub fn applied(&self, service: &ServiceName, revision: Revision) -> Option<Applied> {
        self.listed.then(|| self.pushers.applied(service, revision))
    }

    /// Waits for news of any pusher. Waits for ever while etcd cannot be heard. Cancel safe.
    pub async fn changed(&mut self) {
        let update = self.watcher.next().await;
        self.listed |= matches!(update, Update::Listed { .. });
        self.pushers.update(&self.meta, update);
    }

    /// Waits until `enough` says yes about how far the pushers are with `revision` of `service`; `enough` is
    /// asked again after every change. Waits for ever while etcd cannot be heard. Cancel safe.
    pub async fn until(
        &mut self,
        service: &ServiceName,
        revision: Revision,
        mut enough: impl FnMut(&Applied) -> bool,
    ) {
        self.until_so(|pushers| enough(&pushers.applied(service, revision)))
            .await;
    }

    /// Waits until `enough` says yes about the pushers; it is asked again after every change. Waits for ever while etcd
    /// cannot be heard. Cancel safe.
    pub async fn until_so(&mut self, mut enough: impl FnMut(&Pushers) -> bool) {
        while !(self.listed && enough(&self.pushers)) {
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ServiceStatus;

    fn presence(id: &str, services: &[(&str, i64)]) -> Entry {
        let status = |applied| ServiceStatus {
            applied,
            ..ServiceStatus::default()
        };
        let services = services
            .iter()
            .map(|(name, revision)| (name.parse().unwrap(), status(*revision)))
            .collect();
        let value = Presence {
            services,
            prefix: None,
            targets: BTreeMap::new(),
            kept: BTreeMap::new(),
            releases: BTreeMap::new(),
            nonce: "n".parse().unwrap(),
            since: jiff::Timestamp::UNIX_EPOCH,
        };
        Entry {
            key: format!("/sidekick/pushers/{id}").into_bytes(),
            value: value.encode(),
            mod_revision: 1,
            lease: 1,
        }
    }

    fn pushers(revision: i64, entries: Vec<Entry>) -> Pushers {
        let mut pushers = Pushers::default();
        let meta = MetaPrefix::default();
        pushers.update(&meta, Update::Listed { revision, entries });
        pushers
    }

    fn web() -> ServiceName {
        "web".parse().unwrap()
    }

    #[test]
    fn a_service_that_nobody_routes_has_no_pusher() {
        let others = pushers(50, vec![presence("edge", &[("shop", 40)])]);
        assert_eq!(
            others.applied(&web(), Revision::Records(10)),
            Applied::NoPusher
        );
    }

    #[test]
    fn all_that_route_the_service_must_have_reached_the_revision() {
        let ahead = presence("a", &[("web", 12)]);
        let behind = presence("b", &[("web", 9)]);
        let not_yet = presence("c", &[("web", 0)]);
        let both = pushers(50, vec![ahead.clone(), behind, not_yet]);
        let named = vec!["b".parse().unwrap(), "c".parse().unwrap()];
        assert_eq!(
            both.applied(&web(), Revision::Records(10)),
            Applied::NotBy(named)
        );
        assert_eq!(
            pushers(50, vec![ahead]).applied(&web(), Revision::Records(12)),
            Applied::ByAll
        );
    }

    #[test]
    fn a_revision_from_before_a_restore_counts_for_nothing() {
        let restored = pushers(50, vec![presence("a", &[("web", 900)])]);
        let named = vec!["a".parse().unwrap()];
        assert_eq!(
            restored.applied(&web(), Revision::Records(40)),
            Applied::NotBy(named)
        );
    }

    #[test]
    fn a_pusher_that_ends_or_cannot_be_read_holds_nothing_back() {
        let meta = MetaPrefix::default();
        let entry = presence("a", &[("web", 1)]);
        let mut ended = pushers(50, vec![entry.clone()]);
        let deleted = Change::Deleted {
            key: entry.key.clone(),
            mod_revision: 51,
        };
        let changes = vec![deleted];
        ended.update(
            &meta,
            Update::Changed {
                revision: 51,
                changes,
            },
        );
        assert_eq!(
            ended.applied(&web(), Revision::Records(10)),
            Applied::NoPusher
        );
        let garbled = Entry {
            value: b"{".to_vec(),
            ..entry
        };
        assert_eq!(
            pushers(50, vec![garbled]).applied(&web(), Revision::Records(10)),
            Applied::NoPusher
        );
    }
}
