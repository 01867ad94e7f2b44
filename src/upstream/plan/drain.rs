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
    /// The desired state that was followed last.
    revision: i64,
    clocks: BTreeMap<Endpoint, Clock>,
}

#[derive(Debug)]
struct Clock {
    since: Instant,
    /// The last revision followed before it began.
    before: i64,
    cut: bool,
}

impl Drains {
    /// No server drains yet; those that will have `timeout` each.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            now: Instant::now(),
            revision: 0,
            clocks: BTreeMap::new(),
        }
    }

    /// Starts the clock of what began to drain, and forgets what no longer does.
    pub fn follow(&mut self, desired: &Desired, now: Instant) {
        let draining = |endpoint: &Endpoint| {
            let server = desired.servers.get(endpoint);
            server.is_some_and(|server| server.state == State::Draining)
        };
        self.now = now;
        self.clocks.retain(|endpoint, _| draining(endpoint));
        if desired.revision < self.revision {
            // etcd was restored: revisions mean something else now.
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

    /// The last revision that was followed before any of these servers began to drain; `None` without any.
    pub fn before<'a>(&self, endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Option<i64> {
        let clocks = endpoints
            .into_iter()
            .map(|endpoint| self.clocks.get(endpoint));
        clocks
            .map(|clock| clock.map_or(0, |clock| clock.before))
            .min()
    }

    /// Whether the server's time was over when [`Drains::follow`] was last called.
    #[must_use]
    pub fn is_over(&self, endpoint: &Endpoint) -> bool {
        let clock = self.clocks.get(endpoint);
        clock.is_some_and(|clock| self.now.duration_since(clock.since) >= self.timeout)
    }

    /// Remembers that a server was removed although requests may still run on it.
    pub fn cut(&mut self, endpoint: &Endpoint) {
        if let Some(clock) = self.clocks.get_mut(endpoint) {
            clock.cut = true;
        }
    }

    /// The drained servers that were removed while requests may have run on them, as long as their records stand: somebody may wait for
    /// those requests.
    pub fn was_cut(&self) -> impl Iterator<Item = &Endpoint> {
        let cut = self.clocks.iter().filter(|(_, clock)| clock.cut);
        cut.map(|(endpoint, _)| endpoint)
    }
}
