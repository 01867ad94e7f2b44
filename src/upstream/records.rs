//! The records of the routed services, as etcd last told them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::etcd::watch::{Change, Entry, Update};
use crate::model;
use crate::model::{
    Endpoint, InstanceName, Prefix, Protocol, Quarantined, Reason, Record, ServiceName, State,
};

/// What a listing or a change did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The services to be published anew.
    pub services: BTreeSet<ServiceName>,
    /// The instances whose records said that they take no traffic before they were deleted.
    pub goodbyes: BTreeSet<(ServiceName, InstanceName)>,
    /// What was set aside and was not before, or for another reason.
    pub quarantined: Vec<Quarantined>,
    /// The keys, made printable, that were set aside and are readable or gone now.
    pub released: Vec<String>,
}

/// The records of the routed services as etcd last told them.
#[derive(Debug)]
pub struct Records {
    prefix: Prefix,
    services: BTreeMap<ServiceName, Service>,
    /// What belongs to no service at all.
    strays: BTreeMap<Box<[u8]>, Quarantined>,
}

#[derive(Debug)]
struct Service {
    name: ServiceName,
    /// Whether a whole listing has told of it.
    listed: bool,
    revision: i64,
    records: BTreeMap<Box<[u8]>, (InstanceName, Record)>,
    quarantined: BTreeMap<Box<[u8]>, Quarantined>,
    /// Since when a record has named its address.
    since: BTreeMap<Box<[u8]>, Instant>,
}

impl Service {
    fn new(name: ServiceName) -> Self {
        Self {
            name,
            listed: false,
            revision: 0,
            records: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            since: BTreeMap::new(),
        }
    }

    fn put(
        &mut self,
        key: &[u8],
        revision: i64,
        read: Result<(InstanceName, Record), Quarantined>,
        effect: &mut Effect,
    ) {
        self.revision = revision;
        match read {
            Ok(named) => {
                release(&mut self.quarantined, key, effect);
                self.insert(key, named, Instant::now());
            }
            Err(quarantined) => {
                self.records.remove(key);
                self.since.remove(key);
                set_aside(&mut self.quarantined, key, quarantined, effect);
            }
        }
    }
}

impl Service {
    fn insert(&mut self, key: &[u8], named: (InstanceName, Record), now: Instant) {
        let address =
            |(_, record): &(InstanceName, Record)| (record.protocol, record.endpoint.clone());
        let now_named = address(&named);
        let former = self.records.insert(key.into(), named);
        if former.is_none_or(|former| address(&former) != now_named) {
            self.since.insert(key.into(), now);
        }
    }
}

/// Where a key belongs.
enum Place<'a> {
    /// To a service that is routed.
    Routed(&'a mut Service),
    /// To another service.
    Elsewhere,
    /// To none.
    Nowhere,
}

impl Records {
    /// Nothing yet, of these services.
    #[must_use]
    pub fn new(prefix: Prefix, services: impl IntoIterator<Item = ServiceName>) -> Self {
        let services = services.into_iter();
        Self {
            prefix,
            services: services
                .map(|name| (name.clone(), Service::new(name)))
                .collect(),
            strays: BTreeMap::new(),
        }
    }

    /// From now on these services are routed. What is known of others is forgotten; of new ones nothing is known before the
    /// next whole listing. Says whether there are new ones.
    pub fn route(&mut self, services: &BTreeSet<ServiceName>) -> bool {
        self.services.retain(|name, _| services.contains(name));
        let known = self.services.len();
        for name in services {
            let new = || Service::new(name.clone());
            self.services.entry(name.clone()).or_insert_with(new);
        }
        self.services.len() > known
    }

    /// Takes in what the watch of the records tells.
    pub fn update(&mut self, update: &Update) -> Effect {
        match update {
            Update::Listed { revision, entries } => self.list(*revision, entries),
            Update::Changed { changes, .. } => self.change(changes),
        }
    }

    /// A listing replaces all that was known. Every service counts as changed and stands at the listing's revision, even
    /// where that is lower than before: etcd was restored from a backup then, and nobody will ever see the
    /// higher revision again.
    fn list(&mut self, revision: i64, entries: &[Entry]) -> Effect {
        let mut former = self.take_quarantined();
        for service in self.services.values_mut() {
            service.listed = true;
            service.revision = revision;
        }
        // What stands on keeps the time since when it does.
        let listed: BTreeSet<&[u8]> = entries.iter().map(|entry| &*entry.key).collect();
        for service in self.services.values_mut() {
            service.records.retain(|key, _| listed.contains(&**key));
            service.since.retain(|key, _| listed.contains(&**key));
        }
        let mut effect = Effect::default();
        for entry in entries {
            self.put(&entry.key, &entry.value, revision, &mut effect);
        }
        effect.services = self.services.keys().cloned().collect();
        effect
            .quarantined
            .retain(|now| former.get(&now.key) != Some(&now.reason));
        for now in self.quarantined() {
            former.remove(&now.key);
        }
        effect.released = former.into_keys().collect();
        effect
    }

    fn take_quarantined(&mut self) -> BTreeMap<String, Reason> {
        let services = self.services.values_mut();
        let routed = services.map(|service| &mut service.quarantined);
        routed
            .chain([&mut self.strays])
            .flat_map(|known| std::mem::take(known).into_values())
            .map(|quarantined| (quarantined.key, quarantined.reason))
            .collect()
    }

    fn change(&mut self, changes: &[Change]) -> Effect {
        let mut effect = Effect::default();
        for change in changes {
            match change {
                Change::Put(entry) => {
                    self.put(&entry.key, &entry.value, entry.mod_revision, &mut effect)
                }
                Change::Deleted { key, mod_revision } => {
                    self.delete(key, *mod_revision, &mut effect)
                }
            }
        }
        effect
    }

    fn place(&mut self, key: &[u8]) -> Place<'_> {
        let Some(segment) = self.prefix.service_segment(key) else {
            return Place::Nowhere;
        };
        match self.services.get_mut(segment) {
            Some(service) => Place::Routed(service),
            None if segment.parse::<ServiceName>().is_ok() => Place::Elsewhere,
            None => Place::Nowhere,
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8], revision: i64, effect: &mut Effect) {
        let read = |prefix: &Prefix| {
            let (id, record) = model::decode(prefix, key, value)?;
            Ok((id.instance, record))
        };
        let prefix = self.prefix.clone();
        match self.place(key) {
            Place::Routed(service) => {
                effect.services.insert(service.name.clone());
                service.put(key, revision, read(&prefix), effect);
            }
            Place::Elsewhere => {}
            Place::Nowhere => {
                if let Err(stray) = read(&prefix) {
                    set_aside(&mut self.strays, key, stray, effect);
                }
            }
        }
    }

    fn delete(&mut self, key: &[u8], revision: i64, effect: &mut Effect) {
        match self.place(key) {
            Place::Routed(service) => {
                effect.services.insert(service.name.clone());
                service.revision = revision;
                service.since.remove(key);
                if let Some((instance, record)) = service.records.remove(key)
                    && (record.state != State::Up || record.effective_weight() == 0)
                {
                    effect.goodbyes.insert((service.name.clone(), instance));
                }
                release(&mut service.quarantined, key, effect);
            }
            Place::Elsewhere => {}
            Place::Nowhere => release(&mut self.strays, key, effect),
        }
    }

    /// The services that are routed.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// What is known of a service; `None` before the first whole listing, and for a service that is not routed.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<Known<'_>> {
        let service = self.services.get(name)?;
        service.listed.then_some(Known(service))
    }

    /// The addresses of one protocol that records of other services than `but` name, each with the time since when.
    #[must_use]
    pub fn claims(&self, but: &ServiceName, protocol: Protocol) -> BTreeMap<Endpoint, Instant> {
        let mut claims = BTreeMap::new();
        let others = self.services.values();
        for service in others.filter(|service| service.name != *but && service.listed) {
            for (key, (_, record)) in &service.records {
                if let Some(since) = service.since.get(key)
                    && record.protocol == protocol
                {
                    let claim = claims.entry(record.endpoint.canonical()).or_insert(*since);
                    *claim = (*since).min(*claim);
                }
            }
        }
        claims
    }

    /// What was set aside.
    pub fn quarantined(&self) -> impl Iterator<Item = &Quarantined> {
        let services = self.services.values();
        let routed = services.flat_map(|service| service.quarantined.values());
        self.strays.values().chain(routed)
    }
}

/// What is known of one service.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a>(&'a Service);

impl<'a> Known<'a> {
    /// The etcd revision up to which every change of the service's records is known.
    #[must_use]
    pub fn revision(self) -> i64 {
        self.0.revision
    }

    /// Its records with the names of their instances, in the order of the names.
    pub fn records(self) -> impl Iterator<Item = (&'a InstanceName, &'a Record)> {
        self.0.records.values().map(|(name, record)| (name, record))
    }
}

fn set_aside(
    known: &mut BTreeMap<Box<[u8]>, Quarantined>,
    key: &[u8],
    quarantined: Quarantined,
    effect: &mut Effect,
) {
    let former = known.insert(key.into(), quarantined.clone());
    if former.as_ref() != Some(&quarantined) {
        effect.quarantined.push(quarantined);
    }
}

fn release(known: &mut BTreeMap<Box<[u8]>, Quarantined>, key: &[u8], effect: &mut Effect) {
    if let Some(former) = known.remove(key) {
        effect.released.push(former.key);
    }
}
