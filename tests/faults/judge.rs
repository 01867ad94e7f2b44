//! What must hold of every request and of every statement, judged by what the monitor knows and sees; no I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::places::{BALANCERS, INSTANCES, PLUS, Part, instance_name, pushers_of};

/// Leases of announcers and pushers.
pub(crate) const TTL: Duration = Duration::from_secs(5);

/// How long pushers protect what vanished without a goodbye.
pub(crate) const HOLD: Duration = Duration::from_secs(5);

/// Within which all must be right after the last fault.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(10);

/// Within which a dead backend gets no more requests: `interval × fall + timeout`, which are 1.9 s here, and what a busy machine
/// takes to tell it.
const DEAD_BOUND: Duration = Duration::from_secs(4);

/// How long etcd may need for another leader.
const ELECTION: Duration = Duration::from_secs(4);

/// How long a healthy backend may be without any request, with so many for all of them meanwhile.
const SILENCE: Duration = Duration::from_secs(3);
const REQUESTS: usize = 100;

/// What "at that moment" means.
const MOMENT: Duration = Duration::from_secs(1);

/// A request, or an attempt of it, is remembered for so long.
const MEMORY: Duration = Duration::from_secs(6);

/// Whether something is faulted, and until when it was.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    faults: usize,
    began: Option<Instant>,
    ended: Option<Instant>,
}

/// Whether a backend works.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Alive(Instant),
    Dead(Instant),
}

/// Somebody said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statement {
    /// All load balancers send requests to the instance.
    Routed,
    /// None does, and none is under way.
    Drained,
}

#[derive(Debug)]
struct Said {
    instance: usize,
    at: Instant,
}

/// One request, as the client saw it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) balancer: usize,
    pub(crate) is_post: bool,
    pub(crate) sent: Instant,
    /// The instances that the load balancer tried, in order, where they are ours.
    pub(crate) tried: Vec<Option<usize>>,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

/// Knows what is faulted, and what was seen lately.
#[derive(Debug)]
pub(crate) struct Judge {
    began: Instant,
    troubles: HashMap<Part, Trouble>,
    fates: [Fate; INSTANCES],
    /// When "drained" was said, until the instance is announced again.
    drained: [Option<Instant>; INSTANCES],
    /// When each was last asked by each load balancer, lately.
    asked: [[VecDeque<Instant>; INSTANCES]; BALANCERS],
    /// Requests that each load balancer took lately.
    requests: [VecDeque<Instant>; BALANCERS],
    routed: Vec<Said>,
    /// Of requests, for the report.
    pub(crate) counts: BTreeMap<String, u64>,
    /// How often each invariant was judged to hold, for the report.
    pub(crate) held: BTreeMap<&'static str, u64>,
}

/// How far something is from its last fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calm {
    /// It is faulted now.
    No,
    /// Since then; the beginning where it never was.
    Since(Instant),
}

impl Judge {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            troubles: HashMap::new(),
            fates: [Fate::Alive(now); INSTANCES],
            drained: [None; INSTANCES],
            asked: Default::default(),
            requests: Default::default(),
            routed: Vec::new(),
            counts: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// These are faulted from now on.
    pub(crate) fn trouble(&mut self, parts: &[Part], now: Instant) {
        for part in parts {
            let trouble = self.troubles.entry(*part).or_default();
            trouble.faults += 1;
            trouble.began = Some(now);
        }
    }

    /// The same fault has ended.
    pub(crate) fn relief(&mut self, parts: &[Part], now: Instant) {
        for part in parts {
            let trouble = self.troubles.entry(*part).or_default();
            trouble.faults = trouble.faults.saturating_sub(1);
            trouble.ended = Some(now);
        }
    }

    pub(crate) fn died(&mut self, instance: usize, now: Instant) {
        if let Fate::Alive(_) = self.fates[instance] {
            self.fates[instance] = Fate::Dead(now);
        }
    }

    pub(crate) fn lives(&mut self, instance: usize, now: Instant) {
        if let Fate::Dead(_) = self.fates[instance] {
            self.fates[instance] = Fate::Alive(now);
        }
    }

    /// It may get requests again, whatever was said before.
    pub(crate) fn announced_again(&mut self, instance: usize, now: Instant) {
        let said = self.drained[instance].take();
        if said.is_some_and(|said| now > said + MOMENT) {
            *self.held.entry("I5 drained").or_default() += 1;
        }
    }

    pub(crate) fn said(&mut self, statement: Statement, instance: usize, at: Instant) {
        match statement {
            Statement::Routed => self.routed.push(Said { instance, at }),
            Statement::Drained => self.drained[instance] = Some(at),
        }
    }

    /// Something was judged so often, and held or not.
    pub(crate) fn hold(&mut self, invariant: &'static str, times: u64) {
        if times > 0 {
            *self.held.entry(invariant).or_default() += times;
        }
    }

    /// Judges one request; gives what it violates.
    pub(crate) fn asked(&mut self, asked: &Asked) -> Vec<String> {
        let mut violations = Vec::new();
        remember(&mut self.requests[asked.balancer], asked.sent);
        if let (None, Some(Some(instance))) = (&asked.failure, asked.tried.last()) {
            remember(&mut self.asked[asked.balancer][*instance], asked.sent);
        }
        for instance in asked.tried.iter().copied().flatten() {
            violations.extend(self.dead_one_was_asked(asked.balancer, instance, asked.sent));
            violations.extend(self.drained_one_was_asked(asked.balancer, instance, asked.sent));
        }
        let method = if asked.is_post { "POST" } else { "GET" };
        let outcome = if asked.failure.is_some() {
            "failed"
        } else {
            "answered"
        };
        *self
            .counts
            .entry(format!("{method} {outcome}"))
            .or_default() += 1;
        if asked.is_post && asked.failure.is_none() {
            *self.held.entry("I6").or_default() += 1;
        }
        if let (true, Some(why)) = (asked.is_post, &asked.failure) {
            violations.extend(self.post_was_lost(asked, why));
        }
        violations
    }

    /// Judges what did not happen; gives what that violates.
    pub(crate) fn tick(&mut self, now: Instant, plus: &[usize]) -> Vec<String> {
        // The stand-in takes no requests: what it has counts as asked.
        remember(&mut self.requests[PLUS], now);
        let mut violations = Vec::new();
        for instance in plus.iter().copied() {
            remember(&mut self.asked[PLUS][instance], now);
            violations.extend(self.dead_one_was_asked(PLUS, instance, now));
            violations.extend(self.drained_one_was_asked(PLUS, instance, now));
        }
        for balancer in 0..BALANCERS {
            for instance in 0..INSTANCES {
                self.count_the_dead(balancer, instance, now);
                violations.extend(self.healthy_one_was_not_asked(balancer, instance, now));
            }
        }
        let fates = self.fates;
        let due =
            |said: &Said| now > said.at + patience(fates[said.instance], said.at) + MOMENT / 2;
        let judged: Vec<Said> = self.routed.extract_if(.., |said| due(said)).collect();
        for said in judged {
            for balancer in 0..BALANCERS {
                violations.extend(self.routed_one_was_not_asked(balancer, &said));
            }
        }
        violations
    }

    /// From when on a dead backend must get no request; `None` while that is not to be judged.
    fn dead_bound(&self, balancer: usize, instance: usize) -> Option<Instant> {
        let Fate::Dead(since) = self.fates[instance] else {
            return None;
        };
        let calm = |part: Part| match self.calm(&[part]) {
            Calm::No => None,
            Calm::Since(calm) => Some(calm),
        };
        let way = match self.way(balancer) {
            Calm::No => return None,
            Calm::Since(way) => way,
        };
        let from = since
            .max(self.after(way, TTL))
            .max(self.after(calm(Part::Etcd)?, TTL + ELECTION))
            .max(self.after(calm(Part::Data)?, TTL + HOLD))
            .max(self.after(calm(Part::Member)?, ELECTION))
            // Who cannot take its record away has a lease that ends.
            .max(self.lease_end(instance));
        Some(from + DEAD_BOUND)
    }

    /// When the record of an announcer that was faulted last is gone at the latest, if it does nothing.
    fn lease_end(&self, instance: usize) -> Instant {
        let trouble = self.troubles.get(&Part::Agent(instance)).copied();
        let Trouble { began, ended, .. } = trouble.unwrap_or_default();
        let last = began.max(ended).unwrap_or(self.began);
        self.after(last, TTL)
    }

    /// I1
    fn dead_one_was_asked(
        &mut self,
        balancer: usize,
        instance: usize,
        at: Instant,
    ) -> Option<String> {
        let bound = self.dead_bound(balancer, instance)?;
        let Fate::Dead(since) = self.fates[instance] else {
            return None;
        };
        let late = at.checked_duration_since(bound)?;
        Some(format!(
            "I1: {} gets requests of balancer {balancer}, {:.1} s after it died and {:.1} s after its bound",
            instance_name(instance),
            (at - since).as_secs_f64(),
            late.as_secs_f64(),
        ))
    }

    /// Counts what I1 forbids and nobody did: a dead backend beyond its bound, beside others that are asked.
    fn count_the_dead(&mut self, balancer: usize, instance: usize, now: Instant) {
        let bound = self.dead_bound(balancer, instance);
        if bound.is_some_and(|bound| bound < now) && !self.requests[balancer].is_empty() {
            *self.held.entry("I1").or_default() += 1;
        }
    }

    /// I2
    fn healthy_one_was_not_asked(
        &mut self,
        balancer: usize,
        instance: usize,
        now: Instant,
    ) -> Option<String> {
        let Fate::Alive(since) = self.fates[instance] else {
            return None;
        };
        let Calm::Since(path) = self.path(balancer, instance) else {
            return None;
        };
        let calm = self.after(path, TTL);
        let alive = self.after(since, CONVERGENCE);
        let last = self.asked[balancer][instance].back().copied();
        let from = last
            .unwrap_or(self.began + CONVERGENCE)
            .max(calm)
            .max(alive);
        let enough = self.requests[balancer]
            .iter()
            .filter(|at| **at > from)
            .count();
        *self.held.entry("I2").or_default() += 1;
        let silent = now.checked_duration_since(from)?;
        let is_starved = balancer == PLUS || enough >= REQUESTS;
        (silent > SILENCE && is_starved).then(|| {
            format!(
                "I2: {} works and gets no request of balancer {balancer} for {:.1} s, while that took {enough}",
                instance_name(instance),
                silent.as_secs_f64(),
            )
        })
    }

    /// I5
    fn routed_one_was_not_asked(&mut self, balancer: usize, said: &Said) -> Option<String> {
        let Said { instance, at } = *said;
        let from = at - MOMENT;
        let lives = matches!(self.fates[instance], Fate::Alive(since) if since <= at);
        let own = [Part::Agent(instance), Part::Backend(instance)];
        let Calm::Since(others) = self.way(balancer) else {
            return None;
        };
        let was_calm = others == self.began || others < from;
        if !lives || !was_calm || self.began_about(&own, at) {
            return None;
        }
        *self.held.entry("I5 routed").or_default() += 1;
        let was_asked = self.asked[balancer][instance]
            .iter()
            .any(|asked| *asked >= at && *asked <= at + patience(self.fates[instance], at));
        (!was_asked).then(|| {
            format!(
                "I5: {} was said to be routed, and gets no request of balancer {balancer}",
                instance_name(instance)
            )
        })
    }

    /// I5
    fn drained_one_was_asked(
        &mut self,
        balancer: usize,
        instance: usize,
        at: Instant,
    ) -> Option<String> {
        let said = self.drained[instance]?;
        // A load balancer that refuses connections for 3 s counts as one that does not route.
        let links: Vec<_> = pushers_of(balancer)
            .map(|pusher| Part::Link(pusher, balancer))
            .collect();
        let Calm::Since(links) = self.calm(&links) else {
            return None;
        };
        let is_late = at > said + MOMENT && said > self.after(links, TTL);
        is_late.then(|| {
            format!(
                "I5: {} was said to be drained {:.1} s ago, and gets a request of balancer {balancer}",
                instance_name(instance),
                (at - said).as_secs_f64()
            )
        })
    }

    /// I6
    fn post_was_lost(&mut self, asked: &Asked, why: &str) -> Option<String> {
        let Calm::Since(balancer) = self.calm(&[Part::Balancer(asked.balancer)]) else {
            return None;
        };
        if self.after(balancer, SILENCE) > asked.sent {
            return None;
        }
        let what = |whose: String| {
            Some(format!(
                "I6: balancer {} lost a POST {whose}: {why}",
                asked.balancer
            ))
        };
        let Some(Some(instance)) = asked.tried.last().copied() else {
            return what("that it sent to none of ours".to_owned());
        };
        let name = instance_name(instance);
        if self.drained[instance].is_some() {
            return what(format!("at {name}, which left in good order"));
        }
        match self.fates[instance] {
            Fate::Alive(since) if self.after(since, SILENCE) < asked.sent => {
                what(format!("at {name}, which works"))
            }
            _ => None,
        }
    }

    /// Whether any of these broke within a moment of this time.
    fn began_about(&self, parts: &[Part], at: Instant) -> bool {
        let began = parts
            .iter()
            .filter_map(|part| self.troubles.get(part)?.began);
        began
            .into_iter()
            .any(|began| began + MOMENT > at && began < at + MOMENT)
    }

    /// A load balancer, and one of its pushers with what is between them.
    fn way(&self, balancer: usize) -> Calm {
        let ways = pushers_of(balancer).map(|pusher| {
            self.calm(&[
                Part::Balancer(balancer),
                Part::Agent(pusher),
                Part::Link(pusher, balancer),
            ])
        });
        // Where two pushers keep one nginx, one is enough.
        let since = ways.filter_map(|calm| match calm {
            Calm::No => None,
            Calm::Since(since) => Some(since),
        });
        since.min().map_or(Calm::No, Calm::Since)
    }

    /// Everything between a healthy backend and the requests of a load balancer, but for etcd.
    fn path(&self, balancer: usize, instance: usize) -> Calm {
        let own = self.calm(&[Part::Agent(instance), Part::Backend(instance)]);
        match (own, self.way(balancer)) {
            (Calm::Since(own), Calm::Since(way)) => Calm::Since(own.max(way)),
            _ => Calm::No,
        }
    }

    /// Whether nothing else is broken.
    pub(crate) fn is_calm_but_for(&self, part: Part) -> bool {
        let others = self.troubles.iter().filter(|(other, _)| **other != part);
        others.into_iter().all(|(_, trouble)| trouble.faults == 0)
    }

    fn calm(&self, parts: &[Part]) -> Calm {
        let mut since = self.began;
        for part in parts {
            let trouble = self.troubles.get(part).copied().unwrap_or_default();
            if trouble.faults > 0 {
                return Calm::No;
            }
            since = since.max(trouble.ended.unwrap_or(self.began));
        }
        Calm::Since(since)
    }

    /// So long after a trouble; at once where there was none.
    fn after(&self, calm: Instant, time: Duration) -> Instant {
        if calm == self.began {
            calm
        } else {
            calm + time
        }
    }

    /// Instances that a load balancer has asked within this time.
    pub(crate) fn asked_within(&self, balancer: usize, time: Duration, now: Instant) -> Vec<usize> {
        let recently = |times: &VecDeque<Instant>| times.back().is_some_and(|at| *at + time > now);
        let asked = self.asked[balancer].iter().enumerate();
        asked
            .filter(|(_, times)| recently(times))
            .map(|(instance, _)| instance)
            .collect()
    }
}

/// Within which a backend that is routed gets a request. nginx itself leaves out one that was dead a moment ago, and a connection to
/// an address that nobody has takes seconds to fail.
fn patience(fate: Fate, at: Instant) -> Duration {
    match fate {
        Fate::Alive(since) if since + MOMENT * 5 < at => MOMENT,
        _ => MOMENT * 4,
    }
}

fn remember(times: &mut VecDeque<Instant>, at: Instant) {
    let place = times.partition_point(|known| *known <= at);
    times.insert(place, at);
    while times.front().is_some_and(|first| *first + MEMORY < at) {
        times.pop_front();
    }
}
