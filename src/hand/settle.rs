//! Waiting until every load balancer has let go, or has taken up, what was changed.

use std::time::Duration;

use tokio::time::timeout;

use super::Place;
use crate::record::{PusherId, ServiceName};
use crate::registry::pushers::{self, Applied, Revision};
use crate::stop::Stop;

/// How the wait for the pushers ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// All that route the service have applied the change.
    ByAll {
        /// How many.
        pushers: usize,
    },
    /// No live pusher routes the service: there is nothing to wait for.
    NoPusher,
    /// The time was over, and these have not.
    NotBy(Vec<PusherId>),
    /// The time was over, and etcd has not told which pushers there are.
    Unknown,
    /// Somebody asked not to wait any longer.
    Hurried,
}

/// How far a wait is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How many pushers have applied the change.
    pub applied: usize,
    /// How many route the service.
    pub of: usize,
    /// Those that are waited for.
    pub waiting_for: Vec<PusherId>,
}

/// Waits until all pushers that route `service` have applied `revision`, `within` at most, and not after the first request
/// to stop. `tell` hears how far it is, at every change.
pub async fn settle(
    place: &Place,
    service: &ServiceName,
    revision: Revision,
    within: Duration,
    stop: &mut Stop,
    tell: &mut dyn FnMut(&Progress),
) -> Settled {
    let mut pushers = pushers::Watch::new(place.cluster.clone(), place.meta.clone());
    let mut last = Settled::Unknown;
    let waiting = async {
        loop {
            let of = pushers.known().routing(service);
            match pushers.applied(service, revision) {
                None => {}
                Some(Applied::NoPusher) => return Settled::NoPusher,
                Some(Applied::ByAll) => return Settled::ByAll { pushers: of },
                Some(Applied::NotBy(waiting_for)) => {
                    let applied = of - waiting_for.len();
                    last = Settled::NotBy(waiting_for.clone());
                    tell(&Progress {
                        applied,
                        of,
                        waiting_for,
                    });
                }
            }
            pushers.changed().await;
        }
    };
    let settled = tokio::select! {
        biased;
        settled = timeout(within, waiting) => settled.ok(),
        () = stop.leave() => Some(Settled::Hurried),
    };
    settled.unwrap_or(last)
}
