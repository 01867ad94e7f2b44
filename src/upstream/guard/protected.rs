//! What is kept, and what is said about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::model::{Endpoint, State};
use crate::upstream::desired::{Desired, Origin, Server};

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
    /// Their records are back.
    Back,
    /// Their records are back, and say that they take no traffic.
    Leaving,
    /// Too few are missing by now to hold anybody.
    Few,
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
pub(super) fn notices(former: &Kept, kept: &Kept, why: Why, wanted: &Desired) -> Vec<Notice> {
    let mut notices = Vec::new();
    let floor = new_keys(&former.floor, &kept.floor);
    let guard = new_keys(&former.guard, &kept.guard);
    let gone = new_keys(&kept.guard, &former.guard);
    if !guard.is_empty() {
        notices.push(Notice::GuardKeeps(guard));
    }
    if !gone.is_empty() {
        notices.extend(let_go(gone, why, wanted));
    }
    if !floor.is_empty() {
        notices.push(Notice::FloorKeeps(floor));
    }
    if kept.floor.is_empty() && !former.floor.is_empty() {
        notices.push(Notice::FloorEnds);
    }
    notices
}

/// Whom the guard lets go, and why: where too few are missing to hold anybody, that is mostly since records are back.
fn let_go(gone: Vec<Endpoint>, why: Why, wanted: &Desired) -> Vec<Notice> {
    let why_of = |endpoint: &Endpoint| match wanted.servers.get(endpoint) {
        Some(server) if why == Why::Few && server.state == State::Up => Why::Back,
        Some(_) if why == Why::Few => Why::Leaving,
        _ => why,
    };
    let mut groups: Vec<(Why, Vec<Endpoint>)> = Vec::new();
    for endpoint in gone {
        let why = why_of(&endpoint);
        match groups.iter_mut().find(|(known, _)| *known == why) {
            Some((_, group)) => group.push(endpoint),
            None => groups.push((why, vec![endpoint])),
        }
    }
    let notice = |(why, group)| Notice::GuardLetsGo(group, why);
    groups.into_iter().map(notice).collect()
}

/// The keys that `now` has and `before` has not.
fn new_keys<T>(before: &BTreeMap<Endpoint, T>, now: &BTreeMap<Endpoint, T>) -> Vec<Endpoint> {
    let new = now
        .keys()
        .filter(|endpoint| !before.contains_key(*endpoint));
    new.cloned().collect()
}
