//! Splits and holds of the routed services: a view of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records::Effect;
use crate::etcd::former::Formers;
use crate::etcd::range::Range;
use crate::etcd::store::{Delta, Item, Store};
use crate::etcd::watch::Update;
use crate::model::{
    Hold, HoldScope, Host, InstanceName, Kind, MetaPrefix, Prefixes, Reason, Record, ServiceName,
    Split,
};
use crate::util::sanitize::short;

const KINDS: [Kind; 4] = [Kind::Hold, Kind::ServiceHold, Kind::HostHold, Kind::Split];

/// The splits and holds of the routed services, from everything below the meta prefix.
///
/// An unreadable hold still holds: its author wanted the instance out. An unreadable split changes nothing: the former
/// one stays.
#[derive(Debug)]
pub struct Overrides {
    store: Store,
}

/// The overrides of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceOverrides {
    /// The etcd revision up to which this includes every change of the service's split and holds.
    pub revision: i64,
    /// The split of its traffic among versions, if any.
    pub split: Option<Split>,
    /// The held instances, and why.
    pub held: BTreeMap<InstanceName, Arc<str>>,
    /// Why all instances are held, if they are.
    pub all_held: Option<Arc<str>>,
    /// The held hosts, of all services, and why. Canonical.
    pub held_hosts: BTreeMap<Host, Arc<str>>,
}

impl ServiceOverrides {
    /// Why an instance with this record is held, if it is.
    #[must_use]
    pub fn hold_on(&self, instance: &InstanceName, record: &Record) -> Option<&str> {
        let one = self.held.get(instance).or(self.all_held.as_ref());
        let why = one.or_else(|| self.held_hosts.get(&record.endpoint.host.canonical()));
        why.map(|why| &**why)
    }
}

impl Overrides {
    /// Empty, for these services.
    #[must_use]
    pub fn new(meta: MetaPrefix, services: impl IntoIterator<Item = ServiceName>) -> Self {
        let range = Range::Prefix(meta.range().into_bytes());
        let prefixes = Prefixes {
            meta,
            ..Prefixes::default()
        };
        let services = services.into_iter().collect();
        Self {
            store: Store::new(prefixes, [range], Some(services)),
        }
    }

    /// Everything below the meta prefix.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a whole listing was received.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.store.is_listed()
    }

    /// The overrides of a service; `None` before the first whole listing, and for services that are not routed.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<ServiceOverrides> {
        let revision = self.store.revision(0, name)?;
        let meta = &self.store.prefixes().meta;
        let split = self.store.get(meta.split_key(name).as_bytes());
        let whole = meta.hold_key(&HoldScope::Service(name.clone()));
        let whole = self.store.get(whole.as_bytes());
        let mut overrides = ServiceOverrides {
            revision,
            split: split.and_then(Item::split).cloned(),
            all_held: whole
                .and_then(Item::hold)
                .map(|(scope, hold)| why(scope, hold)),
            ..ServiceOverrides::default()
        };
        for (scope, hold) in self.holds(&format!("{}{name}/", meta.holds_range())) {
            if let HoldScope::Instance(id) = scope {
                overrides.held.insert(id.instance.clone(), why(scope, hold));
            }
        }
        for (scope, hold) in self.holds(&meta.host_holds_range()) {
            if let HoldScope::Host(host) = scope {
                overrides.held_hosts.insert(host.clone(), why(scope, hold));
            }
        }
        Some(overrides)
    }

    fn holds(
        &self,
        range: &str,
    ) -> impl Iterator<Item = (&HoldScope, Result<&Hold, &Reason>)> + use<'_> {
        let items = self.store.below(range);
        items.filter_map(|(_, item)| item.hold())
    }

    /// Changes the routed services. Returns whether some are new, so that a listing is needed.
    pub fn route(&mut self, services: &BTreeSet<ServiceName>) -> bool {
        self.store.follow(services.clone())
    }

    /// Gives the former values of splits that the next listing finds unreadable.
    pub(crate) fn recall(&mut self, formers: Formers) {
        self.store.recall(formers);
    }

    /// Applies an update from the watch of everything below the meta prefix.
    pub fn update(&mut self, update: &Update) -> Effect {
        let delta = self.take(update);
        self.effect(delta)
    }

    /// As [`Self::update`], returning the changes of all kinds of keys.
    pub(crate) fn take(&mut self, update: &Update) -> Delta {
        self.store.update(0, update)
    }

    /// The effect of a change on splits and holds.
    pub(crate) fn effect(&self, delta: Delta) -> Effect {
        Effect::of(&self.store, delta, &KINDS)
    }
}

/// Why a hold exists, as a message.
fn why(scope: &HoldScope, read: Result<&Hold, &Reason>) -> Arc<str> {
    let why = match read {
        Ok(hold) => short(&hold.reason),
        Err(reason) => format!("the hold is quarantined: {reason}"),
    };
    match scope {
        HoldScope::Instance(_) => why.into(),
        HoldScope::Service(service) => format!("all of {service}: {why}").into(),
        HoldScope::Host(_) => format!("{scope}: {why}").into(),
    }
}

#[cfg(test)]
mod tests;
