//! What people have chosen: the splits and holds of the routed services, as etcd last told them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::desired::Effect;
use crate::etcd::watch::{Change, Update};
use crate::model::{
    Hold, HoldScope, Host, InstanceName, MetaPrefix, Quarantined, Reason, Record, ServiceName,
    Split,
};
use crate::util::sanitize::short;

/// The splits and holds of the routed services as etcd last told them.
///
/// A hold holds whatever its value says: who wrote it wanted the instance out. A split that cannot be read changes nothing:
/// the one before it stands.
#[derive(Debug)]
pub struct Choices {
    meta: MetaPrefix,
    listed: bool,
    /// `None` before a listing that was to tell of them.
    services: BTreeMap<ServiceName, Option<Choice>>,
    /// The held hosts and why, by the keys that say so: several may spell one host.
    hosts: BTreeMap<Vec<u8>, (Host, Arc<str>)>,
    /// The keys whose values cannot be read.
    unreadable: BTreeMap<String, Reason>,
}

/// What is chosen for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The etcd revision up to which this includes every change of the service's split and holds.
    pub revision: i64,
    /// How its versions share the traffic, when anything is said of that.
    pub split: Option<Split>,
    /// The instances that are out of rotation, and why.
    pub held: BTreeMap<InstanceName, Arc<str>>,
    /// Why all of them are, if they are.
    pub all_held: Option<Arc<str>>,
    /// The hosts whose instances are, whatever service they belong to, and why. Canonical.
    pub held_hosts: BTreeMap<Host, Arc<str>>,
}

impl Choice {
    /// Why an instance with this record is out of rotation, if it is.
    #[must_use]
    pub fn hold_on(&self, instance: &InstanceName, record: &Record) -> Option<&str> {
        let one = self.held.get(instance).or(self.all_held.as_ref());
        let why = one.or_else(|| self.held_hosts.get(&record.endpoint.host.canonical()));
        why.map(|why| &**why)
    }
}

/// What a key below the meta prefix is about.
enum Subject {
    Split(ServiceName),
    Hold(HoldScope),
}

impl Subject {
    /// The service that it is about; `None` where it is about all.
    fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Split(service) => Some(service),
            Self::Hold(scope) => scope.service(),
        }
    }
}

impl Choices {
    /// Nothing yet, of these services.
    #[must_use]
    pub fn new(meta: MetaPrefix, services: impl IntoIterator<Item = ServiceName>) -> Self {
        let services = services.into_iter();
        Self {
            meta,
            listed: false,
            services: services.map(|name| (name, None)).collect(),
            hosts: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        }
    }

    /// Whether there was a whole listing.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// What is chosen for a service; `None` before the first whole listing, and for a service that is not routed.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Choice> {
        self.services.get(name)?.as_ref()
    }

    /// From now on these services are routed. Whether some are new, so that a listing is needed.
    pub fn route(&mut self, services: &BTreeSet<ServiceName>) -> bool {
        self.services.retain(|name, _| services.contains(name));
        let known = self.services.len();
        for name in services {
            self.services.entry(name.clone()).or_default();
        }
        self.services.len() > known
    }

    /// Takes in what the watch of everything below the meta prefix tells. What is neither split nor hold is passed over.
    pub fn update(&mut self, update: &Update) -> Effect {
        let mut effect = Effect::default();
        match update {
            Update::Listed { revision, entries } => {
                let splits = self.begin_listing(*revision);
                let former = std::mem::take(&mut self.unreadable);
                for entry in entries {
                    self.put(&entry.key, &entry.value, *revision, &mut effect);
                }
                effect
                    .quarantined
                    .retain(|now| former.get(&now.key) != Some(&now.reason));
                let released = former.into_keys();
                effect.released = released
                    .filter(|key| !self.unreadable.contains_key(key))
                    .collect();
                self.keep_unreadable_splits(splits, entries.iter().map(|entry| &*entry.key));
                effect.services = self.services.keys().cloned().collect();
            }
            Update::Changed { changes, .. } => {
                for change in changes {
                    self.change(change, &mut effect);
                }
            }
        }
        effect
    }

    /// Forgets everything; the splits are given back.
    fn begin_listing(&mut self, revision: i64) -> BTreeMap<ServiceName, Split> {
        self.listed = true;
        self.hosts.clear();
        let mut splits = BTreeMap::new();
        for (name, choice) in &mut self.services {
            let former = choice.replace(Choice {
                revision,
                ..Choice::default()
            });
            let split = former.and_then(|former| former.split);
            splits.extend(split.map(|split| (name.clone(), split)));
        }
        splits
    }

    /// The splits whose values became unreadable while nobody looked stand as they were.
    fn keep_unreadable_splits<'a>(
        &mut self,
        mut former: BTreeMap<ServiceName, Split>,
        keys: impl Iterator<Item = &'a [u8]>,
    ) {
        for key in keys {
            let Some(Subject::Split(service)) = self.subject(key) else {
                continue;
            };
            if let Some(Some(choice)) = self.services.get_mut(&service) {
                choice.split = choice.split.take().or_else(|| former.remove(&service));
            }
        }
    }

    fn change(&mut self, change: &Change, effect: &mut Effect) {
        match change {
            Change::Put(entry) => self.put(&entry.key, &entry.value, entry.mod_revision, effect),
            Change::Deleted { key, mod_revision } => self.delete(key, *mod_revision, effect),
        }
    }

    fn subject(&self, key: &[u8]) -> Option<Subject> {
        if let Some(service) = self.meta.split(key) {
            return Some(Subject::Split(service));
        }
        self.meta.hold(key).map(Subject::Hold)
    }

    /// The choices that `subject` is about, standing at `revision` now; none of services that are not routed or not listed
    /// yet: what changes before a listing is in the listing.
    fn touched(
        &mut self,
        subject: &Subject,
        revision: i64,
        effect: &mut Effect,
    ) -> impl Iterator<Item = &mut Choice> {
        let service = subject.service().cloned();
        let about = move |name: &ServiceName| service.as_ref().is_none_or(|one| *one == *name);
        let listed = self
            .services
            .iter_mut()
            .filter_map(|(name, choice)| Some((name, choice.as_mut()?)));
        listed
            .filter(move |(name, _)| about(name))
            .map(move |(name, choice)| {
                choice.revision = revision;
                effect.services.insert(name.clone());
                choice
            })
    }

    /// Whether `subject` is about a service of which a listing has told.
    fn concerns(&self, subject: &Subject) -> bool {
        match subject.service() {
            Some(service) => self.services.get(service).is_some_and(Option::is_some),
            None => self.listed,
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8], revision: i64, effect: &mut Effect) {
        let Some(subject) = self.subject(key).filter(|subject| self.concerns(subject)) else {
            return;
        };
        let read = match &subject {
            Subject::Split(_) => match Split::decode(value) {
                Ok(split) => {
                    let touched = self.touched(&subject, revision, effect);
                    touched.for_each(|choice| choice.split = Some(split.clone()));
                    Ok(())
                }
                Err(reason) => {
                    self.touched(&subject, revision, effect).for_each(drop);
                    Err(reason)
                }
            },
            Subject::Hold(scope) => {
                let read = Hold::decode(value);
                self.hold(key, scope, Some(why(scope, &read)), revision, effect);
                read.map(drop)
            }
        };
        match read {
            Ok(()) => self.readable(key, effect),
            Err(reason) => self.set_aside(key, subject.service().cloned(), reason, effect),
        }
    }

    fn delete(&mut self, key: &[u8], revision: i64, effect: &mut Effect) {
        let Some(subject) = self.subject(key).filter(|subject| self.concerns(subject)) else {
            return;
        };
        match &subject {
            Subject::Split(_) => {
                let touched = self.touched(&subject, revision, effect);
                touched.for_each(|choice| choice.split = None);
            }
            Subject::Hold(scope) => self.hold(key, scope, None, revision, effect),
        }
        self.readable(key, effect);
    }

    /// From now on there is a hold under `key` for this reason, or none.
    fn hold(
        &mut self,
        key: &[u8],
        scope: &HoldScope,
        why: Option<Arc<str>>,
        revision: i64,
        effect: &mut Effect,
    ) {
        if let HoldScope::Host(host) = scope {
            match &why {
                Some(why) => drop(self.hosts.insert(key.to_vec(), (host.clone(), why.clone()))),
                None => drop(self.hosts.remove(key)),
            }
        }
        let hosts: BTreeMap<_, _> = self.hosts.values().cloned().collect();
        let subject = Subject::Hold(scope.clone());
        for choice in self.touched(&subject, revision, effect) {
            match (scope, why.clone()) {
                (HoldScope::Instance(id), Some(why)) => {
                    choice.held.insert(id.instance.clone(), why);
                }
                (HoldScope::Instance(id), None) => drop(choice.held.remove(&id.instance)),
                (HoldScope::Service(_), why) => choice.all_held = why,
                (HoldScope::Host(_), _) => choice.held_hosts.clone_from(&hosts),
            }
        }
    }

    fn readable(&mut self, key: &[u8], effect: &mut Effect) {
        let key = short(key);
        if self.unreadable.remove(&key).is_some() {
            effect.released.push(key);
        }
    }

    fn set_aside(
        &mut self,
        key: &[u8],
        service: Option<ServiceName>,
        reason: Reason,
        effect: &mut Effect,
    ) {
        let key = short(key);
        let former = self.unreadable.insert(key.clone(), reason.clone());
        if former.as_ref() != Some(&reason) {
            effect.quarantined.push(Quarantined {
                key,
                service,
                reason,
            });
        }
    }
}

/// Why there is a hold, for people.
fn why(scope: &HoldScope, read: &Result<Hold, Reason>) -> Arc<str> {
    let why = match read {
        Ok(hold) => short(&hold.reason),
        Err(reason) => format!("the hold cannot be read: {reason}"),
    };
    match scope {
        HoldScope::Instance(_) => why.into(),
        HoldScope::Service(service) => format!("all of {service}: {why}").into(),
        HoldScope::Host(_) => format!("{scope}: {why}").into(),
    }
}

#[cfg(test)]
mod tests;
