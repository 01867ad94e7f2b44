//! Remembers what the target refuses, so as not to ask again every time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Endpoint;
use crate::upstream::plan::Step;

/// When a refused step is retried: a resolver may have been added, a zone may have grown.
pub(super) const RETRY: Duration = Duration::from_secs(20);

/// The refused steps with the reasons.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    /// The server that takes no traffic because of it.
    server: Option<Endpoint>,
    reason: String,
    since: Instant,
    lack_of_room: bool,
}

impl Refused {
    pub(super) fn add(&mut self, step: &Step, reason: String) {
        self.insert(step, reason, false);
    }

    pub(super) fn add_for_lack_of_room(&mut self, step: &Step, reason: String) {
        self.insert(step, reason, true);
    }

    fn insert(&mut self, step: &Step, reason: String, lack_of_room: bool) {
        let server = match step {
            Step::Add { endpoint, .. } | Step::Change { endpoint, .. } => Some(endpoint.clone()),
            Step::Drain { .. } | Step::Remove { .. } | Step::Write { .. } => None,
        };
        let refusal = Refusal {
            server,
            reason,
            since: Instant::now(),
            lack_of_room,
        };
        self.0.insert(step.to_string(), refusal);
    }

    /// Whether this step was refused and its retry is not due.
    pub(super) fn holds(&self, step: &Step) -> bool {
        !self.0.is_empty() && self.0.contains_key(&step.to_string())
    }

    /// The servers that could not be added.
    pub(super) fn additions(&self) -> BTreeSet<Endpoint> {
        let added = self.0.keys().filter_map(|step| step.strip_prefix("add "));
        let endpoints = added.filter_map(|step| step.split(' ').next()?.parse().ok());
        endpoints.collect()
    }

    /// Makes steps due again that were refused long ago.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0
            .retain(|_, refusal| now.duration_since(refusal.since) < RETRY);
    }

    /// Makes steps due again that had no space.
    pub(super) fn forget_lack_of_room(&mut self) {
        self.0.retain(|_, refusal| !refusal.lack_of_room);
    }

    /// Forgets steps that are no longer wanted.
    pub(super) fn keep_only(&mut self, steps: &[Step]) {
        if self.0.is_empty() {
            return;
        }
        let wanted: HashSet<String> = steps.iter().map(Step::to_string).collect();
        self.0.retain(|step, _| wanted.contains(step));
    }

    /// The servers that are not as desired, with the reasons.
    pub(super) fn servers(&self) -> BTreeMap<Endpoint, String> {
        let refusals = self.0.values();
        let servers = refusals.filter_map(|refusal| {
            let server = refusal.server.clone()?;
            Some((server, refusal.reason.clone()))
        });
        servers.collect()
    }

    /// Steps and reasons.
    pub(super) fn listed(&self) -> BTreeMap<String, String> {
        let refusals = self.0.iter();
        refusals
            .map(|(step, refusal)| (step.clone(), refusal.reason.clone()))
            .collect()
    }
}
