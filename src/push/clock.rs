//! Points in time, as times of day and as deadlines.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::util::clock;

/// Waits until this time, or for ever without one.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Converts points in time into times of day, always the same ones.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    at: Timestamp,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            at: clock::seconds(),
        }
    }

    pub(super) fn read(&self, time: Instant) -> Timestamp {
        let since = time.saturating_duration_since(self.started);
        // Whole seconds: it is only for display.
        let since = Duration::from_secs(since.as_secs());
        self.at.checked_add(since).unwrap_or(self.at)
    }
}
