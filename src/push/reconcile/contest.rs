//! Whether somebody else changes an upstream back again and again: pure.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::state::Desired;

/// So often must a change be undone before it counts: a restart that is seen late, or one hand, is no contest.
const OFTEN: u32 = 3;
/// How long nothing must be undone at least for a contest to be over.
const QUIET: Duration = Duration::from_secs(60);

/// The first pause that a contest makes between two repairs; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest. Not longer than what ends a contest: then it is still one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Watches what becomes of what was made equal.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// What was made equal last, and how often the target had been restarted then.
    equal_at: Option<(Arc<Desired>, u64)>,
    undone: u32,
    first: Option<Instant>,
    /// When a change was found undone last, and how long after the time before.
    last: Option<(Instant, Duration)>,
}

impl Contest {
    /// The upstream was made equal to `desired`, for which it had to be changed or not. Gives how often that was undone, and within
    /// which time, where it is a contest.
    pub(super) fn note(
        &mut self,
        desired: &Arc<Desired>,
        restarts: u64,
        changed: bool,
        now: Instant,
    ) -> Option<(u32, Duration)> {
        let same = self.equal_at.as_ref().is_some_and(|(equal, before)| {
            // What is wanted anew, or lost by a restart, nobody has undone.
            (Arc::ptr_eq(equal, desired) || equal.servers == desired.servers) && *before == restarts
        });
        self.equal_at = Some((desired.clone(), restarts));
        if same && changed {
            let gap = self.last.map_or(Duration::ZERO, |(last, _)| now - last);
            self.last = Some((now, gap));
            self.first.get_or_insert(now);
            self.undone = self.undone.saturating_add(1);
        } else if let Some((last, gap)) = self.last
            && now - last > QUIET.max(gap * 3)
        {
            (self.undone, self.first, self.last) = (0, None, None);
        }
        let since = self.first.map(|first| now - first)?;
        (self.undone >= OFTEN).then_some((self.undone, since))
    }
}

impl Contest {
    /// For how long nothing is repaired that somebody may have undone, so that two pushers that disagree do not change a target back and
    /// forth as fast as they can; `None` where nobody does.
    pub(super) fn pause(&self) -> Option<Duration> {
        let more = self.undone.checked_sub(OFTEN)?;
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(more));
        Some(pause.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests;
