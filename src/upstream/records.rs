//! The records of the routed services: a view of what etcd last told.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::etcd::range::Range;
use crate::etcd::store::{Delta, Store};
use crate::etcd::watch::Update;
use crate::model::{
    Endpoint, InstanceName, Kind, Prefix, Prefixes, Protocol, Quarantined, Record, ServiceName,
    State,
};

/// What a listing or a change did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The services to be published anew.
    pub services: BTreeSet<ServiceName>,
    /// The instances whose records said that they take no traffic before they were deleted.
    pub withdrawn: BTreeSet<(ServiceName, InstanceName)>,
    /// What was quarantined and was not before, or for another reason.
    pub quarantined: Vec<Quarantined>,
    /// The keys, made printable, that were quarantined and are readable or gone now.
    pub readable_again: Vec<String>,
}

impl Effect {
    /// What a change of these kinds did.
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
        }
    }
}

fn takes_traffic(record: &Record) -> bool {
    record.state == State::Up && record.effective_weight() > 0
}

/// The records of the routed services as etcd last told them.
#[derive(Debug)]
pub struct Records {
    store: Store,
}

impl Records {
    /// Nothing yet, of these services.
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

    /// From now on these services are routed, and the keys of this range are watched for them. Says whether there are new ones, of
    /// which only a listing can tell.
    pub fn route(&mut self, services: &BTreeSet<ServiceName>, range: &Range) -> bool {
        self.store.watch(0, range);
        self.store.follow(services.clone())
    }

    /// Takes in what the watch of the records tells.
    pub fn update(&mut self, update: &Update) -> Effect {
        let delta = self.store.update(0, update);
        Effect::of(&self.store, delta, &[Kind::Record])
    }

    /// The services that are routed.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.store.services()
    }

    /// What is known of a service; `None` before the first whole listing, and for a service that is not routed.
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

    /// The addresses of one protocol that records of other services than `but` name, each with the time since when.
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

    /// What was quarantined.
    pub fn quarantined(&self) -> impl Iterator<Item = Quarantined> {
        self.store.quarantined(&[Kind::Record])
    }
}

/// What is known of one service.
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

    /// Its records with the names of their instances, in the order of the names.
    pub fn records(self) -> impl Iterator<Item = (&'a InstanceName, &'a Record)> {
        let range = self.store.prefixes().records.service_range(Some(self.name));
        let records = self.store.below(&range);
        let records = records.filter_map(|(_, item)| item.instance());
        records.map(|(id, record)| (&id.instance, record))
    }
}
