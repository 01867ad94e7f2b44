//! Limits log lines that others can cause any number of times: by key and by kind.
//!
//! ```text
//! if let Some(more) = log_limit::allows("record", &key) {
//!     warn!(%key, %reason, "quarantined: this record cannot be read{more}");
//! }
//! ```

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// The period that the limits are for.
const PERIOD: Duration = Duration::from_secs(60);
/// The most lines of one kind about one key in a period.
const PER_KEY: u32 = 3;
/// The most lines of one kind in a period, about all keys.
pub const PER_KIND: u32 = 20;
/// The most lines about steps done with a target in a period: a large cluster changes much in a minute.
pub const STEPS: u32 = 1_000;

/// For the end of the line: what was left out, or will be. Empty for most lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct More {
    /// Lines of this kind that were left out before this one.
    pub left_out: u64,
    /// Whether this is the last line of this kind in this period.
    pub last: bool,
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left_out > 0 {
            write!(f, " ({} lines like this were left out)", self.left_out)?;
        }
        if self.last {
            f.write_str(" (more lines like this are only counted for a minute)")?;
        }
        Ok(())
    }
}

/// Whether a line of this kind about `key` may be logged now, and what to append. One limit for the whole process.
pub fn allows(kind: &'static str, key: impl AsRef<str>) -> Option<More> {
    allows_of(kind, key, PER_KIND)
}

/// As [`allows`], with this limit of lines of the kind in a period.
pub fn allows_of(kind: &'static str, key: impl AsRef<str>, per_kind: u32) -> Option<More> {
    with_limit(|limit| limit.allows(kind, key.as_ref(), per_kind, Instant::now()))
}

/// As [`allows_of`], for a line that was left out before and still holds: it counts as left out once, and no longer when it is logged.
pub fn allows_late(kind: &'static str, key: impl AsRef<str>, per_kind: u32) -> Option<More> {
    with_limit(|limit| limit.allows_late(kind, key.as_ref(), per_kind, Instant::now()))
}

/// When the period of this kind is over; now, if nothing of it was logged yet.
pub fn renewed_at(kind: &'static str) -> Instant {
    with_limit(|limit| limit.renewed_at(kind)).unwrap_or_else(Instant::now)
}

#[cfg(not(test))]
fn with_limit<T>(ask: impl FnOnce(&mut Limit) -> T) -> T {
    use std::sync::{LazyLock, Mutex, PoisonError};
    static LIMIT: LazyLock<Mutex<Limit>> = LazyLock::new(Mutex::default);
    // Nothing panics while holding it, and the value would still be complete.
    ask(&mut LIMIT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Each test has a limit and a clock of its own.
#[cfg(test)]
fn with_limit<T>(ask: impl FnOnce(&mut Limit) -> T) -> T {
    thread_local! { static LIMIT: std::cell::RefCell<Limit> = std::cell::RefCell::default(); }
    LIMIT.with_borrow_mut(ask)
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

/// The limit itself. Pure.
#[derive(Debug, Default)]
pub struct Limit {
    kinds: HashMap<&'static str, Kind>,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    /// Lines logged in this period.
    lines: u32,
    /// Of those, lines about each key. There are never more keys than lines.
    keys: HashMap<Box<str>, u32>,
    /// Lines left out since the last one that said so.
    left_out: u64,
}

impl Limit {
    /// Whether a line of this kind about `key` may be logged at this time, and what to append.
    pub fn allows(
        &mut self,
        kind: &'static str,
        key: &str,
        per_kind: u32,
        now: Instant,
    ) -> Option<More> {
        let kind = self.kinds.entry(kind).or_insert_with(|| Kind {
            since: now,
            lines: 0,
            keys: HashMap::new(),
            left_out: 0,
        });
        if now.saturating_duration_since(kind.since) >= PERIOD {
            kind.since = now;
            kind.lines = 0;
            kind.keys.clear();
        }
        let about_key = kind.keys.get(key).copied().unwrap_or(0);
        if kind.lines >= per_kind || about_key >= PER_KEY {
            kind.left_out += 1;
            return None;
        }
        kind.lines += 1;
        kind.keys.insert(key.into(), about_key + 1);
        Some(More {
            left_out: std::mem::take(&mut kind.left_out),
            last: kind.lines == per_kind || about_key + 1 == PER_KEY,
        })
    }

    /// As [`Self::allows`], for a line that was left out before.
    pub fn allows_late(
        &mut self,
        kind: &'static str,
        key: &str,
        per_kind: u32,
        now: Instant,
    ) -> Option<More> {
        if let Some(known) = self.kinds.get_mut(kind) {
            known.left_out = known.left_out.saturating_sub(1);
        }
        self.allows(kind, key, per_kind, now)
    }

    /// When the period of this kind is over, if it has begun.
    fn renewed_at(&self, kind: &'static str) -> Option<Instant> {
        self.kinds.get(kind).map(|kind| kind.since + PERIOD)
    }
}

#[cfg(test)]
mod tests;
