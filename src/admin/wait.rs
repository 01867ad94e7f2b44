//! Waits until instances are announced, routed or gone. Watches, and never polls.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::Place;
use super::follow::{self, Follow};
use super::overview::{Held, Overview, takes_traffic};
use crate::etcd::Error;
use crate::etcd::history::{Past, changes_after};
use crate::etcd::oneshot::patiently;
use crate::etcd::pushers;
use crate::etcd::pushers::{Applied, Doubt, Pushers, Revision, joined};
use crate::etcd::range::Range;
use crate::model::{InstanceId, InstanceName, Prefix, Record, ServiceName, State};
use crate::util::sanitize::short;

/// The least time for the first answer of etcd, however short the wait is.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// This many instances are announced as up.
    Announced,
    /// This many take traffic, and every load balancer of the service has applied that and routes them.
    Routed,
    /// There is no record, and no load balancer sends requests.
    Gone,
}

/// What to wait for, and for which instances.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The service.
    pub service: ServiceName,
    /// The instance; any by default.
    pub instance: Option<InstanceName>,
    /// The goal.
    pub goal: Goal,
    /// How many instances.
    pub count: usize,
    /// Asks only live pushers; load balancers whose pusher is silent do not count.
    pub live_only: bool,
}

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The goal is reached.
    Reached,
    /// It timed out.
    TooLate {
        /// What was missing.
        missing: String,
    },
    /// It timed out before etcd had answered; why, if that can be found out.
    Unheard(Option<String>),
    /// It timed out, and etcd refuses to tell the records, for this reason.
    Refused(String),
}

/// Waits for the goal, at most `within`. Calls `tell` with what is missing, at every change. However short the time,
/// it looks once.
pub async fn wait(
    place: &Place,
    wish: &Wish,
    within: Duration,
    tell: &mut dyn FnMut(&str),
) -> Outcome {
    let mut picture = Follow::new(place, Some(&wish.service));
    let mut pushers = pushers::Watch::new(place.cluster.clone(), place.meta.clone());
    let asks_pushers = wish.goal != Goal::Announced;
    let mut deleted = Deleted::default();
    let deadline = Instant::now() + within;
    let heard = async {
        while picture.overview().is_none() {
            picture.next().await;
        }
        while asks_pushers && pushers.listed().is_none() {
            pushers.changed().await;
        }
        deleted.look(place, wish, pushers.known()).await;
    };
    if timeout(within.max(FIRST_WORD), heard).await.is_err() {
        let mut ranges = follow::ranges(place, Some(&wish.service)).to_vec();
        ranges.extend(
            follow::pusher_ranges(place)
                .into_iter()
                .filter(|_| asks_pushers),
        );
        return match follow::why_silent(place, &ranges).await {
            Some(error) if !error.is_unanswered() => Outcome::Refused(error.to_string()),
            why => Outcome::Unheard(why.map(|error| error.to_string())),
        };
    }
    let mut last = String::new();
    let reached = async {
        loop {
            // A pusher that was frozen resumes with the state that it had applied.
            deleted.look(place, wish, pushers.known()).await;
            if let Some(overview) = picture.overview() {
                match wish.missing(overview, &deleted, &place.prefix, pushers.known()) {
                    None => return,
                    Some(missing) if missing == last => {}
                    Some(missing) => {
                        tell(&missing);
                        last = missing;
                    }
                }
            }
            tokio::select! {
                _ = picture.next() => {}
                () = pushers.changed(), if asks_pushers => {}
            }
        }
    };
    match timeout_at(deadline, reached).await {
        Ok(()) => Outcome::Reached,
        Err(_) => Outcome::TooLate { missing: last },
    }
}

/// Whether records of the service were deleted before the first listing, which does not show them.
#[derive(Debug, Default)]
enum Deleted {
    /// Not looked up yet, or every pusher must know of them.
    #[default]
    Unasked,
    /// Its result.
    Known(Past),
    /// etcd did not answer, for this reason.
    Unknown(Error),
}

impl Deleted {
    /// Looks as far back as any pusher may be. What etcd has compacted was deleted long before, because it keeps the
    /// history of the last minutes: a live pusher has received it since, or was notified of the gap.
    async fn look(&mut self, place: &Place, wish: &Wish, pushers: &Pushers) {
        let oldest = pushers.oldest_applied(&place.prefix, &wish.service);
        let Some(oldest) = oldest.filter(|_| wish.goal == Goal::Gone) else {
            return;
        };
        if matches!(self, Self::Known(past) if past.asked_after <= oldest) {
            return;
        }
        let range = place.prefix.service_range(Some(&wish.service));
        let range = Range::Prefix(range.into_bytes());
        let looking = patiently(&place.cluster, place.patience, async |connection| {
            changes_after(connection, &range, oldest).await
        });
        *self = match looking.await {
            Ok(past) => Self::Known(past),
            Err(error) => Self::Unknown(error),
        };
    }

    /// The revision of the newest change; 0 for none.
    fn newest(&self) -> i64 {
        match self {
            Self::Known(past) => past.newest,
            Self::Unasked | Self::Unknown(_) => 0,
        }
    }
}

impl Wish {
    /// What is missing; `None` if the goal is reached.
    fn missing(
        &self,
        overview: &Overview,
        deleted: &Deleted,
        prefix: &Prefix,
        pushers: &Pushers,
    ) -> Option<String> {
        let mine = || {
            let all = overview.instances(&self.service);
            all.filter(|(id, _, _)| self.names(&id.instance))
        };
        match self.goal {
            Goal::Gone => {
                let left: Vec<_> = mine().map(|(id, _, _)| id.instance.to_string()).collect();
                if !left.is_empty() {
                    return Some(format!("still there: {}", left.join(", ")));
                }
                if let Deleted::Unknown(error) = deleted {
                    return Some(format!("what was deleted before is not known: {error}"));
                }
                // Pushers without a status have not seen the deletion.
                let newest = overview.newest(&self.service).records;
                let newest = newest.max(deleted.newest()).max(1);
                self.not_let_go(newest, prefix, pushers)
            }
            Goal::Announced => {
                let up = mine().filter(|(_, record, _)| record.value.state == State::Up);
                let others = mine().filter_map(|(id, record, _)| {
                    let why = state_in_words(record.value)?;
                    Some(format!("{id} is announced, but {why}"))
                });
                self.too_few("are announced", up.count(), others)
            }
            Goal::Routed => {
                let live =
                    mine().filter(|(_, record, hold)| takes_traffic(record.value, hold.as_ref()));
                let live: Vec<_> = live.map(|(id, _, _)| id).collect();
                let none = if self.instance.is_some() {
                    "no traffic"
                } else {
                    "none"
                };
                let others = mine().filter_map(|(id, record, hold)| {
                    let why = why_idle(record.value, hold.as_ref())?;
                    Some(format!("{id} is to take {none}: {why}"))
                });
                let missing = self.too_few("can take traffic", live.len(), others);
                if missing.is_some() {
                    return missing;
                }
                let newest = overview.newest(&self.service);
                let applied = |revision| self.applied(prefix, pushers, revision);
                self.unapplied(&applied(Revision::Records(newest.records)))
                    .or_else(|| self.unapplied(&applied(Revision::Overrides(newest.overrides))))
                    .or_else(|| self.not_routed(&live, prefix, pushers))
            }
        }
    }

    fn names(&self, instance: &InstanceName) -> bool {
        let meant = self.instance.as_ref();
        meant.is_none_or(|name| name.means(instance))
    }

    fn applied(&self, prefix: &Prefix, pushers: &Pushers, revision: Revision) -> Applied {
        let applied = pushers.applied(prefix, &self.service, revision);
        if self.live_only {
            applied.of_the_live()
        } else {
            applied
        }
    }

    /// Which load balancers may still send requests to instances without a record since `newest` at the latest.
    fn not_let_go(&self, newest: i64, prefix: &Prefix, pushers: &Pushers) -> Option<String> {
        let applied = self.applied(prefix, pushers, Revision::Records(newest));
        let still = pushers.still_routed(prefix, &self.service);
        let said = still.iter().filter_map(|(name, it)| {
            let (service, pusher, reason) = (&self.service, &it.pusher, &it.reason);
            match name {
                Some(name) if self.names(name) => Some(format!(
                    "{service}/{name} is still routed by {pusher}: {reason}"
                )),
                None => Some(format!(
                    "whether {pusher} still routes it is not known: {reason}"
                )),
                Some(_) => None,
            }
        });
        let missing = applied.missing(Doubt::StillSends);
        joined(missing.into_iter().chain(said))
    }

    /// Why too few of these are routed by every pusher.
    fn not_routed(
        &self,
        live: &[&InstanceId],
        prefix: &Prefix,
        pushers: &Pushers,
    ) -> Option<String> {
        let mut routed = 0;
        let mut obstacles = Vec::new();
        for id in live {
            let answer = pushers.routed(prefix, id, 0);
            let before = obstacles.len();
            for it in answer.refused.iter().chain(&answer.withheld) {
                obstacles.push(format!(
                    "{id} is not routed by {}: {}",
                    it.pusher, it.reason
                ));
            }
            routed += usize::from(obstacles.len() == before);
        }
        if routed >= self.count {
            return None;
        }
        joined(obstacles)
    }

    fn unapplied(&self, applied: &Applied) -> Option<String> {
        let nobody = applied.by.is_empty() && applied.not_by.is_empty();
        let nobody = nobody.then(|| applied.nobody(&self.service));
        let retired_by = |id| {
            format!(
                "if the load balancer of {id} is gone for good: sidekick push --retire --id {id}"
            )
        };
        let retire = applied.unknown.iter().map(retired_by);
        let missing = applied.missing(Doubt::Unaware);
        joined(nobody.into_iter().chain(missing).chain(retire))
    }

    /// What is missing if fewer than wanted were `found`; `others` say why the rest does not count.
    fn too_few(
        &self,
        what: &str,
        found: usize,
        others: impl Iterator<Item = String>,
    ) -> Option<String> {
        let Self { service, count, .. } = self;
        if found >= *count {
            return None;
        }
        match &self.instance {
            Some(instance) => {
                joined(others).or_else(|| Some(format!("{service}/{instance} is not announced")))
            }
            None => {
                let counted = format!("{found} of {count} wanted instances of {service} {what}");
                joined(std::iter::once(counted).chain(others))
            }
        }
    }
}

/// Why a record does not count as up; `None` if it does.
fn state_in_words(record: &Record) -> Option<&'static str> {
    match record.state {
        State::Up => None,
        State::Draining => Some("it is draining"),
        State::Down => Some("it is down"),
    }
}

/// Why an instance takes no traffic; `None` if it does.
fn why_idle(record: &Record, hold: Option<&Held>) -> Option<String> {
    if takes_traffic(record, hold) {
        return None;
    }
    let held = hold.map(|held| match &held.hold {
        Ok(hold) => format!("it is held ({})", short(&hold.reason)),
        Err(_) => "it is held (the hold is quarantined)".to_owned(),
    });
    let state = state_in_words(record).map(str::to_owned);
    Some(
        state
            .or(held)
            .unwrap_or_else(|| "its weight is 0".to_owned()),
    )
}
