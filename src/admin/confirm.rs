//! Waits until every load balancer has confirmed a change.

use std::time::Duration;

use tokio::time::timeout;

use super::Place;
use super::follow::{pusher_ranges, why_silent};
use crate::etcd::pushers;
use crate::etcd::pushers::{Leaving, Pushers, Revision};
use crate::model::{InstanceId, ServiceName};
use crate::util::shutdown::Stop;

/// What to wait for.
#[derive(Debug, Clone, Copy)]
pub enum Awaited<'a> {
    /// Load balancers let go of an instance that has been leaving since this revision.
    Leaving(&'a InstanceId, i64),
    /// They follow the split and the holds of a service as of this revision.
    Overrides(&'a ServiceName, i64),
}

/// How the wait for the pushers ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Every load balancer has answered: it has applied the change, or says why it still routes.
    Answered(Leaving),
    /// No load balancer routes the service, for this reason: there is nothing to wait for.
    NoPusher(String),
    /// It timed out before all had answered.
    NotBy(Leaving),
    /// It timed out before etcd listed the pushers; why, if that can be found out.
    Unknown(Option<String>),
    /// A second signal ended the wait.
    Stopped,
}

impl Awaited<'_> {
    fn service(&self) -> &ServiceName {
        match self {
            Awaited::Leaving(id, _) => &id.service,
            Awaited::Overrides(service, _) => service,
        }
    }

    fn progress(&self, place: &Place, pushers: &Pushers) -> Leaving {
        match *self {
            Awaited::Leaving(id, revision) => pushers.leaving(&place.prefix, id, revision),
            Awaited::Overrides(service, revision) => Leaving {
                applied: pushers.applied(&place.prefix, service, Revision::Overrides(revision)),
                still: Vec::new(),
            },
        }
    }
}

/// Waits until every load balancer that routes the service has answered, at most `within`, and not after the first
/// request to stop. Calls `tell` with every change of the progress.
pub async fn confirm(
    place: &Place,
    awaited: Awaited<'_>,
    within: Duration,
    stop: &mut Stop,
    tell: &mut dyn FnMut(&Leaving),
) -> Confirmation {
    let mut pushers = pushers::Watch::new(place.cluster.clone(), place.meta.clone());
    let mut last = Confirmation::Unknown(None);
    let waiting = async {
        loop {
            if let Some(pushers) = pushers.listed() {
                let progress = awaited.progress(place, pushers);
                if progress.applied.is_nobody() && progress.still.is_empty() {
                    return Confirmation::NoPusher(progress.applied.nobody(awaited.service()));
                }
                if progress.is_answered() {
                    return Confirmation::Answered(progress);
                }
                tell(&progress);
                last = Confirmation::NotBy(progress);
            }
            pushers.changed().await;
        }
    };
    let confirmation = tokio::select! {
        biased;
        confirmation = timeout(within, waiting) => confirmation.ok(),
        () = stop.leave() => Some(Confirmation::Stopped),
    };
    match confirmation.unwrap_or(last) {
        Confirmation::Unknown(_) => {
            let why = why_silent(place, &pusher_ranges(place)).await;
            Confirmation::Unknown(why.map(|error| error.to_string()))
        }
        confirmation => confirmation,
    }
}
