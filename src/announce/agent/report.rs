//! What the agent logs, and its line in `systemctl status`.

use tracing::warn;

use super::{Agent, Former, LeftBehind};
use crate::announce::gate::Health;
use crate::announce::phase::{Phase, Wish};
use crate::etcd::lease::LeaseStatus;
use crate::probe::Verdict;
use crate::util::last_state;

impl Agent {
    pub(super) fn judge(&mut self, verdict: Verdict) {
        self.note_progress();
        let changed = self.gate.observe(verdict.is_ok());
        self.reason = verdict.err().map(|failure| failure.to_string());
        match (changed, &self.reason) {
            (Some(Health::Up), _) => {
                let id = self.settings.id.to_string();
                last_state::tell("passes", &id, format!("{id} passes its probes"));
            }
            (Some(Health::Down), Some(reason)) => {
                let id = &self.settings.id;
                last_state::forget(&id.to_string());
                match self.is_presumed {
                    true => warn!(
                        "{id} failed its first probe since this announcer has started: {reason}"
                    ),
                    false => warn!(
                        "{id} failed {} times in a row: {reason}",
                        self.settings.fall
                    ),
                }
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
                "{} is not announced yet: failed {} probes in a row: {}",
                self.settings.id,
                self.unproved,
                self.reason.as_deref().unwrap_or_default()
            );
        }
    }

    pub(super) fn note(&mut self, lease: &LeaseStatus) {
        let id = self.settings.id.to_string();
        // Somebody may overwrite it again and again, or end its container.
        match lease {
            LeaseStatus::Held { revision, .. } => {
                let state = match self.phase {
                    Phase::Failing => "marked down",
                    _ => "announced",
                };
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

    /// The phase and its reason.
    pub(super) fn status(&self) -> String {
        let announced = match &*self.lease.borrow() {
            LeaseStatus::Held { revision, .. } if self.is_withdrawing() => format!(
                "withdrawing the record of revision {revision}: waiting for etcd; the record ends with its lease at the latest"
            ),
            LeaseStatus::Held { revision, .. } => format!("announced at revision {revision}"),
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
