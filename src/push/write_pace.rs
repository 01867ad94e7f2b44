//! How often the status record is written: pure.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two writes: much happens at once in a large upstream, and etcd is not there for that.
const INTERVAL: Duration = Duration::from_millis(20);

/// When the status record may be written.
#[derive(Debug, Default)]
pub(super) struct WritePace {
    written: Option<Instant>,
    /// When what has been put off is to be written.
    due: Option<Instant>,
}

impl WritePace {
    /// Whether it may be written at once, and is then taken to be; else it is [due](Self::due) later, together with whatever
    /// changes until then.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let next = self.written.map(|written| written + INTERVAL);
        self.due = next.filter(|next| now < *next);
        if self.due.is_none() {
            self.written = Some(now);
        }
        self.due.is_none()
    }

    /// When what has been put off is to be written; `None` while nothing is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// That time has come.
    pub(super) fn pass(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests;
