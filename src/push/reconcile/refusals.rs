//! The steps that a target refuses, and what is logged of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{info, warn};

use crate::model::Endpoint;
use crate::upstream::state::Desired;
use crate::util::few::{count, few};
use crate::util::last_state;
use crate::util::log_limit;
use crate::util::log_limit::{Late, More, PER_KIND};

/// How many refused steps are listed; the rest is counted.
const LISTED: usize = 16;
/// How many newly refused or accepted steps get a line each at a time: a full dictionary refuses every one. Steps that
/// come one by one have the same limit: the log has no more lines of a kind about one upstream.
const NAMED: usize = 3;

/// The refused steps of an upstream, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: BTreeMap<String, String>,
    /// Whether any of them was logged since none was refused.
    is_told: bool,
    /// A line about some of them that was left out. What is refused then is logged when the limit allows.
    late: Option<Late>,
}

/// The upstream that a line is about.
#[derive(Debug, Clone)]
struct About {
    target: Arc<str>,
    upstream: Arc<str>,
    key: String,
}

impl Refusals {
    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// Some of them, and the number of the rest.
    pub(super) fn in_words(&self) -> impl Iterator<Item = Arc<str>> {
        let refused = self.refused.iter().take(LISTED);
        let refused = refused.map(|(step, reason)| format!("refused: {step}: {reason}").into());
        let more = self.refused.len().saturating_sub(LISTED);
        let more =
            (more > 0).then(|| format!("refused: {} more", count(more as u64, "step")).into());
        refused.chain(more)
    }

    /// Logs what has changed with a look.
    pub(super) fn observe(
        &mut self,
        target: &Arc<str>,
        upstream: &Arc<str>,
        refused: &BTreeMap<String, String>,
        desired: &Desired,
    ) {
        let about = About {
            target: target.clone(),
            upstream: upstream.clone(),
            key: format!("{target}/{upstream}"),
        };
        self.note_new(&about, refused);
        let ended = self.note_ended(&about, refused, desired);
        self.refused.clone_from(refused);
        if !refused.is_empty() {
            last_state::forget(&about.key);
            self.note_late(&about);
        } else {
            self.late = None;
            // The last of many that end: somebody waits for that.
            if std::mem::take(&mut self.is_told)
                && let Some(late) = ended
            {
                let About {
                    target,
                    upstream,
                    key,
                } = about;
                last_state::tell_late(&key, late, move |more| {
                    info!(%target, %upstream, "nothing is refused any more{more}");
                });
            }
        }
    }

    fn note_new(&mut self, about: &About, refused: &BTreeMap<String, String>) {
        let About {
            target,
            upstream,
            key,
        } = about;
        let (named, more) = news(refused, &self.refused);
        for (step, reason) in named {
            if let Some(more) = self.ask("refused", key) {
                warn!(%target, %upstream, %step, %reason, "refused; everything else continues{more}");
            }
        }
        if more > 0
            && let Some(left_out) = self.ask("more are refused", key)
        {
            warn!(%target, %upstream, more, "more steps like these are refused; everything else continues{left_out}");
        }
    }

    /// Whether such a line may be logged now; if not, all is logged later.
    fn ask(&mut self, kind: &'static str, key: &str) -> Option<More> {
        match log_limit::ask(kind, key, PER_KIND) {
            Ok(more) => {
                self.is_told = true;
                Some(more)
            }
            Err(late) => {
                self.late.get_or_insert(late);
                None
            }
        }
    }

    /// Logs what is refused now, if a line about that was left out and the limit allows it.
    fn note_late(&mut self, about: &About) {
        let Some(more) = self.late.as_mut().and_then(Late::allows) else {
            return;
        };
        self.late = None;
        self.is_told = true;
        let About {
            target, upstream, ..
        } = about;
        let steps = few(
            self.refused
                .iter()
                .map(|(step, reason)| format!("{step} ({reason})")),
            NAMED,
        );
        warn!(%target, %upstream, %steps, "refused all the time; everything else continues{more}");
    }

    /// Logs which steps are no longer refused. Returns the last line that was left out.
    fn note_ended(
        &self,
        about: &About,
        refused: &BTreeMap<String, String>,
        desired: &Desired,
    ) -> Option<Late> {
        let About {
            target,
            upstream,
            key,
        } = about;
        let known = self.refused.keys();
        let mut ended = known.filter(|step| !refused.contains_key(*step));
        let mut left_out = None;
        for step in ended.by_ref().take(NAMED) {
            let wanted = is_wanted(step, desired);
            let kind = match wanted {
                true => "no longer refused",
                false => "no longer wanted",
            };
            match log_limit::ask(kind, key, PER_KIND) {
                Ok(more) if wanted => info!(%target, %upstream, %step, "no longer refused{more}"),
                Ok(more) => {
                    info!(%target, %upstream, %step, "was refused, and is no longer wanted{more}");
                }
                Err(late) => left_out = Some(late),
            }
        }
        let more = ended.count();
        if more > 0 {
            match log_limit::ask("more are no longer refused", key, PER_KIND) {
                Ok(left_out) => {
                    info!(%target, %upstream, more, "more steps that were refused are done, or no longer wanted{left_out}");
                }
                Err(late) => left_out = Some(late),
            }
        }
        left_out
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

#[cfg(test)]
mod tests;
