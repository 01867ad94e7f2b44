//! How often nginx is reloaded: at most once in an interval.

use std::time::Duration;

use tokio::time::Instant;

/// When nginx may be reloaded.
#[derive(Debug)]
pub(super) struct Budget {
    interval: Duration,
    last: Option<Instant>,
}

impl Budget {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
        }
    }

    /// From when on the next reload is allowed.
    pub(super) fn next(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last + self.interval))
    }

    /// A reload begins.
    pub(super) fn spend(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reload_is_free_and_each_other_an_interval_behind_the_one_before() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut budget = Budget::new(ms(1_000));
        assert_eq!(budget.next(now), now);
        budget.spend(now);
        assert_eq!(budget.next(now + ms(10)), now + ms(1_000));
        assert_eq!(budget.next(now + ms(5_000)), now + ms(5_000));
        budget.spend(now + ms(5_000));
        assert_eq!(budget.next(now + ms(5_001)), now + ms(6_000));
    }
}
