//! The protected servers, and what is logged about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::left::LeftServers;
use crate::model::{Endpoint, State};
use crate::upstream::protection::Reason;
use crate::upstream::server::{Origin, Server};
use crate::upstream::state::Desired;

/// The protected servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protected {
    /// Protected by `min_servers`.
    pub min_servers: BTreeMap<Endpoint, (Server, Arc<Origin>)>,
    /// Protected by the guard, each until this time.
    pub guard: BTreeMap<Endpoint, (Server, Arc<Origin>, Instant)>,
}

/// A server that `min_servers` may protect, best first: whether it is away, whether it is a backup, why it left, its
/// address. Every pusher knows these facts, so all choose the same servers.
pub(super) type Candidate<'a> = (bool, bool, Reason, &'a Endpoint);

/// Chooses as many candidates as `min_servers` still needs beside those that take traffic (`up`) and those that are
/// `held`. A backup is no replacement for a normal server where there is `any_other`.
pub(super) fn fill<'a>(
    min_servers: usize,
    up: usize,
    held: impl Iterator<Item = Server>,
    any_other: bool,
    mut others: Vec<Candidate<'a>>,
) -> impl Iterator<Item = &'a Endpoint> {
    let held = held.filter(|server| !any_other || server.is_no_backup());
    let missing = min_servers.saturating_sub(up + held.count());
    others.sort_unstable();
    others
        .into_iter()
        .take(missing)
        .map(|(.., endpoint)| endpoint)
}

impl Protected {
    /// Of those that left, the guard protects those that it holds, and `min_servers` as many others as it still needs.
    pub(super) fn choose(
        left: &LeftServers,
        min_servers: usize,
        up: usize,
        is_served: impl Fn(&Endpoint) -> bool,
    ) -> Self {
        let mut protected = Self::default();
        let mut others = Vec::new();
        for (endpoint, one) in left {
            match one.held_until {
                Some(until) => {
                    let held = (one.server, one.origin.clone(), until);
                    protected.guard.insert(endpoint.clone(), held);
                }
                None if one.let_go => {}
                None => {
                    let backup = one.server.parameters.backup;
                    others.push((!is_served(endpoint), backup, one.reason, endpoint));
                }
            }
        }
        let any_other = left.values().any(|left| left.server.is_no_backup());
        let held = protected.guard.values().map(|(server, ..)| *server);
        for endpoint in fill(min_servers, up, held, any_other, others) {
            let one = &left[endpoint];
            let server = (one.server, one.origin.clone());
            protected.min_servers.insert(endpoint.clone(), server);
        }
        protected
    }

    /// Without servers that are only held for a swap.
    pub(super) fn without_waiting(&self, left: &LeftServers) -> Self {
        let mut said = self.clone();
        let waits = |endpoint: &Endpoint| left.get(endpoint).is_some_and(|one| one.awaits_swap);
        said.guard.retain(|endpoint, _| !waits(endpoint));
        said
    }

    /// Whether this server is protected.
    #[must_use]
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        self.min_servers.contains_key(endpoint) || self.guard.contains_key(endpoint)
    }

    /// How many servers are protected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.min_servers.len() + self.guard.len()
    }

    /// Whether no server is protected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.min_servers.is_empty() && self.guard.is_empty()
    }
}

/// Why the guard let servers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Their records are back, and up.
    Back,
    /// Their records are back, draining or down.
    Leaving,
    /// Few enough are missing now.
    Few,
    /// As many replacements have come.
    Swapped,
    /// They refuse connections or do not answer.
    Dead,
    /// Their time is over.
    Over,
    /// An operator released them.
    Released,
    /// Another service has their addresses.
    Taken,
}

/// A decision, to be logged once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `min_servers` protects these from now on.
    MinServersProtects(Vec<Endpoint>),
    /// `min_servers` protects nothing any more.
    MinServersEnds,
    /// The guard protects these from now on.
    GuardProtects(Vec<Endpoint>),
    /// The guard no longer protects these.
    GuardLetsGo(Vec<Endpoint>, Why),
}

/// A decision of the guard.
#[derive(Debug, Default)]
pub struct Decision {
    /// The desired state, if it may have changed.
    pub desired: Option<Arc<Desired>>,
    /// What to log about it.
    pub notices: Vec<Notice>,
}

/// What changed about the protected servers.
pub(super) fn notices(
    former: &Protected,
    protected: &Protected,
    why: Why,
    wanted: &Desired,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let min_servers = new_keys(&former.min_servers, &protected.min_servers);
    let guard = new_keys(&former.guard, &protected.guard);
    let gone = new_keys(&protected.guard, &former.guard);
    if !guard.is_empty() {
        notices.push(Notice::GuardProtects(guard));
    }
    if !gone.is_empty() {
        notices.extend(let_go(gone, why, wanted));
    }
    if !min_servers.is_empty() {
        notices.push(Notice::MinServersProtects(min_servers));
    }
    if protected.min_servers.is_empty() && !former.min_servers.is_empty() {
        notices.push(Notice::MinServersEnds);
    }
    notices
}

/// The servers that the guard lets go, and why: when few are missing now, that is mostly because records are back.
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

/// The keys of `now` that `before` does not have.
fn new_keys<T>(before: &BTreeMap<Endpoint, T>, now: &BTreeMap<Endpoint, T>) -> Vec<Endpoint> {
    let new = now
        .keys()
        .filter(|endpoint| !before.contains_key(*endpoint));
    new.cloned().collect()
}
