//! The content of ranges of keys, listed once and updated: every reader of etcd is a view of a store.
//!
//! A listing replaces a whole range, changes follow it. Keys that cannot be read are quarantined here, with the reason,
//! and do not affect others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use tokio::time::Instant;

use super::former::{Former, Formers};
pub use super::item::Item;
use super::item::shown;
use super::range::Range;
use super::watch::{Change, Entry, Update};
use crate::model::{Kind, Prefixes, Quarantined, ServiceName};
use part::Part;

mod part;

/// What an update changed.
#[derive(Debug, Default)]
pub struct Delta {
    /// Whether it was a whole listing.
    pub listed: bool,
    /// Each changed key, with its former item.
    pub before: BTreeMap<Box<[u8]>, Option<Item>>,
    /// The former items of deleted keys, in order; not for keys that a listing no longer has.
    pub deleted: Vec<Item>,
    /// The services that are affected: for a listing, all that are followed by name.
    pub services: BTreeSet<ServiceName>,
    /// Whether it was the listing of an etcd that was wiped, or restored to an older state.
    pub forgotten: bool,
}

/// The content of ranges of keys.
#[derive(Debug)]
pub struct Store {
    prefixes: Prefixes,
    /// The followed services; `None` for all.
    services: Option<BTreeSet<ServiceName>>,
    parts: Vec<Part>,
    items: BTreeMap<Box<[u8]>, Item>,
    /// The former values of unseen splits in the next listing.
    formers: Formers,
}

impl Store {
    /// An empty store of these ranges, for these services or for all.
    #[must_use]
    pub fn new(
        prefixes: Prefixes,
        ranges: impl IntoIterator<Item = Range>,
        services: Option<BTreeSet<ServiceName>>,
    ) -> Self {
        Self {
            prefixes,
            services,
            parts: ranges.into_iter().map(Part::new).collect(),
            items: BTreeMap::new(),
            formers: Formers::new(),
        }
    }

    /// The prefixes of the keys.
    #[must_use]
    pub fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// Changes the followed services. Forgets the others; of new ones nothing is known before the next
    /// listing. Returns whether there are new ones.
    pub fn follow(&mut self, services: BTreeSet<ServiceName>) -> bool {
        let former = self.services.take().unwrap_or_default();
        let new: BTreeSet<_> = services.difference(&former).cloned().collect();
        let stays = |service: &ServiceName| services.contains(service);
        self.items
            .retain(|_, item| item.service.as_ref().is_none_or(stays));
        for part in &mut self.parts {
            part.changed.retain(|service, _| services.contains(service));
            part.unlisted.retain(|service| services.contains(service));
            part.unlisted.extend(new.iter().cloned());
        }
        self.services = Some(services);
        !new.is_empty()
    }

    /// Replaces the range at this place. Forgets keys outside it: no update covers them any more.
    pub fn watch(&mut self, part: usize, range: &Range) {
        if let Some(part) = self.parts.get_mut(part) {
            let former = std::mem::replace(&mut part.range, range.clone());
            self.items
                .retain(|key, _| range.has(key) || !former.has(key));
        }
    }

    /// The services that are followed by name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.iter().flatten()
    }

    fn follows(&self, service: Option<&ServiceName>) -> bool {
        match (service, &self.services) {
            (Some(service), Some(services)) => services.contains(service),
            _ => true,
        }
    }

    /// The unreadable splits of a listing whose last write was not seen here: only etcd's history has their former
    /// values.
    pub(crate) fn unseen(&self, update: &Update) -> Vec<Entry> {
        let Update::Listed { entries, .. } = update else {
            return Vec::new();
        };
        let range = self.prefixes.meta.splits_range();
        let splits = entries.iter();
        let splits = splits.filter(|entry| entry.key.starts_with(range.as_bytes()));
        let is_unseen = |entry: &&Entry| {
            let before = self.items.get(&*entry.key);
            let item = self.read(entry, None, None);
            item.is_some_and(|item| {
                let seen = before.is_some_and(|before| before.is_same(&item));
                let unreadable = item.subject.is_some() && item.object.is_err();
                unreadable && !seen && self.follows(item.service.as_ref())
            })
        };
        splits.filter(is_unseen).cloned().collect()
    }

    /// Gives the former values of [unseen](Self::unseen) splits, before the listing that has them.
    pub(crate) fn recall(&mut self, formers: Formers) {
        self.formers = formers;
    }

    /// Applies an update of the range at this place.
    pub fn update(&mut self, part: usize, update: &Update) -> Delta {
        match update {
            Update::Listed { revision, entries } => self.list(part, *revision, entries),
            Update::Changed { changes, .. } => {
                let mut delta = Delta::default();
                for change in changes {
                    self.change(part, change, &mut delta);
                }
                delta
            }
        }
    }

    fn list(&mut self, part: usize, revision: i64, entries: &[Entry]) -> Delta {
        let mut former = self.take(part);
        let known = self.parts.get(part).map_or(0, Part::newest);
        let known = former
            .values()
            .map(|item| item.revision)
            .fold(known, i64::max);
        let mut recalled = std::mem::take(&mut self.formers);
        let Some(listed) = self.parts.get_mut(part) else {
            return Delta::default();
        };
        listed.listed = Some(revision);
        listed.unlisted.clear();
        // Newer revisions belong to a history that a restore has undone.
        listed.changed.retain(|_, changed| *changed <= revision);
        if listed.changed_for_all > revision {
            listed.changed_for_all = 0;
        }
        let mut delta = Delta {
            listed: true,
            services: self.services().cloned().collect(),
            forgotten: revision < known,
            ..Delta::default()
        };
        for entry in entries {
            let before = former.remove(&*entry.key);
            delta.forgotten |= before
                .as_ref()
                .is_some_and(|it| entry.mod_revision < it.revision);
            let item = self.read(entry, before.as_ref(), recalled.remove(&entry.key));
            if let Some(item) = item.filter(|item| self.follows(item.service.as_ref())) {
                let same = before.as_ref().is_some_and(|before| before.is_same(&item));
                if !same {
                    delta.before.insert(entry.key.as_slice().into(), before);
                }
                self.items.insert(entry.key.as_slice().into(), item);
            }
        }
        let gone = former.into_iter().map(|(key, item)| (key, Some(item)));
        delta.before.extend(gone);
        delta
    }

    /// Removes everything in a range.
    fn take(&mut self, part: usize) -> BTreeMap<Box<[u8]>, Item> {
        let Some(Part { range, .. }) = self.parts.get(part) else {
            return BTreeMap::new();
        };
        let mut taken = self.items.split_off(range.start());
        let end = range
            .end()
            .unwrap_or_else(|| [range.start(), &[0]].concat());
        let mut behind = match &*end {
            [0] => BTreeMap::new(),
            end => taken.split_off(end),
        };
        self.items.append(&mut behind);
        taken
    }

    fn change(&mut self, part: usize, change: &Change, delta: &mut Delta) {
        let (key, after) = match change {
            Change::Put(entry) => {
                let before = self.items.get(&*entry.key);
                (&entry.key, self.read(entry, before, None))
            }
            Change::Deleted { key, .. } => (key, None),
        };
        let Some((kind, service)) = self.concerned(key, after.as_ref()) else {
            return;
        };
        if !self.follows(service.as_ref()) {
            return;
        }
        self.note(part, kind, service, change.revision(), delta);
        let before = match after {
            Some(item) => self.items.insert(key.as_slice().into(), item),
            None => {
                let before = self.items.remove(&**key);
                delta.deleted.extend(before.clone());
                before
            }
        };
        let key: Box<[u8]> = key.as_slice().into();
        delta.before.entry(key).or_insert(before);
    }

    /// The subject of a key that was written or deleted; `None` if it is none of sidekick's.
    fn concerned(&self, key: &[u8], after: Option<&Item>) -> Option<(Kind, Option<ServiceName>)> {
        match after.or_else(|| self.items.get(key)) {
            Some(item) => Some((item.kind, item.service.clone())),
            None => {
                let key = self.prefixes.key(key)?;
                Some((key.kind, key.service))
            }
        }
    }

    fn note(
        &mut self,
        part: usize,
        kind: Kind,
        service: Option<ServiceName>,
        revision: i64,
        delta: &mut Delta,
    ) {
        let followed = self.services.iter().flatten();
        let Some(part) = self.parts.get_mut(part) else {
            return;
        };
        let told = part.listed.is_some();
        let listed = |service: &&ServiceName| told && !part.unlisted.contains(*service);
        match service {
            Some(service) => {
                delta
                    .services
                    .extend(Some(&service).filter(listed).cloned());
                part.changed.insert(service, revision);
            }
            None if kind == Kind::HostHold => {
                delta.services.extend(followed.filter(listed).cloned());
                part.changed_for_all = revision;
            }
            None => {}
        }
    }

    /// Parses an entry that replaces another; `None` if it is none of sidekick's.
    fn read(&self, entry: &Entry, before: Option<&Item>, recalled: Option<Former>) -> Option<Item> {
        let key = self.prefixes.key(&entry.key)?;
        let (subject, object) = match key.subject {
            Ok(subject) => {
                let object = subject.decode(&entry.value, entry.lease);
                (Some(subject), object)
            }
            Err(reason) => (None, Err(reason)),
        };
        let mut item = Item {
            kind: key.kind,
            service: key.service,
            subject,
            object,
            former: Former::Nothing,
            revision: entry.mod_revision,
            lease: entry.lease,
            since: Instant::now(),
        };
        item.succeed(before, recalled);
        Some(item)
    }

    /// The revision up to which everything of the service in the range at this place is known; `None` before a listing
    /// has covered it, and when it is not followed.
    #[must_use]
    pub fn revision(&self, part: usize, service: &ServiceName) -> Option<i64> {
        let of = self.parts.get(part)?;
        let listed = of.listed?;
        let known = self.follows(Some(service)) && !of.unlisted.contains(service);
        known.then(|| listed.max(self.changed(part, service)))
    }

    /// The newest change of the service seen in the range at this place; 0 for none.
    #[must_use]
    pub fn changed(&self, part: usize, service: &ServiceName) -> i64 {
        let Some(part) = self.parts.get(part) else {
            return 0;
        };
        let own = part.changed.get(service).copied().unwrap_or_default();
        own.max(part.changed_for_all)
    }

    /// Whether every range was listed.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.parts.iter().all(|part| part.listed.is_some())
    }

    /// The item of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Item> {
        self.items.get(key)
    }

    /// All items with a prefix, sorted by key.
    pub fn below(&self, prefix: &str) -> impl Iterator<Item = (&[u8], &Item)> + use<'_> {
        let range = Range::Prefix(prefix.as_bytes().to_vec());
        let end = range.end().unwrap_or_default();
        let bounds = (
            Bound::Included(range.start()),
            Bound::Excluded(end.as_slice()),
        );
        let items = self.items.range::<[u8], _>(bounds);
        items.map(|(key, item)| (&**key, item))
    }

    /// All items.
    pub fn items(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.items.iter().map(|(key, item)| (&**key, item))
    }

    /// The unreadable keys of these kinds.
    pub fn quarantined(&self, kinds: &[Kind]) -> impl Iterator<Item = Quarantined> {
        let items = self.items().filter(|(_, item)| kinds.contains(&item.kind));
        items.filter_map(|(key, item)| item.quarantined(key))
    }

    /// Keys of these kinds that an update made unreadable, or unreadable for another reason; and the printable keys that
    /// are now readable or gone.
    #[must_use]
    pub fn news(&self, delta: &Delta, kinds: &[Kind]) -> (Vec<Quarantined>, Vec<String>) {
        let (mut quarantined, mut readable) = (Vec::new(), Vec::new());
        for (key, before) in &delta.before {
            let after = self.items.get(key);
            let Some(item) = after.or(before.as_ref()) else {
                continue;
            };
            if !kinds.contains(&item.kind) {
                continue;
            }
            let why =
                |item: Option<&Item>| item.and_then(|item| item.object.as_ref().err().cloned());
            match (why(before.as_ref()), why(after)) {
                (Some(_), None) => readable.push(shown(key)),
                (before, Some(reason)) if before.as_ref() != Some(&reason) => {
                    quarantined.extend(item.quarantined(key));
                }
                _ => {}
            }
        }
        (quarantined, readable)
    }
}

#[cfg(test)]
mod tests;
