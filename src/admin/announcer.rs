//! Whether a live process keeps a record, and so would undo changes to it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Place;
use crate::etcd::Error;
use crate::etcd::oneshot::{TimeLeft, is_by_hand, patiently, time_left};
use crate::etcd::ownership::Claimant;
use crate::etcd::watch::Entry;

/// The longest time to watch a lease for a renewal. A lease too long for that counts as alive.
const LOOK: Duration = Duration::from_secs(30);
/// Between two looks. etcd reports whole seconds.
const PAUSE: Duration = Duration::from_millis(250);
/// etcd rounds the remaining time down, and a renewal takes a moment.
const SLACK: Duration = Duration::from_millis(1_500);

/// A process that may keep a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keeper {
    /// A description of it.
    pub(super) name: String,
    lease: i64,
}

impl Keeper {
    /// No process keeps a key without a lease, or with the lease of a command like this one.
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

    /// Whether it lives: whether its lease is renewed. A killed process misses a renewal. Calls `tell` with the longest
    /// time that this takes, if one look is not enough.
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
                // It may be alive: leave it alone.
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

/// The longest time to watch a lease until it is renewed or overdue: a third of its length, and etcd's rounding.
fn longest(now: TimeLeft) -> Duration {
    (now.left + SLACK)
        .saturating_sub(now.granted * 2 / 3)
        .saturating_add(Duration::from_secs(1))
        .min(LOOK)
}

/// What two looks at a lease show, if its owner renews it every third of its length: `None` is not known yet.
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
