//! How long which server has been draining.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    desired::Servers,
    record::{Endpoint, State},
};

/// The clocks of the draining servers of one upstream.
#[derive(Debug)]
pub struct Drains {
    timeout: Duration,
    now: Instant,
    clocks: BTreeMap<Endpoint, Clock>,
}

#[derive(Debug)]
struct Clock {
    since: Instant,
    cut: bool,
}

impl Drains {
    /// No server drains yet; those that will have `timeout` each.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            now: Instant::now(),
            clocks: BTreeMap::new(),
        }
    }

    /// Starts the clock of what began to drain, and forgets what no longer does.
    pub fn follow(&mut self, desired: &Servers, now: Instant) {
        let draining = |endpoint: &Endpoint| {
            let server = desired.get(endpoint);
            server.is_some_and(|server| server.state == State::Draining)
        };
        self.now = now;
        self.clocks.retain(|endpoint, _| draining(endpoint));
        for endpoint in desired.keys().filter(|endpoint| draining(endpoint)) {
            if !self.clocks.contains_key(endpoint) {
                let clock = Clock {
                    since: now,
                    cut: false,
                };
                self.clocks.insert(endpoint.clone(), clock);
            }
        }
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
