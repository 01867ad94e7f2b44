//! Since when records name their servers.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::model::Endpoint;
use crate::upstream::state::Desired;

#[derive(Debug, Clone, Default)]
pub(super) struct Named(BTreeMap<Endpoint, Instant>);

impl Named {
    /// The records name these servers now.
    pub(super) fn follow(&mut self, wanted: &Desired, now: Instant) {
        self.0
            .retain(|endpoint, _| wanted.servers.contains_key(endpoint));
        for endpoint in wanted.servers.keys() {
            if !self.0.contains_key(endpoint) {
                self.0.insert(endpoint.clone(), now);
            }
        }
    }

    /// Since when records name this server, if they do.
    pub(super) fn since(&self, endpoint: &Endpoint) -> Option<Instant> {
        self.0.get(endpoint).copied()
    }
}
