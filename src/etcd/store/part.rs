//! One range of a store.

use std::collections::{BTreeMap, BTreeSet};

use crate::etcd::range::Range;
use crate::model::ServiceName;

/// A range of keys as far as known.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) range: Range,
    /// The revision of its last listing.
    pub(super) listed: Option<i64>,
    /// The services that listing did not cover.
    pub(super) unlisted: BTreeSet<ServiceName>,
    /// The newest change seen of each service, deletions included.
    pub(super) changed: BTreeMap<ServiceName, i64>,
    /// The newest change seen that affects every service.
    pub(super) changed_for_all: i64,
}

impl Part {
    /// Nothing is known of it yet.
    pub(super) fn new(range: Range) -> Self {
        Self {
            range,
            listed: None,
            unlisted: BTreeSet::new(),
            changed: BTreeMap::new(),
            changed_for_all: 0,
        }
    }

    /// The newest revision that it has told of; 0 for none.
    pub(super) fn newest(&self) -> i64 {
        let changes = self.changed.values().copied();
        let all = changes.chain([self.changed_for_all]).chain(self.listed);
        all.max().unwrap_or(0)
    }
}
