//! A lease, and a key that is handed over to the next image of this process with it.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::status::{LeaseStatus, Wanted};
use crate::etcd::ownership::Past;

/// A lease that etcd has granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) id: i64,
    /// As granted: etcd may give more than was asked.
    pub(super) ttl: Duration,
    /// Until then etcd keeps it, whatever happens.
    pub(super) until: Instant,
}

/// What is known of the key and of its lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    pub(super) lease: Option<HandedLease>,
    /// Every lease that may still be on the key, newest last.
    pub(super) leases: Vec<i64>,
    /// Whether we ever had the key: from then on a new name on it is a successor's.
    pub(super) claimed: bool,
    /// The revision at which the key was last seen as our own; 0 where it never was, or where an older image did not say.
    #[serde(default)]
    pub(super) confirmed: i64,
    /// Whether the lease was lost since then.
    #[serde(default)]
    pub(super) lost: bool,
    /// When the process began to claim the key; `None` where an older image did not say.
    #[serde(default)]
    pub(super) began: Option<Timestamp>,
    /// What etcd has confirmed, and at which revision.
    pub(super) held: Option<(i64, Vec<u8>)>,
}

/// A lease by a clock that both images share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HandedLease {
    id: i64,
    ttl: Duration,
    /// Since the machine was started, as `CLOCK_MONOTONIC` counts.
    until: Duration,
}

impl Handed {
    pub(super) fn past(&self) -> Past {
        Past {
            leases: self.leases.clone(),
            attempted: self.claimed,
            confirmed: self.confirmed,
            lost: self.lost,
            began: self.began,
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        match &self.held {
            Some((_, value)) => Wanted::Present(value.as_slice().into()),
            None => Wanted::Absent { notice: None },
        }
    }

    pub(super) fn status(&self) -> LeaseStatus {
        match &self.held {
            Some((revision, value)) => LeaseStatus::Held {
                revision: *revision,
                value: value.as_slice().into(),
            },
            None => LeaseStatus::Absent,
        }
    }
}

impl From<Lease> for HandedLease {
    fn from(lease: Lease) -> Self {
        let left = lease.until.saturating_duration_since(Instant::now());
        Self {
            id: lease.id,
            ttl: lease.ttl,
            until: monotonic() + left,
        }
    }
}

impl From<HandedLease> for Lease {
    fn from(handed: HandedLease) -> Self {
        let left = handed.until.saturating_sub(monotonic());
        Self {
            id: handed.id,
            ttl: handed.ttl,
            until: Instant::now() + left,
        }
    }
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    // Since the machine was started: never negative.
    Duration::try_from(now).unwrap_or_default()
}
