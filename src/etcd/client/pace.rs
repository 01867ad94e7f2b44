//! Pauses between attempts.

use std::time::Duration;

use crate::util::backoff::Backoff;

/// See [`Cluster::pace`](super::Cluster::pace).
#[derive(Debug)]
pub struct Pace {
    pub(super) members: usize,
    pub(super) failures: usize,
    pub(super) backoff: Backoff,
}

impl Pace {
    /// The pause after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        self.failures += 1;
        if self.failures < self.members {
            Duration::ZERO
        } else {
            self.backoff.next_delay()
        }
    }

    /// Starts again: call it after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }
}
