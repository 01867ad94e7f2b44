//! The records of the routed services: a view of the store.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::etcd::range::Range;
use crate::etcd::store::{Delta, Store};
use crate::etcd::watch::Update;
use crate::model::{
    Endpoint, InstanceName, Kind, Prefix, Prefixes, Protocol, Quarantined, Record, ServiceName,
    State,
};

/// The effect of a listing or a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The services to publish again.
    pub services: BTreeSet<ServiceName>,
    /// The instances whose records were draining or down before they were deleted.
    pub withdrawn: BTreeSet<(ServiceName, InstanceName)>,
    /// Newly quarantined keys, or those with a new reason.
    pub quarantined: Vec<Quarantined>,
    /// Keys that were quarantined and are now readable or gone, printable.
    pub readable_again: Vec<String>,
    /// Whether etcd has lost its memory, so that a missing record says nothing.
    pub forgotten: bool,
}

impl Effect {
    /// The effect of a change of keys of these kinds.
    pub(super) fn of(store: &Store, delta: Delta, kinds: &[Kind]) -> Self {
        let (quarantined, readable_again) = store.news(&delta, kinds);
        let deleted = delta.deleted.iter().filter_map(|item| item.instance());
        let told = deleted.filter(|(_, record)| !takes_traffic(record));
        let withdrawn = told.map(|(id, _)| (id.service.clone(), id.instance.clone()));
        Self {
            withdrawn: withdrawn.collect(),
            services: delta.services,
            quarantined,
            readable_again,
            forgotten: delta.forgotten,
        }
    }
}

fn takes_traffic(record: &Record) -> bool {
    record.state == State::Up && record.effective_weight() > 0
}

/// The records of the routed services.
#[derive(Debug)]
pub struct Records {
    store: Store,
}

impl Records {
    /// Empty, for these services.
    #[must_use]
    pub fn new(prefix: Prefix, services: impl IntoIterator<Item = ServiceName>) -> Self {
        let range = Range::Prefix(prefix.service_range(None).into_bytes());
        let prefixes = Prefixes {
            records: prefix,
            ..Prefixes::default()
        };
        let services = services.into_iter().collect();
        Self {
            store: Store::new(prefixes, [range], Some(services)),
        }
    }

    /// Changes the routed services, in this watched range. Returns whether there are new ones, for which a listing is
    /// needed.
    pub fn route(&mut self, services: &BTreeSet<ServiceName>, range: &Range) -> bool {
        self.store.watch(0, range);
        self.store.follow(services.clone())
    }

    /// Applies an update from the watch of the records.
    pub fn update(&mut self, update: &Update) -> Effect {
        let delta = self.store.update(0, update);
        Effect::of(&self.store, delta, &[Kind::Record])
    }

    /// The routed services.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.store.services()
    }

    /// A service's records; `None` before the first whole listing, and for services that are not routed.
    #[must_use]
    pub fn service<'a>(&'a self, name: &'a ServiceName) -> Option<Known<'a>> {
        let revision = self.store.revision(0, name)?;
        let store = &self.store;
        Some(Known {
            store,
            name,
            revision,
        })
    }

    /// The addresses of one protocol in records of services other than `but`, each with the time since when.
    #[must_use]
    pub fn claims(&self, but: &ServiceName, protocol: Protocol) -> BTreeMap<Endpoint, Instant> {
        let mut claims = BTreeMap::new();
        for (_, item) in self.store.items() {
            if let Some((id, record)) = item.instance()
                && id.service != *but
                && record.protocol == protocol
            {
                let claim = claims.entry(record.endpoint.canonical());
                let claim = claim.or_insert(item.since);
                *claim = item.since.min(*claim);
            }
        }
        claims
    }

    /// The quarantined keys.
    pub fn quarantined(&self) -> impl Iterator<Item = Quarantined> {
        self.store.quarantined(&[Kind::Record])
    }
}

/// The records of one service.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    store: &'a Store,
    name: &'a ServiceName,
    revision: i64,
}

impl<'a> Known<'a> {
    /// The etcd revision up to which every change of the service's records is known.
    #[must_use]
    pub fn revision(self) -> i64 {
        self.revision
    }

    /// Its records, sorted by the names of their instances.
    pub fn records(self) -> impl Iterator<Item = (&'a InstanceName, &'a Record)> {
        let range = self.store.prefixes().records.service_range(Some(self.name));
        let records = self.store.below(&range);
        let records = records.filter_map(|(_, item)| item.instance());
        records.map(|(id, record)| (&id.instance, record))
    }
}
