//! Decides what one upstream should be.

use std::sync::Arc;

use super::choose::{Chosen, Selection, SplitNotice, Splitting, choose};
use super::instances::{self, Instances};
use super::overrides::Overrides;
use super::protection::Protection;
use super::records::Records;
use super::server::{Origin, Origins, Server, Servers};
use super::state::Desired;
use crate::model::{InstanceName, Record, ServiceName};

/// Decides what one upstream should be.
#[derive(Debug)]
pub struct Pool {
    service: ServiceName,
    selection: Selection,
    splitting: Splitting,
    /// The instances of the last decision.
    former: Arc<Instances>,
}

/// The desired state from records and overrides, before the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The desired state.
    pub desired: Desired,
    /// Whether the split stopped or started matching, if that changed.
    pub split: Option<SplitNotice>,
}

impl Pool {
    /// The upstream that takes `selection` of `service`.
    #[must_use]
    pub fn new(service: ServiceName, selection: Selection) -> Self {
        Self {
            service,
            selection,
            splitting: Splitting::default(),
            former: Arc::default(),
        }
    }

    /// Takes over the memory of a former pool of the same service.
    #[must_use]
    pub fn succeeding(mut self, former: &Self) -> Self {
        if self.service == former.service {
            self.former = former.former.clone();
        }
        self
    }

    /// The service that it takes.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Decides anew; `None` before the first whole listings.
    pub fn decide(&mut self, records: &Records, overrides: &Overrides) -> Option<Wanted> {
        let known = records.service(&self.service)?;
        let overrides = overrides.service(&self.service)?;
        let mut chosen = choose(known, &self.selection, &overrides);
        let mut instances = instances::instances(&chosen, &overrides);
        let split = self.splitting.apply(overrides.split.as_ref(), &mut chosen);
        instances::note_split(&mut instances, &chosen);
        let recorded = known.records().map(|(name, _)| name);
        instances::note_gone(&mut instances, &self.former, recorded, known.revision());
        self.former = Arc::new(instances);
        let (servers, origins) = fold(chosen);
        let desired = Desired {
            service: self.service.clone(),
            revision: known.revision(),
            overrides: overrides.revision,
            servers,
            origins,
            instances: self.former.clone(),
            protection: Protection::default(),
        };
        Some(Wanted { desired, split })
    }
}

/// Merges records into servers: one for each address.
fn fold(chosen: Vec<Chosen<'_>>) -> (Servers, Origins) {
    let (mut servers, mut origins) = (Servers::new(), Origins::new());
    for (instance, record, server) in chosen {
        let known = servers.get(&record.endpoint);
        let merged = known.map_or(server, |known: &Server| known.merge(server));
        servers.insert(record.endpoint.clone(), merged);
        let origin = || Arc::new(Origin::of(instance, record));
        origins
            .entry(record.endpoint.clone())
            .or_insert_with(origin);
    }
    (servers, origins)
}

impl Origin {
    pub(super) fn of(instance: &InstanceName, record: &Record) -> Self {
        Self {
            instance: instance.clone(),
            version: record.version.clone(),
            tags: record.tags.clone(),
            meta: record.meta.clone(),
        }
    }
}
