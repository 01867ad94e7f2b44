//! What an owner wants of its key, and the status that it gets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::etcd::Error;

/// What the owner wants in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Absent {
        /// The withdrawal notice: written just before the deletion, so that readers can tell it from an expiry.
        notice: Option<Arc<[u8]>>,
    },
    /// This value.
    Present(Arc<[u8]>),
    /// This value, which says that it takes no traffic; nothing if etcd has no room to write it.
    PresentOrAbsent(Arc<[u8]>),
}

impl Wanted {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }
}

/// How the wait for the confirmation of a value ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It is in etcd since this revision.
    At(i64),
    /// A newer claimant has the key.
    Deposed,
    /// etcd has no room for it: the key was deleted instead, at this revision if known.
    Deleted(Option<i64>),
}

/// How a deletion ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawn {
    /// It is gone, or was never there. With the revision of our last deletion, if known.
    Gone(Option<i64>),
    /// etcd has not confirmed it: the key goes when its lease ends.
    Unconfirmed {
        /// How long the lease lasts at most, while etcd works.
        within: Duration,
        /// Whether etcd works: it has answered, with a refusal.
        answers: bool,
        /// What went wrong last.
        why: Option<Arc<str>>,
    },
}

impl Withdrawn {
    /// The revision of the deletion.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        match self {
            Self::Gone(revision) => *revision,
            Self::Unconfirmed { .. } => None,
        }
    }
}

/// Why a key is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub text: Arc<str>,
    /// Whether it is a missing right: it lasts until somebody grants that, and the words say how.
    pub denied: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&str> for Trouble {
    fn from(text: &str) -> Self {
        Self {
            text: text.into(),
            denied: false,
        }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        Self {
            text: error.to_string().into(),
            denied: matches!(error, Error::Denied { .. }),
        }
    }
}

/// The status of the key in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseStatus {
    /// This owner has no key in etcd, as wanted.
    Absent,
    /// Something is wanted that etcd has not confirmed, or may have dropped since.
    Pending {
        /// Why not, after a failure.
        error: Option<Trouble>,
    },
    /// etcd has confirmed it.
    Held {
        /// The revision of the write.
        revision: i64,
        /// What was written.
        value: Arc<[u8]>,
    },
    /// As with `Absent`, but because etcd has no room for what is wanted.
    NoSpace {
        /// The revision of the deletion, if known.
        deleted: Option<i64>,
    },
    /// A newer claimant has the key; the task has ended and touches nothing any more.
    Deposed {
        /// Who, in words.
        by: Arc<str>,
    },
}

impl LeaseStatus {
    /// The revision at which etcd confirmed exactly `value`.
    #[must_use]
    pub fn revision_of(&self, value: &[u8]) -> Option<i64> {
        match self {
            Self::Held {
                revision,
                value: held,
            } if **held == *value => Some(*revision),
            _ => None,
        }
    }

    /// What went wrong, where something is wanted that etcd has not confirmed.
    #[must_use]
    pub fn error(&self) -> Option<Arc<str>> {
        match self {
            Self::Pending { error: Some(error) } => Some(error.text.clone()),
            _ => None,
        }
    }
}
