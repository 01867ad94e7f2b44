//! What a reconciler logs: each change, once.

use std::collections::BTreeMap;
use std::mem::Discriminant;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::model::{Endpoint, State};
use crate::target::{Error, Outcome, Progress};
use crate::upstream::state::Desired;
use crate::util::log_limit;

/// How many refused steps are listed; the rest is counted.
const LISTED: usize = 16;
/// How many newly refused or accepted steps get a line each at a time: a full dictionary refuses every one. Steps that
/// come one by one have the same limit: the log has no more lines of a kind about one upstream.
const NAMED: usize = 3;

/// The state of an upstream, for the log.
#[derive(Debug)]
pub(super) struct Health {
    target: Arc<str>,
    upstream: Arc<str>,
    failure: Option<Failure>,
    refused: BTreeMap<String, String>,
    /// Whether it was ever equal to the records.
    was_equal: bool,
}

#[derive(Debug)]
struct Failure {
    since: Instant,
    kind: Discriminant<Error>,
    text: Arc<str>,
    /// Whether its start was logged. If not, it is logged when the limit allows, and its end is not logged before.
    logged: bool,
}

impl Health {
    pub(super) fn new(target: Arc<str>, upstream: Arc<str>) -> Self {
        Self {
            target,
            upstream,
            failure: None,
            refused: BTreeMap::new(),
            was_equal: false,
        }
    }

    /// The errors of the last look.
    pub(super) fn errors(&self) -> Vec<Arc<str>> {
        let failure = self.failure.as_ref().map(|failure| failure.text.clone());
        let refused = self.refused.iter().take(LISTED);
        let refused = refused.map(|(step, reason)| format!("refused: {step}: {reason}").into());
        let more = self.refused.len().checked_sub(LISTED + 1);
        let more = more.map(|more| format!("refused: {} steps more", more + 1).into());
        failure.into_iter().chain(refused).chain(more).collect()
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
                self.refuse(&outcome.refused, desired);
                self.note_equal(outcome.progress, desired);
            }
            Err(error) => self.fail(error, now),
        }
    }

    /// A new text may mean a new error: it is kept and logged, but not each time it changes.
    fn fail(&mut self, error: &Error, now: Instant) {
        let Self {
            target, upstream, ..
        } = self;
        let kind = std::mem::discriminant(error);
        let text: Arc<str> = error.to_string().into();
        let known = self.failure.as_ref();
        let since = known.map_or(now, |failure| failure.since);
        let ever = known.is_some_and(|failure| failure.logged);
        let is_new = known.is_none_or(|failure| failure.kind != kind) || !ever;
        let is_known = known.is_some_and(|failure| failure.logged && failure.text == text);
        let key = format!("{target}/{upstream}");
        let logged = if is_known {
            debug!(target = %target, %upstream, %error, "still not equal to the records");
            true
        } else if is_new {
            let more = log_limit::allows("fails", key);
            if let Some(more) = more {
                warn!(target = %target, %upstream, %error, "cannot apply the records; retrying{more}");
            }
            more.is_some()
        } else {
            if let Some(more) = log_limit::allows("fails otherwise", key) {
                warn!(target = %target, %upstream, %error, "still cannot apply the records{more}");
            }
            true
        };
        self.failure = Some(Failure {
            since,
            kind,
            text,
            logged,
        });
    }

    fn recover(&mut self, now: Instant) {
        let Self {
            target, upstream, ..
        } = self;
        if let Some(failure) = self.failure.take()
            && failure.logged
        {
            let after = whole_millis(now.duration_since(failure.since));
            info!(target = %target, %upstream, after = %crate::util::duration::show(after), "works again");
        }
    }

    fn refuse(&mut self, refused: &BTreeMap<String, String>, desired: &Desired) {
        let Self {
            target, upstream, ..
        } = self;
        let (named, more) = news(refused, &self.refused);
        let key = format!("{target}/{upstream}");
        for (step, reason) in named {
            if let Some(more) = log_limit::allows("refused", &key) {
                warn!(target = %target, %upstream, %step, %reason, "refused; everything else continues{more}");
            }
        }
        if more > 0
            && let Some(left_out) = log_limit::allows("more are refused", &key)
        {
            warn!(target = %target, %upstream, more, "more steps like these are refused; everything else continues{left_out}");
        }
        let mut ended = self
            .refused
            .keys()
            .filter(|step| !refused.contains_key(*step));
        for step in ended.by_ref().take(NAMED) {
            let wanted = is_wanted(step, desired);
            let kind = if wanted {
                "no longer refused"
            } else {
                "no longer wanted"
            };
            let Some(more) = log_limit::allows(kind, &key) else {
                continue;
            };
            if wanted {
                info!(target = %target, %upstream, %step, "no longer refused{more}");
            } else {
                info!(target = %target, %upstream, %step, "was refused, and is no longer wanted{more}");
            }
        }
        let more = ended.count();
        if more > 0
            && let Some(left_out) = log_limit::allows("more are no longer refused", &key)
        {
            info!(target = %target, %upstream, more, "more steps that were refused are done, or no longer wanted{left_out}");
        }
        self.refused.clone_from(refused);
    }

    fn note_equal(&mut self, progress: Progress, desired: &Desired) {
        let Self {
            target, upstream, ..
        } = self;
        let equal = progress == Progress::Converged && self.refused.is_empty();
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

/// Whether a refused step disappeared because it is done, and not because its server is no longer wanted.
fn is_wanted(step: &str, desired: &Desired) -> bool {
    if !(step.starts_with("add ") || step.starts_with("change ")) {
        return true;
    }
    let mut endpoints = step.split(' ').filter_map(|word| word.parse().ok());
    endpoints.all(|endpoint: Endpoint| desired.servers.contains_key(&endpoint))
}

/// The new refusals: some by name, and the number of the rest.
fn news<'a>(
    refused: &'a BTreeMap<String, String>,
    known: &BTreeMap<String, String>,
) -> (Vec<(&'a String, &'a String)>, usize) {
    let mut news = refused
        .iter()
        .filter(|(step, reason)| known.get(*step) != Some(*reason));
    let named = news.by_ref().take(NAMED).collect();
    (named, news.count())
}

fn whole_millis(duration: std::time::Duration) -> std::time::Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    std::time::Duration::from_millis(millis)
}

#[cfg(test)]
mod tests;
