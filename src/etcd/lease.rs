//! One key that exists exactly as long as its owner wants it and runs.
//!
//! The owner says what is [`Wanted`]; a task of its own makes it true in etcd and reports the [`LeaseStatus`]. The task renews the
//! lease, watches the key, and heals whatever happens to either: a lost or revoked lease, a deleted or overwritten key, a wiped or
//! restored etcd, any outage. Every write is a transaction on what was seen before it, so nothing of a successor is ever touched.

mod handed;
mod key;
mod report;
mod status;
mod task;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::Cluster;
use super::ownership::Claim;
use crate::model::Nonce;
use crate::util::troubles::Troubles;
use handed::Lease;
use task::{Left, Seen, Task};

pub use handed::Handed;

pub use status::{Confirmed, LeaseStatus, Trouble, Wanted, Withdrawn};

/// How long an attempt to reach etcd and the pause before the next one take at most, while etcd is away.
pub const SLOWEST_ATTEMPT: Duration = Duration::from_secs(8);

/// The owner's end of a key.
#[derive(Debug)]
pub struct LeaseKeeper {
    wanted: watch::Sender<Wanted>,
    status: watch::Receiver<LeaseStatus>,
    pulse: watch::Receiver<()>,
    /// How long the key outlives it.
    granted: watch::Receiver<Duration>,
    hand_over: oneshot::Sender<()>,
    task: JoinHandle<Left>,
}

/// Starts the task that keeps `key` as wanted; at first nothing is wanted.
///
/// `ttl` is how long the key outlives a dead process, rounded up to whole seconds.
/// `nonce` names this process in the values that it will want.
///
/// Dropping the keeper ends the task and leaves the key to expire.
#[must_use]
pub fn keep(cluster: Cluster, key: String, nonce: Nonce, ttl: Duration) -> LeaseKeeper {
    resume(cluster, key, nonce, ttl, Handed::default())
}

/// The same, for a key that an earlier image of this process kept: its value is wanted until another one is.
#[must_use]
pub fn resume(
    cluster: Cluster,
    key: String,
    nonce: Nonce,
    ttl: Duration,
    handed: Handed,
) -> LeaseKeeper {
    let (wanted, wants) = watch::channel(handed.wanted());
    let (statuses, status) = watch::channel(handed.status());
    let (beats, pulse) = watch::channel(());
    let (grants, granted) = watch::channel(ttl);
    let resumed = handed.lease.is_some();
    let (hand_over, asked) = oneshot::channel();
    let mut task = Task {
        cluster,
        key: key.into_bytes(),
        ttl,
        wants,
        statuses,
        beats,
        granted: grants,
        may_stand: handed.lease.is_some(),
        claim: Claim::new(nonce, handed.past(), Timestamp::now()),
        lease: handed.lease.map(Lease::from),
        unheard: None,
        seen: Seen::Unknown,
        deleted: None,
        may_go: false,
        no_space: false,
        worked: false,
        troubles: Troubles::default(),
        gone: None,
        refusal: None,
        is_resumed: resumed,
    };
    LeaseKeeper {
        wanted,
        status,
        pulse,
        granted,
        hand_over,
        task: tokio::spawn(async move {
            tokio::select! {
                biased;
                Ok(()) = asked => Left::HandedOver(task.handed()),
                left = task.run() => left,
            }
        }),
    }
}

impl LeaseKeeper {
    /// Sets what is wanted from now on.
    pub fn set(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|current| {
            let changed = *current != wanted;
            *current = wanted;
            changed
        });
    }

    /// The reports.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LeaseStatus> {
        self.status.clone()
    }

    /// Changes whenever the lease was renewed or an attempt to keep the key has ended: the task is alive.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<()> {
        self.pulse.clone()
    }

    /// Waits until etcd confirms `value`, which was wanted before.
    pub async fn confirmed(&self, value: &[u8]) -> Confirmed {
        let mut status = self.status();
        let outcome = |status: &LeaseStatus| match status {
            LeaseStatus::Deposed { .. } => Some(Confirmed::Deposed),
            LeaseStatus::NoSpace { deleted } => Some(Confirmed::Deleted(*deleted)),
            status => status.revision_of(value).map(Confirmed::At),
        };
        let reached = status.wait_for(|status| outcome(status).is_some()).await;
        // The task has ended: nobody keeps the key any more.
        reached.map_or(Confirmed::Deposed, |status| {
            outcome(&status).unwrap_or(Confirmed::Deposed)
        })
    }

    /// Ends the task and leaves the key as it is, for the next image of this process.
    pub async fn hand_over(self) -> Handed {
        // A task that has ended has nothing to hand over.
        let _ = self.hand_over.send(());
        match self.task.await {
            Ok(Left::HandedOver(handed)) => handed,
            _ => Handed::default(),
        }
    }

    /// Deletes the key and ends the task, waiting `within` at most, and not at all if etcd refuses. A key that is still
    /// in etcd then goes with the lease. `notice` is written before the deletion, unless it is there already.
    ///
    /// Returns whether the key is known to be gone.
    pub async fn withdraw(mut self, notice: Option<Arc<[u8]>>, within: Duration) -> Withdrawn {
        self.set(Wanted::Absent { notice });
        drop(self.wanted);
        let (answers, why) = match timeout(within, &mut self.task).await {
            Ok(Ok(Left::Gone(deleted))) => return Withdrawn::Gone(deleted),
            Ok(Ok(Left::Refused(why))) => (true, Some(why)),
            _ => {
                self.task.abort();
                (false, self.status.borrow().error())
            }
        };
        Withdrawn::Unconfirmed {
            within: *self.granted.borrow(),
            answers,
            why,
        }
    }
}
