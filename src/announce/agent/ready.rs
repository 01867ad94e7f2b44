//! When systemd gets READY=1.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Agent;
use super::report::routing;
use crate::announce::phase::Phase;
use crate::announce::settings::Ready;
use crate::etcd::pushers::{Doubt, Obstacle, Routed, joined};
use crate::model::{ServiceName, State};
use crate::systemd::notify;
use crate::util::last_state;

/// The progress of the start.
#[derive(Debug, Default)]
pub(super) enum Readiness {
    /// etcd does not have the record as up.
    #[default]
    Unconfirmed,
    /// It has, and the announcer waits for the load balancers.
    Waiting {
        /// Since when.
        since: Instant,
        /// Why it is not routed yet, as far as the pushers publish it.
        why: Option<String>,
    },
    /// READY=1 was sent.
    Told {
        /// What was missing then.
        although: Option<String>,
    },
}

impl Readiness {
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Self::Told { .. })
    }

    /// What was missing when READY=1 was sent.
    pub(super) fn although(&self) -> Option<String> {
        match self {
            Self::Told { although } => although.clone(),
            _ => None,
        }
    }

    /// The former image has sent READY=1.
    pub(super) fn was_told(&mut self, although: Option<String>) {
        *self = Self::Told { although };
    }

    pub(super) fn waits_for_pushers(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Fires once, when the wait for silent load balancers is over.
    pub(super) fn overdue(&self, patience: Duration) -> impl Future<Output = ()> + use<> {
        let due = match self {
            Self::Waiting { since, .. } => since.checked_add(patience),
            _ => None,
        };
        let due = due.filter(|due| *due > Instant::now());
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The start's part of the status line.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Waiting { why: None, .. } => ", waiting to be routed".to_owned(),
            Self::Waiting { why: Some(why), .. } => format!(", waiting to be routed: {why}"),
            Self::Told {
                although: Some(although),
            } => format!(", ready although {although}"),
            Self::Told { although: None } | Self::Unconfirmed => String::new(),
        }
    }
}

impl Agent {
    /// The revision at which etcd has the record as up. Looked up each time: `None` for a record that was
    /// withdrawn in the meantime, or is `down`.
    fn announced_at(&self) -> Option<i64> {
        if self.phase != Phase::Serving {
            return None;
        }
        let value = self.value(State::Up);
        self.lease.borrow().revision_of(&value)
    }

    /// Sends READY=1 as soon as the start is complete.
    pub(super) fn check_ready(&mut self) {
        if self.readiness.is_told() {
            return;
        }
        let Some(revision) = self.announced_at() else {
            if self.readiness.waits_for_pushers() {
                self.pushers.forget();
            }
            self.readiness = Readiness::Unconfirmed;
            last_state::forget(&routing(&self.settings.id));
            return;
        };
        if self.settings.ready == Ready::Announced {
            self.notify_ready(None);
            return;
        }
        let (since, told) = match &mut self.readiness {
            Readiness::Waiting { since, why } => (*since, why.take()),
            _ => (Instant::now(), None),
        };
        let settings = &self.settings;
        let pushers = self.pushers.listed();
        let routed = pushers.map(|it| it.routed(&settings.prefix, &settings.id, revision));
        let waited = since.elapsed() >= settings.drain_timeout;
        match routed.map(|routed| judge(&self.settings.id.service, &routed, waited)) {
            Some(Ok(although)) => self.notify_ready(although),
            Some(Err(Why { words, is_refused })) => {
                let id = &self.settings.id;
                if !is_refused {
                    last_state::forget(&routing(id));
                } else if told.as_ref() != Some(&words) {
                    let text = format!("{id} is announced but not routed: {words}");
                    last_state::warn("not routed", &routing(id), text);
                }
                let why = Some(words);
                self.readiness = Readiness::Waiting { since, why };
            }
            None => self.readiness = Readiness::Waiting { since, why: None },
        }
    }

    fn notify_ready(&mut self, although: Option<String>) {
        let id = &self.settings.id;
        last_state::forget(&routing(id));
        match (&although, self.settings.ready) {
            (Some(although), _) => warn!("{id} counts as started although {although}"),
            (None, Ready::Routed) => {
                let text = format!("{id} is routed by every pusher");
                last_state::tell("routed", &id.to_string(), text);
            }
            (None, Ready::Announced) => {}
        }
        self.readiness = Readiness::Told { although };
        // Nobody reads it before leaving: drop the watch.
        self.pushers.forget();
        notify::ready();
    }
}

/// Why the start still waits.
#[derive(Debug, PartialEq, Eq)]
struct Why {
    words: String,
    /// A target refuses the instance or cannot have it.
    is_refused: bool,
}

/// Whether the start is over, and what is still wrong then. Silent load balancers get as long as
/// `waited` says; a hold or a split is no reason to wait, since it may as well come after the start.
fn judge(service: &ServiceName, routed: &Routed, waited: bool) -> Result<Option<String>, Why> {
    let Routed {
        applied,
        refused,
        withheld,
    } = routed;
    let not_routed = |it: &Obstacle| format!("{} does not route it: {}", it.pusher, it.reason);
    let is_refused = !refused.is_empty();
    let nobody = applied.by.is_empty() && applied.not_by.is_empty();
    let waits = is_refused || nobody || !applied.not_by.is_empty();
    if waits || !(applied.unknown.is_empty() || waited) {
        let nobody = nobody.then(|| applied.nobody(service));
        let reasons = refused.iter().map(not_routed);
        let reasons = reasons.chain(nobody).chain(applied.missing(Doubt::Unaware));
        let words = joined(reasons).unwrap_or_default();
        return Err(Why { words, is_refused });
    }
    let reasons = withheld.iter().map(not_routed);
    Ok(joined(reasons.chain(applied.missing(Doubt::Unaware))))
}

#[cfg(test)]
mod tests;
