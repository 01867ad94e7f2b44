//! The former image's record, if this image has another key, address or lease.

use std::pin::Pin;
use std::time::Duration;

use tracing::info;

use super::Agent;
use crate::announce::phase::Wish;
use crate::announce::settings::{Outcome, Settings};
use crate::etcd::client::Cluster;
use crate::etcd::lease::LeaseStatus;
use crate::etcd::pushers;
use crate::util::shutdown::Stop;

/// A record that goes as soon as its replacement is in etcd.
pub(super) enum Former {
    /// It is in etcd, and its lease is renewed.
    Stands(Box<Agent>),
    /// It is being withdrawn.
    Leaves(Pin<Box<dyn Future<Output = Outcome>>>),
}

impl Former {
    /// Waits until it is gone. Cancel safe.
    pub(super) async fn left(former: &mut Option<Self>) {
        match former {
            Some(Self::Leaves(leaving)) => drop(leaving.await),
            _ => std::future::pending().await,
        }
    }

    /// Leaves gracefully; `replaced` if another record has taken its place.
    fn leave(self, stop: &Stop, replaced: bool) -> Pin<Box<dyn Future<Output = Outcome>>> {
        match self {
            Self::Stands(mut agent) => {
                if replaced && agent.same_readers {
                    // Every pusher that routes one record routes the other.
                    agent.settings.drain_timeout = Duration::ZERO;
                    agent.settings.linger = Duration::ZERO;
                }
                Box::pin(agent.leave(stop.clone()))
            }
            Self::Leaves(leaving) => leaving,
        }
    }
}

impl Agent {
    /// Applies new settings to the former image's agent. If lease and key stay the same, it continues. If not, the new
    /// record is written before the old one is withdrawn, unless the address changed: then the old one goes first, as in
    /// a restart.
    pub(in crate::announce) async fn go_on(
        mut self: Box<Self>,
        settings: Settings,
        cluster: Cluster,
        stop: &Stop,
    ) -> Self {
        let (old, new) = (&self.settings, &settings);
        let same_backend = old.record.endpoint == new.record.endpoint
            && old.record.protocol == new.record.protocol;
        if !same_backend {
            info!(
                "{}: the address changed to {}/{}; draining the old record first",
                old.id,
                new.record.endpoint,
                new.record.protocol.as_str()
            );
            self.leave(stop.clone()).await;
            return Self::new(settings, cluster);
        }
        let same_readers = old.id.service == new.id.service
            && old.prefix == new.prefix
            && self.cluster.settings() == cluster.settings();
        if same_readers && old.id == new.id && old.ttl == new.ttl {
            return self.with_settings(settings);
        }
        let mut agent = Self::new(settings, cluster);
        agent.settings.record.since = self.settings.record.since;
        agent.gate = self.gate.clone();
        agent.gate.tune(agent.settings.rise, agent.settings.fall);
        agent.phase = self.phase;
        agent.reason = self.reason.clone();
        std::mem::swap(&mut agent.readiness, &mut self.readiness);
        self.is_replaced = true;
        self.same_readers = same_readers;
        agent.former = Some(Former::Stands(self));
        agent
    }

    /// The same agent with new settings: the record keeps its nonce and its time.
    fn with_settings(mut self: Box<Self>, mut settings: Settings) -> Self {
        let old = &self.settings.record;
        settings.record.nonce = old.nonce.clone();
        settings.record.since = old.since;
        self.gate.tune(settings.rise, settings.fall);
        self.pushers = pushers::Watch::new(self.cluster.clone(), settings.meta.clone());
        self.settings = settings;
        *self
    }

    /// The old record goes when the new one is in etcd, or when there should be none.
    pub(super) fn former_may_leave(&mut self, stop: &Stop) {
        let wanted = matches!(self.phase.wish(self.settings.on_failure), Wish::Record(_));
        let stands = self.stands();
        if matches!(self.former, Some(Former::Stands(_)))
            && (stands || !wanted)
            && let Some(former) = self.former.take()
        {
            self.former = Some(Former::Leaves(former.leave(stop, stands)));
        }
    }

    fn stands(&self) -> bool {
        matches!(*self.lease.borrow(), LeaseStatus::Held { .. })
    }

    /// Leaves gracefully, with both records.
    pub(super) async fn leave_with_former(mut self, stop: Stop) -> Outcome {
        match self.former.take() {
            None => self.leave(stop).await,
            Some(former) => {
                // If both leave, nothing replaces it.
                let former = former.leave(&stop, false);
                tokio::join!(self.leave(stop), former).0
            }
        }
    }
}
