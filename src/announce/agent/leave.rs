//! Leaving gracefully: draining, then gone.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::adopt::LeftBehind;
use super::{Agent, deposed, report};
use crate::announce::phase::{Phase, Wish};
use crate::announce::settings::{Outcome, Settings};
use crate::etcd::client::CALL_TIMEOUT;
use crate::etcd::lease::{Confirmed, LeaseStatus, Wanted, Withdrawn};
use crate::etcd::pushers;
use crate::etcd::pushers::{Doubt, Leaving};
use crate::model::State;
use crate::systemd::notify;
use crate::systemd::notify::Waiting;
use crate::util::duration;
use crate::util::last_state;
use crate::util::log_limit;
use crate::util::log_limit::limited;
use crate::util::shutdown::Stop;

/// How long leaving waits for etcd to confirm the deletion: long enough for two silent members.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(5);

/// What is missing where the pushers could not be read.
const UNTOLD: &str = "etcd does not tell which pushers there are; the log says why, and `sidekick roles` which rights that needs";

/// How the wait for the pushers ended.
enum Drained {
    /// Every pusher has answered: it sends no new requests and has none in flight, or says why it still routes.
    Answered(Leaving),
    /// A newer announcer took the record in the meantime.
    Deposed,
    /// etcd has not confirmed the deletion, or had no space for the withdrawal notice.
    Unknown,
}

impl Agent {
    /// Leaves step by step. A second request to stop skips all waiting except for etcd's
    /// answer to the deletion.
    pub(in crate::announce) async fn leave(mut self, mut stop: Stop) -> Outcome {
        let Settings {
            drain_timeout,
            linger,
            ..
        } = self.settings;
        notify::extend_timeout(drain_timeout + linger + WITHDRAW_TIMEOUT + CALL_TIMEOUT);
        self.waiting = None;
        let _waiting = Waiting::to_leave();
        // A leftover record gets traffic too.
        let announced = self.is_announced() || self.left_behind == LeftBehind::Record;
        let notice = self.value(State::Draining);
        let can_drain = notice != self.value(State::Up);
        self.phase = Phase::Leaving;
        self.probe_task = None;
        if announced && can_drain {
            notify::status("draining");
            or_forced(&mut stop, self.drain_and_linger()).await;
        }
        let unconfirmed = self.lease.borrow().error();
        let withdrawn = self.keeper.withdraw(Some(notice), WITHDRAW_TIMEOUT).await;
        if let LeaseStatus::Deposed { by } = &*self.lease.borrow() {
            if self.is_replaced {
                info!("{} has a new lease", self.settings.id);
                return Outcome::Left;
            }
            return deposed(&self.settings, by.clone());
        }
        if announced && !can_drain {
            // A plain record has no state: its deletion starts the draining.
            notify::status("draining");
            let (settings, lease, pushers) = (&self.settings, &self.lease, &mut self.pushers);
            let drained = async |last: &mut Option<Leaving>| match withdrawn.revision() {
                Some(revision) => drained(settings, pushers, revision, last).await,
                None => Drained::Unknown,
            };
            or_forced(&mut stop, linger_after(settings, lease, drained)).await;
        }
        let id = &self.settings.id;
        let ours = matches!(withdrawn, Withdrawn::Gone(Some(_)));
        let former = match self.left_behind {
            LeftBehind::Unknown => {
                "; if an announcer before this one has left a record, it goes when its lease ends"
            }
            _ => "",
        };
        report::forget(id);
        match withdrawn {
            Withdrawn::Gone(_) if self.left_behind == LeftBehind::Record && !ours => warn!(
                "etcd has not confirmed that the record of {id}, from an announcer before this one, is gone; if it is still \
                there, it goes when its lease ends"
            ),
            Withdrawn::Gone(deleted) if announced || deleted.is_some() => {
                info!("withdrawn: the record of {id} is gone");
            }
            // Another record has replaced it.
            Withdrawn::Gone(_) if self.is_replaced => {}
            Withdrawn::Gone(_) => match unconfirmed {
                Some(why) => warn!("stopped; {id} was not announced: {why}{former}"),
                None => info!("stopped; {id} was not announced{former}"),
            },
            Withdrawn::Unconfirmed {
                within,
                why,
                answers,
            } => warn!(
                "etcd has not confirmed that {id} is gone{}; if it is still there, it goes when its lease ends, \
                within {}{}",
                why.map(|why| format!(" ({why})")).unwrap_or_default(),
                duration::show(within),
                // A lease ends only while etcd has a leader, and a new leader restarts its time.
                if answers {
                    ""
                } else {
                    " after etcd works again"
                }
            ),
        }
        Outcome::Left
    }

    /// Whether etcd has, or may have, a record that load balancers may send traffic to.
    fn is_announced(&self) -> bool {
        let wanted = matches!(self.phase.wish(self.settings.on_failure), Wish::Record(_));
        wanted
            && match *self.lease.borrow() {
                LeaseStatus::Held { .. } => true,
                // The pushers keep what they have while etcd is away.
                LeaseStatus::Pending { .. } => self.may_stand,
                _ => false,
            }
    }

    async fn drain_and_linger(&mut self) {
        let value = self.value(State::Draining);
        let (settings, keeper, pushers) = (&self.settings, &self.keeper, &mut self.pushers);
        let lease = &self.lease;
        let drained = async |last: &mut Option<Leaving>| {
            keeper.set(Wanted::PresentOrAbsent(value.clone()));
            let revision = match keeper.confirmed(&value).await {
                Confirmed::At(revision) => revision,
                Confirmed::Deposed => return Drained::Deposed,
                Confirmed::Deleted(deleted) => {
                    keeper.set(Wanted::Absent { notice: None });
                    warn!(
                        "{} was deleted without draining, as etcd has no room: a load balancer that protects it may send \
                        requests for a while",
                        settings.id
                    );
                    if let Some(revision) = deleted {
                        drained(settings, pushers, revision, last).await;
                    }
                    return Drained::Unknown;
                }
            };
            let id = settings.id.to_string();
            let text = format!("{id} is draining (etcd revision {revision})");
            last_state::tell("draining", &id, text);
            drained(settings, pushers, revision, last).await
        };
        linger_after(settings, lease, drained).await;
    }
}

/// Waits for `drained`, at most --drain-timeout, and lingers.
async fn linger_after(
    settings: &Settings,
    lease: &watch::Receiver<LeaseStatus>,
    drained: impl AsyncFnOnce(&mut Option<Leaving>) -> Drained,
) {
    let limit = settings.drain_timeout;
    let started = Instant::now();
    let mut last = None;
    let waited = timeout_at(started + limit, drained(&mut last)).await;
    let id = &settings.id;
    match waited {
        Ok(Drained::Deposed) => return,
        Ok(Drained::Answered(leaving)) => match leaving.still() {
            None if leaving.applied.is_nobody() => {
                let nobody = leaving.applied.nobody(&id.service);
                info!("{nobody}: nothing to wait for");
            }
            None => {
                let took = duration::show(started.elapsed());
                let doubt = leaving.applied.doubt();
                info!("{id} is drained everywhere after {took}{doubt}");
            }
            Some(still) => warn!("{id} is not drained: {still}"),
        },
        Ok(Drained::Unknown) => {}
        Err(_) if limit.is_zero() => {}
        Err(_) => {
            let missing = match (&last, lease.borrow().error()) {
                (None, Some(why)) => format!("etcd did not confirm it ({why})"),
                (None, None) => "etcd did not confirm it".to_owned(),
                (Some(leaving), _) => leaving
                    .missing(Doubt::StillSends)
                    .unwrap_or_else(|| UNTOLD.to_owned()),
            };
            warn!(
                "{id} is not drained after {}: {missing}",
                duration::show(limit)
            );
        }
    }
    sleep(settings.linger).await;
}

/// Waits until every pusher has answered to `revision`, from which on the record gets no traffic.
async fn drained(
    settings: &Settings,
    pushers: &mut pushers::Watch,
    revision: i64,
    last: &mut Option<Leaving>,
) -> Drained {
    pushers.forget();
    // From here on etcd has confirmed it; what is missing is the pushers' word.
    last.get_or_insert_default();
    let Settings { prefix, id, .. } = settings;
    let answered = |pushers: &pushers::Pushers| {
        let leaving = pushers.leaving(prefix, id, revision);
        let silent = |leaving: &Leaving| leaving.applied.unknown.clone();
        if !leaving.applied.unknown.is_empty()
            && last.as_ref().map(silent) != Some(silent(&leaving))
        {
            let missing = leaving.missing(Doubt::StillSends).unwrap_or_default();
            if let Some(more) = log_limit::allows("waits", id.to_string()) {
                info!("{id} waits: {missing}{more}");
            }
            notify::status(&format!("draining: {missing}"));
        }
        last.insert(leaving).is_answered()
    };
    pushers.until_so(answered).await;
    Drained::Answered(last.take().unwrap_or_default())
}

/// Waits for `steps`, or until a forced shutdown.
async fn or_forced(stop: &mut Stop, steps: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stop.forced() => {
            let why = stop.why_forced();
            limited!(warn, "forced", &why, "{why}");
        }
        () = steps => {}
    }
}
