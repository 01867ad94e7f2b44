//! What is faulted, and since when it no longer is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::bounds::MOMENT;
use crate::places::{Part, pushers_of};

/// Whether something is faulted, and until when it was.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    faults: usize,
    began: Option<Instant>,
    ended: Option<Instant>,
}

/// How far something is from its last fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calm {
    /// It is faulted now.
    No,
    /// Since then; the beginning where it never was.
    Since(Instant),
}

impl Calm {
    pub(super) fn since(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Since(since) => Some(since),
        }
    }
}

/// All faults, by what they take away.
#[derive(Debug)]
pub(super) struct Troubles {
    began: Instant,
    by_part: HashMap<Part, Trouble>,
}

impl Troubles {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            by_part: HashMap::new(),
        }
    }

    /// These are faulted from now on.
    pub(super) fn begin(&mut self, parts: &[Part], now: Instant) {
        for part in parts {
            let trouble = self.by_part.entry(*part).or_default();
            trouble.faults += 1;
            trouble.began = Some(now);
        }
    }

    /// A fault of these took until now to begin.
    pub(super) fn begun(&mut self, parts: &[Part], now: Instant) {
        for part in parts {
            self.by_part.entry(*part).or_default().began = Some(now);
        }
    }

    /// The same fault has ended.
    pub(super) fn end(&mut self, parts: &[Part], now: Instant) {
        for part in parts {
            let trouble = self.by_part.entry(*part).or_default();
            trouble.faults = trouble.faults.saturating_sub(1);
            trouble.ended = Some(now);
        }
    }

    /// When a fault of it began or ended last; the beginning of all where there was none.
    pub(super) fn last_change(&self, part: Part) -> Instant {
        let trouble = self.by_part.get(&part).copied().unwrap_or_default();
        trouble.began.max(trouble.ended).unwrap_or(self.began)
    }

    pub(super) fn calm(&self, parts: &[Part]) -> Calm {
        let mut since = self.began;
        for part in parts {
            let trouble = self.by_part.get(part).copied().unwrap_or_default();
            if trouble.faults > 0 {
                return Calm::No;
            }
            since = since.max(trouble.ended.unwrap_or(self.began));
        }
        Calm::Since(since)
    }

    /// So long after a trouble; at once where there was none.
    pub(super) fn after(&self, calm: Instant, time: Duration) -> Instant {
        if calm == self.began {
            calm
        } else {
            calm + time
        }
    }

    /// Whether any of these broke within a moment of this time.
    pub(super) fn began_about(&self, parts: &[Part], at: Instant) -> bool {
        let began = parts
            .iter()
            .filter_map(|part| self.by_part.get(part)?.began);
        began
            .into_iter()
            .any(|began| began + MOMENT > at && began < at + MOMENT)
    }

    /// A load balancer, and one of its pushers with what is between them.
    pub(super) fn way(&self, balancer: usize) -> Calm {
        let ways = pushers_of(balancer).map(|pusher| {
            self.calm(&[
                Part::Balancer(balancer),
                Part::Agent(pusher),
                Part::Link(pusher, balancer),
            ])
        });
        // Where two pushers keep one nginx, one is enough.
        ways.filter_map(Calm::since)
            .min()
            .map_or(Calm::No, Calm::Since)
    }

    /// What is between a load balancer and all of its pushers.
    pub(super) fn links(&self, balancer: usize) -> Calm {
        let links: Vec<_> = pushers_of(balancer)
            .map(|pusher| Part::Link(pusher, balancer))
            .collect();
        self.calm(&links)
    }

    /// Everything between a healthy backend and the requests of a load balancer, but for etcd.
    pub(super) fn path(&self, balancer: usize, instance: usize) -> Calm {
        let own = self.calm(&[
            Part::Agent(instance),
            Part::Backend(instance),
            Part::Path(balancer, instance),
        ]);
        match (own, self.way(balancer)) {
            (Calm::Since(own), Calm::Since(way)) => Calm::Since(own.max(way)),
            _ => Calm::No,
        }
    }

    /// Whether nothing else is broken.
    pub(super) fn is_calm_but_for(&self, part: Part) -> bool {
        let others = self.by_part.iter().filter(|(other, _)| **other != part);
        others.into_iter().all(|(_, trouble)| trouble.faults == 0)
    }
}
