//! The status record: what the pusher publishes about itself, for announcers and operators.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::clock::{Clock, until};
use super::peers::Peers;
use super::publisher::Publisher;
use super::status::Status;
use super::supervisor::Supervisor;
use super::write_pace::WritePace;
use crate::model::{Nonce, Prefix, PusherStatus, Released};

/// The published status, and when it was written.
#[derive(Debug)]
pub(super) struct StatusRecord {
    value: PusherStatus,
    /// As it was last written.
    written: Arc<[u8]>,
    pace: WritePace,
    clock: Clock,
}

impl StatusRecord {
    /// Nothing is routed yet.
    pub(super) fn new(prefix: Prefix, nonce: Nonce, since: jiff::Timestamp) -> Self {
        Self {
            value: PusherStatus {
                services: BTreeMap::new(),
                targets: BTreeMap::new(),
                releases: BTreeMap::new(),
                prefix: Some(prefix),
                nonce,
                since,
            },
            written: Arc::new([]),
            pace: WritePace::default(),
            clock: Clock::new(),
        }
    }

    /// Applies the current status; returns the value to write now, if any.
    pub(super) fn update(
        &mut self,
        status: &Status,
        supervisor: &Supervisor,
        peers: &Peers,
    ) -> Option<Arc<[u8]>> {
        if self.pace.due().is_some() {
            return None;
        }
        self.value.services = status.services();
        let balancers = peers.balancers();
        self.value.targets = status.targets(|target| balancers.also_feeding(target));
        supervisor.protect(&mut self.value.targets, &self.clock);
        let value: Arc<[u8]> = self.value.encode().into();
        // Later changes are written together with it.
        if value == self.written || !self.pace.allows(Instant::now()) {
            return None;
        }
        self.written = value.clone();
        Some(value)
    }

    /// Waits until a delayed write is due.
    pub(super) async fn due(&self) {
        until(self.pace.due()).await;
    }

    /// A delayed write is due.
    pub(super) fn pass(&mut self) {
        self.pace.pass();
    }

    /// Applies each release once, and publishes that while the release exists.
    pub(super) fn apply_releases(&mut self, peers: &Peers, supervisor: &mut Supervisor) {
        let mut applied = BTreeMap::new();
        for (upstream, nonce) in peers.releases() {
            let name = upstream.to_string();
            let known = self.value.releases.remove(&name);
            let known = known.filter(|released| released.nonce == *nonce);
            let listened = peers.listened_to(nonce);
            let released = known.unwrap_or_else(|| {
                let publishers = supervisor.publishers_mut();
                let named = publishers
                    .filter(|publisher| listened && publisher.route.upstream == *upstream);
                let servers = named.map(Publisher::release);
                Released {
                    nonce: nonce.clone(),
                    servers: servers.reduce(u64::saturating_add),
                }
            });
            applied.insert(name, released);
        }
        self.value.releases = applied;
    }
}
