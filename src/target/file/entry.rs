//! One upstream of a file: what it should be, what nginx last took of it, and what nginx refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::block::built_in;
use super::names::Names;
use super::servers::{self, serving, takes_traffic};
use super::template::Template;
use super::unrecorded;
use super::wanted::{Refused, Wanted};
use crate::model::{DnsName, Endpoint, Host, State};
use crate::target::{Error, UpstreamName};
use crate::upstream::plan::withheld_for;
use crate::upstream::server::Servers;
use crate::upstream::state::Desired;
use crate::util::backoff::Backoff;
use crate::util::log_limit;
use crate::util::sanitize::short;

/// The first and the longest pause before a refused block is tried again.
const RETRIES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// The answer to a request.
pub(super) type Answer = Result<Applied, Error>;

/// The running nginx has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Applied {
    /// By draining server, how many workers may still send requests there.
    pub(super) busy: BTreeMap<Endpoint, u64>,
    /// The servers that are left out, with the reasons.
    pub(super) refused: Refused,
    /// Those of them whose former addresses take traffic in their place.
    pub(super) stand_ins: BTreeSet<Endpoint>,
    /// The steps that would leave too few servers taking traffic, with the reasons.
    pub(super) withheld: BTreeMap<String, String>,
    /// Whether somebody else had changed it in the file.
    pub(super) undone: bool,
}

/// One upstream of a file.
#[derive(Debug)]
pub(super) struct Entry {
    name: UpstreamName,
    /// The caller that waits for an answer.
    pub(super) reply: Option<oneshot::Sender<Answer>>,
    pub(super) desired: Option<Desired>,
    /// Whether it was not rendered yet.
    stale: bool,
    /// The wanted text; `None` before the first request.
    wanted: Option<Result<Wanted, Error>>,
    /// What nginx last took, or what was found in the file.
    pub(super) good: Option<String>,
    /// Whether another file has an upstream of this name, so that nginx refuses even an empty block.
    pub(super) elsewhere: bool,
    bad: Option<Bad>,
    retries: Backoff,
    /// By draining server, the number of the reload that took it out.
    drained: BTreeMap<Endpoint, u64>,
    /// Whether somebody else has changed the block since the last good answer.
    pub(super) undone: bool,
    warned: bool,
}

/// A block that nginx has refused.
#[derive(Debug)]
struct Bad {
    block: String,
    /// A block of some of the servers that nginx takes, and the others.
    instead: Option<(String, Refused)>,
    error: Error,
    until: Instant,
}

impl Entry {
    pub(super) fn new(name: UpstreamName) -> Self {
        Self {
            name,
            reply: None,
            desired: None,
            stale: false,
            wanted: None,
            good: None,
            elsewhere: false,
            bad: None,
            retries: Backoff::new(RETRIES.0, RETRIES.1),
            drained: BTreeMap::new(),
            undone: false,
            warned: false,
        }
    }

    /// Takes a request.
    pub(super) fn ask(&mut self, desired: Desired, reply: oneshot::Sender<Answer>) {
        self.reply = Some(reply);
        if self.desired.as_ref() == Some(&desired) {
            return;
        }
        let mut servers = desired.servers.values();
        if !self.warned && servers.any(|server| server.parameters.slow_start.is_some()) {
            self.warned = true;
            warn!(upstream = %self.name, "open-source nginx knows no slow_start: it is left out");
        }
        self.desired = Some(desired);
        self.stale = true;
    }

    /// The names of its servers.
    pub(super) fn names(&self) -> impl Iterator<Item = &DnsName> {
        let desired = self.desired.iter();
        let endpoints = desired.flat_map(|desired| desired.servers.keys());
        endpoints.filter_map(|endpoint| match &endpoint.host {
            Host::Dns(name) => Some(name),
            Host::Ip(_) => None,
        })
    }

    /// Renders the block again when the request or the addresses of its names may have changed.
    pub(super) fn update(&mut self, names: &Names, template: Option<&Arc<Template>>) {
        if !std::mem::take(&mut self.stale) && self.names().next().is_none() {
            return;
        }
        if let Some(desired) = &self.desired {
            let (good, has_servers) = (self.good.as_deref(), self.has_servers());
            let wanted = Wanted::new(template, &self.name, desired, names, good, has_servers);
            self.wanted = Some(wanted);
        }
    }

    /// A block that nginx takes, as far as is known: the last good one, else one without servers, as something may refer to the
    /// upstream. `None` when another file has the upstream.
    pub(super) fn safe(&self) -> Option<String> {
        let good = self.good.clone();
        good.or_else(|| (!self.elsewhere).then(|| self.placeholder()))
    }

    /// An upstream without servers.
    pub(super) fn placeholder(&self) -> String {
        built_in(&self.name, &Servers::new())
    }

    /// Whether what nginx last took has servers that take traffic, apart from those that belong to another service by now.
    pub(super) fn has_servers(&self) -> bool {
        let Some(good) = self.good.as_deref().filter(|block| takes_traffic(block)) else {
            return false;
        };
        let known = serving(good);
        let desired = self.desired.as_ref();
        let taken =
            |at| desired.is_some_and(|desired: &Desired| desired.protection.taken.contains(at));
        // A block that cannot be read counts as one with servers.
        known.is_empty() || known.iter().any(|server| !taken(server))
    }

    /// Whether the upstream would lose all its servers with this block.
    pub(super) fn is_emptied_by(&self, block: &str) -> bool {
        self.has_servers() && !takes_traffic(block)
    }

    /// What is wanted, unless rendering failed.
    pub(super) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()?.as_ref().ok()
    }

    /// Why nginx refuses the wanted text, if it does.
    fn bad(&self) -> Option<&Bad> {
        let block = &self.wanted()?.block;
        self.bad.as_ref().filter(|bad| bad.block == *block)
    }

    /// The text for the file now.
    pub(super) fn current(&self, now: Instant) -> Option<String> {
        match (self.wanted(), self.bad()) {
            (Some(_), Some(bad)) if now < bad.until => {
                let instead = bad.instead.as_ref().map(|(block, _)| block.clone());
                instead.or_else(|| self.safe())
            }
            (Some(wanted), _) => Some(wanted.block.clone()),
            (None, _) => self.safe(),
        }
    }

    /// nginx refuses the wanted text, and takes `instead`.
    pub(super) fn refuse(&mut self, error: Error, instead: Option<(String, Refused)>) {
        if let Some(wanted) = self.wanted() {
            self.bad = Some(Bad {
                block: wanted.block.clone(),
                instead,
                error,
                until: Instant::now() + self.retries.next_delay(),
            });
        }
    }

    /// nginx has taken `block`, by reload number `reload`.
    pub(super) fn took(&mut self, block: &str, reload: u64) {
        self.log_removals(block);
        self.good = Some(block.to_owned());
        self.elsewhere = false;
        if self.wanted().is_some_and(|wanted| wanted.block == block) {
            self.bad = None;
            self.retries.reset();
        }
        let servers = self.desired.iter().flat_map(|desired| &desired.servers);
        let draining = servers.filter(|(_, server)| server.state == State::Draining);
        let drained = std::mem::take(&mut self.drained);
        let since = |at| drained.get(at).copied().unwrap_or(reload);
        self.drained = draining.map(|(at, _)| (at.clone(), since(at))).collect();
    }

    /// Logs the servers that this block no longer has.
    fn log_removals(&self, block: &str) {
        let Some(good) = self.good.as_deref().filter(|good| *good != block) else {
            return;
        };
        for server in servers::names(good).difference(&servers::names(block)) {
            let (upstream, server) = (&self.name, short(server));
            let about = format!("{upstream} {server}");
            if let Some(more) = log_limit::allows_of("file step", about, log_limit::STEPS) {
                info!(%upstream, "remove {server}{more}");
            }
        }
    }

    /// Answers that nginx runs the block, apart from what it refuses. `busy` counts the workers from before a reload.
    pub(super) fn answer(&mut self, busy: impl Fn(u64) -> u64) {
        let answer = self.applied(busy);
        self.undone &= answer.is_err();
        self.reply(answer);
    }

    /// Answers the waiting caller.
    pub(super) fn reply(&mut self, answer: Answer) {
        if let Some(waiting) = self.reply.take() {
            // Fails when nobody waits any more.
            let _ = waiting.send(answer);
        }
    }

    fn applied(&self, busy: impl Fn(u64) -> u64) -> Answer {
        let wanted = match &self.wanted {
            Some(Ok(wanted)) => wanted,
            Some(Err(error)) => return Err(error.clone()),
            None => return Ok(Applied::default()),
        };
        let mut refused = wanted.refused.clone();
        let mut block = &wanted.block;
        if let Some(bad) = self.bad() {
            let (instead, left_out) = bad.instead.as_ref().ok_or_else(|| bad.error.clone())?;
            refused.extend(left_out.clone());
            block = instead;
        }
        let min_servers = self
            .desired
            .as_ref()
            .map_or(0, |desired| desired.protection.min_servers);
        let withheld = unrecorded::kept(block).into_iter().map(|server| {
            let step = format!("remove {} (no record names it)", short(server));
            (step, withheld_for(min_servers))
        });
        let drained = self.drained.iter();
        Ok(Applied {
            busy: drained
                .map(|(at, reload)| (at.clone(), busy(*reload)))
                .collect(),
            refused,
            stand_ins: wanted.stand_ins.clone(),
            withheld: withheld.collect(),
            undone: self.undone,
        })
    }
}
