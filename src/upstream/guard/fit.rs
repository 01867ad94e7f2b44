//! Which protected servers stay in one target, decided by the servers that it has. Pure.
//!
//! Several pushers may serve one nginx, each with its own memory. They do not fight because none adds what another has
//! removed: a server without a record is added only where nginx itself lost it, or where too few would be left.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::left::LeftServers;
use super::protected::{Protected, fill};
use crate::model::{Endpoint, State};
use crate::upstream::protection::Protection;
use crate::upstream::state::Desired;

/// How long a missing server still counts as lost when its target turns out to have been restarted, which is noticed
/// later.
const RECENT: Duration = Duration::from_secs(3);

impl Protection {
    /// The desired state with these servers `protected` of those that have `left`.
    pub(super) fn apply(
        self,
        wanted: &Desired,
        left: &LeftServers,
        protected: &Protected,
    ) -> Desired {
        let mut outcome = wanted.clone();
        outcome.protection = self;
        for (endpoint, left) in left {
            if protected.has(endpoint) {
                outcome.servers.insert(endpoint.clone(), left.server);
            }
            let origins = &mut outcome.origins;
            origins.insert(endpoint.clone(), left.origin.clone());
        }
        outcome
    }
}

/// One upstream of one target, as seen from one reading to the next.
#[derive(Debug, Default)]
pub struct Sight {
    /// The servers that took traffic at the last reading.
    serving: BTreeSet<Endpoint>,
    /// Those that took traffic before, and when they were missed.
    missed: BTreeMap<Endpoint, Instant>,
    /// Servers that the target lost by itself.
    lost: BTreeSet<Endpoint>,
}

impl Sight {
    /// The target was restarted, or lost its servers for another reason.
    pub fn forget(&mut self, now: Instant) {
        self.missed.retain(|_, at| *at + RECENT > now);
        self.lost.append(&mut self.serving);
        self.lost
            .extend(std::mem::take(&mut self.missed).into_keys());
    }

    /// Notes which servers take traffic.
    pub fn read(&mut self, serving: BTreeSet<Endpoint>, desired: &Desired, now: Instant) {
        self.missed
            .retain(|at, since| *since + RECENT > now && !serving.contains(at));
        let missed = self.serving.difference(&serving).cloned();
        self.missed.extend(missed.map(|endpoint| (endpoint, now)));
        self.lost.retain(|endpoint| {
            let is_known = desired.servers.contains_key(endpoint)
                || desired.protection.spares.contains_key(endpoint);
            is_known && !serving.contains(endpoint)
        });
        self.serving = serving;
    }

    /// The servers that take traffic, as last read.
    #[must_use]
    pub fn serving(&self) -> &BTreeSet<Endpoint> {
        &self.serving
    }
}

impl Desired {
    /// The desired state for a target with this history, which refuses to add some servers.
    ///
    /// - Servers that the guard holds stay, and are added only where the target lost them.
    /// - `min_servers` prefers servers that the target has, and adds others only where it needs them.
    #[must_use]
    pub fn fit(&self, sight: &Sight, refused: &BTreeSet<Endpoint>) -> Cow<'_, Self> {
        if self.protection.spares.is_empty() || self.protection.hopeful {
            return Cow::Borrowed(self);
        }
        let Protection {
            min_servers,
            spares,
            ..
        } = &self.protection;
        let mut fitted = self.clone();
        for (endpoint, spare) in spares {
            match spare.recorded {
                Some(server) => fitted.servers.insert(endpoint.clone(), server),
                None => fitted.servers.remove(endpoint),
            };
        }
        let is_there =
            |endpoint: &Endpoint| sight.serving.contains(endpoint) || sight.lost.contains(endpoint);
        let ups = fitted.servers.iter();
        let up = ups.filter(|(endpoint, server)| {
            server.state == State::Up && (!refused.contains(*endpoint) || is_there(endpoint))
        });
        let up = up.count();
        let mut stay: Vec<&Endpoint> = Vec::new();
        let mut others = Vec::new();
        for (endpoint, spare) in spares {
            match (is_there(endpoint), spare.guarded) {
                (true, true) => stay.push(endpoint),
                // A server that cannot be added does not help.
                (false, _) if refused.contains(endpoint) => {}
                (is_there, _) => {
                    let backup = spare.server.parameters.backup;
                    others.push((!is_there, backup, spare.reason, endpoint));
                }
            }
        }
        let spare = |endpoint: &&Endpoint| spares.get(*endpoint).map(|spare| spare.server);
        let any_other = spares.values().any(|spare| spare.server.is_no_backup());
        let held: Vec<_> = stay.iter().filter_map(spare).collect();
        stay.extend(fill(*min_servers, up, held.into_iter(), any_other, others));
        for endpoint in stay {
            if let Some(spare) = spares.get(endpoint) {
                fitted.servers.insert(endpoint.clone(), spare.server);
            }
        }
        Cow::Owned(fitted)
    }
}

#[cfg(test)]
mod tests;
