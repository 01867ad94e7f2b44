//! The guard's decisions, after changes of records, of targets and of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::left::{self, Claim, Finding, Left, LeftServers, RecordState, is_up, reason_of, ups};
use super::limits::{Limits, MAX_PROTECT_FOR};
use super::named::Named;
use super::protected::{self, Decision, Notice, Protected, Why};
use super::seen::{Seen, Sightings};
use super::window::Window;
use crate::model::{Endpoint, InstanceName};
use crate::upstream::protection::{Protection, Reason};
use crate::upstream::state::Desired;

/// How many unprotected servers are remembered for targets that may need one, as after being unreachable for long.
const MAX_SPARES: usize = 256;

/// Decides which servers of one upstream stay although their records no longer say so.
#[derive(Debug, Clone)]
pub struct RemovalGuard {
    limits: Limits,
    /// The state that the records ask for.
    wanted: Option<Arc<Desired>>,
    /// The last decision.
    outcome: Option<Arc<Desired>>,
    left: LeftServers,
    /// Since when records name their servers.
    named: Named,
    /// Servers that went because another service has their address.
    taken: BTreeSet<Endpoint>,
    window: Option<Window>,
    /// What the targets report about the servers.
    seen: Sightings,
    /// Whether an operator released the servers. Holds until `min_servers` take traffic again.
    released: bool,
    protected: Protected,
    /// The protected servers, as last logged.
    said: Protected,
}

impl RemovalGuard {
    /// Protects nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let protect_for = limits.protect_for.min(MAX_PROTECT_FOR);
        Self {
            limits: Limits {
                protect_for,
                ..limits
            },
            wanted: None,
            outcome: None,
            left: BTreeMap::new(),
            named: Named::default(),
            taken: BTreeSet::new(),
            window: None,
            seen: Sightings::default(),
            released: false,
            protected: Protected::default(),
            said: Protected::default(),
        }
    }

    /// A guard with other limits and this one's protected servers and memory.
    #[must_use]
    pub fn succeeded_by(&self, limits: Limits) -> Self {
        let Self { limits, .. } = Self::new(limits);
        Self {
            limits,
            // Listeners of the new guard have received nothing yet.
            outcome: None,
            seen: self.seen.inherit(),
            ..self.clone()
        }
    }

    /// The protected servers.
    #[must_use]
    pub fn protected(&self) -> &Protected {
        &self.protected
    }

    /// How many servers are protected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.protected.len()
    }

    /// Whether no server is protected or may be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.left.is_empty() && self.taken.is_empty()
    }

    /// When to call [`RemovalGuard::pass`] next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.left.values().filter_map(|left| left.held_until).min()
    }

    /// The records have changed. `state` returns the state of an instance's record, `claim` which other record names an
    /// address.
    pub fn follow(
        &mut self,
        wanted: Desired,
        state: impl Fn(&InstanceName) -> RecordState,
        claim: impl Fn(&Endpoint) -> Claim,
        now: Instant,
    ) -> Decision {
        let wanted = Arc::new(wanted);
        self.window.take_if(|window| window.is_over(now));
        left::update(&mut self.left, &wanted, &state);
        if let Some(former) = self.wanted.replace(wanted.clone()) {
            let base = self.outcome.as_deref();
            let base = base.map_or(0, |outcome| self.up(outcome).count());
            let vanished = self.take_leave(&former, &wanted, &state, now);
            self.shrink(&vanished, base, now);
            let forgotten = left::any_forgotten(&vanished, &former, &state);
            self.window.iter_mut().for_each(|it| it.forget(forgotten));
            let new = ups(&wanted).filter(|(endpoint, _)| !is_up(&former, endpoint));
            self.grow(new.map(|(endpoint, _)| endpoint), &wanted);
        }
        self.named.follow(&wanted, now);
        self.give_up(&claim, now);
        let why = self.protect_vanished();
        self.decide(why)
    }

    /// The target with this number reports the state of the servers.
    pub fn see(&mut self, number: usize, seen: Seen, now: Instant) -> Decision {
        let news = self.seen.update(number, seen);
        self.look_again(news, now)
    }

    /// Forgets all targets except these.
    pub fn keep_targets(&mut self, numbers: &BTreeSet<usize>, now: Instant) -> Decision {
        let news = self.seen.keep_only(numbers);
        self.look_again(news, now)
    }

    /// The last report of the target with this number.
    #[must_use]
    pub fn seen(&self, number: usize) -> Option<&Seen> {
        self.seen.of(number)
    }

    /// Decides again after news from the targets (`news`), which matter only for servers that left or are about to.
    fn look_again(&mut self, news: bool, now: Instant) -> Decision {
        if !news || (self.left.is_empty() && !self.released) {
            return Decision::default();
        }
        self.window.take_if(|window| window.is_over(now));
        let why = self.protect_vanished();
        self.decide(why)
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Instant) -> Decision {
        for left in self.left.values_mut() {
            left.held_until = left.held_until.filter(|until| *until > now);
        }
        self.decide(Why::Over)
    }

    /// The server at this address is dead.
    pub fn dead(&mut self, endpoint: &Endpoint) -> Decision {
        if let Some(left) = self.left.get_mut(endpoint) {
            left.held_until = None;
            left.awaits_swap = false;
            left.reason = Reason::Gone;
        }
        self.decide(Why::Dead)
    }

    /// Lets all protected servers go, and protects none until `min_servers` take traffic again.
    pub fn release(&mut self) -> Decision {
        self.released = true;
        self.window = None;
        self.left.clear();
        self.decide(Why::Released)
    }

    /// The records of other services have changed: a protected server goes when one of them names its address, unless
    /// both records existed side by side for longer than the hold: then one backend serves two services.
    pub fn yield_to(&mut self, claim: impl Fn(&Endpoint) -> Claim, now: Instant) -> Decision {
        match self.give_up(&claim, now) {
            true => self.decide(Why::Taken),
            false => Decision::default(),
        }
    }

    /// The first look at a target: a server without a record counts as one whose record vanished
    /// just now, as that may have happened while no pusher ran, and a missing server as one that just came.
    pub fn find(
        &mut self,
        found: Finding,
        claim: impl Fn(&Endpoint) -> Claim,
        now: Instant,
    ) -> Decision {
        let Some(wanted) = self.wanted.clone() else {
            return Decision::default();
        };
        if self.released {
            return Decision::default();
        }
        self.window.take_if(|window| window.is_over(now));
        let up = self.up(&wanted);
        let there = up.filter(|endpoint| !found.lacking.contains(*endpoint));
        let base = there.count() + found.extra.len();
        let mut vanished = Vec::new();
        for (endpoint, (server, origin)) in found.extra {
            if is_up(&wanted, &endpoint) || self.left.contains_key(&endpoint) {
                continue;
            }
            let reason = match (wanted.servers.get(&endpoint), claim(&endpoint)) {
                (Some(server), _) => reason_of(server.state),
                (None, Claim::Nobody) => Reason::Vanished,
                (None, Claim::Sibling) => Reason::Deselected,
                (None, Claim::Other(_)) => {
                    self.taken.insert(endpoint);
                    continue;
                }
            };
            if reason == Reason::Vanished {
                vanished.push(endpoint.clone());
            }
            self.left
                .insert(endpoint, Left::new(server, origin, reason, now, now));
        }
        self.shrink(&vanished, base, now);
        self.grow(found.lacking.iter(), &wanted);
        let why = self.protect_vanished();
        self.decide(why)
    }

    /// The servers that take traffic, without those that some target refuses.
    fn up<'a>(&'a self, desired: &'a Desired) -> impl Iterator<Item = &'a Endpoint> {
        let up = ups(desired).map(|(endpoint, _)| endpoint);
        up.filter(|endpoint| !self.seen.refuses(endpoint))
    }

    /// Gives up servers that another service has now; `true` if there were any.
    fn give_up(&mut self, claim: &impl Fn(&Endpoint) -> Claim, now: Instant) -> bool {
        let is_other = |endpoint: &Endpoint| matches!(claim(endpoint), Claim::Other(_));
        self.taken.retain(is_other);
        let protect_for = self.limits.protect_for;
        let goes = |endpoint: &Endpoint, left: &Left| match claim(endpoint) {
            Claim::Other(since) => {
                let both = left.beside(since, self.named.since(endpoint).map(|_| now));
                both <= protect_for
            }
            Claim::Nobody | Claim::Sibling => false,
        };
        let left = self.left.iter();
        let gone: Vec<_> = left
            .filter(|(endpoint, left)| goes(endpoint, left))
            .map(|(endpoint, _)| endpoint.clone())
            .collect();
        for endpoint in &gone {
            self.left.remove(endpoint);
            self.taken.insert(endpoint.clone());
        }
        !gone.is_empty()
    }

    /// Servers that take no traffic any more leave. Returns those whose records have vanished.
    fn take_leave(
        &mut self,
        former: &Desired,
        wanted: &Desired,
        state: &impl Fn(&InstanceName) -> RecordState,
        now: Instant,
    ) -> Vec<Endpoint> {
        let mut vanished = Vec::new();
        for (endpoint, server) in ups(former).filter(|(endpoint, _)| !is_up(wanted, endpoint)) {
            let Some(origin) = former.origins.get(endpoint) else {
                continue;
            };
            if self.seen.refuse_all(endpoint) {
                continue; // It was never in rotation.
            }
            let reason = match wanted.servers.get(endpoint) {
                Some(server) => reason_of(server.state),
                None => state(&origin.instance).reason(),
            };
            if reason == Reason::Vanished && !self.seen.refuses(endpoint) {
                vanished.push(endpoint.clone());
            }
            let named_since = self.named.since(endpoint).unwrap_or(now);
            let left = Left::new(*server, origin.clone(), reason, named_since, now);
            self.left.insert(endpoint.clone(), left);
        }
        vanished
    }

    /// Counts these vanished servers, of `base`.
    fn shrink(&mut self, vanished: &[Endpoint], base: usize, now: Instant) {
        if self.window.is_none() && !vanished.is_empty() && !self.released {
            self.window = Some(Window::new(now + self.limits.protect_for, base));
        }
        if let Some(window) = &mut self.window {
            for endpoint in vanished {
                window.vanish(endpoint.clone());
            }
        }
    }

    /// Counts servers that have come since.
    fn grow<'a>(&mut self, new: impl Iterator<Item = &'a Endpoint>, wanted: &Desired) {
        if let Some(window) = &mut self.window {
            for endpoint in new {
                window.arrive(endpoint);
            }
            window.keep_arrived(|endpoint| is_up(wanted, endpoint));
        }
    }

    /// Decides which servers are protected, and the desired state.
    fn decide(&mut self, why: Why) -> Decision {
        let Some(wanted) = self.wanted.clone() else {
            return Decision::default();
        };
        let min_servers = self.limits.min_servers;
        let up = self.up(&wanted).count();
        self.released &= up < min_servers;
        let protected = self.choose(up);
        // A server that no target has confirmed yet may be refused.
        let confirmed = self.up(&wanted);
        let confirmed = confirmed.filter(|endpoint| self.seen.confirm(endpoint));
        let confirmed = confirmed.take(min_servers).count();
        // A server that was let go is better than none, in a target that has no other.
        let may_return = confirmed < min_servers && !self.released;
        let mut room = if may_return { MAX_SPARES } else { 0 };
        self.left.retain(|endpoint, _| {
            let stays = protected.has(endpoint) || room > 0;
            room -= usize::from(stays && !protected.has(endpoint));
            stays
        });
        let is_enough = confirmed + protected.len() >= min_servers;
        for (endpoint, left) in &mut self.left {
            left.let_go |= is_enough && !protected.has(endpoint);
        }
        let notices = self.say(&protected, why, &wanted);
        self.protected = protected;
        let outcome = Protection {
            min_servers: self.min_servers(),
            spares: self
                .left
                .iter()
                .map(|(at, left)| (at.clone(), left.spare(at, &wanted)))
                .collect(),
            taken: self.taken.clone(),
            hopeful: false,
        };
        let outcome = Arc::new(outcome.apply(&wanted, &self.left, &self.protected));
        let changed = self.outcome.as_ref() != Some(&outcome);
        self.outcome = Some(outcome.clone());
        Decision {
            desired: changed.then_some(outcome),
            notices,
        }
    }

    /// What changed about the protected servers. Servers that only wait for replacements are not reported.
    fn say(&mut self, protected: &Protected, why: Why, wanted: &Desired) -> Vec<Notice> {
        let said = protected.without_waiting(&self.left);
        let notices = protected::notices(&self.said, &said, why, wanted);
        self.said = said;
        notices
    }

    fn protect_vanished(&mut self) -> Why {
        match &self.window {
            Some(window) => window.protect(&mut self.left, &self.seen, &self.limits),
            None => Why::Few,
        }
    }

    /// Least number of servers that take traffic.
    fn min_servers(&self) -> usize {
        if self.released {
            0
        } else {
            self.limits.min_servers
        }
    }

    /// The servers to protect now.
    fn choose(&self, up: usize) -> Protected {
        let is_served = |endpoint: &Endpoint| self.seen.is_served(endpoint);
        Protected::choose(&self.left, self.min_servers(), up, is_served)
    }
}

#[cfg(test)]
mod tests;
