//! Detects that somebody else keeps undoing changes to an upstream: pure.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::state::Desired;

/// How often a change must be undone before it counts: a restart that is noticed late, or one manual change, is no
/// contest.
const OFTEN: u32 = 3;
/// How long changes must be undone before that is told: two pushers hear of the same records at different moments, and where all
/// records come back at once, each undoes for a moment what the other one knows already.
const LASTING: Duration = Duration::from_secs(1);
/// How long no change must be undone for a contest to be over.
const QUIET: Duration = Duration::from_secs(60);

/// The first pause between two repairs in a contest; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. Not longer than [`QUIET`], or the pause would end the contest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Tracks whether the converged state lasts.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// The desired state that was reached last, and the number of restarts of the target then.
    equal_at: Option<(Arc<Desired>, u64)>,
    /// Whether the next change that is undone may be the work of a pusher that has not heard yet of what is desired.
    excused: bool,
    /// How often a change was undone that is not excused.
    undone: u32,
    first: Option<Instant>,
    /// When an undone change was found last, and how long after the one before.
    last: Option<(Instant, Duration)>,
}

impl Contest {
    /// The upstream converged to `desired`, with or without changes. In a contest that lasts, returns how often that was undone,
    /// and within which time.
    pub(super) fn note(
        &mut self,
        desired: &Arc<Desired>,
        restarts: u64,
        changed: bool,
        now: Instant,
    ) -> Option<(u32, Duration)> {
        let is_known = |(equal, _): &(Arc<Desired>, u64)| {
            Arc::ptr_eq(equal, desired) || equal.servers == desired.servers
        };
        let known = self.equal_at.as_ref().filter(|equal_at| is_known(equal_at));
        // New desired state, or state lost by a restart, was not undone by anybody.
        let same = known.is_some_and(|(_, before)| *before == restarts);
        // Of two pushers, one hears of a change first, and the other may undo it once.
        self.excused |= known.is_none() && self.equal_at.is_some();
        self.equal_at = Some((desired.clone(), restarts));
        let undone = same && changed;
        if undone && !std::mem::take(&mut self.excused) {
            let gap = self.last.map_or(Duration::ZERO, |(last, _)| now - last);
            self.last = Some((now, gap));
            self.first.get_or_insert(now);
            self.undone = self.undone.saturating_add(1);
        } else if let Some((last, gap)) = self.last
            && now - last > QUIET.max(gap * 3)
        {
            (self.undone, self.first, self.last) = (0, None, None);
        }
        let (first, (last, _)) = (self.first?, self.last?);
        let lasts = self.undone >= OFTEN && last - first >= LASTING;
        lasts.then_some((self.undone, now - first))
    }
}

impl Contest {
    /// How long to pause before repairs, so that two pushers that disagree do not change a target back and
    /// forth at full speed; `None` without a contest.
    pub(super) fn pause(&self) -> Option<Duration> {
        let more = self.undone.checked_sub(OFTEN)?;
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(more));
        Some(pause.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests;
