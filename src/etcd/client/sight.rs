//! Whether the watches of a cluster have etcd in sight. Trouble that all of them have is told once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::util::log_limit::{More, PER_KIND};
use crate::util::troubles::Troubles;

/// What all watches of a cluster know of it.
#[derive(Debug, Default)]
pub(in crate::etcd) struct Sight(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many watches have lost etcd.
    blind: usize,
    /// Whether all watches ever had it in sight.
    seen: bool,
    /// The kinds of trouble since all had it in sight.
    troubles: Troubles,
    /// The youngest connection that failed with one of them.
    failed: Option<u64>,
}

impl Sight {
    /// A watch fails over a connection of this generation, for the first time since it worked or again. Says whether to tell that,
    /// by a line of this kind, and what to append.
    pub(in crate::etcd) fn lose(
        &self,
        first: bool,
        generation: u64,
        trouble: &str,
        line: &'static str,
    ) -> Option<More> {
        let mut state = self.state();
        state.blind += usize::from(first);
        // One that notices later than others that the same connection is cut has nothing new to tell.
        if state.troubles.is_empty() && state.failed >= Some(generation) {
            return None;
        }
        state.failed = state.failed.max(Some(generation));
        state.troubles.tell(trouble, line, PER_KIND)
    }

    /// A watch that had lost it watches no more, or has trouble of its own.
    pub(in crate::etcd) fn forget(&self) {
        self.state().blind -= 1;
    }

    /// A watch has it in sight, and `was_blind` before. Says whether to tell that: when no other misses it.
    pub(in crate::etcd) fn regain(&self, was_blind: bool) -> bool {
        let mut state = self.state();
        state.blind -= usize::from(was_blind);
        if state.blind > 0 {
            return false;
        }
        state.seen = true;
        state.troubles.end()
    }

    /// Whether all watches ever had it in sight.
    pub(in crate::etcd) fn was_seen(&self) -> bool {
        self.state().seen
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it; a poisoned value would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
