//! All that the judge knows: what is faulted, what works, what was said, and what was seen.

use std::time::Duration;

use tokio::time::Instant;

use super::bounds::{DEAD_BOUND, ELECTION, HOLD, STANDSTILL, TTL};
use super::leases::Leases;
use super::seen::Seen;
use super::troubles::Troubles;
use crate::places::{INSTANCES, Part};

/// Whether a backend works.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Alive(Instant),
    Dead(Instant),
}

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) began: Instant,
    pub(super) troubles: Troubles,
    pub(super) fates: [Fate; INSTANCES],
    /// When "drained" was said, until the instance is announced again.
    pub(super) drained: [Option<Instant>; INSTANCES],
    /// When "gone" was said, until etcd has a record again; and when it last had one that it did not have before.
    pub(super) gone: [Option<Instant>; INSTANCES],
    pub(super) came: [Option<Instant>; INSTANCES],
    pub(super) leases: Leases,
    /// When a stranger last wrote over a record.
    pub(super) overwritten: Option<(usize, Instant)>,
    pub(super) seen: Seen,
    /// When the judge looked last, and until when the suite last stood still.
    looked: Option<Instant>,
    pub(super) stood_still: Option<Instant>,
}

impl Facts {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            troubles: Troubles::new(now),
            fates: [Fate::Alive(now); INSTANCES],
            drained: [None; INSTANCES],
            gone: [None; INSTANCES],
            came: [None; INSTANCES],
            leases: Leases::default(),
            overwritten: None,
            seen: Seen::default(),
            looked: None,
            stood_still: None,
        }
    }

    /// The judge looks at all; for how long the suite stood still before, if it did.
    pub(super) fn look(&mut self, now: Instant) -> Option<Duration> {
        let still = now - self.looked.replace(now)?;
        if still < STANDSTILL {
            return None;
        }
        self.stood_still = Some(now);
        Some(still)
    }

    /// Whether the suite stood still while a request was under way that is over now.
    pub(super) fn stood_still_during(&self, sent: Instant, over: Instant) -> bool {
        let looked = self.looked;
        looked.is_some_and(|looked| over > looked + STANDSTILL)
            || self.stood_still.is_some_and(|until| until > sent)
    }

    /// When the record of an announcer that was faulted last is gone at the latest, if it does nothing.
    pub(super) fn lease_end(&self, instance: usize) -> Instant {
        let agent = Part::Agent(instance);
        let last = self.troubles.last_change(agent);
        // Where nobody keeps it alive, each new leader gives it its whole time again.
        let last = match self.troubles.calm(&[agent]).since() {
            Some(_) => last,
            None => last.max(self.elected()),
        };
        self.troubles.after(last, TTL)
    }

    /// When etcd had a leader again at the latest, after the last fault that can take it away; it has one all the time where there
    /// was none. A member that comes back can bring about another election.
    pub(super) fn elected(&self) -> Instant {
        let last = self.troubles.last_change(Part::Member);
        self.troubles.after(last, ELECTION)
    }

    /// From when on what etcd has is in a load balancer; `None` while that cannot be told. Time for what must be done is yet to be
    /// added.
    pub(super) fn known(&self, balancer: usize) -> Option<Instant> {
        let troubles = &self.troubles;
        let calm = |part: Part| troubles.calm(&[part]).since();
        let way = troubles.way(balancer).since()?;
        calm(Part::Leaders)?;
        let known = troubles
            .after(way, TTL)
            .max(troubles.after(calm(Part::Etcd)?, TTL + ELECTION))
            .max(troubles.after(calm(Part::Data)?, TTL + HOLD))
            .max(self.elected());
        Some(known)
    }

    /// From when on a dead backend must get no request; `None` while that is not to be judged.
    pub(super) fn dead_bound(&self, balancer: usize, instance: usize) -> Option<Instant> {
        let Fate::Dead(since) = self.fates[instance] else {
            return None;
        };
        let from = self
            .known(balancer)?
            .max(since)
            .max(self.lease_end(instance));
        // Who cannot take its record away has a lease that ends, and it is etcd that ends it.
        let from = from.max(self.leases.excused_until(instance).unwrap_or(from));
        Some(from + DEAD_BOUND)
    }
}
