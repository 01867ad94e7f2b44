//! The progress of a pusher's start.

use tokio::time::Instant;

use super::namesake::IdWatch;
use super::own_keys::OwnKeys;
use super::status::Status;
use crate::etcd::lease::Trouble;

/// The progress of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The records have not been received yet.
    Unlisted,
    /// The status record is being written; until this deadline.
    Announcing(Instant),
    /// The pusher may not write its own keys, so no announcer could know of it: it does nothing before both exist.
    Denied,
    /// Every change is published.
    Open,
}

impl Start {
    /// The deadline for the keys.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Announcing(until) => Some(until),
            Self::Unlisted | Self::Denied | Self::Open => None,
        }
    }

    /// The progress, as a message; `unheard` says why the records are not known.
    pub(super) fn in_words(
        self,
        id: &IdWatch,
        keys: &OwnKeys,
        status: &Status,
        unheard: Option<&str>,
    ) -> String {
        let named = |trouble: Option<_>, before| {
            trouble.map_or_else(String::new, |trouble: Trouble| format!("{before}{trouble}"))
        };
        match self {
            Self::Unlisted => match (id.in_words(), unheard) {
                (Some(namesake), _) => format!("waiting: {namesake}"),
                (None, Some(why)) => format!("waiting for etcd to tell the records: {why}"),
                (None, None) => "waiting for etcd to tell the records".to_owned(),
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
