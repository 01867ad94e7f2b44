//! Updates of a range: listings, and changes in their order.

use etcd_client::KeyValue;

/// A key in etcd. Untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// Its lease; 0 for none.
    pub lease: i64,
}

impl Entry {
    pub(crate) fn from_kv(kv: &KeyValue) -> Self {
        Self {
            key: kv.key().to_vec(),
            value: kv.value().to_vec(),
            mod_revision: kv.mod_revision(),
            lease: kv.lease(),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put(Entry),
    /// The key was deleted, by a client or by the end of its lease.
    Deleted {
        /// The key.
        key: Vec<u8>,
        /// The revision of the deletion.
        mod_revision: i64,
    },
}

impl Change {
    /// The revision of this change.
    #[must_use]
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Deleted { mod_revision, .. } => *mod_revision,
        }
    }
}

/// An update from a [`Watcher`](super::watch::Watcher).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The whole range: replaces everything known.
    Listed {
        /// The revision of the listing. May be lower than one seen before: then
        /// etcd was restored from a snapshot.
        revision: i64,
        /// All keys.
        entries: Vec<Entry>,
    },
    /// The changes since, in order.
    Changed {
        /// The newest revision among them.
        revision: i64,
        /// The changes.
        changes: Vec<Change>,
    },
}
