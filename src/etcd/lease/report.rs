//! What the task reports: to its owner by [`LeaseStatus`], to people by the log.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::status::{LeaseStatus, Trouble};
use super::task::Task;
use crate::etcd::Error;
use crate::etcd::ttl;
use crate::util::log_limit;
use crate::util::log_limit::PER_KIND;

/// How many lines about keys that cannot be kept are logged in a minute, by one process.
const OUTAGES: u32 = 10;

impl Task {
    /// The lease may have expired: etcd was unreachable for as long as it lasts, or refused to renew it.
    pub(super) fn expired(&mut self) -> Error {
        let ttl = self.lease.map_or(self.ttl, |lease| lease.ttl);
        self.unheard = self.lease.or(self.unheard);
        if let Some(refusal) = self.refusal.take() {
            self.lost("etcd refused to renew the lease for as long as it lasts");
            return refusal;
        }
        self.lost("etcd was not heard for as long as the lease lasts");
        Error::Silent {
            endpoint: "every endpoint".to_owned(),
            after: ttl,
        }
    }

    /// Logs when etcd grants another length than was asked for, as it does below its own minimum.
    pub(super) fn note_granted(&self, granted: Duration) {
        let is_new = self
            .granted
            .send_if_modified(|known| std::mem::replace(known, granted) != granted);
        if let (true, Some(differs)) = (is_new, ttl::differs(self.ttl, granted)) {
            warn!(
                "{differs}: {} outlives a killed process by that long",
                self.key_name()
            );
        }
    }

    pub(super) fn lost(&mut self, why: &'static str) {
        self.claim.lost_lease();
        if self.lease.take().is_some() {
            self.gone = Some(why);
            self.note_gone();
        }
        self.report_pending(Some(why.into()));
    }

    fn note_gone(&mut self) {
        let Some(why) = self.gone else { return };
        let key = String::from_utf8_lossy(&self.key);
        let trouble = format!("{key} counts as gone");
        let more = self.troubles.tell(&trouble, "counts as gone", PER_KIND);
        if let Some(more) = more {
            let next = match self.wants_nothing() {
                true => "",
                false => "; announcing again",
            };
            warn!("{why}: {trouble}{next}{more}");
        }
    }

    /// Somebody else has done this to the key.
    pub(super) fn note_strangers_hand(&self, what: &'static str) {
        if let Some(more) = log_limit::allows(what, self.key_name()) {
            let next = match self.wants_nothing() {
                true => "",
                false => "; announcing it again",
            };
            warn!(
                "{} was {what} by somebody else{next}{more}",
                self.key_name()
            );
        }
        self.report_pending(Some(what.into()));
    }

    /// The first write replaces what somebody else has left there.
    pub(super) fn note_takeover(&self, former: &str) {
        if let Some(more) = log_limit::allows("takes over", self.key_name()) {
            info!("taking {} over from {former}{more}", self.key_name());
        }
    }

    pub(super) fn note_failure(&mut self, error: &Error) {
        // Tokens end in the course of things. That a new one is refused, too, is trouble.
        let token_ended = std::mem::take(&mut self.worked) && error.wants_a_new_login();
        self.note_gone();
        let key = String::from_utf8_lossy(&self.key);
        let trouble = format!("{key} {}", error.kind());
        // That the lease is lost has a line of its own.
        let more = match token_ended || error.is_lease_not_found() {
            true => None,
            // An etcd that fails again and again has an outage every few seconds.
            false => self.troubles.tell(&trouble, "cannot keep", OUTAGES),
        };
        if let Some(more) = more {
            warn!(%error, "cannot keep {key} in etcd; trying again until it works{more}");
        } else {
            debug!(%error, "etcd still fails");
        }
        if !matches!(*self.statuses.borrow(), LeaseStatus::Held { .. }) {
            self.report_pending(Some(error.into()));
        }
    }

    pub(super) fn note_success(&mut self) {
        if std::mem::take(&mut self.is_resumed) {
            info!(
                "the program was started anew and renews the lease of {}",
                self.key_name()
            );
        }
        self.refusal = None;
        self.worked = true;
        self.gone = None;
        if self.troubles.end() {
            info!("{} is kept in etcd again", self.key_name());
        }
    }

    /// The key is gone, as wanted.
    pub(super) fn note_absent(&mut self) {
        self.gone = None;
        if self.troubles.end() {
            info!(
                "etcd answers again, and {} is not there any more",
                self.key_name()
            );
        }
    }

    pub(super) fn note_no_space(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.no_space, true) {
            warn!(
                %error,
                "{} cannot say that it takes no traffic, as etcd has no room: deleting it without a withdrawal notice",
                self.key_name()
            );
        }
    }

    pub(super) fn key_name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }

    pub(super) fn report_pending(&self, error: Option<Trouble>) {
        self.report(LeaseStatus::Pending { error });
    }

    pub(super) fn report(&self, status: LeaseStatus) {
        self.statuses.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
