//! What the agent logs, and its line in `systemctl status`.

use tracing::warn;

use super::{Agent, Former, LeftBehind};
use crate::announce::gate::Health;
use crate::announce::phase::{OnFailure, Phase, Wish};
use crate::etcd::lease::LeaseStatus;
use crate::model::InstanceId;
use crate::probe::Verdict;
use crate::util::few::count;
use crate::util::last_state;

/// What the log says of the probes of `id`; it says as much of the record, which may lag behind.
fn probing(id: &InstanceId) -> String {
    format!("probes of {id}")
}

/// What the log says of how `id` is routed.
pub(super) fn routing(id: &InstanceId) -> String {
    format!("routing of {id}")
}

/// Nothing of the state of `id` is logged later: it is left.
pub(super) fn forget(id: &InstanceId) {
    for subject in [id.to_string(), probing(id), routing(id)] {
        last_state::forget(&subject);
    }
}

impl Agent {
    pub(super) fn judge(&mut self, verdict: Verdict) {
        self.note_progress();
        let changed = self.gate.observe(verdict.is_ok());
        self.reason = verdict.err().map(|failure| failure.to_string());
        match (changed, &self.reason) {
            (Some(Health::Up), _) => {
                let id = &self.settings.id;
                last_state::tell("passes", &probing(id), format!("{id} passes its probes"));
            }
            (Some(Health::Down), Some(reason)) => {
                let id = &self.settings.id;
                let failed = match self.is_presumed {
                    true => "its first probe since this announcer has started".to_owned(),
                    false => count(self.settings.fall.into(), "time") + " in a row",
                };
                let text = format!("{id} failed {failed}: {reason}");
                last_state::warn("failed", &probing(id), text);
            }
            (None, Some(reason)) => {
                tracing::debug!("probe failed: {reason}");
                self.note_unproved();
            }
            _ => {}
        }
        self.is_presumed = false;
        if let Some(health) = changed {
            self.enter(self.phase.after(health));
        }
    }

    /// Logs once that a backend does not come up, since it has no other failure to log.
    fn note_unproved(&mut self) {
        if self.phase != Phase::Starting {
            return;
        }
        self.unproved = self.unproved.saturating_add(1);
        if self.unproved == self.settings.fall {
            warn!(
                "{} is not announced yet: failed {} in a row: {}",
                self.settings.id,
                count(self.unproved.into(), "probe"),
                self.reason.as_deref().unwrap_or_default()
            );
        }
    }

    pub(super) fn note(&mut self, lease: &LeaseStatus) {
        let id = self.settings.id.to_string();
        // Somebody may overwrite it again and again, or end its container.
        match lease {
            LeaseStatus::Held { revision, .. } => {
                let state = self.state_in_words();
                let text = format!("{id} is {state} (etcd revision {revision})");
                last_state::tell(state, &id, text);
            }
            LeaseStatus::Absent | LeaseStatus::NoSpace { .. } => {
                last_state::tell("is withdrawn", &id, format!("{id} is withdrawn"));
            }
            // The lease task has already logged it.
            LeaseStatus::Pending { .. } | LeaseStatus::Deposed { .. } => last_state::forget(&id),
        }
    }

    /// Whether no record is wanted.
    fn is_withdrawing(&self) -> bool {
        matches!(self.phase.wish(self.settings.on_failure), Wish::Nothing(_))
            && self.left_behind != LeftBehind::Record
    }

    /// What the record in etcd says of the backend.
    fn state_in_words(&self) -> &'static str {
        match (self.phase, self.settings.on_failure) {
            (Phase::Failing, OnFailure::Mark) => "marked down",
            _ => "announced",
        }
    }

    /// The phase and its reason.
    pub(super) fn status(&self) -> String {
        let announced = match &*self.lease.borrow() {
            LeaseStatus::Held { revision, .. } if self.is_withdrawing() => format!(
                "withdrawing the record of revision {revision}: waiting for etcd; the record ends with its lease at the latest"
            ),
            LeaseStatus::Held { revision, .. } => {
                format!("{} at revision {revision}", self.state_in_words())
            }
            LeaseStatus::Absent => "not announced".to_owned(),
            LeaseStatus::NoSpace { .. } => "not announced, as etcd has no room".to_owned(),
            LeaseStatus::Pending { error: None } => "waiting for etcd".to_owned(),
            LeaseStatus::Pending { error: Some(error) } => format!("waiting for etcd: {error}"),
            LeaseStatus::Deposed { by } => format!("deposed by {by}"),
        };
        let waiting = self.readiness.in_words();
        let former = match self.former {
            Some(Former::Stands(_)) => "; the record from before the reload stays until then",
            _ => "",
        };
        let (against, needed) = self.gate.progress();
        let health = match (self.phase, &self.reason) {
            (Phase::Starting | Phase::Failing, Some(reason)) => format!("down: {reason}"),
            (Phase::Starting | Phase::Failing, None) => {
                format!("down, {against} of {needed} passes")
            }
            (Phase::Serving, Some(reason)) => {
                format!("up, {against} of {needed} failures: {reason}")
            }
            (Phase::Serving, None) => "up".to_owned(),
            (Phase::Leaving, _) => "leaving".to_owned(),
        };
        format!("{health}; {announced}{former}{waiting}")
    }
}

#[cfg(test)]
mod tests;
