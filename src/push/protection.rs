//! Watches the servers that are protected without a record.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::clock::until;
use super::liveness::Liveness;
use super::publisher::Publisher;
use super::supervisor::Supervisor;
use crate::model::Endpoint;

/// Probes them, and waits for the end of their time.
#[derive(Debug)]
pub(super) struct Protection {
    liveness: Liveness,
    dead: mpsc::UnboundedReceiver<Endpoint>,
    /// When a decision changes without another event.
    due: Option<Instant>,
}

/// An event of protected servers.
#[derive(Debug)]
pub(super) enum ProtectionEvent {
    /// The server is dead.
    Dead(Endpoint),
    /// The time of some is over.
    Due,
}

impl ProtectionEvent {
    /// Lets every upstream decide what happens to its protected servers.
    pub(super) fn decide(&self, supervisor: &mut Supervisor) {
        let now = Instant::now();
        for publisher in supervisor.publishers_mut() {
            match self {
                Self::Dead(endpoint) => publisher.dead(endpoint),
                Self::Due => publisher.pass(now),
            }
        }
    }
}

impl Protection {
    /// Nothing is protected yet.
    pub(super) fn new() -> Self {
        let (liveness, dead) = Liveness::new();
        Self {
            liveness,
            dead,
            due: None,
        }
    }

    /// From now on watches the servers that the publishers protect now.
    pub(super) fn watch(&mut self, supervisor: &Supervisor) {
        let publishers = || supervisor.publishers();
        self.due = publishers().filter_map(Publisher::due).min();
        let candidates = publishers().flat_map(Publisher::candidates);
        let candidates: BTreeSet<_> = candidates.cloned().collect();
        let others = match candidates.is_empty() {
            true => BTreeSet::new(),
            false => publishers().flat_map(Publisher::servers).collect(),
        };
        self.liveness.watch(&candidates, &others);
    }

    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&mut self) -> ProtectionEvent {
        tokio::select! {
            Some(endpoint) = self.dead.recv() => ProtectionEvent::Dead(endpoint),
            () = until(self.due) => ProtectionEvent::Due,
        }
    }
}
