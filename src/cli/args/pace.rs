//! Interval and timeout of the probes, with defaults that fit what was given.

use std::time::Duration;

use crate::util::duration;

/// Default time between two rounds.
const INTERVAL: Duration = Duration::from_secs(2);
/// Default timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Interval and timeout from one source: the flags, or a container's labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PaceArgs {
    /// Time between two rounds.
    pub(crate) interval: Option<Duration>,
    /// Timeout of one attempt.
    pub(crate) timeout: Option<Duration>,
}

impl PaceArgs {
    /// Timeout and interval as text, if the timeout is longer than the interval.
    pub(crate) fn contradiction(self) -> Option<(String, String)> {
        let (timeout, interval) = self.timeout.zip(self.interval)?;
        (timeout > interval).then(|| (duration::typed(timeout), duration::typed(interval)))
    }

    /// Interval and timeout, where this source beats `weaker`. Values of the weaker one are fitted to the stronger one,
    /// and defaults to both.
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
