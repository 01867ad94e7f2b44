//! How often the status record is written: pure.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two writes: a large upstream changes often, and must not load etcd.
const INTERVAL: Duration = Duration::from_millis(20);

/// When the status record may be written.
#[derive(Debug, Default)]
pub(super) struct WritePace {
    written: Option<Instant>,
    /// When a delayed write is due.
    due: Option<Instant>,
}

impl WritePace {
    /// Whether it may be written now, which then counts as a write; else a write is [due](Self::due) later, together with
    /// later changes.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let next = self.written.map(|written| written + INTERVAL);
        self.due = next.filter(|next| now < *next);
        if self.due.is_none() {
            self.written = Some(now);
        }
        self.due.is_none()
    }

    /// When a delayed write is due; `None` if there is none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The delayed write is due.
    pub(super) fn pass(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests;
