//! How much an upstream has shrunk since its records started to vanish.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::left::LeftServers;
use super::limits::Limits;
use super::protected::Why;
use super::seen::Sightings;
use super::share::Share;
use crate::model::Endpoint;
use crate::upstream::protection::Reason;

/// The time in which vanished records are counted, from the first one on.
#[derive(Debug, Clone)]
pub(super) struct Window {
    until: Instant,
    /// How many servers took traffic when it began.
    base: usize,
    /// Servers that have vanished and are not back.
    vanished: BTreeSet<Endpoint>,
    /// Servers that take traffic now and did not when it began.
    arrived: BTreeSet<Endpoint>,
    /// Whether etcd has forgotten some of them: it has forgotten all, and some were back before anybody looked.
    forgotten: bool,
}

impl Window {
    pub(super) fn new(until: Instant, base: usize) -> Self {
        Self {
            until,
            base,
            vanished: BTreeSet::new(),
            arrived: BTreeSet::new(),
            forgotten: false,
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    pub(super) fn vanish(&mut self, endpoint: Endpoint) {
        self.arrived.remove(&endpoint);
        self.vanished.insert(endpoint);
    }

    /// Notes whether etcd has lost its memory.
    pub(super) fn forget(&mut self, forgotten: bool) {
        self.forgotten |= forgotten;
    }

    /// Notes a server that has started to take traffic: one that is back, or a new one.
    pub(super) fn arrive(&mut self, endpoint: &Endpoint) {
        if !self.vanished.remove(endpoint) {
            self.arrived.insert(endpoint.clone());
        }
    }

    /// Forgets new servers that take no traffic any more.
    pub(super) fn keep_arrived(&mut self, is_up: impl Fn(&Endpoint) -> bool) {
        self.arrived.retain(is_up);
    }

    /// How many of the new servers meet a condition.
    pub(super) fn arrived(&self, is_such: impl Fn(&Endpoint) -> bool) -> usize {
        let arrived = self.arrived.iter();
        arrived.filter(|endpoint| is_such(endpoint)).count()
    }

    /// Whether more is lost than allowed, given the number of new servers.
    pub(super) fn is_too_much(&self, share: Share, arrived: usize) -> bool {
        let lost = self.vanished.len().saturating_sub(arrived);
        let all = if self.forgotten { self.base } else { lost };
        lost > 0 && share.is_exceeded(all, self.base)
    }

    /// Whether as many servers have come as have vanished.
    pub(super) fn is_swap(&self, arrived: usize) -> bool {
        !self.vanished.is_empty() && arrived >= self.vanished.len()
    }

    /// Holds the vanished servers if they are too many, or lets them go when others have replaced them. New servers count
    /// once the targets have taken them; until then, those that they may replace are held without a log line.
    pub(super) fn protect(&self, left: &mut LeftServers, seen: &Sightings, limits: &Limits) -> Why {
        let taken = self.arrived(|endpoint| seen.confirm_now(endpoint));
        let likely = self.arrived(|endpoint| !seen.refuses(endpoint));
        let share = limits.max_removal;
        let swapped = self.is_swap(taken);
        let holding = self.is_too_much(share, taken) && !limits.protect_for.is_zero();
        let awaits_swap = holding && !self.is_too_much(share, likely);
        for left in left.values_mut() {
            if swapped || (left.awaits_swap && !holding) {
                left.held_until = None;
                left.awaits_swap = false;
            } else if holding && left.held_until.is_some() {
                left.awaits_swap &= awaits_swap;
            } else if holding && left.reason == Reason::Vanished && !left.let_go {
                left.held_until = Some(left.at + limits.protect_for);
                left.awaits_swap = awaits_swap;
            }
        }
        match swapped {
            true => Why::Swapped,
            false => Why::Few,
        }
    }
}
