//! Pauses between retries: exponential with jitter, bounded, without an end.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first pause of everything that the agents retry for ever.
pub const MIN: Duration = Duration::from_millis(100);
/// The longest pause between two retries, jitter included.
pub const MAX: Duration = Duration::from_secs(5);

/// Growing pauses with jitter. They never run out.
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

    /// The next pause, about twice the last one, up to `max`.
    pub fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.max).min(self.max)
    }

    /// Starts again with `min`: call it after a success.
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
