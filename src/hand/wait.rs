//! Waiting until instances are announced, routed or gone. Watches, and never polls.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::Place;
use super::follow::Follow;
use super::roster::{Roster, takes_traffic};
use crate::record::{InstanceName, ServiceName, State};
use crate::registry::pushers::{self, Applied, Revision};

/// etcd is given so long to tell how it stands now, however short the wait is to be.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// So many instances are announced as up.
    Announced,
    /// So many take traffic, and every live pusher that routes the service has applied that.
    Routed,
    /// There is no record.
    Gone,
}

/// Who is waited for, and for what.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Of which service.
    pub service: ServiceName,
    /// Which instance; any where none is named.
    pub instance: Option<InstanceName>,
    /// What for.
    pub goal: Goal,
    /// How many instances.
    pub count: usize,
}

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as wished.
    Reached,
    /// The time was over.
    TooLate {
        /// What was still missing, in words.
        missing: String,
    },
    /// The time was over, and etcd had not told anything.
    Unheard,
}

/// Waits until it is as wished, `within` at most. `tell` hears what is missing, at every change. However short the time,
/// it is looked once.
pub async fn wait(
    place: &Place,
    wish: &Wish,
    within: Duration,
    tell: &mut dyn FnMut(&str),
) -> Outcome {
    let mut follow = Follow::new(place, Some(&wish.service));
    let mut pushers = pushers::Watch::new(place.cluster.clone(), place.meta.clone());
    let routed = wish.goal == Goal::Routed;
    let deadline = Instant::now() + within;
    let heard = async {
        while follow.roster().is_none() {
            follow.next().await;
        }
        while routed && !pushers.has_heard() {
            pushers.changed().await;
        }
    };
    if timeout(within.max(FIRST_WORD), heard).await.is_err() {
        return Outcome::Unheard;
    }
    let mut last = String::new();
    let reached = async {
        loop {
            if let Some(roster) = follow.roster() {
                let applied = |revision| pushers.known().applied(&wish.service, revision);
                match wish.missing(roster, applied) {
                    None => return,
                    Some(missing) if missing == last => {}
                    Some(missing) => {
                        tell(&missing);
                        last = missing;
                    }
                }
            }
            tokio::select! {
                _ = follow.next() => {}
                () = pushers.changed(), if routed => {}
            }
        }
    };
    match timeout_at(deadline, reached).await {
        Ok(()) => Outcome::Reached,
        Err(_) => Outcome::TooLate { missing: last },
    }
}

impl Wish {
    /// What is missing, in words; `None` when nothing is. `applied` says how far the pushers are with a revision.
    fn missing(&self, roster: &Roster, applied: impl Fn(Revision) -> Applied) -> Option<String> {
        let mine = || {
            roster.instances(&self.service).filter(|(id, _, _)| {
                self.instance
                    .as_ref()
                    .is_none_or(|name| id.instance == *name)
            })
        };
        match self.goal {
            Goal::Gone => {
                let left: Vec<_> = mine().map(|(id, _, _)| id.instance.to_string()).collect();
                (!left.is_empty()).then(|| format!("still there: {}", left.join(", ")))
            }
            Goal::Announced => {
                let up = mine().filter(|(_, record, _)| record.value.state == State::Up);
                self.too_few("announced", up.count())
            }
            Goal::Routed => {
                let live = mine().filter(|(_, record, hold)| takes_traffic(&record.value, *hold));
                if let Some(missing) = self.too_few("announced and not held", live.count()) {
                    return Some(missing);
                }
                let newest = roster.newest(&self.service);
                let records = applied(Revision::Records(newest.records));
                let choices = applied(Revision::Choices(newest.choices));
                self.unapplied(&records)
                    .or_else(|| self.unapplied(&choices))
            }
        }
    }

    fn unapplied(&self, applied: &Applied) -> Option<String> {
        match applied {
            Applied::ByAll => None,
            Applied::NoPusher => Some(format!("no live pusher routes {}", self.service)),
            Applied::NotBy(pushers) => {
                let names: Vec<_> = pushers.iter().map(ToString::to_string).collect();
                Some(format!("not yet applied by {}", names.join(", ")))
            }
        }
    }

    fn too_few(&self, what: &str, found: usize) -> Option<String> {
        if found >= self.count {
            return None;
        }
        Some(match &self.instance {
            Some(instance) => format!("{}/{instance} is not {what}", self.service),
            None => format!("{found} of {} of {} {what}", self.count, self.service),
        })
    }
}
