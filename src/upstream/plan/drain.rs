//! Which servers drain, for how long, and since which revision.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Endpoint, State};
use crate::upstream::state::Desired;

/// The clocks of the draining servers of one upstream.
#[derive(Debug)]
pub struct Drains {
    timeout: Duration,
    now: Instant,
    /// The revision that was followed last.
    revision: i64,
    clocks: BTreeMap<Endpoint, Clock>,
}

#[derive(Debug)]
struct Clock {
    since: Instant,
    /// The revision that was followed before it began.
    before: i64,
    cut: bool,
}

impl Drains {
    /// No server drains yet; each that will has `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            now: Instant::now(),
            revision: 0,
            clocks: BTreeMap::new(),
        }
    }

    /// Starts the clocks of new draining servers, and forgets the others.
    pub fn follow(&mut self, desired: &Desired, now: Instant) {
        let draining = |endpoint: &Endpoint| {
            let server = desired.servers.get(endpoint);
            server.is_some_and(|server| server.state == State::Draining)
        };
        self.now = now;
        self.clocks.retain(|endpoint, _| draining(endpoint));
        if desired.revision < self.revision {
            // etcd was restored: its revisions started again.
            self.revision = 0;
            for clock in self.clocks.values_mut() {
                clock.before = 0;
            }
        }
        for endpoint in desired.servers.keys().filter(|endpoint| draining(endpoint)) {
            if !self.clocks.contains_key(endpoint) {
                let clock = Clock {
                    since: now,
                    before: self.revision,
                    cut: false,
                };
                self.clocks.insert(endpoint.clone(), clock);
            }
        }
        self.revision = desired.revision;
    }

    /// The last revision followed before any of these servers began to drain; `None` if none drains.
    pub fn before<'a>(&self, endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Option<i64> {
        let clocks = endpoints
            .into_iter()
            .map(|endpoint| self.clocks.get(endpoint));
        clocks
            .map(|clock| clock.map_or(0, |clock| clock.before))
            .min()
    }

    /// Whether the server's time was over at the last [`Drains::follow`].
    #[must_use]
    pub fn is_over(&self, endpoint: &Endpoint) -> bool {
        let clock = self.clocks.get(endpoint);
        clock.is_some_and(|clock| self.now.duration_since(clock.since) >= self.timeout)
    }

    /// Notes that a server was removed although it may still have requests.
    pub fn cut(&mut self, endpoint: &Endpoint) {
        if let Some(clock) = self.clocks.get_mut(endpoint) {
            clock.cut = true;
        }
    }

    /// Draining servers that were removed while they may have had requests, until their records are gone: somebody may
    /// wait for those requests.
    pub fn was_cut(&self) -> impl Iterator<Item = &Endpoint> {
        let cut = self.clocks.iter().filter(|(_, clock)| clock.cut);
        cut.map(|(endpoint, _)| endpoint)
    }
}
