//! What people have decided: the splits and holds of the routed services, a view of what etcd last told.

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

/// The splits and holds of the routed services as etcd last told them, among everything below the meta prefix.
///
/// An unreadable hold still holds: whoever wrote it wanted the instance out. An unreadable split changes nothing: the one before
/// it stays.
#[derive(Debug)]
pub struct Overrides {
    store: Store,
}

/// The overrides of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceOverrides {
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

impl ServiceOverrides {
    /// Why an instance with this record is out of rotation, if it is.
    #[must_use]
    pub fn hold_on(&self, instance: &InstanceName, record: &Record) -> Option<&str> {
        let one = self.held.get(instance).or(self.all_held.as_ref());
        let why = one.or_else(|| self.held_hosts.get(&record.endpoint.host.canonical()));
        why.map(|why| &**why)
    }
}

impl Overrides {
    /// Nothing yet, of these services.
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

    /// Whether there was a whole listing.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.store.is_listed()
    }

    /// The overrides of a service; `None` before the first whole listing, and for a service that is not routed.
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

    /// From now on these services are routed. Whether some are new, so that a listing is needed.
    pub fn route(&mut self, services: &BTreeSet<ServiceName>) -> bool {
        self.store.follow(services.clone())
    }

    /// Hears what unseen splits of the next listing said before.
    pub(crate) fn recall(&mut self, formers: Formers) {
        self.store.recall(formers);
    }

    /// Takes in what the watch of everything below the meta prefix tells.
    pub fn update(&mut self, update: &Update) -> Effect {
        let delta = self.take(update);
        self.effect(delta)
    }

    /// The same, for who looks at other kinds of keys besides.
    pub(crate) fn take(&mut self, update: &Update) -> Delta {
        self.store.update(0, update)
    }

    /// What it does to splits and holds.
    pub(crate) fn effect(&self, delta: Delta) -> Effect {
        Effect::of(&self.store, delta, &KINDS)
    }
}

/// Why there is a hold, for people.
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
