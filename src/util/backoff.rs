//! How long to wait after a failure: exponential, jittered, bounded, for ever.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The pause before the first retry of anything that the agents retry for ever.
pub const MIN: Duration = Duration::from_millis(100);
/// The longest pause between two retries, jitter included.
pub const MAX: Duration = Duration::from_secs(5);

/// A source of growing, jittered pauses. It never runs out.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    delays: ExponentialBackoff,
}

impl Backoff {
    /// Pauses from about `min` up to at most `max`; `min` counts as `max` when it is larger.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        let min = min.min(max);
        Self {
            min,
            max,
            delays: delays(min, max),
        }
    }

    /// The next pause. Each is about twice the former, until `max`.
    pub fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.max).min(self.max)
    }

    /// Starts again with `min`: to be called after a success.
    pub fn reset(&mut self) {
        self.delays = delays(self.min, self.max);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(MIN, MAX)
    }
}

fn delays(min: Duration, max: Duration) -> ExponentialBackoff {
    // Jitter adds up to the whole delay, so half the bound leaves room for it.
    ExponentialBuilder::new()
        .with_min_delay(min)
        .with_max_delay((max / 2).max(min))
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests;
