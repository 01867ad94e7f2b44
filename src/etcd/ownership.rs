//! Who owns a key, and what this process may do to it: pure.
//!
//! The newest claimant wins. No clock decides which is newer: a process that finds another claimant on its
//! very first attempt is the newer one, and a process that finds another one later was there first. Only where etcd has
//! gone back to an older state, which brings records of the past with it, `since` tells who of the two came later: see
//! [`Claim::is_past`].

use jiff::Timestamp;

use super::watch::Entry;
use crate::model::{Nonce, author_in_words, author_since, claimant};
use crate::util::sanitize::short;

/// The author of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// A process that is named in the value.
    Named(Nonce),
    /// A process known only by its lease, because a plain value has no room for a name.
    Leased(i64),
    /// No process: it was written by hand, without a lease.
    Stranger,
}

impl Claimant {
    pub(crate) fn of(entry: &Entry) -> Self {
        match (claimant(&entry.value), entry.lease) {
            (Some(nonce), _) => Self::Named(nonce),
            (None, 0) => Self::Stranger,
            (None, lease) => Self::Leased(lease),
        }
    }
}

/// The author of an entry, as a message.
fn in_words(entry: &Entry) -> String {
    match Claimant::of(entry) {
        Claimant::Named(nonce) => {
            let author = author_in_words(&entry.value);
            format!("{author} (nonce {nonce})")
        }
        Claimant::Leased(lease) => format!(
            "a process that keeps {} there under the lease {lease:x} without a name: an announcer with --format plain, or \
            an old-style loop with etcdctl put --lease; stop that one, or give this instance another name",
            short(&entry.value)
        ),
        Claimant::Stranger => "somebody without a lease".to_owned(),
    }
}

/// What to do to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing: it has been as desired since this revision.
    Done {
        /// The revision of the last write.
        revision: i64,
    },
    /// Write it, if it was last changed at this revision (0: if it does not exist).
    Write {
        /// The revision that must still hold.
        unless_changed_since: i64,
    },
    /// Leave it alone for good: a newer claimant has it.
    Yield {
        /// A description of the claimant.
        to: String,
    },
}

/// What this process has done to a key so far.
#[derive(Debug)]
pub(super) struct Claim {
    nonce: Nonce,
    /// Every lease that may still be on our own key, newest last.
    leases: Vec<i64>,
    /// Whether a write was ever tried: from then on a new name on the key is a successor's.
    attempted: bool,
    /// The owner that the first write replaced, until that write is confirmed.
    superseding: Option<Claimant>,
    /// The revision at which the key was last seen as this process's own; 0 where it never was.
    confirmed: i64,
    /// Whether its lease was lost since then: etcd may have been restored, or a successor has come meanwhile.
    lost: bool,
    /// When this process began to claim the key.
    began: Timestamp,
}

/// What an earlier image of this process did to a key.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// The leases of its writes, newest last.
    pub(super) leases: Vec<i64>,
    /// Whether a write was ever tried.
    pub(super) attempted: bool,
    /// The revision at which the key was last seen as its own; 0 where it never was.
    pub(super) confirmed: i64,
    /// Whether its lease was lost since then.
    pub(super) lost: bool,
    /// When the process began to claim the key; `None` where that is not known.
    pub(super) began: Option<Timestamp>,
}

/// The most leases that are remembered: enough for a few outages.
const MAX_LEASES: usize = 8;

impl Claim {
    /// For a process that begins `now`, or whose earlier image did this to the key: a program that is started anew is no newer claimant.
    pub(super) fn new(nonce: Nonce, past: Past, now: Timestamp) -> Self {
        Self {
            nonce,
            leases: past.leases,
            attempted: past.attempted,
            superseding: None,
            confirmed: past.confirmed,
            lost: past.lost,
            began: past.began.unwrap_or(now),
        }
    }

    /// The revision at which the key was last seen as this process's own; 0 where it never was.
    pub(super) fn confirmed(&self) -> i64 {
        self.confirmed
    }

    /// When this process began to claim the key.
    pub(super) fn began(&self) -> Timestamp {
        self.began
    }

    /// Whom the next write replaces, in words, if that is somebody else.
    pub(super) fn replaces(&self, seen: Option<&Entry>) -> Option<String> {
        let others = seen.filter(|entry| !self.attempted && !self.is_ours(entry));
        others.map(in_words)
    }

    /// Every lease that may still be on our own key, newest last.
    pub(super) fn leases(&self) -> &[i64] {
        &self.leases
    }

    /// Whether this process ever had the key: from then on a new name on it is a successor's.
    pub(super) fn is_settled(&self) -> bool {
        self.attempted && self.superseding.is_none()
    }

    /// Notes a lease of our writes.
    pub(super) fn leased(&mut self, lease: i64) {
        if self.leases.len() == MAX_LEASES {
            self.leases.remove(0);
        }
        self.leases.push(lease);
    }

    /// Notes that the lease was lost.
    pub(super) fn lost_lease(&mut self) {
        self.lost = true;
    }

    /// Whether the lease was lost since the key was last seen as this process's own.
    pub(super) fn has_lost_lease(&self) -> bool {
        self.lost
    }

    /// Notes that a write over `seen` is about to be sent. Its result may stay unknown.
    pub(super) fn attempting(&mut self, seen: Option<&Entry>) {
        if !self.attempted {
            self.attempted = true;
            self.superseding = seen.map(Claimant::of);
        }
    }

    /// Whether the key as `seen` is this process's own.
    pub(super) fn is_ours(&self, seen: &Entry) -> bool {
        match Claimant::of(seen) {
            Claimant::Named(nonce) => nonce == self.nonce,
            Claimant::Leased(lease) => self.leases.contains(&lease),
            Claimant::Stranger => false,
        }
    }

    /// What to do so that the key has `value` under `lease`.
    pub(super) fn decide(&mut self, seen: Option<&Entry>, value: &[u8], lease: i64) -> Move {
        let Some(entry) = seen else {
            return Move::Write {
                unless_changed_since: 0,
            };
        };
        if self.is_ours(entry) {
            self.superseding = None;
            (self.confirmed, self.lost) = (entry.mod_revision, false);
            if entry.value == value && entry.lease == lease {
                return Move::Done {
                    revision: entry.mod_revision,
                };
            }
        } else if let Some(to) = self.successor(entry) {
            return Move::Yield { to };
        }
        Move::Write {
            unless_changed_since: entry.mod_revision,
        }
    }

    /// The process that has taken the key over from this one, if any.
    pub(super) fn successor(&self, seen: &Entry) -> Option<String> {
        let holder = Claimant::of(seen);
        let takeable = !self.attempted
            || holder == Claimant::Stranger
            || self.is_ours(seen)
            || self.is_past(seen)
            || self.superseding.as_ref() == Some(&holder);
        (!takeable).then(|| in_words(seen))
    }

    /// Whether a key of another process is from before this one had it: etcd was restored to an older state.
    ///
    /// While this process has its lease, whoever takes the key over writes at a later revision, and no clock decides. The clocks of both
    /// hosts decide where revisions tell nothing: below the revision at which this process last had the key (etcd has gone back), and at
    /// any revision once the lease is lost (etcd may have begun anew). There, who began after this process is a successor; who began
    /// before it, or in the same second, is the past. If a successor's clock is slow, this process takes the key back from it, and the
    /// successor, which finds it at a later revision, yields. A key without `since` (a plain value, an older program) has no clock: it
    /// counts as the past if its revision is lower, and only then.
    fn is_past(&self, seen: &Entry) -> bool {
        let is_older = seen.mod_revision < self.confirmed;
        match author_since(&seen.value) {
            Some(since) => (is_older || self.lost) && since <= self.began,
            None => is_older,
        }
    }
}

#[cfg(test)]
mod tests;
