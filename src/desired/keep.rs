//! Nothing by accident: which servers one upstream keeps although its records no longer say so. Pure.
//!
//! - The **floor**: an upstream never loses its last servers by following the records alone. Those that left last stay as
//!   they were until enough others take traffic.
//! - The **guard**: records that vanish without a goodbye, more of them than may be, have ended for a reason that is not
//!   known: a network, an etcd, a rack of announcers. Their servers stay for a while, and only those go at once that
//!   turn out to be dead.
//! - What **other pushers** keep of the same upstream is kept here too: one that was not there when it left knows no reason
//!   to keep it, and two that disagree would take turns on one nginx for ever. Everybody tells only what it keeps by its own
//!   decision, so what nobody decides to keep any more is gone from all.
//!
//! Time is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Desired, Origin, Server};
use crate::record::{Endpoint, InstanceName, State};

mod kept;
mod share;
mod window;

pub use kept::{Decision, Foreign, Kept, Notice, Why};
pub use share::{Share, ShareError};
use window::Window;

/// The longest hold: a guard that lasts longer keeps nobody from an accident.
pub const MAX_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// How far an upstream may follow its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many servers that take traffic are left at least; 0 for no floor.
    pub min_servers: usize,
    /// How much may vanish within `hold` before it is held.
    pub max_removal: Share,
    /// How long it is held, [`MAX_HOLD`] at most; zero for no guard.
    pub hold: Duration,
}

impl Default for Limits {
    /// 1, 50 %, one minute.
    fn default() -> Self {
        Self {
            min_servers: 1,
            max_removal: Share::Percent(50),
            hold: Duration::from_secs(60),
        }
    }
}

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has a record, whatever that says.
    Recorded,
    /// Its record said goodbye and is gone: all of it news at once.
    SaidGoodbye,
    /// It has none.
    Unknown,
}

impl Fate {
    /// Why a server would go that nothing desired names any more.
    fn reason(self) -> Reason {
        match self {
            Self::Recorded => Reason::Deselected,
            Self::SaidGoodbye => Reason::Gone,
            Self::Unknown => Reason::Vanished,
        }
    }
}

/// Why a server would take no traffic any more. The first ones are the best to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// It finishes what runs: its process lives.
    Draining,
    /// Its record stands, and is not taken any more.
    Deselected,
    /// Its record is gone without a goodbye.
    Vanished,
    /// Its record says so.
    Down,
    /// It said goodbye and is gone, or nobody answers there.
    Gone,
}

/// A server that would take no traffic any more, and is kept.
#[derive(Debug, Clone)]
struct Left {
    server: Server,
    origin: Arc<Origin>,
    reason: Reason,
    /// When it left.
    at: Instant,
    /// Which change it left with.
    turn: u64,
    /// Until when the guard holds it.
    held_until: Option<Instant>,
}

/// Decides what one upstream keeps.
#[derive(Debug, Clone)]
pub struct Keeper {
    limits: Limits,
    /// What the records say.
    wanted: Option<Arc<Desired>>,
    /// What was decided.
    outcome: Option<Arc<Desired>>,
    left: BTreeMap<Endpoint, Left>,
    turn: u64,
    window: Option<Window>,
    /// Whether somebody said that nothing is to be kept. Holds until the upstream is back at its floor.
    released: bool,
    foreign: BTreeMap<Endpoint, Foreign>,
    /// What is kept for their sake.
    honoured: BTreeSet<Endpoint>,
    /// What others keep and is let go here all the same, until they let go too.
    disowned: BTreeSet<Endpoint>,
    kept: Kept,
}

impl Keeper {
    /// Keeps nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let hold = limits.hold.min(MAX_HOLD);
        Self {
            limits: Limits { hold, ..limits },
            wanted: None,
            outcome: None,
            left: BTreeMap::new(),
            turn: 0,
            window: None,
            released: false,
            foreign: BTreeMap::new(),
            honoured: BTreeSet::new(),
            disowned: BTreeSet::new(),
            kept: Kept::default(),
        }
    }

    /// One with other limits that keeps what this one keeps and knows what it knows.
    #[must_use]
    pub fn succeeded_by(&self, limits: Limits) -> Self {
        let Self { limits, .. } = Self::new(limits);
        Self {
            limits,
            // Whoever is told by the new one was told nothing yet.
            outcome: None,
            ..self.clone()
        }
    }

    /// What is kept by its own decision.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// How many servers are kept, for others' sake too.
    #[must_use]
    pub fn kept_for_any_sake(&self) -> usize {
        self.kept.floor.len() + self.kept.guard.len() + self.honoured.len()
    }

    /// When [`Keeper::pass`] is to be called next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.left.values().filter_map(|left| left.held_until).min()
    }

    /// The records say something new. `fate` tells what became of an instance.
    pub fn follow(
        &mut self,
        wanted: Desired,
        fate: impl Fn(&InstanceName) -> Fate,
        now: Instant,
    ) -> Decision {
        let wanted = Arc::new(wanted);
        self.turn += 1;
        self.window = self.window.take().filter(|window| !window.is_over(now));
        self.update_left(&wanted, &fate);
        if let Some(former) = self.wanted.replace(wanted.clone()) {
            let base = self
                .outcome
                .as_deref()
                .map_or(0, |outcome| ups(outcome).count());
            let vanished = self.take_leave(&former, &wanted, &fate, now);
            self.count(&former, &wanted, &vanished, base, now);
        }
        let why = match self.guard() {
            true => Why::Told,
            false => Why::Swapped,
        };
        self.decide(why)
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Instant) -> Decision {
        for left in self.left.values_mut() {
            left.held_until = left.held_until.filter(|until| *until > now);
        }
        self.decide(Why::Over)
    }

    /// Nobody answers at this address.
    pub fn dead(&mut self, endpoint: &Endpoint) -> Decision {
        if let Some(left) = self.left.get_mut(endpoint) {
            left.held_until = None;
            left.reason = Reason::Gone;
        }
        self.decide(Why::Dead)
    }

    /// Lets go of all that is kept, and keeps nothing until the upstream is back at its floor.
    pub fn release(&mut self) -> Decision {
        self.released = true;
        self.window = None;
        self.left.clear();
        self.disowned.extend(self.foreign.keys().cloned());
        self.disowned.extend(self.kept.floor.keys().cloned());
        self.disowned.extend(self.kept.guard.keys().cloned());
        self.decide(Why::Released)
    }

    /// Others keep this by their own decisions now.
    pub fn honour(&mut self, foreign: BTreeMap<Endpoint, Foreign>) -> Decision {
        self.foreign = foreign;
        let foreign = &self.foreign;
        self.disowned
            .retain(|endpoint| foreign.contains_key(endpoint));
        self.decide(Why::Told)
    }

    /// A pusher that kept this is gone: what was kept for its sake is kept by an own decision from now on.
    pub fn inherit(&mut self, orphans: BTreeMap<Endpoint, Foreign>, now: Instant) -> Decision {
        for (endpoint, orphan) in orphans {
            // The records may not be known yet.
            let wanted = self.wanted.as_deref();
            let is_up = wanted.is_some_and(|wanted| is_up(wanted, &endpoint));
            if is_up
                || self.disowned.contains(&endpoint)
                || self.left.contains_key(&endpoint)
                || self.released
            {
                continue;
            }
            let longest = now + self.limits.hold;
            let left = Left {
                server: orphan.server,
                origin: orphan.origin,
                reason: Reason::Vanished,
                at: now,
                turn: self.turn,
                held_until: orphan.held_until.map(|until| until.min(longest)),
            };
            self.left.insert(endpoint, left);
        }
        self.decide(Why::Told)
    }

    /// These take traffic in a target although the records, which have just been told for the first time, do not say so.
    ///
    /// Where the records alone would leave fewer servers than the floor, that is taken for their leaving: records that are
    /// not there may have vanished while nobody looked.
    pub fn find(
        &mut self,
        found: BTreeMap<Endpoint, (Server, Arc<Origin>)>,
        now: Instant,
    ) -> Decision {
        let Some(wanted) = self.wanted.clone() else {
            return Decision::default();
        };
        let up = ups(&wanted).count();
        if up >= self.limits.min_servers || self.released {
            return Decision::default();
        }
        self.turn += 1;
        let mut vanished = Vec::new();
        for (endpoint, (server, origin)) in found {
            let known = is_up(&wanted, &endpoint) || self.left.contains_key(&endpoint);
            if known || self.disowned.contains(&endpoint) {
                continue;
            }
            let stands = wanted.servers.get(&endpoint);
            let reason = stands.map_or(Reason::Vanished, |server| reason_of(server.state));
            if reason == Reason::Vanished {
                vanished.push(endpoint.clone());
            }
            let left = Left {
                server,
                origin,
                reason,
                at: now,
                turn: self.turn,
                held_until: None,
            };
            self.left.insert(endpoint, left);
        }
        self.count(&wanted, &wanted, &vanished, up + vanished.len(), now);
        self.guard();
        self.decide(Why::Told)
    }

    /// What has left before: is it back, and what does its record say now?
    fn update_left(&mut self, wanted: &Desired, fate: &impl Fn(&InstanceName) -> Fate) {
        self.left.retain(|endpoint, _| !is_up(wanted, endpoint));
        for (endpoint, left) in &mut self.left {
            left.reason = match (wanted.servers.get(endpoint), left.reason) {
                (Some(server), _) => reason_of(server.state),
                (None, Reason::Draining) => Reason::Gone,
                // Where it has a record, it is elsewhere now.
                (None, Reason::Vanished) => fate(&left.origin.instance).reason(),
                (None, reason) => reason,
            };
            if left.reason != Reason::Vanished {
                left.held_until = None;
            }
        }
    }

    /// What takes no traffic any more leaves. Gives those whose records have vanished.
    fn take_leave(
        &mut self,
        former: &Desired,
        wanted: &Desired,
        fate: &impl Fn(&InstanceName) -> Fate,
        now: Instant,
    ) -> Vec<Endpoint> {
        let mut vanished = Vec::new();
        for (endpoint, server) in ups(former).filter(|(endpoint, _)| !is_up(wanted, endpoint)) {
            let Some(origin) = former.origins.get(endpoint) else {
                continue;
            };
            let reason = match wanted.servers.get(endpoint) {
                Some(server) => reason_of(server.state),
                None => fate(&origin.instance).reason(),
            };
            if reason == Reason::Vanished {
                vanished.push(endpoint.clone());
            }
            let left = Left {
                server: *server,
                origin: origin.clone(),
                reason,
                at: now,
                turn: self.turn,
                held_until: None,
            };
            self.left.insert(endpoint.clone(), left);
        }
        vanished
    }

    /// Counts what has vanished and what has come.
    fn count(
        &mut self,
        former: &Desired,
        wanted: &Desired,
        vanished: &[Endpoint],
        base: usize,
        now: Instant,
    ) {
        if self.window.is_none() && !vanished.is_empty() && !self.released {
            self.window = Some(Window::new(now + self.limits.hold, base));
        }
        let Some(window) = &mut self.window else {
            return;
        };
        for endpoint in vanished {
            window.vanish(endpoint.clone());
        }
        for (endpoint, _) in ups(wanted).filter(|(endpoint, _)| !is_up(former, endpoint)) {
            window.arrive(endpoint);
        }
        window.keep_arrived(|endpoint| is_up(wanted, endpoint));
    }

    /// Holds what has vanished when that is too much, or lets go of it when others have taken its place: then `false`.
    fn guard(&mut self) -> bool {
        let Some(window) = &self.window else {
            return true;
        };
        let swapped = window.is_swap();
        let holding = window.is_too_much(self.limits.max_removal) && !self.limits.hold.is_zero();
        for left in self.left.values_mut() {
            if swapped {
                left.held_until = None;
            } else if holding && left.reason == Reason::Vanished && left.held_until.is_none() {
                left.held_until = Some(left.at + self.limits.hold);
            }
        }
        !swapped
    }

    /// What is kept, and what the upstream should be.
    fn decide(&mut self, why: Why) -> Decision {
        let Some(wanted) = self.wanted.clone() else {
            return Decision::default();
        };
        let up = ups(&wanted).count();
        self.released &= up < self.limits.min_servers;
        let kept = self.choose(up);
        self.left.retain(|endpoint, _| kept.has(endpoint));
        let mut notices = kept::notices(&self.kept, &kept, why);
        self.kept = kept;
        let honoured = self.honoured(&wanted);
        let new: Vec<_> = honoured.difference(&self.honoured).cloned().collect();
        if !new.is_empty() {
            notices.push(Notice::Honours(new));
        }
        self.honoured = honoured;
        let outcome = self.outcome_of(&wanted);
        let changed = self.outcome.as_ref() != Some(&outcome);
        self.outcome = Some(outcome.clone());
        Decision {
            desired: changed.then_some(outcome),
            notices,
        }
    }

    /// The guard keeps what it holds; the floor as many of the others as are missing then, the best and the newest first.
    fn choose(&self, up: usize) -> Kept {
        let mut kept = Kept::default();
        let mut others = Vec::new();
        for (endpoint, left) in &self.left {
            let (server, origin) = (left.server, left.origin.clone());
            match left.held_until {
                Some(until) => {
                    kept.guard.insert(endpoint.clone(), (server, origin, until));
                }
                None => others.push((left.reason, std::cmp::Reverse(left.turn), endpoint, left)),
            }
        }
        if self.released {
            return kept;
        }
        let missing = self
            .limits
            .min_servers
            .saturating_sub(up + kept.guard.len());
        others.sort_by_key(|(reason, turn, endpoint, _)| (*reason, *turn, *endpoint));
        for (_, _, endpoint, left) in others.into_iter().take(missing) {
            let server = (left.server, left.origin.clone());
            kept.floor.insert(endpoint.clone(), server);
        }
        kept
    }

    /// What others keep and nobody keeps here. Their floor overrides what a record says, as the own one does; their guard
    /// only stands in for a record that is missing.
    fn honoured(&self, wanted: &Desired) -> BTreeSet<Endpoint> {
        let honoured = |(endpoint, foreign): &(&Endpoint, &Foreign)| {
            let overrides = foreign.held_until.is_none() || !wanted.servers.contains_key(*endpoint);
            let own = self.kept.has(endpoint);
            overrides && !own && !is_up(wanted, endpoint) && !self.disowned.contains(*endpoint)
        };
        let foreign = self.foreign.iter().filter(|_| !self.released);
        let honoured = foreign.filter(honoured);
        honoured.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    fn outcome_of(&self, wanted: &Arc<Desired>) -> Arc<Desired> {
        let foreign = self.honoured.iter();
        let foreign = foreign.filter_map(|endpoint| self.foreign.get_key_value(endpoint));
        let foreign =
            foreign.map(|(endpoint, foreign)| (endpoint, foreign.server, &foreign.origin));
        let floor = self.kept.floor.iter();
        let floor = floor.map(|(endpoint, (server, origin))| (endpoint, *server, origin));
        let guard = self.kept.guard.iter();
        let guard = guard.map(|(endpoint, (server, origin, _))| (endpoint, *server, origin));
        let mut added = foreign.chain(floor).chain(guard).peekable();
        if added.peek().is_none() {
            return wanted.clone();
        }
        let mut outcome = Desired::clone(wanted);
        for (endpoint, server, origin) in added {
            outcome.servers.insert(endpoint.clone(), server);
            outcome.origins.insert(endpoint.clone(), origin.clone());
        }
        Arc::new(outcome)
    }
}

fn reason_of(state: State) -> Reason {
    match state {
        State::Draining => Reason::Draining,
        State::Up | State::Down => Reason::Down,
    }
}

fn is_up(desired: &Desired, endpoint: &Endpoint) -> bool {
    let server = desired.servers.get(endpoint);
    server.is_some_and(|server| server.state == State::Up)
}

/// The servers that take traffic.
fn ups(desired: &Desired) -> impl Iterator<Item = (&Endpoint, &Server)> {
    let servers = desired.servers.iter();
    servers.filter(|(_, server)| server.state == State::Up)
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
