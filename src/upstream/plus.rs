//! The driver for NGINX Plus' upstream API, versions 2 to 9, and for whatever else speaks it.
//!
//! Every convergence is a few rounds of read, plan, act, until a reading leaves nothing to plan. What is not known to have
//! happened is read again before it is repeated, since adding a server is not idempotent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::{Error, Outcome, Progress, Upstream, UpstreamName};
use crate::desired::Desired;
use crate::plan::{Activity, Cause, Change, Drains, Id, Peer, Plan, Step, plan};

mod api;
mod refusals;
mod rounds;
mod sentinel;
mod url;
mod wire;

pub use api::Api;
use api::Verdict;
use refusals::Refusals;
use rounds::Rounds;
pub use sentinel::watch_nginx;
pub use url::{ApiUrl, ApiUrlError};
use wire::{PeerStatus, ServerSettings, StatusObject};

/// How long a convergence goes on before it asks whether something newer is desired.
const TURN: Duration = Duration::from_millis(250);

/// One http upstream of one nginx.
#[derive(Debug)]
pub struct Plus {
    api: Arc<Api>,
    upstream: UpstreamName,
    drains: Drains,
    refusals: Refusals,
    /// The steps that met a server which is there but was not listed, since the convergence began.
    unseen: BTreeSet<String>,
    /// How the convergence on a revision goes that is not finished.
    unfinished: Option<(i64, Rounds)>,
}

/// What one round of steps came to.
#[derive(Debug, Default)]
struct Acted {
    /// The steps that there is no room for, with the reason.
    full: Vec<(String, String)>,
    /// Whether a server was removed, so that there may be room now.
    freed: bool,
}

impl Plus {
    /// The upstream called `upstream` of the nginx at `api`; draining servers have `drain_timeout` to finish.
    #[must_use]
    pub fn new(api: Arc<Api>, upstream: UpstreamName, drain_timeout: Duration) -> Self {
        Self {
            api,
            upstream,
            drains: Drains::new(drain_timeout),
            refusals: Refusals::default(),
            unseen: BTreeSet::new(),
            unfinished: None,
        }
    }

    /// Reads and plans. Asks for running requests only where the plan hangs on them.
    async fn plan(&mut self, desired: &Desired) -> Result<(Plan, Option<StatusObject>), Error> {
        let peers = self.api.servers(&self.upstream).await?;
        self.drains.follow(desired, Instant::now());
        let first = plan(&desired.servers, &peers, &Activity::new(), &self.drains);
        if first.waiting.is_empty() && self.drains.was_cut().next().is_none() {
            return Ok((first, None));
        }
        // Asked after the list: what is counted here can only have been let in before the list said "draining".
        let status = self.api.status(&self.upstream).await?;
        let again = plan(
            &desired.servers,
            &peers,
            &activity(&peers, &status),
            &self.drains,
        );
        Ok((again, Some(status)))
    }

    /// Goes through the rounds until nothing is left to do or `until` has come.
    async fn rounds(
        &mut self,
        desired: &Desired,
        rounds: &mut Rounds,
        until: Instant,
    ) -> Result<Progress, Error> {
        let mut negotiated = false;
        loop {
            match self.round(desired, rounds, until).await {
                Ok(Some(progress)) => return Ok(progress),
                Ok(None) if Instant::now() >= until => return Ok(Progress::Unfinished),
                Ok(None) => {}
                // nginx may have been exchanged for one with other versions.
                Err(Error::NotTheApi { .. }) if !negotiated && self.api.forget_version() => {
                    negotiated = true
                }
                Err(error @ Error::Broken(_)) => rounds.failed(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// One round: the progress when nothing is left to do, `None` when there was something.
    async fn round(
        &mut self,
        desired: &Desired,
        rounds: &mut Rounds,
        until: Instant,
    ) -> Result<Option<Progress>, Error> {
        let (plan, status) = self.plan(desired).await?;
        let zombies = self.zombies(status.as_ref());
        self.refusals.keep_only(&plan.steps);
        let steps = plan.steps.iter().filter(|step| !self.refusals.holds(step));
        let steps: Vec<Step> = steps.cloned().collect();
        if !steps.is_empty() {
            rounds.planned(&steps)?;
            let acted = self.act(&steps, until).await?;
            self.note_lack_of_room(acted);
            return Ok(None);
        }
        Ok(Some(self.progress(&plan, zombies)))
    }

    /// How far it is when no step is left.
    fn progress(&self, plan: &Plan, zombies: u64) -> Progress {
        let waiting = plan.waiting.iter().map(|(_, active)| active.unwrap_or(1));
        let active = waiting.fold(zombies, u64::saturating_add);
        let cut = self.drains.was_cut().filter(|_| zombies > 0);
        let pending = plan.waiting.iter().map(|(endpoint, _)| endpoint).chain(cut);
        match self.drains.before(pending) {
            None => Progress::Converged,
            Some(confirmed) => Progress::Draining { active, confirmed },
        }
    }

    /// The requests that run on servers which had to go before they had finished. They cannot be told from those of
    /// servers that vanished, so all are counted.
    fn zombies(&self, status: Option<&StatusObject>) -> u64 {
        let anyone_waits = self.drains.was_cut().next().is_some();
        status
            .filter(|_| anyone_waits)
            .map_or(0, |status| status.zombies)
    }

    /// Takes the steps, as far as there is time; at least one.
    async fn act(&mut self, steps: &[Step], until: Instant) -> Result<Acted, Error> {
        let mut acted = Acted::default();
        for (place, step) in steps.iter().enumerate() {
            if place > 0 && Instant::now() >= until {
                break;
            }
            if let (Step::Add { .. }, Some((_, reason))) = (step, acted.full.first()) {
                let reason = reason.clone();
                acted.full.push((step.to_string(), reason));
                continue;
            }
            match self.take(step).await? {
                Verdict::Done => {
                    info!(nginx = %self.api.url(), upstream = %self.upstream, "{step}");
                    acted.freed |= matches!(step, Step::Remove { .. });
                }
                Verdict::Refused(reason) => self.refusals.add(step.to_string(), reason),
                Verdict::Full(reason) => acted.full.push((step.to_string(), reason)),
                Verdict::Exists(reason) => self.note_unseen(step.to_string(), reason),
                Verdict::Stale => {}
            }
        }
        Ok(acted)
    }

    /// Takes one step.
    async fn take(&mut self, step: &Step) -> Result<Verdict, Error> {
        match step {
            Step::Add {
                endpoint,
                weight,
                down,
            } => {
                let settings = ServerSettings {
                    server: Some(endpoint.to_string()),
                    weight: Some(weight.get()),
                    down: down.then_some(true),
                    drain: None,
                };
                self.api.add(&self.upstream, &settings).await
            }
            Step::Change { id, change, .. } => self.patch(*id, *change).await,
            Step::Drain { id, .. } => self.drain(*id).await,
            Step::Remove {
                id,
                endpoint,
                cause,
                ..
            } => {
                if let (Cause::TimedOut, Some(endpoint)) = (cause, endpoint) {
                    self.drains.cut(endpoint);
                }
                self.api.remove(&self.upstream, *id).await
            }
            // An API has no file.
            Step::Write { .. } => Ok(Verdict::Done),
        }
    }

    /// Stops new requests to a server: somebody waits for exactly that, so it may not be skipped.
    async fn drain(&self, id: Id) -> Result<Verdict, Error> {
        let drain = Change {
            drain: Some(true),
            ..Change::default()
        };
        let down = Change {
            down: Some(true),
            ..Change::default()
        };
        match self.patch(id, drain).await? {
            // An API that knows no draining knows "down", which lets requests finish as well.
            Verdict::Refused(_) => {}
            verdict => return Ok(verdict),
        }
        match self.patch(id, down).await? {
            Verdict::Refused(reason) | Verdict::Full(reason) => Err(Error::Undrainable(reason)),
            verdict => Ok(verdict),
        }
    }

    async fn patch(&self, id: Id, change: Change) -> Result<Verdict, Error> {
        let settings = ServerSettings {
            server: None,
            weight: change.weight.map(std::num::NonZeroU16::get),
            down: change.down,
            drain: change.drain,
        };
        self.api.patch(&self.upstream, id, &settings).await
    }

    /// A server that is there but not listed may be so because the list has grown in between; the second time it is
    /// refused, for whatever reason the target has.
    fn note_unseen(&mut self, step: String, reason: String) {
        if !self.unseen.insert(step.clone()) {
            self.refusals.add(step, reason);
        }
    }

    /// What did not fit is refused, unless something went in the same round: then there may be room in the next.
    fn note_lack_of_room(&mut self, acted: Acted) {
        if acted.freed {
            self.refusals.forget_lack_of_room();
            return;
        }
        for (step, reason) in acted.full {
            self.refusals.add_for_lack_of_room(step, reason);
        }
    }
}

/// The running requests by id. A server whose id and address do not agree with the list is left out: nginx was reloaded
/// between the two answers, and its ids mean something else now.
fn activity(peers: &[Peer], status: &StatusObject) -> Activity {
    let listed: HashMap<Id, &str> = peers
        .iter()
        .map(|peer| (peer.id, peer.server.as_str()))
        .collect();
    let same = |peer: &&PeerStatus| listed.get(&peer.id) == Some(&peer.server.as_str());
    let counted = status.peers.iter().filter(same);
    counted.map(|peer| (peer.id, peer.active)).collect()
}

impl Upstream for Plus {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        self.refusals.forget_old(Instant::now());
        let (revision, now) = (desired.revision, Instant::now());
        let unfinished = self
            .unfinished
            .take()
            .filter(|(former, _)| *former == revision);
        let mut rounds = match unfinished {
            Some((_, rounds)) => rounds,
            None => {
                self.unseen.clear();
                Rounds::default()
            }
        };
        let progress = self.rounds(desired, &mut rounds, now + TURN).await?;
        if progress == Progress::Unfinished {
            self.unfinished = Some((revision, rounds));
        }
        Ok(Outcome {
            progress,
            refused: self.refusals.listed(),
        })
    }

    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error> {
        let (plan, _) = self.plan(desired).await?;
        Ok(plan)
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
