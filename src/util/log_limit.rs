//! Limits log lines that others can cause any number of times: by key and by kind. What is left out is counted, and the count is
//! logged: at the end of the next line of the kind, or in a line of its own when the minute is over.
//!
//! ```text
//! if let Some(more) = log_limit::allows("record", &key) {
//!     warn!(%key, %reason, "quarantined: this record cannot be read{more}");
//! }
//! ```

mod limit;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use limit::Limit;

pub use limit::More;

/// The most lines of one kind in a period, about all keys.
pub const PER_KIND: u32 = 20;
/// The most lines about steps done with a target in a period: a large cluster changes much in a minute.
pub const STEPS: u32 = 1_000;

/// Whether a line of this kind about `key` may be logged now, and what to append. One limit for the whole process.
pub fn allows(kind: &'static str, key: impl AsRef<str>) -> Option<More> {
    allows_of(kind, key, PER_KIND)
}

/// As [`allows`], with this limit of lines of the kind in a period.
pub fn allows_of(kind: &'static str, key: impl AsRef<str>, per_kind: u32) -> Option<More> {
    ask(kind, key, per_kind).ok()
}

/// As [`allows_of`], for a line about something that lasts: it may be logged later.
///
/// # Errors
/// The line that is left out for now.
pub fn ask(kind: &'static str, key: impl AsRef<str>, per_kind: u32) -> Result<More, Late> {
    let (key, since) = (key.as_ref(), Instant::now());
    let more = with_limit(|limit| limit.allows(kind, key, per_kind, since));
    more.flatten().ok_or_else(|| Late {
        kind,
        key: key.into(),
        per_kind,
        since,
        is_told: false,
    })
}

/// A line that was left out and may be logged later. Dropped before, it counts as left out: once, however often it was asked about.
#[derive(Debug)]
pub struct Late {
    kind: &'static str,
    key: Box<str>,
    per_kind: u32,
    since: Instant,
    is_told: bool,
}

impl Late {
    /// Whether it may be logged now, and what to append.
    pub fn allows(&mut self) -> Option<More> {
        let now = Instant::now();
        let more = with_limit(|limit| limit.allows(self.kind, &self.key, self.per_kind, now));
        let more = more.flatten()?;
        Some(self.told(more))
    }

    /// It is logged now, whatever the limit. What to append.
    pub fn tell_now(&mut self) -> More {
        self.told(More::default())
    }

    fn told(&mut self, more: More) -> More {
        self.is_told = true;
        More {
            since: Some(self.since),
            ..more
        }
    }

    /// Since when what it says is so.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When the period of its kind is over.
    #[must_use]
    pub fn renewed_at(&self) -> Instant {
        let renewed = with_limit(|limit| limit.renewed_at(self.kind)).flatten();
        renewed.unwrap_or_else(Instant::now)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        let Self { kind, since, .. } = *self;
        let unwatched = with_limit(|limit| limit.leave_out(kind, &self.key, since));
        // Without a runtime the process ends, and tells all at once.
        if unwatched == Some(true)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tell_left_out(kind));
        }
    }
}

/// Logs how many lines of this kind were left out, unless a next one of them says it in time.
async fn tell_left_out(kind: &'static str) {
    while let Some(due) = with_limit(|limit| limit.due(kind)).flatten() {
        sleep_until(due).await;
        let left_out = with_limit(|limit| limit.take_due(kind, Instant::now()));
        if let Some(left_out) = left_out.flatten() {
            info!("{left_out}");
        }
    }
}

/// Logs at once how many lines of each kind were left out: the process ends, or goes on as another program.
pub fn tell_all() {
    for left_out in with_limit(Limit::take_all).unwrap_or_default() {
        info!("{left_out}");
    }
}

#[cfg(not(test))]
fn with_limit<T>(ask: impl FnOnce(&mut Limit) -> T) -> Option<T> {
    use std::sync::{LazyLock, Mutex, PoisonError};
    static LIMIT: LazyLock<Mutex<Limit>> = LazyLock::new(Mutex::default);
    // Nothing panics while holding it, and the value would still be complete.
    Some(ask(&mut LIMIT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)))
}

/// Each test has a limit and a clock of its own; what is dropped after the limit is counted nowhere.
#[cfg(test)]
fn with_limit<T>(ask: impl FnOnce(&mut Limit) -> T) -> Option<T> {
    thread_local! { static LIMIT: std::cell::RefCell<Limit> = std::cell::RefCell::default(); }
    LIMIT.try_with(|limit| ask(&mut limit.borrow_mut())).ok()
}

/// Logs what others can cause any number of times, as `limited!(info, "kind", key, "words {about} it")`: a container that ends again
/// and again tells the same of each of its runs.
macro_rules! limited {
    ($level:ident, $kind:literal, $key:expr, $($words:tt)+) => {
        if let Some(more) = $crate::util::log_limit::allows($kind, $key) {
            tracing::$level!("{}{more}", format_args!($($words)+));
        }
    };
}
pub(crate) use limited;

#[cfg(test)]
mod tests;
