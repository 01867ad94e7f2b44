//! Limits log lines that others can cause any number of times: by what they are about, and by kind.
//!
//! ```text
//! if let Some(more) = log_limit::allows("record", &key) {
//!     warn!(%key, %reason, "quarantined: this record cannot be read{more}");
//! }
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// In one period of this length no more than the limits allow is logged.
const PERIOD: Duration = Duration::from_secs(60);
/// How many lines of one kind are logged about one key in a period.
const PER_KEY: u32 = 3;
/// How many lines of one kind are logged in a period, whatever they are about.
const PER_KIND: u32 = 20;
/// How many steps that are done with a target are logged in a period: a large cluster does much within a minute.
pub const STEPS: u32 = 1_000;

/// To be written at the end of the line: what was left out, or will be. Empty for most lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct More {
    /// How many lines of the kind were left out before this one.
    pub left_out: u64,
    /// Whether this is the last line of the kind in this period.
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

/// Whether a line of this kind about `key` may be logged now, and what to say at its end. One limit for the whole process.
pub fn allows(kind: &'static str, key: impl AsRef<str>) -> Option<More> {
    allows_of(kind, key, PER_KIND)
}

/// The same for a kind of which so many lines may be logged in a period, whatever they are about.
pub fn allows_of(kind: &'static str, key: impl AsRef<str>, per_kind: u32) -> Option<More> {
    static LIMIT: LazyLock<Mutex<Limit>> = LazyLock::new(Mutex::default);
    // Nothing panics while holding it; a poisoned value would still be whole.
    let mut limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    limit.allows(kind, key.as_ref(), per_kind, Instant::now())
}

/// The limit itself. Pure.
#[derive(Debug, Default)]
pub struct Limit {
    kinds: HashMap<&'static str, Kind>,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    /// How many lines were logged in this period.
    lines: u32,
    /// How many of them are about which key. At most as many keys as lines of the kind are logged.
    keys: HashMap<Box<str>, u32>,
    /// How many were left out since the last line that told.
    left_out: u64,
}

impl Limit {
    /// Whether a line of this kind about `key` may be logged at this time, and what to say at its end.
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
}

#[cfg(test)]
mod tests;
