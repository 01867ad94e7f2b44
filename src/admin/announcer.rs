//! Whether a process keeps a record as it is, so that it would undo what is done to it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Place;
use crate::etcd::Error;
use crate::etcd::oneshot::{TimeLeft, is_by_hand, patiently, time_left};
use crate::etcd::ownership::Claimant;
use crate::etcd::watch::Entry;

/// How long a lease is looked at, at most, to see whether somebody renews it. One that lasts so long that this is not enough
/// is taken for a living one.
const LOOK: Duration = Duration::from_secs(30);
/// Between two looks. etcd tells whole seconds.
const PAUSE: Duration = Duration::from_millis(250);
/// etcd rounds what is left of a lease down, and a renewal takes a moment.
const SLACK: Duration = Duration::from_millis(1_500);

/// A process that may keep a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keeper {
    /// Who, in words.
    pub(super) name: String,
    lease: i64,
}

impl Keeper {
    /// Nobody keeps a key without a lease, or with one that a command of this kind was granted.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let lease = entry.lease;
        if lease == 0 || is_by_hand(lease) {
            return None;
        }
        let name = match Claimant::of(entry) {
            Claimant::Named(nonce) => format!("an announcer (nonce {nonce})"),
            _ => format!("a process that holds the lease {lease:x}"),
        };
        Some(Self { name, lease })
    }

    /// Whether it lives: its lease is renewed. One that was killed is known by the renewal that it misses. `tell` hears how long
    /// that takes at most, where one look is not enough.
    pub(super) async fn lives(
        &self,
        place: &Place,
        mut tell: impl FnMut(Duration),
    ) -> Result<bool, Error> {
        let ask = async || {
            patiently(&place.cluster, place.patience, async |connection| {
                time_left(connection, self.lease).await
            })
            .await
        };
        let deadline = Instant::now() + LOOK;
        let mut former: Option<TimeLeft> = None;
        loop {
            let now = ask().await?;
            match sign(former, now) {
                Some(lives) => return Ok(lives),
                // Not known to be dead: leave it alone.
                None if Instant::now() >= deadline => return Ok(true),
                None => {
                    if let (None, Some(now)) = (former, now) {
                        tell(longest(now));
                    }
                    former = now;
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// How long the looks at a lease take at most, until it is renewed or overdue: a third of its length, and what etcd rounds.
fn longest(now: TimeLeft) -> Duration {
    (now.left + SLACK)
        .saturating_sub(now.granted * 2 / 3)
        .saturating_add(Duration::from_secs(1))
        .min(LOOK)
}

/// What two looks at a lease tell about who renews it, every third of its length: `None` is nothing yet.
fn sign(former: Option<TimeLeft>, now: Option<TimeLeft>) -> Option<bool> {
    let Some(now) = now else {
        return Some(false);
    };
    if former.is_some_and(|former| now.left > former.left) {
        return Some(true);
    }
    let overdue = now.left + SLACK < now.granted * 2 / 3;
    overdue.then_some(false)
}

#[cfg(test)]
mod tests;
