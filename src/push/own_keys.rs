//! The pusher's two keys in etcd: its status record, and the one that outlives it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::balancer_key::BalancerKey;
use super::healed::Healed;
use super::settings::Settings;
use crate::etcd::client::Cluster;
use crate::etcd::lease;
use crate::etcd::lease::{LeaseKeeper, LeaseStatus, Trouble, Wanted};
use crate::model::Nonce;

/// How long leaving waits for the deletion of the status record; otherwise its lease ends it.
const WITHDRAWAL: Duration = Duration::from_secs(2);

/// Keeps both keys.
#[derive(Debug)]
pub(super) struct OwnKeys {
    keeper: LeaseKeeper,
    lease: watch::Receiver<LeaseStatus>,
    healed: Healed,
    balancer: BalancerKey,
}

/// A change of the keys.
#[derive(Debug)]
pub(super) enum KeyEvent {
    /// One of them was written, or is gone.
    Changed,
    /// A newer pusher has them.
    Deposed {
        /// A description of the newer pusher.
        by: Arc<str>,
    },
    /// No task keeps them any more: a bug.
    Ended,
}

impl OwnKeys {
    /// Writes nothing yet.
    pub(super) fn new(
        cluster: &Cluster,
        settings: &Settings,
        nonce: &Nonce,
        since: jiff::Timestamp,
    ) -> Self {
        let key = settings.meta.pusher_key(&settings.id);
        let healed = Healed::new(key.clone());
        let keeper = lease::keep(cluster.clone(), key, nonce.clone(), settings.ttl);
        Self {
            lease: keeper.status(),
            keeper,
            healed,
            balancer: BalancerKey::new(cluster.clone(), settings, nonce.clone(), since),
        }
    }

    /// Waits for a change. Cancel safe.
    pub(super) async fn changed(&mut self) -> KeyEvent {
        tokio::select! {
            changed = self.lease.changed() => if changed.is_err() {
                return KeyEvent::Ended;
            },
            () = self.balancer.changed() => return KeyEvent::Changed,
        }
        self.healed.note(&self.lease.borrow());
        match &*self.lease.borrow() {
            LeaseStatus::Deposed { by } => KeyEvent::Deposed { by: by.clone() },
            _ => KeyEvent::Changed,
        }
    }

    /// Whether the status record is in etcd.
    pub(super) fn has_status_record(&self) -> bool {
        matches!(*self.lease.borrow(), LeaseStatus::Held { .. })
    }

    /// Whether both are in etcd. The balancer key is claimed only after the status record: the newest pusher of an id has
    /// both.
    pub(super) fn both_stand(&mut self) -> bool {
        self.has_status_record() && {
            self.balancer.claim();
            self.balancer.is_held()
        }
    }

    /// Why they are not in etcd.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        match &*self.lease.borrow() {
            LeaseStatus::Pending { error } => error.clone(),
            _ => self.balancer.trouble(),
        }
    }

    /// Why etcd was unreachable for as long as the status record lasts.
    pub(super) fn unheard(&self) -> Option<Trouble> {
        match &*self.lease.borrow() {
            LeaseStatus::Pending { error } => error.clone(),
            _ => None,
        }
    }

    /// Writes the status record.
    pub(super) fn write(&self, value: Arc<[u8]>) {
        self.keeper.set(Wanted::Present(value));
    }

    /// Changes the balancer key.
    pub(super) fn route(&mut self, settings: &Settings) {
        self.balancer.route(settings);
    }

    /// Deletes the status record. The balancer key stays: its load balancers may still send requests.
    pub(super) async fn withdraw(self) {
        self.keeper.withdraw(None, WITHDRAWAL).await;
    }
}
