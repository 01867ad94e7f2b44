//! What a reconciler says in the log: what has changed, once.

use std::collections::BTreeMap;
use std::mem::Discriminant;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::desired::Desired;
use crate::log_limit;
use crate::record::{Endpoint, State};
use crate::upstream::{Error, Outcome, Progress};

/// So many refused steps are told one by one; the rest is counted.
const LISTED: usize = 16;
/// How many steps that are refused, or no longer are, get a line each at a time: a full dictionary refuses every one. Those that
/// come one by one are limited alike: the log has no more lines of a kind about one upstream.
const NAMED: usize = 3;

/// How an upstream has been doing.
#[derive(Debug)]
pub(super) struct Health {
    target: Arc<str>,
    upstream: Arc<str>,
    failure: Option<Failure>,
    refused: BTreeMap<String, String>,
    /// Whether it was ever equal to the records.
    settled: bool,
}

#[derive(Debug)]
struct Failure {
    since: Instant,
    kind: Discriminant<Error>,
    text: Arc<str>,
    /// Whether the log has it. What has not is logged as soon as there is room, and its end is no news before.
    logged: bool,
}

impl Health {
    pub(super) fn new(target: Arc<str>, upstream: Arc<str>) -> Self {
        Self {
            target,
            upstream,
            failure: None,
            refused: BTreeMap::new(),
            settled: false,
        }
    }

    /// All that is wrong, as it was at the last look.
    pub(super) fn errors(&self) -> Vec<Arc<str>> {
        let failure = self.failure.as_ref().map(|failure| failure.text.clone());
        let refused = self.refused.iter().take(LISTED);
        let refused = refused.map(|(step, reason)| format!("refused: {step}: {reason}").into());
        let more = self.refused.len().checked_sub(LISTED + 1);
        let more = more.map(|more| format!("refused: {} steps more", more + 1).into());
        failure.into_iter().chain(refused).chain(more).collect()
    }

    /// Takes note of how a look ended, and logs what is new about it.
    pub(super) fn observe(
        &mut self,
        result: &Result<Outcome, Error>,
        desired: &Desired,
        now: Instant,
    ) {
        match result {
            // What is half done may still fail: trouble ends when a look has ended well.
            Ok(outcome) if outcome.progress == Progress::Unfinished => {}
            Ok(outcome) => {
                self.recover(now);
                self.refuse(&outcome.refused, desired);
                self.settle(outcome.progress, desired);
            }
            Err(error) => self.fail(error, now),
        }
    }

    /// The same trouble in other words may be another one: they are kept, and told, but not as often as they may change.
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
                warn!(target = %target, %upstream, %error, "cannot be made equal to the records; trying on{more}");
            }
            more.is_some()
        } else {
            if let Some(more) = log_limit::allows("fails otherwise", key) {
                warn!(target = %target, %upstream, %error, "still cannot be made equal to the records{more}");
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
            info!(target = %target, %upstream, after = %crate::span::about(after), "works again");
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
                warn!(target = %target, %upstream, %step, %reason, "refused; everything else goes on{more}");
            }
        }
        if more > 0
            && let Some(left_out) = log_limit::allows("more are refused", &key)
        {
            warn!(target = %target, %upstream, more, "more steps like these are refused; everything else goes on{left_out}");
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
                "not wanted any more"
            };
            let Some(more) = log_limit::allows(kind, &key) else {
                continue;
            };
            if wanted {
                info!(target = %target, %upstream, %step, "no longer refused{more}");
            } else {
                info!(target = %target, %upstream, %step, "was refused, and is not wanted any more{more}");
            }
        }
        let more = ended.count();
        if more > 0
            && let Some(left_out) = log_limit::allows("more are no longer refused", &key)
        {
            info!(target = %target, %upstream, more, "more steps that were refused are done, or not wanted any more{left_out}");
        }
        self.refused.clone_from(refused);
    }

    fn settle(&mut self, progress: Progress, desired: &Desired) {
        let Self {
            target, upstream, ..
        } = self;
        let equal = progress == Progress::Converged && self.refused.is_empty();
        if equal && !self.settled {
            self.settled = true;
            let wanted = desired.servers.values();
            let servers = wanted
                .filter(|server| server.state != State::Draining)
                .count();
            let service = &desired.service;
            info!(target = %target, %upstream, %service, servers, "equal to the records");
        }
    }
}

/// Whether a step that was refused is no longer missing because it is done, and not because its server is not wanted any more.
fn is_wanted(step: &str, desired: &Desired) -> bool {
    if !(step.starts_with("add ") || step.starts_with("change ")) {
        return true;
    }
    let mut endpoints = step.split(' ').filter_map(|word| word.parse().ok());
    endpoints.all(|endpoint: Endpoint| desired.servers.contains_key(&endpoint))
}

/// The refusals that were not known so, of which so many are named, and how many there are beyond those.
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
mod tests {
    use super::*;

    fn desired() -> Desired {
        Desired::at(1, &crate::desired::Servers::new())
    }

    fn refusing(steps: &[&str]) -> Result<Outcome, Error> {
        let refused = steps
            .iter()
            .map(|step| ((*step).to_owned(), "no room".to_owned()));
        Ok(Outcome {
            refused: refused.collect(),
            ..Outcome::new(Progress::Converged)
        })
    }

    #[test]
    fn trouble_is_told_in_the_words_of_the_last_look() {
        let mut health = Health::new("edge".into(), "website".into());
        let mut after = |result: Result<Outcome, Error>| {
            health.observe(&result, &desired(), Instant::now());
            let errors = health.errors();
            assert!(errors.len() < 2);
            errors.first().map(|text| text.to_string())
        };
        assert_eq!(after(refusing(&[])), None);
        let first = after(Err(Error::Broken("one".to_owned())));
        assert!(first.as_ref().is_some_and(|text| text.contains("one")));
        let second = after(Err(Error::Broken("two".to_owned())));
        assert!(second.is_some_and(|text| text.contains("two") && !text.contains("one")));
        assert_ne!(after(Err(Error::ReadOnly)), first);
        assert_eq!(
            after(refusing(&["add a:1"])).as_deref(),
            Some("refused: add a:1: no room")
        );
        assert_eq!(after(refusing(&[])), None);
    }

    #[test]
    fn every_refusal_is_told_up_to_a_limit() {
        let mut health = Health::new("edge".into(), "website".into());
        let steps: Vec<_> = (0..20).map(|number| format!("add a:{number}")).collect();
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        health.observe(&refusing(&steps[..16]), &desired(), Instant::now());
        assert_eq!(health.errors().len(), 16);
        health.observe(&refusing(&steps), &desired(), Instant::now());
        let errors = health.errors();
        assert_eq!(errors.len(), 17);
        assert_eq!(&*errors[16], "refused: 4 steps more");
    }

    #[test]
    fn trouble_ends_when_a_look_has_ended_well_and_not_before() {
        let mut health = Health::new("edge".into(), "website".into());
        let failed = || Err(Error::ReadOnly);
        health.observe(&failed(), &desired(), Instant::now());
        for _ in 0..3 {
            let unfinished = Ok(Outcome::new(Progress::Unfinished));
            health.observe(&unfinished, &desired(), Instant::now());
            assert_eq!(health.errors().len(), 1, "nothing works yet");
            health.observe(&failed(), &desired(), Instant::now());
        }
        let draining = Outcome::new(Progress::Draining {
            active: 1,
            confirmed: 0,
        });
        health.observe(&Ok(draining), &desired(), Instant::now());
        assert_eq!(health.errors(), []);
    }

    #[test]
    fn a_refusal_that_ends_with_its_record_is_not_said_to_be_over() {
        let nobody = desired();
        assert!(!is_wanted("add 10.0.0.1:80 weight=1", &nobody));
        assert!(!is_wanted("change [2001:db8::1]:80 weight=2", &nobody));
        assert!(!is_wanted("add web.example:80 weight=1", &nobody));
        assert!(is_wanted(
            "remove 10.0.0.1:80 (no record names it)",
            &nobody
        ));
        assert!(is_wanted("set weights", &nobody));
        let server = crate::desired::Server {
            weight: std::num::NonZeroU16::MIN,
            state: State::Up,
            parameters: crate::desired::Parameters::default(),
        };
        let servers = [("10.0.0.1:80".parse().unwrap(), server)].into();
        let one = Desired::at(1, &servers);
        assert!(is_wanted("add 10.0.0.1:80 weight=1", &one));
        assert!(!is_wanted("add 10.0.0.2:80 weight=1", &one));
    }

    #[test]
    fn trouble_that_comes_and_goes_is_logged_a_few_times_and_the_last_of_it_later() {
        let mut health = Health::new("floods".into(), "website".into());
        let now = Instant::now();
        let mut logged = 0;
        for _ in 0..20 {
            health.observe(&refusing(&[]), &desired(), now);
            health.observe(&Err(Error::ReadOnly), &desired(), now);
            logged += u32::from(health.failure.as_ref().unwrap().logged);
        }
        assert_eq!(logged, 3);
        assert_eq!(
            health.errors().len(),
            1,
            "what is not logged is told all the same"
        );
    }

    #[test]
    fn what_is_refused_is_not_equal() {
        let mut health = Health::new("edge".into(), "website".into());
        health.observe(&refusing(&["add a:1"]), &desired(), Instant::now());
        assert!(!health.settled);
        health.observe(&refusing(&[]), &desired(), Instant::now());
        assert!(health.settled);
    }

    #[test]
    fn a_full_dictionary_gives_a_few_lines_and_a_count() {
        let reasons = |count: usize| {
            let steps = (0..count).map(|number| (format!("add {number:03}"), "full".to_owned()));
            steps.collect::<BTreeMap<_, _>>()
        };
        let (some, later) = (reasons(94), reasons(96));
        let nothing = BTreeMap::new();
        let (named, more) = news(&some, &nothing);
        assert_eq!((named.len(), more), (NAMED, 94 - NAMED));
        assert_eq!(named[0].0, "add 000");
        let (named, more) = news(&later, &some);
        assert_eq!((named.len(), more), (2, 0), "what is known is no news");
        let mut other = reasons(94);
        other.insert("add 003".to_owned(), "no resolver".to_owned());
        assert_eq!(news(&other, &some).0.len(), 1);
    }
}
