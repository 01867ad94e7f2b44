//! Leases that are over while etcd still has their records: the delay is etcd's then, not a pusher's.

use std::time::Duration;

use tokio::time::Instant;

use super::bounds::REVOCATION;
use crate::places::INSTANCES;

/// A lease that was over when it was looked up, with the record still there.
#[derive(Debug, Clone, Copy)]
struct Overdue {
    /// When it was over, to the second.
    over: Instant,
    /// When the record went.
    gone: Option<Instant>,
}

/// By instance.
#[derive(Debug, Default)]
pub(super) struct Leases {
    overdue: [Option<Overdue>; INSTANCES],
    /// How late each revocation was that was late.
    late: Vec<Duration>,
}

impl Leases {
    /// What etcd says of the lease of a record that is there: whole seconds that are left, below 0 where it is over.
    pub(super) fn told(&mut self, instance: usize, left: i64, now: Instant) {
        // Within a second it may only be about to be revoked.
        let over = u64::try_from(-left).ok().filter(|seconds| *seconds > 0);
        self.overdue[instance] = over.map(|seconds| Overdue {
            over: now - Duration::from_secs(seconds),
            gone: None,
        });
    }

    /// etcd has the record no more.
    pub(super) fn gone(&mut self, instance: usize, now: Instant) {
        if let Some(overdue) = &mut self.overdue[instance] {
            overdue.gone.get_or_insert(now);
            self.late.push(now - overdue.over);
        }
    }

    /// Its backend works again, or it has another record.
    pub(super) fn forget(&mut self, instance: usize) {
        self.overdue[instance] = None;
    }

    /// From when on pushers can know that the lease is over, where etcd is late to tell them; etcd has a bound of its own.
    pub(super) fn excused_until(&self, instance: usize) -> Option<Instant> {
        let Overdue { over, gone } = self.overdue[instance]?;
        let bound = over + REVOCATION;
        Some(gone.map_or(bound, |gone| gone.min(bound)))
    }

    /// How long a lease has been over that should have been revoked before.
    pub(super) fn too_late(&self, instance: usize, now: Instant) -> Option<Duration> {
        let Overdue { over, gone } = self.overdue[instance]?;
        let late = now - over;
        (gone.is_none() && late > REVOCATION).then_some(late)
    }

    /// For the report.
    pub(super) fn figures(&self) -> String {
        let most = self.late.iter().max().copied().unwrap_or_default();
        format!(
            "etcd revoked {} leases a second or more after their end, {:.1} s at most",
            self.late.len(),
            most.as_secs_f64()
        )
    }
}
