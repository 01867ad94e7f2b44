//! Records, holds and splits in one overview: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Place;
pub use super::line::{Found, Held, InstanceState, Line};
use crate::etcd::former::Formers;
use crate::etcd::range::Range;
use crate::etcd::store::{Item, Store};
use crate::etcd::watch::{Entry, Update};
use crate::model::{
    HoldScope, Host, InstanceId, Kind, Prefixes, Record, ServiceName, State, Version,
};

/// The parts of the overview, each from its own range.
pub const KINDS: [Kind; 5] = [
    Kind::Record,
    Kind::Hold,
    Kind::ServiceHold,
    Kind::HostHold,
    Kind::Split,
];

/// The ranges of [`KINDS`], for one service or for all.
#[must_use]
pub fn ranges(prefixes: &Prefixes, only: Option<&ServiceName>) -> [Range; KINDS.len()] {
    let (records, meta) = (&prefixes.records, &prefixes.meta);
    let ranges = [
        records.service_range(only),
        meta.holds_range(),
        meta.service_holds_range(),
        meta.host_holds_range(),
        meta.splits_range(),
    ];
    ranges.map(|range| Range::Prefix(range.into_bytes()))
}

/// The overview: a view of the store.
#[derive(Debug)]
pub struct Overview {
    store: Store,
    /// Keys deleted before the listings, as far as known: kind, service and revision.
    deleted: Vec<(Kind, Option<ServiceName>, i64)>,
    /// The service, if it is only one.
    only: Option<ServiceName>,
}

/// Revisions of a service; 0 for none. They come from different watches, so they cannot be compared with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revisions {
    /// Of its records.
    pub records: i64,
    /// Of its split and holds.
    pub overrides: i64,
}

impl Revisions {
    /// That of a kind.
    #[must_use]
    pub fn of(self, kind: Kind) -> i64 {
        match kind {
            Kind::Record => self.records,
            _ => self.overrides,
        }
    }

    fn note(&mut self, kind: Kind, revision: i64) {
        let known = match kind {
            Kind::Record => &mut self.records,
            _ => &mut self.overrides,
        };
        *known = revision.max(*known);
    }
}

impl Overview {
    /// An empty overview.
    #[must_use]
    pub fn new(place: &Place, only: Option<ServiceName>) -> Self {
        let prefixes = place.prefixes();
        let ranges = ranges(&prefixes, only.as_ref());
        let services = only.clone().map(|only| BTreeSet::from([only]));
        Self {
            store: Store::new(prefixes, ranges, services),
            deleted: Vec::new(),
            only,
        }
    }

    /// Whether all of it was received.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.store.is_listed()
    }

    /// The unreadable splits of a listing: only etcd's history has what they said before.
    pub(super) fn unseen(&self, update: &Update) -> Vec<Entry> {
        self.store.unseen(update)
    }

    /// Gives the former values of those splits, before the listing that has them.
    pub(super) fn recall(&mut self, formers: Formers) {
        self.store.recall(formers);
    }

    /// Hears what was deleted before the listings.
    pub(super) fn note_deleted(&mut self, kind: Kind, keys: BTreeMap<Vec<u8>, i64>) {
        for (key, revision) in keys {
            let known = self.store.prefixes().key(&key);
            if let (Some(known), None) = (known, self.store.get(&key)) {
                self.deleted.push((kind, known.service, revision));
            }
        }
    }

    /// Applies an update of a kind; returns the keys whose [lines](Self::line) may have changed.
    pub fn update(&mut self, kind: Kind, update: &Update) -> BTreeSet<Vec<u8>> {
        let Some(part) = KINDS.iter().position(|known| *known == kind) else {
            return BTreeSet::new();
        };
        let delta = self.store.update(part, update);
        let mut touched = BTreeSet::new();
        for (key, before) in delta.before {
            let item = self.store.get(&key).or(before.as_ref());
            if let Some((scope, _)) = item.and_then(Item::hold) {
                let covered = self.covered(scope);
                touched.extend(covered.map(|(id, _)| self.record_key(id)));
            }
            touched.insert(key.into_vec());
        }
        touched
    }

    /// The records that a hold of this scope takes out.
    pub fn covered<'a>(
        &'a self,
        scope: &HoldScope,
    ) -> impl Iterator<Item = (&'a InstanceId, Found<&'a Record>)> + use<'a> {
        let scope = scope.clone();
        self.records().filter(move |(id, record)| {
            scope.covers(&id.service, &id.instance, &record.value.endpoint.host)
        })
    }

    fn records(&self) -> impl Iterator<Item = (&InstanceId, Found<&Record>)> {
        let items = self.store.items().map(|(_, item)| item);
        items.filter_map(|item| {
            let (id, record) = item.instance()?;
            Some((id, item.found(record)))
        })
    }

    fn record_key(&self, id: &InstanceId) -> Vec<u8> {
        self.store.prefixes().records.key(id).into_bytes()
    }

    /// The line of a key; `None` if there is nothing to show.
    #[must_use]
    pub fn line(&self, key: &[u8]) -> Option<Line> {
        let item = self.store.get(key)?;
        if let Some(quarantined) = item.quarantined(key) {
            // For one service, show nothing that may belong to another.
            let shown = self.only.is_none() || quarantined.service.is_some();
            return shown.then_some(Line::Quarantined(quarantined));
        }
        if let Some((id, record)) = item.instance() {
            let holds = self.holds_on(id, record).collect();
            let (id, record) = (id.clone(), Box::new(item.found(record.clone())));
            return Some(Line::Record { id, record, holds });
        }
        if let (Some(split), Some(service)) = (item.split(), &item.service) {
            let (service, split) = (service.clone(), item.found(split.clone()));
            return Some(Line::Split { service, split });
        }
        let has_own_line = match item.kind {
            Kind::ServiceHold => true,
            // For one service, it is on the lines of its records.
            Kind::HostHold => self.only.is_none(),
            _ => false,
        };
        let held = item.held().filter(|_| has_own_line)?;
        Some(Line::Hold(item.found(held)))
    }

    /// The holds on an instance, the narrowest first.
    fn holds_on<'a>(
        &'a self,
        id: &InstanceId,
        record: &Record,
    ) -> impl Iterator<Item = Held> + use<'a> {
        let meta = &self.store.prefixes().meta;
        let get = |scope: HoldScope| self.store.get(meta.hold_key(&scope).as_bytes());
        let instance = get(HoldScope::Instance(id.clone()));
        let service = get(HoldScope::Service(id.service.clone()));
        let host = HoldScope::host(&record.endpoint.host);
        let hosts = self.host_holds().filter(move |item| {
            let scope = item.hold().map(|(scope, _)| scope);
            scope == Some(&host)
        });
        let all = instance.into_iter().chain(service).chain(hosts);
        all.filter_map(Item::held)
    }

    fn host_holds(&self) -> impl Iterator<Item = &Item> + use<'_> {
        let range = self.store.prefixes().meta.host_holds_range();
        self.store.below(&range).map(|(_, item)| item)
    }

    /// Every key that has a line, in order.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Vec<u8>> {
        let keys = self.store.items().map(|(key, _)| key);
        let shown = keys.filter(|key| self.line(key).is_some());
        shown.map(<[u8]>::to_vec).collect()
    }

    /// Every line, by key.
    pub fn lines(&self) -> impl Iterator<Item = Line> {
        self.store.items().filter_map(|(key, _)| self.line(key))
    }

    /// The names of all services that have a record.
    #[must_use]
    pub fn services(&self) -> BTreeSet<&str> {
        self.ids().map(|id| id.service.as_str()).collect()
    }

    /// Every instance that has a record.
    pub fn ids(&self) -> impl Iterator<Item = &InstanceId> {
        self.records().map(|(id, _)| id)
    }

    /// The hosts that the records name, canonical.
    pub fn hosts(&self) -> impl Iterator<Item = Host> {
        self.records()
            .map(|(_, record)| record.value.endpoint.host.canonical())
    }

    /// The records of a service, each with the narrowest hold on it.
    pub fn instances(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = (&InstanceId, Found<&Record>, Option<Held>)> + use<'_> {
        let range = self.store.prefixes().records.service_range(Some(service));
        self.store.below(&range).filter_map(|(_, item)| {
            let (id, record) = item.instance()?;
            Some((id, item.found(record), self.holds_on(id, record).next()))
        })
    }

    /// The newest revisions of changes that decide who takes the traffic of a service, as far as visible.
    #[must_use]
    pub fn newest(&self, service: &ServiceName) -> Revisions {
        let mut newest = Revisions::default();
        for (part, kind) in KINDS.into_iter().enumerate() {
            newest.note(kind, self.store.changed(part, service));
        }
        let told = self.revisions(service);
        for (kind, revision, _) in told.chain(self.deletions(service)) {
            newest.note(kind, revision);
        }
        newest
    }

    /// How many of these changes are newer than `applied`, and when the first of those happened whose time is known.
    #[must_use]
    pub fn since(
        &self,
        service: &ServiceName,
        applied: Revisions,
    ) -> (usize, Option<jiff::Timestamp>) {
        let newer = self.revisions(service).chain(self.deletions(service));
        let newer = newer.filter(|(kind, at, _)| *at > applied.of(*kind));
        newer.fold((0, None), |(count, first), (_, _, time)| {
            let first = first.into_iter().chain(time).min();
            (count + 1, first)
        })
    }

    /// The newest revision of everything that belongs to a service, with its time if known: a draining record
    /// was announced long before. A hold on a host makes a pusher decide about every service again.
    fn revisions(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = (Kind, i64, Option<jiff::Timestamp>)> {
        let Prefixes { records, meta } = self.store.prefixes();
        let records = self.store.below(&records.service_range(Some(service)));
        let records = records.filter(|(_, item)| item.kind == Kind::Record);
        let others = self.store.below(&meta.range());
        let others = others.filter(|(_, item)| item.kind != Kind::Record);
        let items = records.chain(others).map(|(_, item)| item);
        let own = items.filter(move |item| {
            item.service.as_ref() == Some(service) || item.kind == Kind::HostHold
        });
        own.filter(|item| item.object.is_ok() || item.hold().is_some())
            .map(|item| {
                let up = item.record().filter(|record| record.state == State::Up);
                let since = up.and_then(|record| record.since);
                let split = item.split().and_then(|split| split.since);
                (item.kind, item.revision, since.or(split))
            })
    }

    /// The changes of a service that were deletions.
    fn deletions(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = (Kind, i64, Option<jiff::Timestamp>)> {
        let concerns = move |(kind, of, _): &&(Kind, Option<ServiceName>, i64)| {
            of.as_ref() == Some(service) || *kind == Kind::HostHold
        };
        let deleted = self.deleted.iter().filter(concerns);
        deleted.map(|(kind, _, revision)| (*kind, *revision, None))
    }

    /// The versions of a service, with how many instances of each there are.
    #[must_use]
    pub fn versions(&self, service: &ServiceName) -> BTreeMap<Option<Version>, Instances> {
        let mut versions: BTreeMap<_, Instances> = BTreeMap::new();
        for (_, record, hold) in self.instances(service) {
            let count = versions.entry(record.value.version.clone()).or_default();
            count.live += usize::from(takes_traffic(record.value, hold.as_ref()));
            count.held += usize::from(hold.is_some());
        }
        versions
    }
}

impl Item {
    fn found<T>(&self, value: T) -> Found<T> {
        Found {
            value,
            revision: self.revision,
            lease: self.lease,
        }
    }

    fn held(&self) -> Option<Held> {
        let (scope, hold) = self.hold()?;
        Some(Held {
            scope: scope.clone(),
            hold: hold.cloned().map_err(Clone::clone),
        })
    }
}

/// Counts of instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Instances {
    /// Instances that take traffic.
    pub live: usize,
    /// Instances that are held.
    pub held: usize,
}

/// Whether an instance should get traffic, by its record and its hold.
#[must_use]
pub fn takes_traffic(record: &Record, hold: Option<&Held>) -> bool {
    record.state == State::Up && record.effective_weight() > 0 && hold.is_none()
}

#[cfg(test)]
mod tests;
