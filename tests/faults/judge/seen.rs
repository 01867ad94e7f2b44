//! What the load balancers were seen to do lately.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::bounds::{FAIL_TIMEOUT, MEMORY};
use crate::places::{BALANCERS, INSTANCES};

/// An attempt that failed: it was made and given up within this time.
#[derive(Debug, Clone, Copy)]
struct Failed {
    sent: Instant,
    over: Instant,
}

/// By load balancer.
#[derive(Debug, Default)]
pub(super) struct Seen {
    by_balancer: [Balancer; BALANCERS],
}

#[derive(Debug, Default)]
struct Balancer {
    /// When the requests were sent that each answered.
    asked: [VecDeque<Instant>; INSTANCES],
    /// When each answered last.
    answered: [Option<Instant>; INSTANCES],
    failed: [VecDeque<Failed>; INSTANCES],
    /// Those that it took.
    requests: VecDeque<Instant>,
    strangers: BTreeMap<SocketAddr, Instant>,
}

impl Seen {
    /// It took a request.
    pub(super) fn took(&mut self, balancer: usize, sent: Instant) {
        remember(&mut self.by_balancer[balancer].requests, sent);
    }

    /// The instance answered one.
    pub(super) fn answered(
        &mut self,
        balancer: usize,
        instance: usize,
        sent: Instant,
        at: Instant,
    ) {
        let seen = &mut self.by_balancer[balancer];
        remember(&mut seen.asked[instance], sent);
        seen.answered[instance] = seen.answered[instance].max(Some(at));
    }

    /// The instance did not, and nginx may have marked it.
    pub(super) fn failed(
        &mut self,
        balancer: usize,
        instance: usize,
        sent: Instant,
        over: Instant,
    ) {
        let failed = &mut self.by_balancer[balancer].failed[instance];
        failed.push_back(Failed { sent, over });
        while failed
            .front()
            .is_some_and(|first| first.over + MEMORY < over)
        {
            failed.pop_front();
        }
    }

    /// It is not known whom it tried: nginx may have marked any.
    pub(super) fn failed_somewhere(&mut self, balancer: usize, sent: Instant, over: Instant) {
        for instance in 0..INSTANCES {
            self.failed(balancer, instance, sent, over);
        }
    }

    pub(super) fn stranger(&mut self, balancer: usize, address: SocketAddr, at: Instant) {
        self.by_balancer[balancer].strangers.insert(address, at);
    }

    /// When an instance that answered was asked last.
    pub(super) fn last_asked(&self, balancer: usize, instance: usize) -> Option<Instant> {
        self.by_balancer[balancer].asked[instance].back().copied()
    }

    /// Whether an instance that answered was asked in this time.
    pub(super) fn was_asked(
        &self,
        balancer: usize,
        instance: usize,
        (from, until): (Instant, Instant),
    ) -> bool {
        let asked = &self.by_balancer[balancer].asked[instance];
        asked.iter().any(|at| (from..=until).contains(at))
    }

    /// Whether nginx may have left it out in this time because it had failed: all its requests are ours, so that each of its marks
    /// is seen as an attempt that failed.
    pub(super) fn was_marked(
        &self,
        balancer: usize,
        instance: usize,
        (from, until): (Instant, Instant),
    ) -> bool {
        let failed = self.by_balancer[balancer].failed[instance].iter();
        failed
            .into_iter()
            .any(|failed| failed.sent <= until && failed.over + FAIL_TIMEOUT >= from)
    }

    /// How many requests it took in this time.
    pub(super) fn requests(&self, balancer: usize, (from, until): (Instant, Instant)) -> usize {
        let requests = &self.by_balancer[balancer].requests;
        requests
            .iter()
            .filter(|at| (from..=until).contains(at))
            .count()
    }

    /// How many requests it took since then, as far as they are remembered.
    pub(super) fn requests_since(&self, balancer: usize, from: Instant) -> usize {
        let requests = &self.by_balancer[balancer].requests;
        requests.len() - requests.partition_point(|at| *at <= from)
    }

    /// Instances that answered within this time.
    pub(super) fn answering(&self, balancer: usize, time: Duration, now: Instant) -> Vec<usize> {
        let answered = self.by_balancer[balancer].answered.iter().enumerate();
        answered
            .filter(|(_, at)| at.is_some_and(|at| at + time > now))
            .map(|(instance, _)| instance)
            .collect()
    }

    /// Addresses of nobody that were asked within this time.
    pub(super) fn strangers(
        &self,
        balancer: usize,
        time: Duration,
        now: Instant,
    ) -> Vec<SocketAddr> {
        let strangers = self.by_balancer[balancer].strangers.iter();
        strangers
            .filter(|(_, at)| **at + time > now)
            .map(|(address, _)| *address)
            .collect()
    }
}

fn remember(times: &mut VecDeque<Instant>, at: Instant) {
    let place = times.partition_point(|known| *known <= at);
    times.insert(place, at);
    while times.front().is_some_and(|first| *first + MEMORY < at) {
        times.pop_front();
    }
}
