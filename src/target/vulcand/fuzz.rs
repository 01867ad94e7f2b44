//! What `tests/fuzz` calls.

use std::sync::Arc;

use super::keys::{self, Place};
use crate::etcd::watch::Entry;
use crate::model::{Prefix, ServiceName};
use crate::target::UpstreamName;
use crate::upstream::protection::Protection;
use crate::upstream::server::{Origins, Servers};
use crate::upstream::state::Desired;

/// The servers that vulcand sends requests to, and what is done about them when nobody wants any. Each line is one value.
#[must_use]
pub fn vulcand_servers(
    prefix: &Prefix,
    backend: &UpstreamName,
    service: &ServiceName,
    lines: &[u8],
) -> [Vec<String>; 2] {
    let place = Place::new(prefix, backend);
    let values = lines.split(|byte| *byte == b'\n').enumerate();
    let entries = values.map(|(number, value)| Entry {
        key: format!("{}servers/{number}", place.range).into_bytes(),
        value: value.to_vec(),
        mod_revision: 7,
        lease: 0,
    });
    let entries: Vec<_> = entries.collect();
    let serving = keys::serving(&place, &entries);
    let nobody = Desired {
        service: service.clone(),
        revision: 1,
        overrides: 0,
        servers: Servers::new(),
        origins: Origins::new(),
        instances: Arc::default(),
        protection: Protection::default(),
    };
    let moves = keys::moves(&place, super::Scheme::default(), &nobody, &entries);
    let steps = moves.iter().flat_map(|step| &step.steps);
    [
        serving.iter().map(ToString::to_string).collect(),
        steps.map(ToString::to_string).collect(),
    ]
}
