//! Records, holds and splits as one picture, for people and scripts: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Place;
use crate::record::{
    self, Hold, InstanceId, MetaPrefix, Prefix, Quarantined, Reason, Record, ServiceName, Split,
    State, Version,
};
use crate::registry::watch::{Change, Entry, Update};

/// Which keys an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records.
    Records,
    /// Holds.
    Holds,
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
        /// The hold on it.
        hold: Option<Hold>,
    },
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
        let Self::Record { record, hold, .. } = self else {
            return None;
        };
        Some(match (record.value.state, hold) {
            (State::Up, None) => Standing::Up,
            (State::Up, Some(_)) => Standing::Held,
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
    holds: BTreeMap<InstanceId, Found<Hold>>,
    splits: BTreeMap<ServiceName, Found<Split>>,
    /// By key.
    unreadable: BTreeMap<Vec<u8>, Quarantined>,
    /// The newest deletions of each service that were seen.
    deleted: BTreeMap<ServiceName, Revisions>,
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
            Kind::Holds | Kind::Splits => &mut self.choices,
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
            splits: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            deleted: BTreeMap::new(),
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
                for deleted in self.deleted.values_mut() {
                    let known = deleted.of(kind);
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

    /// Whose lines a key changes: its own, and for a hold that of its record too.
    fn touch(&self, kind: Kind, key: &[u8], touched: &mut BTreeSet<Vec<u8>>) {
        if kind == Kind::Holds {
            touched.extend(self.meta.hold(key).map(|id| self.record_key(&id)));
        }
        touched.insert(key.to_vec());
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
            Kind::Holds => self.put_hold(entry),
            Kind::Splits => self.put_split(entry),
        };
        if let Err(quarantined) = read
            && self.wants(quarantined.service.as_ref())
        {
            self.unreadable.insert(entry.key.clone(), quarantined);
        }
    }

    fn put_record(&mut self, entry: &Entry) -> Result<(), Quarantined> {
        let (id, record) = record::decode(&self.prefix, &entry.key, &entry.value)?;
        if self.wants(Some(&id.service)) {
            self.records.insert(id, found(record, entry));
        }
        Ok(())
    }

    fn put_hold(&mut self, entry: &Entry) -> Result<(), Quarantined> {
        let id = self.meta.hold(&entry.key);
        let service = id.as_ref().map(|id| id.service.clone());
        let wrong = || Reason::Key(format!("{}/holds", self.meta));
        let id = id.ok_or_else(|| stray(entry, None, wrong()))?;
        let hold = Hold::decode(&entry.value).map_err(|reason| stray(entry, service, reason))?;
        if self.wants(Some(&id.service)) {
            self.holds.insert(id, found(hold, entry));
        }
        Ok(())
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
            Kind::Holds => {
                let id = self.meta.hold(key)?;
                self.holds.remove(&id).map(|_| id.service)
            }
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
        let text = std::str::from_utf8(key).ok()?;
        let rest = text.strip_prefix(&self.prefix.service_range(None))?;
        let id: InstanceId = rest.parse().ok()?;
        let record = Box::new(self.records.get(&id)?.clone());
        let hold = self.holds.get(&id).map(|hold| hold.value.clone());
        Some(Line::Record { id, record, hold })
    }

    /// Every key that has a line, in order.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Vec<u8>> {
        let records = self.records.keys().map(|id| self.record_key(id));
        let splits = self.splits.keys();
        let splits = splits.map(|service| self.meta.split_key(service).into_bytes());
        let unreadable = self.unreadable.keys().cloned();
        records.chain(splits).chain(unreadable).collect()
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

    /// The records of a service, each with the hold on it.
    pub fn instances(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = (&InstanceId, &Found<Record>, Option<&Hold>)> {
        let records = self.records.iter();
        let own = records.filter(move |(id, _)| id.service == *service);
        own.map(|(id, record)| (id, record, self.holds.get(id).map(|hold| &hold.value)))
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
        let holds = holds.map(|(_, hold)| (Kind::Holds, hold.revision, None));
        let split = self.splits.get(service);
        let split = split.map(|split| (Kind::Splits, split.revision, split.value.since));
        records.chain(holds).chain(split)
    }

    /// The versions that a service has, with how many instances of each take traffic.
    #[must_use]
    pub fn versions(&self, service: &ServiceName) -> BTreeMap<Option<Version>, usize> {
        let mut versions = BTreeMap::new();
        for (_, record, hold) in self.instances(service) {
            let count = versions.entry(record.value.version.clone()).or_insert(0);
            *count += usize::from(takes_traffic(&record.value, hold));
        }
        versions
    }
}

/// Whether an instance is sent anything, as far as its record and its hold say.
#[must_use]
pub fn takes_traffic(record: &Record, hold: Option<&Hold>) -> bool {
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
        key: crate::printable::printable(&entry.key, 300),
        service,
        reason,
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
