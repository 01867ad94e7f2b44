//! One upstream of a file: what it should be, what nginx last took of it, and what nginx refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::compare::{servers, serving, takes_traffic};
use super::names::Names;
use super::render::empty;
use super::resolved::Resolved;
use super::sift::Sift;
use super::template::{RenderError, Template};
use super::unrecorded;
use super::{Applied, Verdict};
use crate::model::{DnsName, Endpoint, Host, State};
use crate::target::{Error, UpstreamName};
use crate::upstream::desired::Desired;
use crate::util::backoff::Backoff;
use crate::util::log_limit;
use crate::util::sanitize::short;

/// The first and the longest pause before something that nginx has refused is tried again.
const RETRIES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

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
    /// Whether that is newer than what was made of it.
    stale: bool,
    /// What is made of it with the names that resolve.
    resolved: Option<Result<Resolved, Error>>,
    /// What is to stand in the file; `None` before anybody has said what is desired.
    wanted: Option<Result<Wanted, Error>>,
    /// What nginx last took.
    good: Option<String>,
    /// Whether nginx takes no block by this name, not even an empty one: another file has one already.
    elsewhere: bool,
    bad: Option<Bad>,
    retries: Backoff,
    /// By draining server, the reload since which it gets nothing new.
    drained: BTreeMap<Endpoint, u64>,
    /// Whether somebody else has changed it in the file since the last good answer.
    undone: bool,
    warned: bool,
}

/// A block, without the servers for which the template fails and those whose names do not resolve.
#[derive(Debug)]
struct Wanted {
    block: String,
    refused: Refused,
    /// Those of them whose former addresses stay.
    stand_ins: BTreeSet<Endpoint>,
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
            stale: false,
            resolved: None,
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

    /// Takes the block that was found in the file for one that nginx takes.
    pub(super) fn adopt(&mut self, block: String) {
        self.good = Some(block);
    }

    /// Somebody asks; with `desired` when it is something new.
    pub(super) fn ask(&mut self, number: u64, desired: Option<Desired>) {
        self.asked = number;
        if let Some(desired) = desired {
            self.warn_of_slow_start(&desired);
            self.desired = Some(desired);
            self.stale = true;
        }
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

    /// Renders the block anew when what is desired has changed, or what names resolve to.
    pub(super) fn update(&mut self, names: &Names, template: Option<&Arc<Template>>) {
        if !std::mem::take(&mut self.stale) && self.names().next().is_none() {
            return;
        }
        let Some(desired) = &self.desired else {
            return;
        };
        let unrecorded = self.good.as_deref().map(unrecorded::of);
        let resolved = Resolved::of(desired, names, unrecorded.unwrap_or_default());
        let resolved = match resolved.is_empty_for(desired) && self.has_servers() {
            true => Err(Error::Unresolved(resolved.reason())),
            false => Ok(resolved),
        };
        if self.resolved.as_ref() != Some(&resolved) {
            self.wanted = Some(match &resolved {
                Ok(resolved) => wanted(template, &self.name, resolved),
                Err(error) => Err(error.clone()),
            });
            self.resolved = Some(resolved);
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
    /// it; `None` when even that is known to be refused.
    pub(super) fn safe(&self) -> Option<String> {
        let good = self.good.clone();
        good.or_else(|| (!self.elsewhere).then(|| self.placeholder()))
    }

    /// An upstream without servers.
    pub(super) fn placeholder(&self) -> String {
        empty(&self.name)
    }

    /// Somebody else has changed it in the file.
    pub(super) fn set_undone(&mut self) {
        self.undone = true;
    }

    /// nginx takes the file without a block by this name, or with an empty one.
    pub(super) fn set_elsewhere(&mut self, elsewhere: bool) {
        self.elsewhere = elsewhere;
    }

    /// What nginx has ever taken of it.
    pub(super) fn good(&self) -> Option<&String> {
        self.good.as_ref()
    }

    /// Whether what nginx last took has servers that take traffic, but for those that another service has by now.
    pub(super) fn has_servers(&self) -> bool {
        let taken = self.desired.iter();
        let taken: BTreeSet<_> = taken.flat_map(|it| &it.protection.taken).collect();
        let good = self.good.as_deref().filter(|block| takes_traffic(block));
        good.is_some_and(|block| {
            let known = serving(block);
            // What cannot be read is more than nothing.
            known.is_empty() || known.iter().any(|server| !taken.contains(server))
        })
    }

    /// Whether with this block the upstream would lose all its servers.
    pub(super) fn is_emptied_by(&self, block: &str) -> bool {
        self.has_servers() && !takes_traffic(block)
    }

    /// What is to stand in the file now.
    pub(super) fn current(&self, now: Instant) -> Option<String> {
        let Some(Ok(wanted)) = &self.wanted else {
            return self.safe();
        };
        match &self.bad {
            Some(bad) if bad.block == wanted.block && now < bad.until => {
                let instead = bad.instead.as_ref().map(|(block, _)| block.clone());
                instead.or_else(|| self.safe())
            }
            _ => Some(wanted.block.clone()),
        }
    }

    /// The block for all servers but these, and but for those that are left out anyway.
    pub(super) fn block_without(
        &self,
        template: Option<&Arc<Template>>,
        without: &BTreeSet<Endpoint>,
    ) -> Result<String, String> {
        let Some(Ok(resolved)) = &self.resolved else {
            return Err("nothing is desired".to_owned());
        };
        let mut all = without.clone();
        if let Some(Ok(wanted)) = &self.wanted {
            all.extend(wanted.refused.keys().cloned());
        }
        let block = resolved.block(template, &self.name, &all);
        block.map_err(|error| error.to_string())
    }

    /// The servers of its block.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let resolved = self.resolved.iter().flatten();
        let servers = resolved.flat_map(|resolved| resolved.desired.servers.keys());
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
        self.tell_removals(block);
        self.good = Some(block.to_owned());
        self.elsewhere = false;
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

    /// Logs which servers stood in the file and do not any more.
    fn tell_removals(&self, block: &str) {
        let Some(good) = self.good.as_deref().filter(|good| *good != block) else {
            return;
        };
        let left = servers(block);
        for server in servers(good).difference(&left) {
            let (upstream, server) = (&self.name, short(server));
            let about = format!("{upstream} {server}");
            if let Some(more) = log_limit::allows_of("file step", about, log_limit::STEPS) {
                info!(%upstream, "remove {server}{more}");
            }
        }
    }

    /// What is not removed, with the reasons.
    fn withheld(&self, block: &str) -> BTreeMap<String, String> {
        let desired = self.desired.as_ref();
        let floor = desired.map_or(0, |desired| desired.protection.floor);
        let kept = unrecorded::kept(block).into_iter();
        kept.map(|server| unrecorded::withheld(&server, floor))
            .collect()
    }

    /// Answers what was asked: the file is as it should be, but for what nginx refuses. `busy` counts the workers that may have a
    /// configuration from before a reload.
    pub(super) fn answer(&mut self, busy: impl Fn(u64) -> u64) {
        let result = self.result(busy);
        self.undone &= result.is_err();
        self.tell(result);
    }

    /// Answers that nothing came of it.
    pub(super) fn fail(&self, error: &Error) {
        self.tell(Err(error.clone()));
    }

    fn result(&self, busy: impl Fn(u64) -> u64) -> Result<Applied, Error> {
        let mut refused = Refused::new();
        let mut stand_ins = BTreeSet::new();
        let mut withheld = BTreeMap::new();
        match &self.wanted {
            Some(Err(error)) => return Err(error.clone()),
            Some(Ok(wanted)) => {
                refused.extend(wanted.refused.clone());
                stand_ins.extend(wanted.stand_ins.clone());
                let block = match &self.bad {
                    Some(bad) if bad.block == wanted.block => {
                        let Some((block, left_out)) = &bad.instead else {
                            return Err(bad.error.clone());
                        };
                        refused.extend(left_out.clone());
                        block
                    }
                    _ => &wanted.block,
                };
                withheld = self.withheld(block);
            }
            None => {}
        }
        let drained = self.drained.iter();
        Ok(Applied {
            busy: drained
                .map(|(endpoint, reload)| (endpoint.clone(), busy(*reload)))
                .collect(),
            refused,
            stand_ins,
            withheld,
            undone: self.undone,
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
    resolved: &Resolved,
) -> Result<Wanted, Error> {
    let failed = |error: RenderError| Error::Template(error.to_string());
    let rendered = |without: &BTreeSet<Endpoint>| resolved.block(template, name, without);
    let all: BTreeSet<_> = resolved.desired.servers.keys().cloned().collect();
    let error = match rendered(&BTreeSet::new()) {
        Ok(block) => {
            return Ok(Wanted {
                block,
                refused: resolved.left_out.clone(),
                stand_ins: resolved.stand_ins.clone(),
            });
        }
        // No server is to blame, and trying which one is would take very long.
        Err(error @ RenderError::Unbounded(_)) => return Err(failed(error)),
        Err(error) => failed(error),
    };
    rendered(&all).map_err(failed)?;
    let mut sift = Sift::new(all.iter().cloned().collect());
    while let Some(trial) = sift.trial() {
        let trial: BTreeSet<_> = trial.into_iter().collect();
        match rendered(&all.difference(&trial).cloned().collect()) {
            Ok(_) => sift.accept(),
            Err(error) => sift.refuse(error.to_string()),
        }
    }
    let (accepted, refused) = sift.end();
    if accepted.is_empty() {
        return Err(error);
    }
    let mut refused: Refused = refused.into_iter().collect();
    let block = rendered(&refused.keys().cloned().collect()).map_err(failed)?;
    refused.extend(resolved.left_out.clone());
    Ok(Wanted {
        block,
        refused,
        stand_ins: resolved.stand_ins.clone(),
    })
}
