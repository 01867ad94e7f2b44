//! One upstream of a file: what it should be, what nginx last took of it, and what nginx refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::render::{self, empty};
use super::sift::Sift;
use super::template::Template;
use super::{Applied, Verdict};
use crate::backoff::Backoff;
use crate::desired::Desired;
use crate::record::{Endpoint, State};
use crate::upstream::{Error, UpstreamName};

/// The first and the longest pause before something that nginx has refused is tried again.
const RETRIES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The servers that are left out, with the reasons.
pub(super) type Refused = BTreeMap<Endpoint, String>;

/// One upstream of a file.
#[derive(Debug)]
pub(super) struct Member {
    name: UpstreamName,
    teller: watch::Sender<Verdict>,
    /// The number of what was asked last.
    asked: u64,
    desired: Option<Desired>,
    /// What is to stand in the file; `None` before anybody has said what is desired.
    wanted: Option<Result<Wanted, String>>,
    /// What nginx last took.
    good: Option<String>,
    bad: Option<Bad>,
    retries: Backoff,
    /// By draining server, the reload since which it gets nothing new.
    drained: BTreeMap<Endpoint, u64>,
    warned: bool,
}

/// A block, without the servers for which the template fails.
#[derive(Debug)]
struct Wanted {
    block: String,
    refused: Refused,
}

/// A block that nginx has refused.
#[derive(Debug)]
struct Bad {
    block: String,
    /// What stands there instead, where anything could be found.
    instead: Option<(String, Refused)>,
    error: Error,
    until: Instant,
}

impl Member {
    pub(super) fn new(name: UpstreamName, teller: watch::Sender<Verdict>) -> Self {
        Self {
            name,
            teller,
            asked: 0,
            desired: None,
            wanted: None,
            good: None,
            bad: None,
            retries: Backoff::new(RETRIES.0, RETRIES.1),
            drained: BTreeMap::new(),
            warned: false,
        }
    }

    /// Takes the block that was found in the file for one that nginx takes.
    pub(super) fn adopt(&mut self, block: String) {
        self.good = Some(block);
    }

    /// Somebody asks; with `desired` when it is something new.
    pub(super) fn ask(
        &mut self,
        number: u64,
        desired: Option<Desired>,
        template: Option<&Arc<Template>>,
    ) {
        self.asked = number;
        if let Some(desired) = desired {
            self.warn_of_slow_start(&desired);
            self.wanted = Some(wanted(template, &self.name, &desired));
            self.desired = Some(desired);
        }
    }

    fn warn_of_slow_start(&mut self, desired: &Desired) {
        let mut servers = desired.servers.values();
        if !self.warned && servers.any(|server| server.parameters.slow_start.is_some()) {
            self.warned = true;
            warn!(upstream = %self.name, "open-source nginx knows no slow_start: it is left out");
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.asked > self.teller.borrow().number
    }

    /// Whether it is known what it should be.
    pub(super) fn is_told(&self) -> bool {
        self.desired.is_some()
    }

    /// What nginx takes, as far as is known: without anything better an upstream without servers, as others may refer to
    /// it.
    pub(super) fn safe(&self) -> String {
        self.good.clone().unwrap_or_else(|| empty(&self.name))
    }

    /// Whether nginx has ever taken a block of it.
    pub(super) fn has_good(&self) -> bool {
        self.good.is_some()
    }

    /// What is to stand in the file now.
    pub(super) fn current(&self, now: Instant) -> String {
        let Some(Ok(wanted)) = &self.wanted else {
            return self.safe();
        };
        match &self.bad {
            Some(bad) if bad.block == wanted.block && now < bad.until => {
                let instead = bad.instead.as_ref().map(|(block, _)| block.clone());
                instead.unwrap_or_else(|| self.safe())
            }
            _ => wanted.block.clone(),
        }
    }

    /// The block for all servers but these, and but for those for which the template fails anyway.
    pub(super) fn block_without(
        &self,
        template: Option<&Arc<Template>>,
        without: &BTreeSet<Endpoint>,
    ) -> Result<String, String> {
        let desired = self.desired.as_ref().ok_or("nothing is desired")?;
        let mut all = without.clone();
        if let Some(Ok(wanted)) = &self.wanted {
            all.extend(wanted.refused.keys().cloned());
        }
        render::block(
            template,
            render::Member {
                name: &self.name,
                desired,
                without: &all,
            },
        )
    }

    /// The servers of its block.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let servers = self
            .desired
            .iter()
            .flat_map(|desired| desired.servers.keys());
        let refused = |endpoint: &&Endpoint| match &self.wanted {
            Some(Ok(wanted)) => wanted.refused.contains_key(endpoint),
            _ => false,
        };
        servers
            .filter(|endpoint| !refused(endpoint))
            .cloned()
            .collect()
    }

    /// nginx refuses what is wanted, and takes `instead`.
    pub(super) fn refuse(
        &mut self,
        error: Error,
        instead: Option<(String, Refused)>,
        now: Instant,
    ) {
        if let Some(Ok(wanted)) = &self.wanted {
            self.bad = Some(Bad {
                block: wanted.block.clone(),
                instead,
                error,
                until: now + self.retries.next_delay(),
            });
        }
    }

    /// nginx has taken `block`. Since reload number `reload` nothing new goes to its draining servers.
    pub(super) fn took(&mut self, block: &str, reload: u64) {
        self.good = Some(block.to_owned());
        let wanted = self.wanted.as_ref().and_then(|wanted| wanted.as_ref().ok());
        if wanted.is_some_and(|wanted| wanted.block == block) {
            self.bad = None;
            self.retries.reset();
        }
        let Some(desired) = &self.desired else {
            return;
        };
        let draining = |endpoint: &Endpoint| {
            let server = desired.servers.get(endpoint);
            server.is_some_and(|server| server.state == State::Draining)
        };
        self.drained.retain(|endpoint, _| draining(endpoint));
        for endpoint in desired.servers.keys().filter(|endpoint| draining(endpoint)) {
            self.drained.entry(endpoint.clone()).or_insert(reload);
        }
    }

    /// Answers what was asked: the file is as it should be, but for what nginx refuses. `busy` counts the workers that may have a
    /// configuration from before a reload.
    pub(super) fn answer(&self, busy: impl Fn(u64) -> u64) {
        self.tell(self.result(busy));
    }

    /// Answers that nothing came of it.
    pub(super) fn fail(&self, error: &Error) {
        self.tell(Err(error.clone()));
    }

    fn result(&self, busy: impl Fn(u64) -> u64) -> Result<Applied, Error> {
        let mut refused = Refused::new();
        match &self.wanted {
            Some(Err(reason)) => return Err(Error::Template(reason.clone())),
            Some(Ok(wanted)) => {
                refused.extend(wanted.refused.clone());
                match &self.bad {
                    Some(bad) if bad.block == wanted.block => match &bad.instead {
                        None => return Err(bad.error.clone()),
                        Some((_, left_out)) => refused.extend(left_out.clone()),
                    },
                    _ => {}
                }
            }
            None => {}
        }
        let drained = self.drained.iter();
        Ok(Applied {
            busy: drained
                .map(|(endpoint, reload)| (endpoint.clone(), busy(*reload)))
                .collect(),
            refused,
        })
    }

    fn tell(&self, result: Result<Applied, Error>) {
        let number = self.asked;
        self.teller.send_replace(Verdict { number, result });
    }
}

/// The block for what is desired. A server for which the template fails is left out, as long as it is not the template itself that
/// fails.
fn wanted(
    template: Option<&Arc<Template>>,
    name: &UpstreamName,
    desired: &Desired,
) -> Result<Wanted, String> {
    let rendered = |without: &BTreeSet<Endpoint>| {
        let member = render::Member {
            name,
            desired,
            without,
        };
        render::block(template, member)
    };
    let all: BTreeSet<_> = desired.servers.keys().cloned().collect();
    let nobody = BTreeSet::new();
    let reason = match rendered(&nobody) {
        Ok(block) => {
            let refused = Refused::new();
            return Ok(Wanted { block, refused });
        }
        Err(reason) => reason,
    };
    rendered(&all)?;
    let mut sift = Sift::new(all.iter().cloned().collect());
    while let Some(trial) = sift.trial() {
        let trial: BTreeSet<_> = trial.into_iter().collect();
        match rendered(&all.difference(&trial).cloned().collect()) {
            Ok(_) => sift.accept(),
            Err(reason) => sift.refuse(reason),
        }
    }
    let (accepted, refused) = sift.end();
    if accepted.is_empty() {
        return Err(reason);
    }
    let refused: Refused = refused.into_iter().collect();
    let block = rendered(&refused.keys().cloned().collect())?;
    Ok(Wanted { block, refused })
}
