//! How far the start of a pusher has come.

use tokio::time::Instant;

use super::namesake::IdWatch;
use super::own_keys::OwnKeys;
use super::status::Status;
use crate::etcd::lease::Trouble;

/// How far the start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// etcd has not told the records yet.
    Unlisted,
    /// The status record is being written; at this time it is no longer waited for.
    Announcing(Instant),
    /// A right to its own keys is missing, so no announcer could know of it: nothing is done before both stand.
    Denied,
    /// Whatever comes is published.
    Open,
}

impl Start {
    /// When the keys are no longer waited for.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Announcing(until) => Some(until),
            Self::Unlisted | Self::Denied | Self::Open => None,
        }
    }

    /// How far it is, in words.
    pub(super) fn in_words(self, id: &IdWatch, keys: &OwnKeys, status: &Status) -> String {
        let named = |trouble: Option<_>, before| {
            trouble.map_or_else(String::new, |trouble: Trouble| format!("{before}{trouble}"))
        };
        match self {
            Self::Unlisted => match id.in_words() {
                Some(namesake) => format!("waiting: {namesake}"),
                None => "waiting for etcd to tell the records".to_owned(),
            },
            Self::Denied => {
                let trouble = named(keys.trouble(), ": ");
                format!("waiting for its own keys in etcd{trouble}")
            }
            Self::Announcing(_) | Self::Open => {
                format!("{}{}", status, named(keys.unheard(), "; etcd: "))
            }
        }
    }
}
