//! Log lines that say what state something is in. They are limited as others are, but the last one is always logged: what was left out
//! follows when the limit allows it, with the time since when it is so, unless another state came meanwhile.

use std::collections::HashMap;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::log_limit;
use super::log_limit::{Late, More, PER_KIND};

/// The most states that a process logs at once when it ends.
const AT_THE_END: usize = 20;

/// Logs a state.
type Log = Box<dyn Fn(More) + Send>;

/// Logs that `subject` is in this state now, or does so later. Each kind of state has a limit of its own.
pub fn tell(kind: &'static str, subject: &str, text: String) {
    tell_by(kind, subject, move |more| info!("{text}{more}"));
}

/// As [`tell`], for a state that is no good.
pub fn warn(kind: &'static str, subject: &str, text: String) {
    tell_by(kind, subject, move |more| warn!("{text}{more}"));
}

/// As [`tell`], for a line with fields.
pub fn tell_by(kind: &'static str, subject: &str, log: impl Fn(More) + Send + 'static) {
    match log_limit::ask(kind, subject, PER_KIND) {
        Ok(more) => {
            forget(subject);
            log(more);
        }
        Err(late) => tell_late(subject, late, log),
    }
}

/// As [`tell_by`], for a line that was left out already.
pub fn tell_late(subject: &str, late: Late, log: impl Fn(More) + Send + 'static) {
    let log = Box::new(log);
    with_states(|states| {
        states.late.insert(subject.to_owned(), State { late, log });
        // Without a runtime the process ends, and tells all at once.
        if !states.is_watched
            && let Ok(runtime) = Handle::try_current()
        {
            states.is_watched = true;
            runtime.spawn(tell_later());
        }
    });
}

/// Another line has said what state `subject` is in, or nothing is known of that any more.
pub fn forget(subject: &str) {
    with_states(|states| states.late.remove(subject));
}

/// Logs at once all that was left out, states and counts: the process ends, or goes on as another program.
pub fn tell_all() {
    let states = with_states(|states| std::mem::take(&mut states.late));
    let mut states: Vec<_> = states.into_values().collect();
    states.sort_by_key(|state| state.late.since());
    for state in states.iter_mut().take(AT_THE_END) {
        (state.log)(state.late.tell_now());
    }
    drop(states);
    log_limit::tell_all();
}

/// Logs late states when the limit allows, while there are any.
async fn tell_later() {
    while let Some(at) = with_states(|states| states.next()) {
        sleep_until(at).await;
        with_states(|states| states.retry());
    }
}

/// The last state of each subject, where it was left out.
#[derive(Default)]
struct States {
    late: HashMap<String, State>,
    /// Whether a task waits to log them.
    is_watched: bool,
}

struct State {
    late: Late,
    log: Log,
}

impl States {
    /// When the limit allows the first of them. Without one, the task ends.
    fn next(&mut self) -> Option<Instant> {
        let next = self
            .late
            .values()
            .map(|state| state.late.renewed_at())
            .min();
        self.is_watched = next.is_some();
        next
    }

    /// Those that wait longest come first.
    fn retry(&mut self) {
        let waiting = self.late.iter();
        let mut waiting: Vec<_> = waiting
            .map(|(name, it)| (it.late.since(), name.clone()))
            .collect();
        waiting.sort();
        for (_, subject) in waiting {
            if let Some(state) = self.late.get_mut(&subject)
                && let Some(more) = state.late.allows()
            {
                (state.log)(more);
                self.late.remove(&subject);
            }
        }
    }
}

#[cfg(not(test))]
fn with_states<T>(change: impl FnOnce(&mut States) -> T) -> T {
    use std::sync::{LazyLock, Mutex, PoisonError};
    static STATES: LazyLock<Mutex<States>> = LazyLock::new(Mutex::default);
    // Nothing panics while holding it, and the value would still be complete.
    change(&mut STATES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Each test has its own, as its limit.
#[cfg(test)]
fn with_states<T>(change: impl FnOnce(&mut States) -> T) -> T {
    thread_local! { static STATES: std::cell::RefCell<States> = std::cell::RefCell::default(); }
    STATES.with_borrow_mut(change)
}

#[cfg(test)]
mod tests;
