//! Log lines that say what state something is in. They are limited as others are, but the last one is always logged: what was left out
//! follows when the limit allows it, unless another state came meanwhile.

use std::collections::HashMap;

use tokio::runtime::Handle;
use tokio::time::sleep_until;
use tracing::info;

use super::log_limit;
use super::log_limit::PER_KIND;

/// Logs that `subject` is in this state now, or does so later. Each kind of state has a limit of its own.
pub fn tell(kind: &'static str, subject: &str, text: String) {
    with_late(|late| {
        if let Some(more) = log_limit::allows(kind, subject) {
            late.forget(subject);
            info!("{text}{more}");
            return;
        }
        let state = Some(State { kind, text });
        // There is nobody to log it later only where the process ends anyway.
        if late.0.insert(subject.to_owned(), state).is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tell_later(subject.to_owned()));
        }
    });
}

/// Another line has said what state `subject` is in, or nothing is known of that any more.
pub fn forget(subject: &str) {
    with_late(|late| late.forget(subject));
}

/// Waits until the last state of `subject` is logged or forgotten.
async fn tell_later(subject: String) {
    while let Some(kind) = with_late(|late| late.awaits(&subject)) {
        sleep_until(log_limit::renewed_at(kind)).await;
        with_late(|late| late.retry(&subject));
    }
}

/// The last state of each subject, where it was left out. A subject without a state has a task that ends soon.
#[derive(Default)]
struct Late(HashMap<String, Option<State>>);

struct State {
    kind: &'static str,
    text: String,
}

impl Late {
    fn forget(&mut self, subject: &str) {
        if let Some(state) = self.0.get_mut(subject) {
            *state = None;
        }
    }

    /// The kind of the state that is to be logged later. If there is none, the task ends.
    fn awaits(&mut self, subject: &str) -> Option<&'static str> {
        let kind = self.0.get(subject)?.as_ref().map(|state| state.kind);
        if kind.is_none() {
            self.0.remove(subject);
        }
        kind
    }

    fn retry(&mut self, subject: &str) {
        if let Some(slot) = self.0.get_mut(subject)
            && let Some(state) = slot
            && let Some(more) = log_limit::allows_late(state.kind, subject, PER_KIND)
        {
            info!("{}{more}", state.text);
            *slot = None;
        }
    }
}

#[cfg(not(test))]
fn with_late<T>(change: impl FnOnce(&mut Late) -> T) -> T {
    use std::sync::{LazyLock, Mutex, PoisonError};
    static LATE: LazyLock<Mutex<Late>> = LazyLock::new(Mutex::default);
    // Nothing panics while holding it, and the value would still be complete.
    change(&mut LATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Each test has its own, as its limit.
#[cfg(test)]
fn with_late<T>(change: impl FnOnce(&mut Late) -> T) -> T {
    thread_local! { static LATE: std::cell::RefCell<Late> = std::cell::RefCell::default(); }
    LATE.with_borrow_mut(change)
}

#[cfg(test)]
mod tests;
