//! What is kept, and what is said about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::desired::{Desired, Origin, Server};
use crate::record::Endpoint;

/// What an upstream keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// For the floor.
    pub floor: BTreeMap<Endpoint, (Server, Arc<Origin>)>,
    /// By the guard, each until its time.
    pub guard: BTreeMap<Endpoint, (Server, Arc<Origin>, Instant)>,
}

impl Kept {
    /// Whether this one is.
    #[must_use]
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        self.floor.contains_key(endpoint) || self.guard.contains_key(endpoint)
    }

    /// How many are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.floor.len() + self.guard.len()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floor.is_empty() && self.guard.is_empty()
    }
}

/// Why the guard let servers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Their records are back, or say something else.
    Told,
    /// As many others have come.
    Swapped,
    /// Nobody answers there.
    Dead,
    /// Their time is over.
    Over,
    /// Somebody said so.
    Released,
    /// Another service has their addresses.
    Taken,
}

/// A decision, to be said once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The floor keeps these from now on.
    FloorKeeps(Vec<Endpoint>),
    /// The floor keeps nothing any more.
    FloorEnds,
    /// The guard keeps these from now on.
    GuardKeeps(Vec<Endpoint>),
    /// The guard keeps these no longer.
    GuardLetsGo(Vec<Endpoint>, Why),
}

/// What has been decided.
#[derive(Debug, Default)]
pub struct Decision {
    /// What the upstream should be, where that may have changed.
    pub desired: Option<Arc<Desired>>,
    /// What is to be said about it.
    pub notices: Vec<Notice>,
}

/// What is new about what is kept.
pub(super) fn notices(former: &Kept, kept: &Kept, why: Why) -> Vec<Notice> {
    let mut notices = Vec::new();
    let floor = new_keys(&former.floor, &kept.floor);
    let guard = new_keys(&former.guard, &kept.guard);
    let gone = new_keys(&kept.guard, &former.guard);
    if !guard.is_empty() {
        notices.push(Notice::GuardKeeps(guard));
    }
    if !gone.is_empty() {
        notices.push(Notice::GuardLetsGo(gone, why));
    }
    if !floor.is_empty() {
        notices.push(Notice::FloorKeeps(floor));
    }
    if kept.floor.is_empty() && !former.floor.is_empty() {
        notices.push(Notice::FloorEnds);
    }
    notices
}

/// The keys that `now` has and `before` has not.
fn new_keys<T>(before: &BTreeMap<Endpoint, T>, now: &BTreeMap<Endpoint, T>) -> Vec<Endpoint> {
    let new = now
        .keys()
        .filter(|endpoint| !before.contains_key(*endpoint));
    new.cloned().collect()
}
