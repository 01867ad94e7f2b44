//! Nothing by accident: which servers one upstream keeps although its records no longer say so. Pure.
//!
//! - The **floor**: an upstream never loses its last servers by following the records alone. Those that left last stay as
//!   they were until enough others take traffic.
//! - The **guard**: records that vanish without a goodbye, more of them than may be, have ended for a reason that is not
//!   known: a network, an etcd, a rack of announcers. Their servers stay for a while, and only those go at once that
//!   turn out to be dead.
//! - **Refused is not there**: a server that a target refuses takes no traffic, so nobody goes in its favour. Nor does anybody go for
//!   good before the targets have taken those that come.
//! - **One address, one owner**: what is kept goes at once when a record of another service names its address.
//!
//! A server is kept only after a record named it or nginx was seen to send it traffic: nobody's word adds one. Which of them stay
//! in one nginx is decided there, by what it has: see [`Protection`].
//!
//! Time is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::desired::{Desired, Origin, Server};
use crate::model::{Endpoint, InstanceName, State};

mod fit;
mod protected;
mod seen;
mod share;
mod window;

pub use fit::{Protection, Sight, Spare};
pub use protected::{Decision, Kept, Notice, Why};
pub use seen::Seen;
use seen::Sightings;
pub use share::{Share, ShareError};
use window::Window;

/// The longest hold: a guard that lasts longer keeps nobody from an accident.
pub const MAX_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// How many servers are remembered that are not kept, for targets that may need one: a target that is out of reach for long could
/// need any that went meanwhile.
const MAX_SPARES: usize = 256;

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

/// What was found to take traffic in a target when it was looked at for the first time.
#[derive(Debug, Default)]
pub struct Finding {
    /// The servers that do although the records, which have been told by then, do not say so.
    pub extra: BTreeMap<Endpoint, (Server, Arc<Origin>)>,
    /// Those that do not although the records say so.
    pub lacking: BTreeSet<Endpoint>,
}

/// What is known of a server's address beside the records that the upstream takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nobody else names it.
    Nobody,
    /// Another record of the service does, one that the upstream does not take.
    Sibling,
    /// A record of another service does, since then.
    Other(Instant),
}

/// Why a server would take no traffic any more. The first ones are the best to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
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
    /// Since when a record had named it by then.
    named_since: Instant,
    /// Until when the guard holds it.
    held_until: Option<Instant>,
    /// Whether the guard only holds it until the targets have taken what came in its place.
    awaits_swap: bool,
    /// Whether it was let go. It may still be better than no server at all.
    let_go: bool,
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
    /// Since when records have named what they name.
    named: BTreeMap<Endpoint, Instant>,
    /// What went because another service has the address.
    taken: BTreeSet<Endpoint>,
    window: Option<Window>,
    /// What the targets make of the servers.
    seen: Sightings,
    /// Whether somebody said that nothing is to be kept. Holds until the upstream is back at its floor.
    released: bool,
    kept: Kept,
    /// What of it was said.
    said: Kept,
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
            named: BTreeMap::new(),
            taken: BTreeSet::new(),
            window: None,
            seen: Sightings::default(),
            released: false,
            kept: Kept::default(),
            said: Kept::default(),
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
            seen: self.seen.inherit(),
            ..self.clone()
        }
    }

    /// What is kept.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// How many servers are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// Whether anything is or may be kept without a record.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.left.is_empty() && self.taken.is_empty()
    }

    /// When [`Keeper::pass`] is to be called next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.left.values().filter_map(|left| left.held_until).min()
    }

    /// The records say something new. `fate` tells what became of an instance, `claim` who else names an address.
    pub fn follow(
        &mut self,
        wanted: Desired,
        fate: impl Fn(&InstanceName) -> Fate,
        claim: impl Fn(&Endpoint) -> Claim,
        now: Instant,
    ) -> Decision {
        let wanted = Arc::new(wanted);
        self.window = self.window.take().filter(|window| !window.is_over(now));
        self.update_left(&wanted, &fate);
        if let Some(former) = self.wanted.replace(wanted.clone()) {
            let base = self.outcome.as_deref();
            let base = base.map_or(0, |outcome| self.up(outcome).count());
            let vanished = self.take_leave(&former, &wanted, &fate, now);
            self.shrink(&vanished, base, now);
            let new = ups(&wanted).filter(|(endpoint, _)| !is_up(&former, endpoint));
            self.grow(new.map(|(endpoint, _)| endpoint), &wanted);
        }
        self.name(&wanted, now);
        self.give_up(&claim, now);
        let why = self.guard();
        self.decide(why)
    }

    /// The target with this number makes something of the servers.
    pub fn see(&mut self, number: usize, seen: Seen, now: Instant) -> Decision {
        match self.seen.tell(number, seen) {
            true => self.look_again(now),
            false => Decision::default(),
        }
    }

    /// Of the targets only those with these numbers are left.
    pub fn keep_targets(&mut self, numbers: &BTreeSet<usize>, now: Instant) -> Decision {
        match self.seen.keep_only(numbers) {
            true => self.look_again(now),
            false => Decision::default(),
        }
    }

    /// What the target with this number makes of the servers.
    #[must_use]
    pub fn seen(&self, number: usize) -> Option<&Seen> {
        self.seen.of(number)
    }

    /// The targets make something else of the servers: only who has left, or is about to, depends on that.
    fn look_again(&mut self, now: Instant) -> Decision {
        if self.left.is_empty() && !self.released {
            return Decision::default();
        }
        self.window = self.window.take().filter(|window| !window.is_over(now));
        let why = self.guard();
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
            left.awaits_swap = false;
            left.reason = Reason::Gone;
        }
        self.decide(Why::Dead)
    }

    /// Lets go of all that is kept, and keeps nothing until the upstream is back at its floor.
    pub fn release(&mut self) -> Decision {
        self.released = true;
        self.window = None;
        self.left.clear();
        self.decide(Why::Released)
    }

    /// The records of other services have changed: what is kept goes where one of them names the address, unless it stood beside
    /// the own one for longer than the hold: then it is one backend of two services.
    pub fn yield_to(&mut self, claim: impl Fn(&Endpoint) -> Claim, now: Instant) -> Decision {
        match self.give_up(&claim, now) {
            true => self.decide(Why::Taken),
            false => Decision::default(),
        }
    }

    /// What takes traffic in a target that is looked at for the first time: what no record names counts as one whose record vanished
    /// just now, as that may have happened while nobody looked, and what is lacking as having just come.
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
        self.window = self.window.take().filter(|window| !window.is_over(now));
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
            let left = Left {
                server,
                origin,
                reason,
                at: now,
                named_since: now,
                held_until: None,
                awaits_swap: false,
                let_go: false,
            };
            self.left.insert(endpoint, left);
        }
        self.shrink(&vanished, base, now);
        self.grow(found.lacking.iter(), &wanted);
        let why = self.guard();
        self.decide(why)
    }

    /// The servers that take traffic, but for those that some target refuses.
    fn up<'a>(&'a self, desired: &'a Desired) -> impl Iterator<Item = &'a Endpoint> {
        let up = ups(desired).map(|(endpoint, _)| endpoint);
        up.filter(|endpoint| !self.seen.refuses(endpoint))
    }

    /// Remembers since when records name what they name now.
    fn name(&mut self, wanted: &Desired, now: Instant) {
        self.named
            .retain(|endpoint, _| wanted.servers.contains_key(endpoint));
        for endpoint in wanted.servers.keys() {
            if !self.named.contains_key(endpoint) {
                self.named.insert(endpoint.clone(), now);
            }
        }
    }

    /// Gives up what another service has now; whether there was any.
    fn give_up(&mut self, claim: &impl Fn(&Endpoint) -> Claim, now: Instant) -> bool {
        let is_other = |endpoint: &Endpoint| matches!(claim(endpoint), Claim::Other(_));
        self.taken.retain(is_other);
        let (named, hold) = (&self.named, self.limits.hold);
        let goes = |endpoint: &Endpoint, left: &Left| {
            let Claim::Other(since) = claim(endpoint) else {
                return false;
            };
            // Where a record still stands, both do.
            let until = if named.contains_key(endpoint) {
                now
            } else {
                left.at
            };
            until.saturating_duration_since(since.max(left.named_since)) <= hold
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
            if self.seen.refuse_all(endpoint) {
                // It never served anybody.
                continue;
            }
            let reason = match wanted.servers.get(endpoint) {
                Some(server) => reason_of(server.state),
                None => fate(&origin.instance).reason(),
            };
            if reason == Reason::Vanished && !self.seen.refuses(endpoint) {
                vanished.push(endpoint.clone());
            }
            let left = Left {
                server: *server,
                origin: origin.clone(),
                reason,
                at: now,
                named_since: self.named.get(endpoint).copied().unwrap_or(now),
                held_until: None,
                awaits_swap: false,
                let_go: false,
            };
            self.left.insert(endpoint.clone(), left);
        }
        vanished
    }

    /// Counts what has vanished of `base` servers.
    fn shrink(&mut self, vanished: &[Endpoint], base: usize, now: Instant) {
        if self.window.is_none() && !vanished.is_empty() && !self.released {
            self.window = Some(Window::new(now + self.limits.hold, base));
        }
        if let Some(window) = &mut self.window {
            for endpoint in vanished {
                window.vanish(endpoint.clone());
            }
        }
    }

    /// Counts what has come since.
    fn grow<'a>(&mut self, new: impl Iterator<Item = &'a Endpoint>, wanted: &Desired) {
        if let Some(window) = &mut self.window {
            for endpoint in new {
                window.arrive(endpoint);
            }
            window.keep_arrived(|endpoint| is_up(wanted, endpoint));
        }
    }

    /// Holds what has vanished when that is too much, or lets go of it when others have taken its place. Those that came count when
    /// the targets have taken them; before, what they may replace is held without a word.
    fn guard(&mut self) -> Why {
        let Some(window) = &self.window else {
            return Why::Few;
        };
        let seen = &self.seen;
        let taken = window.arrived(|endpoint| seen.confirm_now(endpoint));
        let likely = window.arrived(|endpoint| !seen.refuses(endpoint));
        let share = self.limits.max_removal;
        let swapped = window.is_swap(taken);
        let holding = window.is_too_much(share, taken) && !self.limits.hold.is_zero();
        let awaits_swap = holding && !window.is_too_much(share, likely);
        for left in self.left.values_mut() {
            if swapped || (left.awaits_swap && !holding) {
                left.held_until = None;
                left.awaits_swap = false;
            } else if holding && left.held_until.is_some() {
                left.awaits_swap &= awaits_swap;
            } else if holding && left.reason == Reason::Vanished && !left.let_go {
                left.held_until = Some(left.at + self.limits.hold);
                left.awaits_swap = awaits_swap;
            }
        }
        match swapped {
            true => Why::Swapped,
            false => Why::Few,
        }
    }

    /// What is kept, and what the upstream should be.
    fn decide(&mut self, why: Why) -> Decision {
        let Some(wanted) = self.wanted.clone() else {
            return Decision::default();
        };
        let floor = self.limits.min_servers;
        let up = self.up(&wanted).count();
        let is_short = up < floor;
        self.released &= is_short;
        let kept = self.choose(up);
        // Whom no target has confirmed yet may be refused.
        let confirmed = self.up(&wanted);
        let confirmed = confirmed.filter(|endpoint| self.seen.confirm(endpoint));
        let confirmed = confirmed.take(floor).count();
        // What is let go may still be better than nothing in a target that has no other.
        let may_return = confirmed < floor && !self.released;
        let mut room = if may_return { MAX_SPARES } else { 0 };
        self.left.retain(|endpoint, _| {
            let stays = kept.has(endpoint) || room > 0;
            room -= usize::from(stays && !kept.has(endpoint));
            stays
        });
        let is_enough = confirmed + kept.len() >= floor;
        for (endpoint, left) in &mut self.left {
            left.let_go |= is_enough && !kept.has(endpoint);
        }
        let notices = self.say(&kept, why, &wanted);
        self.kept = kept;
        let outcome = self.outcome_of(&wanted);
        let changed = self.outcome.as_ref() != Some(&outcome);
        self.outcome = Some(outcome.clone());
        Decision {
            desired: changed.then_some(outcome),
            notices,
        }
    }

    /// What is new about what is kept. What only waits for others to be taken is no news.
    fn say(&mut self, kept: &Kept, why: Why, wanted: &Desired) -> Vec<Notice> {
        let mut said = kept.clone();
        let awaits = |endpoint: &Endpoint| {
            let left = self.left.get(endpoint);
            left.is_some_and(|left| left.awaits_swap)
        };
        said.guard.retain(|endpoint, _| !awaits(endpoint));
        let notices = protected::notices(&self.said, &said, why, wanted);
        self.said = said;
        notices
    }

    /// The guard keeps what it holds; the floor as many of the others as are missing then, the best first.
    fn choose(&self, up: usize) -> Kept {
        let mut kept = Kept::default();
        let mut others = Vec::new();
        for (endpoint, left) in &self.left {
            let (server, origin) = (left.server, left.origin.clone());
            match left.held_until {
                Some(until) => {
                    kept.guard.insert(endpoint.clone(), (server, origin, until));
                }
                None if left.let_go => {}
                None => others.push((!self.seen.is_served(endpoint), endpoint, left)),
            }
        }
        if self.released {
            return kept;
        }
        // A backup is no replacement for one that is none.
        let lefts = self.left.values();
        let any_other = lefts.map(|left| left.server).any(Server::is_no_backup);
        let held = kept.guard.values().map(|(server, ..)| *server);
        let held = held.filter(|server| !any_other || server.is_no_backup());
        let held = held.count();
        let missing = self.limits.min_servers.saturating_sub(up + held);
        // Nothing but what every pusher sees alike: they choose the same ones.
        others.sort_by_key(|(is_away, endpoint, left)| {
            let backup = left.server.parameters.backup;
            (*is_away, backup, left.reason, *endpoint)
        });
        for (_, endpoint, left) in others.into_iter().take(missing) {
            let server = (left.server, left.origin.clone());
            kept.floor.insert(endpoint.clone(), server);
        }
        kept
    }

    fn outcome_of(&self, wanted: &Arc<Desired>) -> Arc<Desired> {
        let mut outcome = Desired::clone(wanted);
        let floor = match self.released {
            true => 0,
            false => self.limits.min_servers,
        };
        let spare = |(endpoint, left): (&Endpoint, &Left)| {
            let spare = Spare {
                server: left.server,
                recorded: wanted.servers.get(endpoint).copied(),
                reason: left.reason,
                guarded: left.held_until.is_some(),
            };
            (endpoint.clone(), spare)
        };
        outcome.protection = Protection {
            floor,
            spares: self.left.iter().map(spare).collect(),
            taken: self.taken.clone(),
            hopeful: false,
        };
        let kept = self.left.iter().filter(|(at, _)| self.kept.has(at));
        for (endpoint, left) in kept {
            outcome.servers.insert(endpoint.clone(), left.server);
        }
        for (endpoint, left) in &self.left {
            let origins = &mut outcome.origins;
            origins.insert(endpoint.clone(), left.origin.clone());
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
mod tests;
