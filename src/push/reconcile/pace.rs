//! When a reconciler looks again: pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::target::{Error, Outcome, Progress};
use crate::util::backoff::Backoff;

/// The longest time that a change waits for further ones.
pub const DEBOUNCE_LIMIT: Duration = Duration::from_millis(50);
/// The shortest resync period: it is a safety net, not a polling loop.
const MIN_RESYNC: Duration = Duration::from_secs(1);
/// The first pause between two looks at draining servers; each is 1.5 times as long as the one before.
const FIRST_POLL: Duration = Duration::from_millis(10);
/// The longest of these pauses.
const LONGEST_POLL: Duration = Duration::from_millis(100);

/// Why a pacing is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacingError {
    /// The debounce time is longer than any change may be held back.
    #[error("{} is longer than {}, the most that a change may be held back",
        crate::util::duration::typed(*.0), crate::util::duration::typed(DEBOUNCE_LIMIT))]
    Debounce(Duration),
    /// The resync period is too short.
    #[error("{} is shorter than {}", crate::util::duration::typed(*.0), crate::util::duration::typed(MIN_RESYNC))]
    Resync(Duration),
}

/// How fast changes are applied, and how often an upstream is read without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    debounce: Duration,
    resync: Duration,
}

impl Default for Pacing {
    /// 5 ms and 30 s.
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(5),
            resync: Duration::from_secs(30),
        }
    }
}

impl Pacing {
    /// Sets how long a change waits for further ones: from 0 to [`DEBOUNCE_LIMIT`].
    ///
    /// # Errors
    ///
    /// [`PacingError::Debounce`] when it is longer.
    pub fn with_debounce(self, debounce: Duration) -> Result<Self, PacingError> {
        if debounce > DEBOUNCE_LIMIT {
            return Err(PacingError::Debounce(debounce));
        }
        Ok(Self { debounce, ..self })
    }

    /// Sets the time between two reads of an upstream without a change: at least 1 s.
    ///
    /// # Errors
    ///
    /// [`PacingError::Resync`] when it is shorter.
    pub fn with_resync(self, resync: Duration) -> Result<Self, PacingError> {
        if resync < MIN_RESYNC {
            return Err(PacingError::Resync(resync));
        }
        Ok(Self { resync, ..self })
    }

    /// How long a change waits for further ones.
    #[must_use]
    pub fn debounce(&self) -> Duration {
        self.debounce
    }

    /// Time between two reads of an upstream without a change.
    #[must_use]
    pub fn resync(&self) -> Duration {
        self.resync
    }
}

/// What a reconciler waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A change.
    Change,
    /// A change, or this time.
    ChangeOr(Instant),
    /// This time.
    At(Instant),
}

/// Decides when to look again.
#[derive(Debug)]
pub(super) struct Pace {
    pacing: Pacing,
    retries: Backoff,
    poll: Duration,
}

impl Pace {
    pub(super) fn new(pacing: Pacing) -> Self {
        Self {
            pacing,
            retries: Backoff::default(),
            poll: FIRST_POLL,
        }
    }

    /// Changes the pace from now on.
    pub(super) fn set(&mut self, pacing: Pacing) {
        self.pacing = pacing;
    }

    /// The desired state changed: servers that start to drain now are looked at soon again.
    pub(super) fn restart(&mut self) {
        self.poll = FIRST_POLL;
    }

    /// When to stop waiting for further changes; the first came at `first`, the newest now.
    pub(super) fn quiet_at(&self, first: Instant, now: Instant) -> Instant {
        (now + self.pacing.debounce).min(first + DEBOUNCE_LIMIT)
    }

    /// What to wait for after a look with this result.
    pub(super) fn after(&mut self, result: &Result<Outcome, Error>, now: Instant) -> Next {
        let progress = result.as_ref().map(|outcome| outcome.progress);
        match progress {
            Ok(Progress::Converged) => {
                self.retries.reset();
                self.poll = FIRST_POLL;
                Next::ChangeOr(now + self.pacing.resync)
            }
            Ok(Progress::Draining { .. }) => {
                self.retries.reset();
                let poll = self.poll;
                self.poll = (poll + poll / 2).min(LONGEST_POLL);
                Next::ChangeOr(now + poll)
            }
            // The result is still open: an earlier failure is not over.
            Ok(Progress::Unfinished) => Next::At(now),
            Err(_) => Next::At(now + self.retries.next_delay()),
        }
    }
}

#[cfg(test)]
mod tests;
