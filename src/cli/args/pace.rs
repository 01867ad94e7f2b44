//! How often a backend is asked, and how long its answer may take: what was said, and defaults that fit it.

use std::time::Duration;

use crate::util::duration;

/// Between two rounds where nothing else is said.
const INTERVAL: Duration = Duration::from_secs(2);
/// For one attempt where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What one source says: the flags, or the labels of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PaceArgs {
    /// Between two rounds.
    pub(crate) interval: Option<Duration>,
    /// For one attempt.
    pub(crate) timeout: Option<Duration>,
}

impl PaceArgs {
    /// Timeout and interval, as people write them, when one attempt would run into the next round.
    pub(crate) fn contradiction(self) -> Option<(String, String)> {
        let (timeout, interval) = self.timeout.zip(self.interval)?;
        (timeout > interval).then(|| (duration::typed(timeout), duration::typed(interval)))
    }

    /// Interval and timeout, where this source is stronger than `weaker`. What was said by the weaker one is fitted to the
    /// stronger one, and a default to both.
    pub(crate) fn before(self, weaker: Self) -> (Duration, Duration) {
        match (self.interval, self.timeout) {
            (Some(interval), Some(timeout)) => (interval, timeout),
            (Some(interval), None) => {
                let timeout = weaker.timeout.unwrap_or(TIMEOUT);
                (interval, timeout.min(interval))
            }
            (None, Some(timeout)) => {
                let interval = weaker.interval.unwrap_or(INTERVAL);
                (interval.max(timeout), timeout)
            }
            (None, None) if weaker == Self::default() => (INTERVAL, TIMEOUT),
            (None, None) => weaker.before(Self::default()),
        }
    }
}

#[cfg(test)]
mod tests;
