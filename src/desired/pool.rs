//! What one upstream takes of the records of its service.

use std::sync::Arc;

use super::{Desired, Origin, Origins, Parameters, Records, Server, Servers};
use crate::record::{InstanceName, Protocol, Record, ServiceName};

/// Which records an upstream takes, and what it makes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Records of this protocol are taken. UDP has no place in an http upstream.
    pub protocol: Protocol,
    /// What the servers are told besides their addresses and weights.
    pub parameters: Parameters,
}

/// One upstream, as far as the records decide it.
#[derive(Debug)]
pub struct Pool {
    service: ServiceName,
    selection: Selection,
}

impl Pool {
    /// The upstream that takes `selection` of `service`.
    #[must_use]
    pub fn new(service: ServiceName, selection: Selection) -> Self {
        Self { service, selection }
    }

    /// The service that it takes.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// What the upstream should be now; `None` before the first whole listing.
    #[must_use]
    pub fn desired(&self, records: &Records) -> Option<Desired> {
        let known = records.service(&self.service)?;
        let taken = known
            .records()
            .filter(|(_, record)| record.protocol == self.selection.protocol);
        let (servers, origins) = fold(taken, self.selection.parameters);
        Some(Desired {
            service: self.service.clone(),
            revision: known.revision(),
            servers,
            origins,
        })
    }
}

/// Folds records into servers: one for each address.
fn fold<'a>(
    records: impl Iterator<Item = (&'a InstanceName, &'a Record)>,
    parameters: Parameters,
) -> (Servers, Origins) {
    let (mut servers, mut origins) = (Servers::new(), Origins::new());
    for (instance, record) in records {
        let server = Server::of(record, parameters);
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
    fn of(instance: &InstanceName, record: &Record) -> Self {
        Self {
            instance: instance.clone(),
            version: record.version.clone(),
            tags: record.tags.clone(),
            meta: record.meta.clone(),
        }
    }
}
