//! The balancer key, which outlives its pusher: the load balancers that keep routing without it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::healed::Healed;
use super::settings::Settings;
use crate::etcd::client::Cluster;
use crate::etcd::lease;
use crate::etcd::lease::{LeaseKeeper, LeaseStatus, Trouble, Wanted};
use crate::model::{Balancer, Nonce};

/// The pause before the key is taken back from a process that is no longer a pusher of this id: the pusher's own key
/// decides.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps the key, from the first claim on, while the process runs. Dropped, it leaves the key to its lease.
#[derive(Debug)]
pub(super) struct BalancerKey {
    cluster: Cluster,
    key: String,
    nonce: Nonce,
    forget_after: Duration,
    since: jiff::Timestamp,
    value: Arc<[u8]>,
    kept: Option<(LeaseKeeper, watch::Receiver<LeaseStatus>)>,
    healed: Healed,
    /// When to claim it again.
    again: Option<Instant>,
}

impl BalancerKey {
    /// Claims nothing yet.
    pub(super) fn new(
        cluster: Cluster,
        settings: &Settings,
        nonce: Nonce,
        since: jiff::Timestamp,
    ) -> Self {
        let key = settings.meta.balancer_key(&settings.id);
        let mut key = Self {
            cluster,
            healed: Healed::new(key.clone()),
            key,
            nonce,
            forget_after: settings.forget_after,
            since,
            value: Arc::new([]),
            kept: None,
            again: None,
        };
        key.route(settings);
        key
    }

    /// Changes the value.
    pub(super) fn route(&mut self, settings: &Settings) {
        let balancer = Balancer {
            prefix: settings.prefix.clone(),
            services: settings.services(),
            targets: settings.identities(),
            routes: BTreeMap::new(),
            nonce: self.nonce.clone(),
            since: self.since,
        };
        self.value = balancer.feeding(settings.fed()).encode().into();
        if let Some((keeper, _)) = &self.kept {
            keeper.set(Wanted::Present(self.value.clone()));
        }
    }

    /// Keeps the key from now on. Call it when the pusher's own key is held: of two pushers, the newer one has both.
    pub(super) fn claim(&mut self) {
        if self.kept.is_none() && self.again.is_none() {
            let (cluster, key) = (self.cluster.clone(), self.key.clone());
            let keeper = lease::keep(cluster, key, self.nonce.clone(), self.forget_after);
            keeper.set(Wanted::Present(self.value.clone()));
            let lease = keeper.status();
            self.kept = Some((keeper, lease));
        }
    }

    /// Whether etcd has confirmed it.
    pub(super) fn is_held(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|(_, lease)| matches!(*lease.borrow(), LeaseStatus::Held { .. }))
    }

    /// Why etcd has not confirmed it; `None` if it has, or no reason is known.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let (_, lease) = self.kept.as_ref()?;
        match &*lease.borrow() {
            LeaseStatus::Pending { error } => error.clone(),
            _ => None,
        }
    }

    /// Waits for a change. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if let Some(again) = self.again {
            sleep_until(again).await;
            self.again = None;
            self.claim();
        }
        let Some((_, lease)) = &mut self.kept else {
            return std::future::pending().await;
        };
        let ended = lease.changed().await.is_err();
        self.healed.note(&lease.borrow());
        if ended || matches!(*lease.borrow(), LeaseStatus::Deposed { .. }) {
            debug!(key = self.key, "another process has written the key");
            self.kept = None;
            self.again = Some(Instant::now() + AGAIN);
        }
    }
}
