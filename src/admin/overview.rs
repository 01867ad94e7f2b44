//! Records, holds and splits as one picture, for people and scripts: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Place;
use crate::etcd::watch::{Change, Entry, Update};
use crate::model;
use crate::model::{
    Hold, HoldScope, Host, InstanceId, MetaPrefix, Prefix, Quarantined, Reason, Record,
    ServiceName, Split, State, Version,
};

/// Which keys an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records.
    Records,
    /// Holds on single instances.
    Holds,
    /// Holds on whole services.
    ServiceHolds,
    /// Holds on hosts.
    HostHolds,
    /// Splits.
    Splits,
}

/// A value as it was read, with what etcd says of its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// The revision of the last write.
    pub revision: i64,
    /// The lease that the key hangs on; 0 for none.
    pub lease: i64,
}

/// A hold, and what it takes out of rotation. One that cannot be read holds all the same: whoever wrote it wanted it so.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What is out of rotation.
    pub scope: HoldScope,
    /// Why and until when, or why that cannot be read.
    pub hold: Result<Hold, Reason>,
}

/// What may be done with an instance, its hold included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It takes traffic.
    Up,
    /// It finishes what runs.
    Draining,
    /// It takes no traffic.
    Down,
    /// Somebody has taken it out for a while.
    Held,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Held => "held",
        }
    }
}

/// One line of the picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A record.
    Record {
        /// Which.
        id: InstanceId,
        /// The record.
        record: Box<Found<Record>>,
        /// The holds on it, the narrowest first.
        holds: Vec<Held>,
    },
    /// A hold on a whole service or on a host.
    Hold(Found<Held>),
    /// How a service is split.
    Split {
        /// Which service.
        service: ServiceName,
        /// The split.
        split: Found<Split>,
    },
    /// What was set aside.
    Unreadable(Quarantined),
}

impl Line {
    /// What may be done with a record; `None` of what is no record.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let Self::Record { record, holds, .. } = self else {
            return None;
        };
        Some(match (record.value.state, holds.is_empty()) {
            (State::Up, true) => Standing::Up,
            (State::Up, false) => Standing::Held,
            (State::Draining, _) => Standing::Draining,
            (State::Down, _) => Standing::Down,
        })
    }
}

/// All that is known.
#[derive(Debug)]
pub struct Roster {
    prefix: Prefix,
    meta: MetaPrefix,
    /// Where only one service is looked at: that one.
    only: Option<ServiceName>,
    records: BTreeMap<InstanceId, Found<Record>>,
    holds: BTreeMap<InstanceId, Found<Held>>,
    service_holds: BTreeMap<ServiceName, Found<Held>>,
    /// By host, and by the keys that spell it.
    host_holds: BTreeMap<Host, BTreeMap<Vec<u8>, Found<Held>>>,
    splits: BTreeMap<ServiceName, Found<Split>>,
    /// By key.
    unreadable: BTreeMap<Vec<u8>, Quarantined>,
    /// The newest deletions of each service that were seen.
    deleted: BTreeMap<ServiceName, Revisions>,
    /// The newest deletion of a hold on a host, which concerns every service.
    host_released: i64,
}

/// Revisions of what concerns a service; 0 for none. They are told by different watches, so one says nothing of the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revisions {
    /// Of its records.
    pub records: i64,
    /// Of its split and holds.
    pub choices: i64,
}

impl Revisions {
    fn of(&mut self, kind: Kind) -> &mut i64 {
        match kind {
            Kind::Records => &mut self.records,
            Kind::Holds | Kind::ServiceHolds | Kind::HostHolds | Kind::Splits => &mut self.choices,
        }
    }

    fn note(&mut self, kind: Kind, revision: i64) {
        let known = self.of(kind);
        *known = revision.max(*known);
    }
}

impl Roster {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(place: &Place, only: Option<ServiceName>) -> Self {
        Self {
            prefix: place.prefix.clone(),
            meta: place.meta.clone(),
            only,
            records: BTreeMap::new(),
            holds: BTreeMap::new(),
            service_holds: BTreeMap::new(),
            host_holds: BTreeMap::new(),
            splits: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            deleted: BTreeMap::new(),
            host_released: 0,
        }
    }

    /// Takes in what etcd tells; gives the keys whose [lines](Self::line) may have changed.
    pub fn update(&mut self, kind: Kind, update: &Update) -> BTreeSet<Vec<u8>> {
        let mut touched = BTreeSet::new();
        match update {
            Update::Listed { revision, entries } => {
                touched.extend(self.keys());
                self.clear(kind);
                // A later one is of a history that was undone by a restore.
                let deleted = self.deleted.values_mut().map(|deleted| deleted.of(kind));
                for known in deleted.chain([&mut self.host_released]) {
                    *known = if *known > *revision { 0 } else { *known };
                }
                for entry in entries {
                    self.put(kind, entry);
                    self.touch(kind, &entry.key, &mut touched);
                }
            }
            Update::Changed { changes, .. } => {
                for change in changes {
                    let key = match change {
                        Change::Put(entry) => {
                            self.put(kind, entry);
                            &entry.key
                        }
                        Change::Deleted { key, mod_revision } => {
                            self.delete(kind, key, *mod_revision);
                            key
                        }
                    };
                    self.touch(kind, key, &mut touched);
                }
            }
        }
        touched
    }

    /// Whose lines a key changes: its own, and for a hold those of the records that it covers too.
    fn touch(&self, kind: Kind, key: &[u8], touched: &mut BTreeSet<Vec<u8>>) {
        if matches!(kind, Kind::Holds | Kind::ServiceHolds | Kind::HostHolds)
            && let Some(scope) = self.meta.hold(key)
        {
            let covered = self.covered(&scope);
            touched.extend(covered.map(|(id, _)| self.record_key(id)));
        }
        touched.insert(key.to_vec());
    }

    /// The records that a hold of this scope takes out.
    pub fn covered<'a>(
        &'a self,
        scope: &HoldScope,
    ) -> impl Iterator<Item = (&'a InstanceId, &'a Found<Record>)> + use<'a> {
        let scope = scope.clone();
        self.records.iter().filter(move |(id, record)| {
            scope.covers(&id.service, &id.instance, &record.value.endpoint.host)
        })
    }

    /// Forgets all of a kind.
    fn clear(&mut self, kind: Kind) {
        let range = match kind {
            Kind::Records => {
                self.records.clear();
                self.prefix.service_range(None)
            }
            Kind::Holds => {
                self.holds.clear();
                self.meta.holds_range()
            }
            Kind::ServiceHolds => {
                self.service_holds.clear();
                self.meta.service_holds_range()
            }
            Kind::HostHolds => {
                self.host_holds.clear();
                self.meta.host_holds_range()
            }
            Kind::Splits => {
                self.splits.clear();
                self.meta.splits_range()
            }
        };
        let others = |key: &Vec<u8>, _: &mut Quarantined| !key.starts_with(range.as_bytes());
        self.unreadable.retain(others);
    }

    fn record_key(&self, id: &InstanceId) -> Vec<u8> {
        self.prefix.key(id).into_bytes()
    }

    fn wants(&self, service: Option<&ServiceName>) -> bool {
        self.only.is_none() || self.only.as_ref() == service
    }

    fn put(&mut self, kind: Kind, entry: &Entry) {
        // What stood there before is no longer true, whatever the new value is.
        self.forget(kind, &entry.key);
        self.unreadable.remove(&entry.key);
        let read = match kind {
            Kind::Records => self.put_record(entry),
            Kind::Holds | Kind::ServiceHolds | Kind::HostHolds => self.put_hold(kind, entry),
            Kind::Splits => self.put_split(entry),
        };
        if let Err(quarantined) = read
            && self.wants(quarantined.service.as_ref())
        {
            self.unreadable.insert(entry.key.clone(), quarantined);
        }
    }

    fn put_record(&mut self, entry: &Entry) -> Result<(), Quarantined> {
        let (id, record) = model::decode(&self.prefix, &entry.key, &entry.value)?;
        if self.wants(Some(&id.service)) {
            self.records.insert(id, found(record, entry));
        }
        Ok(())
    }

    fn put_hold(&mut self, kind: Kind, entry: &Entry) -> Result<(), Quarantined> {
        let scope = self.meta.hold(&entry.key);
        let scope = scope.ok_or_else(|| stray(entry, None, self.no_scope(kind, &entry.key)))?;
        let hold = Hold::decode(&entry.value);
        let read = hold.as_ref().map(drop).map_err(Clone::clone);
        let service = scope.service().cloned();
        if service.is_none() || self.wants(service.as_ref()) {
            let held = Held {
                scope: scope.clone(),
                hold,
            };
            let held = found(held, entry);
            match scope {
                HoldScope::Instance(id) => drop(self.holds.insert(id, held)),
                HoldScope::Service(service) => drop(self.service_holds.insert(service, held)),
                HoldScope::Host(host) => {
                    let keys = self.host_holds.entry(host).or_default();
                    keys.insert(entry.key.clone(), held);
                }
            }
        }
        read.map_err(|reason| stray(entry, service, reason))
    }

    /// Why the key of a hold does not tell what it holds.
    fn no_scope(&self, kind: Kind, key: &[u8]) -> Reason {
        let below = |range: String| {
            let name = key.strip_prefix(range.as_bytes()).unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        };
        let reason = match kind {
            Kind::ServiceHolds => {
                let name = below(self.meta.service_holds_range());
                name.parse::<ServiceName>().err().map(Reason::from)
            }
            Kind::HostHolds => {
                let name = below(self.meta.host_holds_range());
                name.parse::<Host>().err().map(Reason::HostKey)
            }
            Kind::Holds | Kind::Records | Kind::Splits => None,
        };
        reason.unwrap_or_else(|| Reason::Key(format!("{}/holds", self.meta)))
    }

    fn put_split(&mut self, entry: &Entry) -> Result<(), Quarantined> {
        let service = self.meta.split(&entry.key);
        let name = entry.key.strip_prefix(self.meta.splits_range().as_bytes());
        let name = String::from_utf8_lossy(name.unwrap_or_default());
        let service = service.ok_or(()).or_else(|()| {
            let parsed: Result<ServiceName, _> = name.parse();
            parsed.map_err(|error| stray(entry, None, error.into()))
        })?;
        let split = Split::decode(&entry.value)
            .map_err(|reason| stray(entry, Some(service.clone()), reason))?;
        if self.wants(Some(&service)) {
            self.splits.insert(service, found(split, entry));
        }
        Ok(())
    }

    fn delete(&mut self, kind: Kind, key: &[u8], revision: i64) {
        self.unreadable.remove(key);
        if kind == Kind::HostHolds {
            self.host_released = revision.max(self.host_released);
        }
        if let Some(service) = self.forget(kind, key) {
            self.deleted
                .entry(service)
                .or_default()
                .note(kind, revision);
        }
    }

    /// Drops what was read of the key; gives the service that it was about.
    fn forget(&mut self, kind: Kind, key: &[u8]) -> Option<ServiceName> {
        match kind {
            Kind::Records => {
                let key = std::str::from_utf8(key).ok()?;
                let rest = key.strip_prefix(&self.prefix.service_range(None))?;
                let id: InstanceId = rest.parse().ok()?;
                self.records.remove(&id).map(|_| id.service)
            }
            Kind::Holds | Kind::ServiceHolds | Kind::HostHolds => match self.meta.hold(key)? {
                HoldScope::Instance(id) => self.holds.remove(&id).map(|_| id.service),
                HoldScope::Service(service) => self.service_holds.remove(&service).map(|_| service),
                HoldScope::Host(host) => {
                    let keys = self.host_holds.get_mut(&host)?;
                    keys.remove(key);
                    if keys.is_empty() {
                        self.host_holds.remove(&host);
                    }
                    None
                }
            },
            Kind::Splits => {
                let service = self.meta.split(key)?;
                self.splits.remove(&service).map(|_| service)
            }
        }
    }

    /// What is to be shown of a key; `None` when there is nothing there.
    #[must_use]
    pub fn line(&self, key: &[u8]) -> Option<Line> {
        if let Some(quarantined) = self.unreadable.get(key) {
            return Some(Line::Unreadable(quarantined.clone()));
        }
        if let Some(service) = self.meta.split(key) {
            let split = self.splits.get(&service)?.clone();
            return Some(Line::Split { service, split });
        }
        if let Some(scope) = self.meta.hold(key) {
            return self.hold_line(&scope, key).cloned().map(Line::Hold);
        }
        let text = std::str::from_utf8(key).ok()?;
        let rest = text.strip_prefix(&self.prefix.service_range(None))?;
        let id: InstanceId = rest.parse().ok()?;
        let record = Box::new(self.records.get(&id)?.clone());
        let holds = self.holds_on(&id, &record.value).cloned().collect();
        Some(Line::Record { id, record, holds })
    }

    /// A hold that has a line of its own. One on an instance shows on the line of its record.
    fn hold_line(&self, scope: &HoldScope, key: &[u8]) -> Option<&Found<Held>> {
        match scope {
            HoldScope::Instance(_) => None,
            HoldScope::Service(service) => self.service_holds.get(service),
            // Among the records of one service it shows on their lines.
            HoldScope::Host(_) if self.only.is_some() => None,
            HoldScope::Host(host) => self.host_holds.get(host)?.get(key),
        }
    }

    /// The holds on an instance, the narrowest first.
    fn holds_on<'a>(
        &'a self,
        id: &InstanceId,
        record: &Record,
    ) -> impl Iterator<Item = &'a Held> + use<'a> {
        let instance = self.holds.get(id);
        let service = self.service_holds.get(&id.service);
        let hosts = self.host_holds.get(&record.endpoint.host.canonical());
        let hosts = hosts.into_iter().flat_map(BTreeMap::values);
        let all = instance.into_iter().chain(service).chain(hosts);
        all.map(|held| &held.value)
    }

    /// Every key that has a line, in order.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Vec<u8>> {
        let records = self.records.keys().map(|id| self.record_key(id));
        let splits = self.splits.keys();
        let splits = splits.map(|service| self.meta.split_key(service).into_bytes());
        let unreadable = self.unreadable.keys().cloned();
        let services = self.service_holds.values();
        let services = services.map(|held| self.meta.hold_key(&held.value.scope).into_bytes());
        let hosts = self.host_holds.values().flat_map(BTreeMap::keys).cloned();
        let hosts = hosts.filter(|_| self.only.is_none());
        let own = records.chain(splits).chain(services).chain(hosts);
        own.chain(unreadable).collect()
    }

    /// Every line, by key.
    pub fn lines(&self) -> impl Iterator<Item = Line> {
        self.keys().into_iter().filter_map(|key| self.line(&key))
    }

    /// The names of all services that have a record.
    #[must_use]
    pub fn services(&self) -> BTreeSet<&str> {
        self.records.keys().map(|id| id.service.as_str()).collect()
    }

    /// Every instance that has a record.
    pub fn ids(&self) -> impl Iterator<Item = &InstanceId> {
        self.records.keys()
    }

    /// The hosts that the records name, canonical.
    pub fn hosts(&self) -> impl Iterator<Item = Host> {
        let records = self.records.values();
        records.map(|record| record.value.endpoint.host.canonical())
    }

    /// The records of a service, each with the narrowest hold on it.
    pub fn instances(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = (&InstanceId, &Found<Record>, Option<&Held>)> {
        let records = self.records.iter();
        let own = records.filter(move |(id, _)| id.service == *service);
        own.map(|(id, record)| (id, record, self.holds_on(id, &record.value).next()))
    }

    /// How a service is split.
    #[must_use]
    pub fn split(&self, service: &ServiceName) -> Option<&Split> {
        self.splits.get(service).map(|split| &split.value)
    }

    /// The newest revisions at which anything changed that tells who takes the traffic of a service, as far as it shows.
    #[must_use]
    pub fn newest(&self, service: &ServiceName) -> Revisions {
        let mut newest = self.deleted.get(service).copied().unwrap_or_default();
        newest.note(Kind::HostHolds, self.host_released);
        for (kind, revision, _) in self.revisions(service) {
            newest.note(kind, revision);
        }
        newest
    }

    /// How many of these changes are newer than what is `applied`, and when the first of those happened whose time is known.
    #[must_use]
    pub fn since(
        &self,
        service: &ServiceName,
        mut applied: Revisions,
    ) -> (usize, Option<jiff::Timestamp>) {
        let newer = self.revisions(service);
        let newer = newer.filter(|(kind, at, _)| at > applied.of(*kind));
        newer.fold((0, None), |(count, first), (_, _, time)| {
            let first = first.into_iter().chain(time).min();
            (count + 1, first)
        })
    }

    /// The revision of everything that a service has, and the time of it where that can be known: a record that drains
    /// was announced long before.
    fn revisions(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = (Kind, i64, Option<jiff::Timestamp>)> {
        let records = self.instances(service).map(|(_, record, _)| {
            let up = record.value.state == State::Up;
            let since = record.value.since.filter(|_| up);
            (Kind::Records, record.revision, since)
        });
        let holds = self.holds.iter().filter(|(id, _)| id.service == *service);
        let holds = holds.map(|(_, held)| held);
        // A pusher decides about every service anew when a host is held.
        let wider = self.service_holds.get(service).into_iter();
        let wider = wider.chain(self.host_holds.values().flat_map(BTreeMap::values));
        let holds = holds.chain(wider);
        let holds = holds.map(|held| (Kind::Holds, held.revision, None));
        let split = self.splits.get(service);
        let split = split.map(|split| (Kind::Splits, split.revision, split.value.since));
        records.chain(holds).chain(split)
    }

    /// The versions that a service has, with how many instances of each there are.
    #[must_use]
    pub fn versions(&self, service: &ServiceName) -> BTreeMap<Option<Version>, Instances> {
        let mut versions: BTreeMap<_, Instances> = BTreeMap::new();
        for (_, record, hold) in self.instances(service) {
            let count = versions.entry(record.value.version.clone()).or_default();
            count.live += usize::from(takes_traffic(&record.value, hold));
            count.held += usize::from(hold.is_some());
        }
        versions
    }
}

/// How many instances there are of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Instances {
    /// That take traffic.
    pub live: usize,
    /// That are held.
    pub held: usize,
}

/// Whether an instance is sent anything, as far as its record and its hold say.
#[must_use]
pub fn takes_traffic(record: &Record, hold: Option<&Held>) -> bool {
    record.state == State::Up && record.effective_weight() > 0 && hold.is_none()
}

fn found<T>(value: T, entry: &Entry) -> Found<T> {
    Found {
        value,
        revision: entry.mod_revision,
        lease: entry.lease,
    }
}

fn stray(entry: &Entry, service: Option<ServiceName>, reason: Reason) -> Quarantined {
    Quarantined {
        key: crate::util::sanitize::printable(&entry.key, 300),
        service,
        reason,
    }
}

#[cfg(test)]
mod tests;
