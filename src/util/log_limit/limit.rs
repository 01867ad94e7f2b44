//! The limit itself: how many lines of each kind were logged and left out. Pure.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::util::clock;
use crate::util::few::count;
use crate::util::sanitize::short;

/// The period that the limits are for.
const PERIOD: Duration = Duration::from_secs(60);
/// How long after a period a next line may still tell what was left out in it; then that gets a line of its own.
const GRACE: Duration = Duration::from_secs(5);
/// The most lines of one kind about one key in a period.
const PER_KEY: u32 = 3;
/// How many keys are named that lines were left out about.
const NAMED: usize = 3;

/// For the end of the line: what was left out, or will be. Empty for most lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct More {
    /// Since when this is so, where the line comes late.
    pub since: Option<Instant>,
    /// Lines of this kind that were left out before this one, and are not logged later.
    pub left_out: u64,
    /// Whether this is the last line of this kind in this period.
    pub last: bool,
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(since) = self.since {
            write!(f, " (since {})", clock::time_of_day(since))?;
        }
        match self.left_out {
            0 => {}
            1 => f.write_str(" (1 line like this was left out)")?,
            more => write!(f, " ({more} lines like this were left out)")?,
        }
        if self.last {
            f.write_str(" (more lines like this are only counted for a minute)")?;
        }
        Ok(())
    }
}

/// What was left out of one kind since the last line that said so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    kind: &'static str,
    lines: u64,
    since: Instant,
    /// Some of the keys that they were about, and one more than are named.
    keys: Vec<Box<str>>,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = count(self.lines, "line");
        write!(f, "{lines} of the kind {:?}", self.kind)?;
        let named = self.keys.iter().filter(|key| !key.is_empty());
        let named: Vec<_> = named.take(NAMED).map(|key| short(&**key)).collect();
        if !named.is_empty() {
            write!(f, " about {}", named.join(", "))?;
        }
        if self.keys.len() > NAMED {
            f.write_str(" and others")?;
        }
        let were = if self.lines == 1 { "was" } else { "were" };
        let since = clock::time_of_day(self.since);
        write!(f, " {were} left out since {since}")
    }
}

/// The limit.
#[derive(Debug, Default)]
pub(super) struct Limit {
    kinds: HashMap<&'static str, Kind>,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    /// Lines logged in this period.
    lines: u32,
    /// Of those, lines about each key. There are never more keys than lines.
    keys: HashMap<Box<str>, u32>,
    /// What was left out since the last line that said so.
    left_out: Option<LeftOut>,
    /// Whether a task waits for the end of the period to tell that.
    is_watched: bool,
}

impl Limit {
    /// Whether a line of this kind about `key` may be logged at this time, and what to append.
    pub(super) fn allows(
        &mut self,
        kind: &'static str,
        key: &str,
        per_kind: u32,
        now: Instant,
    ) -> Option<More> {
        let kind = self.kind(kind, now);
        if now.saturating_duration_since(kind.since) >= PERIOD {
            kind.since = now;
            kind.lines = 0;
            kind.keys.clear();
        }
        let about_key = kind.keys.get(key).copied().unwrap_or(0);
        if kind.lines >= per_kind || about_key >= PER_KEY {
            return None;
        }
        kind.lines += 1;
        kind.keys.insert(key.into(), about_key + 1);
        Some(More {
            since: None,
            left_out: kind.left_out.take().map_or(0, |it| it.lines),
            last: kind.lines == per_kind || about_key + 1 == PER_KEY,
        })
    }

    /// A line of this kind about `key` was not logged at `since`, and will not be. Says whether a task must be started that tells it.
    pub(super) fn leave_out(&mut self, name: &'static str, key: &str, since: Instant) -> bool {
        let kind = self.kind(name, since);
        let left_out = kind.left_out.get_or_insert_with(|| LeftOut {
            kind: name,
            lines: 0,
            since,
            keys: Vec::new(),
        });
        left_out.lines += 1;
        left_out.since = left_out.since.min(since);
        if left_out.keys.len() <= NAMED && !left_out.keys.iter().any(|known| **known == *key) {
            left_out.keys.push(key.into());
        }
        !std::mem::replace(&mut kind.is_watched, true)
    }

    /// When to tell what was left out of this kind; if nothing was, nobody waits for that any more.
    pub(super) fn due(&mut self, kind: &'static str) -> Option<Instant> {
        let kind = self.kinds.get_mut(kind)?;
        kind.is_watched = kind.left_out.is_some();
        kind.is_watched.then(|| kind.since + PERIOD + GRACE)
    }

    /// What was left out of this kind, if that is to be told now.
    pub(super) fn take_due(&mut self, kind: &'static str, now: Instant) -> Option<LeftOut> {
        let kind = self.kinds.get_mut(kind)?;
        let due = kind.since + PERIOD + GRACE;
        kind.left_out.take_if(|_| now >= due)
    }

    /// What was left out of all kinds, in the order of time.
    pub(super) fn take_all(&mut self) -> Vec<LeftOut> {
        let kinds = self.kinds.values_mut();
        let mut all: Vec<_> = kinds.filter_map(|kind| kind.left_out.take()).collect();
        all.sort_by_key(|left_out| (left_out.since, left_out.kind));
        all
    }

    /// When the period of this kind is over, if it has begun.
    pub(super) fn renewed_at(&self, kind: &'static str) -> Option<Instant> {
        self.kinds.get(kind).map(|kind| kind.since + PERIOD)
    }

    fn kind(&mut self, kind: &'static str, now: Instant) -> &mut Kind {
        self.kinds.entry(kind).or_insert_with(|| Kind {
            since: now,
            lines: 0,
            keys: HashMap::new(),
            left_out: None,
            is_watched: false,
        })
    }
}

#[cfg(test)]
mod tests;
