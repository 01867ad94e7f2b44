//! What a reconciler logs: each change, once.

use std::mem::Discriminant;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::refusals::Refusals;
use crate::model::State;
use crate::target::{Error, Outcome, Progress};
use crate::upstream::state::Desired;
use crate::util::log_limit;
use crate::util::log_limit::{Late, PER_KIND};

/// The state of an upstream, for the log.
#[derive(Debug)]
pub(super) struct Health {
    target: Arc<str>,
    upstream: Arc<str>,
    failure: Option<Failure>,
    refusals: Refusals,
    /// Whether it was ever equal to the records.
    was_equal: bool,
}

#[derive(Debug)]
struct Failure {
    since: Instant,
    kind: Discriminant<Error>,
    text: Arc<str>,
    /// Whether anything of it was logged: then its end is, too.
    is_told: bool,
    /// The line about its last change, if that was left out: it is logged when the limit allows.
    late: Option<Late>,
}

impl Health {
    pub(super) fn new(target: Arc<str>, upstream: Arc<str>) -> Self {
        Self {
            target,
            upstream,
            failure: None,
            refusals: Refusals::default(),
            was_equal: false,
        }
    }

    /// The errors of the last look.
    pub(super) fn errors(&self) -> Vec<Arc<str>> {
        let failure = self.failure.as_ref().map(|failure| failure.text.clone());
        failure
            .into_iter()
            .chain(self.refusals.in_words())
            .collect()
    }

    /// Logs what the result of a look changes.
    pub(super) fn observe(
        &mut self,
        result: &Result<Outcome, Error>,
        desired: &Desired,
        now: Instant,
    ) {
        match result {
            // An unfinished change may still fail: trouble ends when a look has ended well.
            Ok(outcome) if outcome.progress == Progress::Unfinished => {}
            Ok(outcome) => {
                self.recover(now);
                self.refusals
                    .observe(&self.target, &self.upstream, &outcome.refused, desired);
                self.note_equal(outcome.progress, desired);
            }
            Err(error) => self.fail(error, now),
        }
    }

    /// A new text may mean a new error: it is kept and logged, but not each time it changes.
    fn fail(&mut self, error: &Error, now: Instant) {
        let kind = std::mem::discriminant(error);
        let text: Arc<str> = error.to_string().into();
        let failure = self.failure.get_or_insert_with(|| Failure {
            since: now,
            kind,
            text: text.clone(),
            is_told: false,
            late: None,
        });
        let is_first = !failure.is_told;
        let other_kind = std::mem::replace(&mut failure.kind, kind) != kind;
        let other_text = std::mem::replace(&mut failure.text, text) != failure.text;
        let key = || format!("{}/{}", self.target, self.upstream);
        let more = match &mut failure.late {
            Some(late) if !other_kind => late.allows().ok_or(None),
            _ if is_first || other_kind => log_limit::ask("fails", key(), PER_KIND).map_err(Some),
            _ if other_text => log_limit::ask("fails otherwise", key(), PER_KIND).map_err(Some),
            _ => Err(None),
        };
        let mut more = match more {
            Ok(more) => more,
            Err(late) => {
                failure.late = late.or_else(|| failure.late.take());
                debug!(target = %self.target, upstream = %self.upstream, %error, "still not equal to the records");
                return;
            }
        };
        failure.late = None;
        failure.is_told = true;
        if is_first && now > failure.since {
            more.since = Some(failure.since);
        }
        let (target, upstream) = (&self.target, &self.upstream);
        match is_first || other_kind {
            true => {
                warn!(%target, %upstream, %error, "cannot apply the records; retrying{more}");
            }
            false => warn!(%target, %upstream, %error, "still cannot apply the records{more}"),
        }
    }

    fn recover(&mut self, now: Instant) {
        let Self {
            target, upstream, ..
        } = self;
        if let Some(failure) = self.failure.take()
            && failure.is_told
        {
            let after = whole_millis(now.duration_since(failure.since));
            info!(target = %target, %upstream, after = %crate::util::duration::show(after), "works again");
        }
    }

    fn note_equal(&mut self, progress: Progress, desired: &Desired) {
        let Self {
            target, upstream, ..
        } = self;
        let equal = progress == Progress::Converged && self.refusals.is_empty();
        if equal && !self.was_equal {
            self.was_equal = true;
            let wanted = desired.servers.values();
            let servers = wanted
                .filter(|server| server.state != State::Draining)
                .count();
            let service = &desired.service;
            info!(target = %target, %upstream, %service, servers, "equal to the records");
        }
    }
}

fn whole_millis(duration: std::time::Duration) -> std::time::Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    std::time::Duration::from_millis(millis)
}

#[cfg(test)]
mod tests;
