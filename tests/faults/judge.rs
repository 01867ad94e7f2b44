//! What must hold of every request and of every statement, judged by what the monitor knows and sees; no I/O.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::places::{BALANCERS, INSTANCES, PLUS, Part};
use super::tried::Tried;
use bounds::MOMENT;
use facts::{Facts, Fate};
use statements::{Doubt, Gone, Said};

mod asked;
mod bounds;
mod facts;
mod leases;
mod posts;
mod routing;
mod seen;
mod statements;
#[cfg(test)]
mod tests;
mod troubles;

pub(crate) use asked::Asked;
pub(crate) use bounds::{CONVERGENCE, STANDSTILL};
pub(crate) use statements::Statement;

/// Knows what is faulted, and what was seen lately.
#[derive(Debug)]
pub(crate) struct Judge {
    facts: Facts,
    routed: Vec<Said>,
    doubts: Vec<Doubt>,
    /// Requests to instances that were said to be gone, until it is known whether etcd had a record again.
    gone: Vec<Gone>,
    /// Of requests, for the report.
    counts: BTreeMap<String, u64>,
    /// How often each invariant was judged to hold, for the report.
    held: BTreeMap<&'static str, u64>,
    /// The longest standstill of the suite itself.
    stood_still: Duration,
}

impl Judge {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            facts: Facts::new(now),
            routed: Vec::new(),
            doubts: Vec::new(),
            gone: Vec::new(),
            counts: BTreeMap::new(),
            held: BTreeMap::new(),
            stood_still: Duration::ZERO,
        }
    }

    /// These are faulted from now on.
    pub(crate) fn trouble(&mut self, parts: &[Part], now: Instant) {
        self.facts.troubles.begin(parts, now);
    }

    /// The same fault took until now to begin.
    pub(crate) fn troubled(&mut self, parts: &[Part], now: Instant) {
        self.facts.troubles.begun(parts, now);
    }

    /// The same fault has ended.
    pub(crate) fn relief(&mut self, parts: &[Part], now: Instant) {
        self.facts.troubles.end(parts, now);
    }

    /// etcd has another leader, for whatever reason.
    pub(crate) fn elected(&mut self, now: Instant) {
        self.count("elections".to_owned());
        self.facts.troubles.begun(&[Part::Member], now);
    }

    pub(crate) fn died(&mut self, instance: usize, now: Instant) {
        if let Fate::Alive(_) = self.facts.fates[instance] {
            self.facts.fates[instance] = Fate::Dead(now);
        }
    }

    pub(crate) fn lives(&mut self, instance: usize, now: Instant) {
        if let Fate::Dead(_) = self.facts.fates[instance] {
            self.facts.fates[instance] = Fate::Alive(now);
            self.facts.leases.forget(instance);
        }
    }

    /// A stranger writes over the record of this instance, or may yet do so.
    pub(crate) fn overwritten(&mut self, instance: usize, now: Instant) {
        self.facts.overwritten = Some((instance, now));
    }

    /// Whether only the end of its lease takes the instance's record away, and that time is over.
    pub(crate) fn is_lease_over(&self, instance: usize, now: Instant) -> bool {
        let is_dead = matches!(self.facts.fates[instance], Fate::Dead(_));
        let agent = self.facts.troubles.calm(&[Part::Agent(instance)]);
        is_dead && agent.since().is_none() && self.facts.lease_end(instance) < now
    }

    /// What etcd says of that lease: whole seconds that are left, below 0 where it is over.
    pub(crate) fn lease_told(&mut self, instance: usize, left: i64, now: Instant) {
        self.facts.leases.told(instance, left, now);
    }

    /// etcd has no record of the instance any more.
    pub(crate) fn record_gone(&mut self, instance: usize, now: Instant) {
        self.facts.leases.gone(instance, now);
    }

    /// etcd has another record of the instance than before: "gone" is not said of that.
    pub(crate) fn record_came(&mut self, instance: usize, now: Instant) {
        self.facts.leases.forget(instance);
        self.facts.came[instance] = Some(now);
        let said = self.facts.gone[instance].take();
        self.hold(
            "I5 gone",
            u64::from(said.is_some_and(|said| now > said + MOMENT)),
        );
    }

    /// All records of that time are looked through; gives what is violated.
    pub(crate) fn listed(&mut self, at: Instant) -> Vec<String> {
        let known = self.gone.extract_if(.., |gone| gone.at < at);
        let facts = &self.facts;
        known
            .filter(|gone| !gone.had_come_again(facts))
            .map(|gone| gone.violation)
            .collect()
    }

    /// It may get requests again, whatever was said before.
    pub(crate) fn announced_again(&mut self, instance: usize, now: Instant) {
        let said = self.facts.drained[instance].take();
        if said.is_some_and(|said| now > said + MOMENT) {
            self.hold("I5 drained", 1);
        }
    }

    pub(crate) fn said(&mut self, statement: Statement, instance: usize, at: Instant) {
        match statement {
            Statement::Routed => self.routed.push(Said { instance, at }),
            Statement::Drained => self.facts.drained[instance] = Some(at),
            // It may have been said before the record came.
            Statement::Gone if self.facts.came[instance].is_some_and(|came| came + MOMENT > at) => {
            }
            Statement::Gone => self.facts.gone[instance] = Some(at),
        }
    }

    /// Something was judged so often, and held or not.
    pub(crate) fn hold(&mut self, invariant: &'static str, times: u64) {
        if times > 0 {
            *self.held.entry(invariant).or_default() += times;
        }
    }

    fn count(&mut self, what: String) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Judges one request; gives what it violates.
    pub(crate) fn asked(&mut self, asked: &Asked) -> Vec<String> {
        self.see(asked);
        let Asked { balancer, sent, .. } = *asked;
        let mut violations = Vec::new();
        for tried in &asked.tried {
            self.note_gone(balancer, *tried, sent);
            violations.extend(self.one_was_tried(balancer, *tried, sent));
        }
        let outcome = match &asked.failure {
            Some(why) if asked.is_post => {
                violations.extend(posts::post_was_lost(&self.facts, asked, why));
                "failed"
            }
            Some(_) => "failed",
            None => {
                let answered = asked.tried.last().and_then(|tried| tried.ours());
                violations.extend(answered.and_then(|instance| {
                    statements::drained_one_was_busy(&self.facts, balancer, instance, sent)
                }));
                self.hold("I6", u64::from(asked.is_post));
                "answered"
            }
        };
        let method = if asked.is_post { "POST" } else { "GET" };
        self.count(format!("{method} {outcome}"));
        violations
    }

    /// Remembers what a request tells of the load balancer.
    fn see(&mut self, asked: &Asked) {
        let Asked {
            balancer,
            sent,
            over,
            ..
        } = *asked;
        let seen = &mut self.facts.seen;
        seen.took(balancer, sent);
        if asked.tried.is_empty() {
            seen.failed_somewhere(balancer, sent, over);
        }
        let last = asked.tried.len().saturating_sub(1);
        for (number, tried) in asked.tried.iter().enumerate() {
            match *tried {
                Tried::Ours(instance) if number == last && asked.failure.is_none() => {
                    seen.answered(balancer, instance, sent, over);
                }
                Tried::Ours(instance) => seen.failed(balancer, instance, sent, over),
                Tried::Stranger(address) => seen.stranger(balancer, address, over),
                Tried::Nobody => {}
            }
        }
    }

    fn note_gone(&mut self, balancer: usize, tried: Tried, at: Instant) {
        let instance = tried.ours();
        let found = instance.and_then(|instance| {
            statements::gone_one_was_asked(&self.facts, balancer, instance, at)
        });
        self.gone.extend(found);
    }

    /// Judges one attempt.
    fn one_was_tried(&self, balancer: usize, tried: Tried, at: Instant) -> Vec<String> {
        let facts = &self.facts;
        let found = match tried {
            Tried::Ours(instance) => [
                routing::dead_one_was_asked(facts, balancer, instance, at),
                statements::drained_one_was_asked(facts, balancer, instance, at),
            ],
            Tried::Stranger(address) => [
                routing::stranger_was_asked(facts, balancer, address, at),
                None,
            ],
            Tried::Nobody => [None, None],
        };
        found.into_iter().flatten().collect()
    }

    /// Judges what did not happen; gives what that violates. `plus` is what the stand-in would send requests to.
    pub(crate) fn tick(&mut self, now: Instant, plus: &[Tried]) -> Vec<String> {
        if let Some(still) = self.facts.look(now) {
            self.count("standstills of the suite".to_owned());
            self.stood_still = self.stood_still.max(still);
        }
        let mut violations = self.look_at_plus(plus, now);
        for instance in 0..INSTANCES {
            violations.extend(routing::lease_is_overdue(&self.facts, instance, now));
            for balancer in 0..BALANCERS {
                self.count_judged(balancer, instance, now);
                violations.extend(routing::healthy_one_was_not_asked(
                    &self.facts,
                    balancer,
                    instance,
                    now,
                ));
            }
        }
        violations.extend(self.judge_routed(now));
        violations
    }

    /// The stand-in takes no requests: what it has counts as asked.
    fn look_at_plus(&mut self, plus: &[Tried], now: Instant) -> Vec<String> {
        let seen = &mut self.facts.seen;
        seen.took(PLUS, now);
        for tried in plus {
            match *tried {
                Tried::Ours(instance) => seen.answered(PLUS, instance, now, now),
                Tried::Stranger(address) => seen.stranger(PLUS, address, now),
                Tried::Nobody => {}
            }
        }
        for tried in plus {
            self.note_gone(PLUS, *tried, now);
        }
        let judged = plus
            .iter()
            .map(|tried| self.one_was_tried(PLUS, *tried, now));
        judged.collect::<Vec<_>>().concat()
    }

    /// Counts what could have been violated by now: I1 by a dead backend beyond its bound, I2 by a healthy one.
    fn count_judged(&mut self, balancer: usize, instance: usize, now: Instant) {
        let bound = self.facts.dead_bound(balancer, instance);
        let takes = self.facts.seen.requests_since(balancer, now - MOMENT) > 0;
        let is_beyond = takes && bound.is_some_and(|bound| bound < now);
        self.hold("I1", u64::from(is_beyond));
        let is_judged = routing::healthy_one_is_judged(&self.facts, balancer, instance, now);
        self.hold("I2", u64::from(is_judged));
    }

    /// Judges each "routed" once all is known that could confirm it, and what is left of it once all is known that could explain it.
    fn judge_routed(&mut self, now: Instant) -> Vec<String> {
        let due: Vec<Said> = self
            .routed
            .extract_if(.., |said| said.due() < now)
            .collect();
        for said in due {
            for balancer in 0..BALANCERS {
                if !statements::is_judged(&self.facts, balancer, said) {
                    continue;
                }
                self.hold("I5 routed", 1);
                if !statements::was_routed(&self.facts, balancer, said) {
                    self.doubts.push(Doubt { balancer, said });
                }
            }
        }
        let due = self.doubts.extract_if(.., |doubt| doubt.due() < now);
        let judged = due.map(|doubt| statements::routed_one_was_not_asked(&self.facts, doubt));
        judged.flatten().collect()
    }

    /// Whether nothing else is broken.
    pub(crate) fn is_calm_but_for(&self, part: Part) -> bool {
        self.facts.troubles.is_calm_but_for(part)
    }

    /// Instances that have answered requests of a load balancer within this time.
    pub(crate) fn answering(&self, balancer: usize, time: Duration, now: Instant) -> Vec<usize> {
        self.facts.seen.answering(balancer, time, now)
    }

    /// Addresses of nobody that a load balancer has asked within this time.
    pub(crate) fn strangers(
        &self,
        balancer: usize,
        time: Duration,
        now: Instant,
    ) -> Vec<SocketAddr> {
        self.facts.seen.strangers(balancer, time, now)
    }

    /// Which invariants were ever judged.
    pub(crate) fn judged(&self) -> Vec<&'static str> {
        self.held.keys().copied().collect()
    }

    /// How many requests there were, how often each invariant was judged, and how late etcd was.
    pub(crate) fn figures(&self) -> String {
        let counts = self
            .counts
            .iter()
            .map(|(what, count)| format!("{what} {count}"));
        let held = self.held.iter();
        let held = held.map(|(what, count)| format!("{what} judged {count} times"));
        let still = self.stood_still.as_secs_f64();
        let still = format!("the suite itself stood still for {still:.1} s at most");
        let figures = counts
            .chain(held)
            .chain([self.facts.leases.figures(), still]);
        figures.collect::<Vec<_>>().join(", ")
    }
}
