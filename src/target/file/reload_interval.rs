//! When nginx may be reloaded again.

use std::time::Duration;

use tokio::time::Instant;

/// At most one reload in an interval.
#[derive(Debug)]
pub(super) struct ReloadInterval {
    interval: Duration,
    last: Option<Instant>,
}

impl ReloadInterval {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
        }
    }

    /// When the next reload is allowed.
    pub(super) fn next(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last + self.interval))
    }

    /// A reload begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests;
