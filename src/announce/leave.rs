//! Leaving in good order: draining, then gone.

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::{Agent, Outcome, Settings, deposed};
use crate::notify::{self, Waiting};
use crate::phase::{Phase, Wish};
use crate::record::{PusherId, State};
use crate::registry::client::CALL_TIMEOUT;
use crate::registry::lease::{Intent, Tenure};
use crate::registry::pushers::{self, Applied, Revision};
use crate::span;
use crate::stop::Stop;

/// How waiting for the pushers ended.
enum Drained {
    /// No pusher sends anything new, and none has a request under way.
    Yes,
    /// There is no pusher to wait for.
    NoPusher,
    /// A newer announcer took the record meanwhile.
    Deposed,
    /// etcd has not said when the record was gone.
    Unknown,
}

impl Agent {
    /// Goes through the steps of leaving. A second request to stop skips all waiting but for etcd's
    /// answer to the deletion.
    pub(super) async fn leave(mut self, mut stop: Stop) -> Outcome {
        let Settings {
            drain_timeout,
            linger,
            ..
        } = self.settings;
        notify::extend_timeout(drain_timeout + linger + 2 * CALL_TIMEOUT);
        self.waiting = None;
        let _waiting = Waiting::to_leave();
        let announced = self.is_announced();
        let goodbye = self.value(State::Draining);
        let can_drain = goodbye != self.value(State::Up);
        self.phase = Phase::Leaving;
        self.prober = None;
        if announced && can_drain {
            notify::status("draining");
            or_hurry(&mut stop, self.drain_and_linger()).await;
        }
        let deleted = self.holder.release(Some(goodbye), CALL_TIMEOUT).await;
        if let Tenure::Deposed { by } = &*self.tenure.borrow() {
            return deposed(&self.settings, by.clone());
        }
        if announced && !can_drain {
            // A plain record cannot say that it drains: its deletion is what starts the draining.
            notify::status("draining");
            let (settings, pushers) = (&self.settings, &mut self.pushers);
            let drained = async |waiting_for: &mut Vec<PusherId>| match deleted {
                Some(revision) => drained(settings, pushers, revision, waiting_for).await,
                None => Drained::Unknown,
            };
            or_hurry(&mut stop, linger_after(settings, drained)).await;
        }
        let fate = if announced {
            "is gone"
        } else {
            "was not announced"
        };
        info!("left: {} {fate}", self.settings.id);
        Outcome::Left
    }

    /// Whether etcd holds a record that somebody may send traffic to.
    fn is_announced(&self) -> bool {
        let wanted = matches!(self.phase.wish(self.settings.on_failure), Wish::Record(_));
        wanted && matches!(*self.tenure.borrow(), Tenure::Held { .. })
    }

    async fn drain_and_linger(&mut self) {
        let value = self.value(State::Draining);
        let (settings, holder, pushers) = (&self.settings, &self.holder, &mut self.pushers);
        let drained = async |waiting_for: &mut Vec<PusherId>| {
            holder.set(Intent::Present(value.clone()));
            let Some(revision) = holder.confirmed(&value).await else {
                return Drained::Deposed;
            };
            info!("{} is draining (etcd revision {revision})", settings.id);
            drained(settings, pushers, revision, waiting_for).await
        };
        linger_after(settings, drained).await;
    }
}

/// Waits until `drained` comes to an end, for as long as draining may take, and lingers.
async fn linger_after(
    settings: &Settings,
    drained: impl AsyncFnOnce(&mut Vec<PusherId>) -> Drained,
) {
    let limit = settings.drain_timeout;
    let started = Instant::now();
    let mut waiting_for = Vec::new();
    let waited = timeout_at(started + limit, drained(&mut waiting_for)).await;
    let id = &settings.id;
    match waited {
        Ok(Drained::Deposed) => return,
        Ok(Drained::Yes) => {
            info!(
                "{id} is drained everywhere after {}",
                span::about(started.elapsed())
            );
        }
        Ok(Drained::NoPusher) => info!("no pusher routes {}: nothing to wait for", id.service),
        Ok(Drained::Unknown) => {}
        Err(_) if limit.is_zero() => {}
        Err(_) => warn!(
            "{id} is not drained after {}: {}",
            span::about(limit),
            hindrance(&waiting_for)
        ),
    }
    sleep(settings.linger).await;
}

/// Waits until every pusher has applied `revision`, from which on the record takes no traffic.
async fn drained(
    settings: &Settings,
    pushers: &mut pushers::Watch,
    revision: i64,
    waiting_for: &mut Vec<PusherId>,
) -> Drained {
    let mut last = Applied::NoPusher;
    let enough = |applied: &Applied| {
        last = applied.clone();
        if let Applied::NotBy(pushers) = applied {
            waiting_for.clone_from(pushers);
        }
        !matches!(applied, Applied::NotBy(_))
    };
    pushers.forget();
    let service = &settings.id.service;
    pushers
        .until(service, Revision::Records(revision), enough)
        .await;
    match last {
        Applied::ByAll => Drained::Yes,
        _ => Drained::NoPusher,
    }
}

/// What draining waited for in vain.
fn hindrance(waiting_for: &[PusherId]) -> String {
    if waiting_for.is_empty() {
        return "etcd did not confirm it".to_owned();
    }
    let names: Vec<_> = waiting_for.iter().map(ToString::to_string).collect();
    format!("not yet applied by {}", names.join(", "))
}

/// Waits for `steps`, or until asked to hurry.
async fn or_hurry(stop: &mut Stop, steps: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stop.hurry() => warn!("asked again to stop: not waiting any longer"),
        () = steps => {}
    }
}
