//! Converges an upstream that is changed server by server, over an API that can be read back.
//!
//! Every convergence is a few rounds of read, plan, act, until the plan is empty. After an unconfirmed change it reads
//! again before a retry, because adding a server is not idempotent.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::info;

use crate::target::{Error, Outcome, Progress, Upstream};
use crate::upstream::guard::Sight;
use crate::upstream::plan::{
    Activity, Cause, Change, Drains, Id, Peer, Plan, Step, plan, taking_traffic, withheld_for,
    withhold,
};
use crate::upstream::state::Desired;
use crate::util::log_limit;

mod blame;
mod group;
mod refused;
mod rounds;
mod unsupported;

use blame::Blame;
pub(crate) use group::{About, Addition, Group, Refusal, Running, Verdict, drain_or_set_down};
use refused::Refused;
use rounds::Rounds;
use unsupported::Unsupported;

/// How long a convergence runs before it looks for a newer desired state.
const TURN: Duration = Duration::from_millis(250);

/// Converges one upstream.
#[derive(Debug)]
pub(crate) struct Stepwise<G> {
    group: G,
    drains: Drains,
    refused: Refused,
    unsupported: Unsupported,
    /// The servers that take traffic there.
    sight: Sight,
    /// The steps that wait because too few servers would be left.
    withheld: Vec<Step>,
    /// The steps since the start that met an existing server which was not listed.
    unseen: BTreeSet<String>,
    /// The current, unfinished convergence, and its revisions.
    unfinished: Option<((i64, i64), Rounds)>,
}

/// The result of one round of steps.
#[derive(Debug, Default)]
struct Acted {
    /// The steps for which there is no space, with the reason.
    full: Vec<(Step, String)>,
    /// Whether a server was removed, so that there may be space now.
    freed: bool,
    /// Whether anything was done.
    done: bool,
}

#[async_trait]
impl<G: Group> Upstream for Stepwise<G> {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        self.refused.forget_old(Instant::now());
        self.unsupported.forget_old(Instant::now());
        self.unsupported.keep_only(&desired.servers);
        let (revisions, now) = (desired.revisions(), Instant::now());
        let unfinished = self
            .unfinished
            .take()
            .filter(|(former, _)| *former == revisions);
        let mut rounds = match unfinished {
            Some((_, rounds)) => rounds,
            None => {
                self.unseen.clear();
                Rounds::default()
            }
        };
        let progress = self.rounds(desired, &mut rounds, now + TURN).await?;
        let mut refused = self.refused.listed();
        refused.extend(self.unsupported.listed());
        let changed = rounds.have_changed();
        if progress == Progress::Unfinished {
            self.unfinished = Some((revisions, rounds));
        }
        if progress != Progress::Unfinished {
            let reason = withheld_for(desired.protection.min_servers);
            let withheld = self.withheld.iter().map(Step::to_string);
            refused.extend(withheld.map(|step| (step, reason.clone())));
        }
        Ok(Outcome {
            refused,
            missing: self.refused.servers(),
            serving: Some(self.sight.serving().clone()),
            changed,
            ..Outcome::new(progress)
        })
    }

    fn forgotten(&mut self) {
        self.sight.forget(Instant::now());
    }

    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error> {
        let planned = match self.plan(desired).await {
            // The target may have been replaced by another one.
            Err(Error::NotTheApi { .. }) if self.group.start_anew() => self.plan(desired).await,
            planned => planned,
        };
        planned.map(|(plan, _)| plan)
    }
}

impl<G: Group> Stepwise<G> {
    /// Draining servers have `drain_timeout` to finish.
    pub(crate) fn new(group: G, drain_timeout: Duration) -> Self {
        Self {
            group,
            drains: Drains::new(drain_timeout),
            refused: Refused::default(),
            unsupported: Unsupported::default(),
            sight: Sight::default(),
            withheld: Vec::new(),
            unseen: BTreeSet::new(),
            unfinished: None,
        }
    }

    /// Reads and plans. Asks for requests in flight only if the plan depends on them.
    async fn plan(&mut self, desired: &Desired) -> Result<(Plan, Option<Running>), Error> {
        let peers = self.group.servers().await?;
        self.sight
            .read(taking_traffic(&peers), desired, Instant::now());
        let desired = desired.fit(&self.sight, &self.refused.additions());
        self.drains.follow(&desired, Instant::now());
        let wanted = self.unsupported.possible(&desired.servers);
        let mut planned = plan(&wanted, &peers, &Activity::new(), &self.drains);
        let mut running = None;
        if !planned.waiting.is_empty() || self.drains.was_cut().next().is_some() {
            // Asked after the list: these requests started before the list said "draining".
            running = self.group.activity().await?;
            if let Some(running) = &running {
                let activity = activity(&peers, running);
                planned = plan(&wanted, &peers, &activity, &self.drains);
            }
        }
        planned.withheld = withhold(&mut planned.steps, &peers, &desired.protection);
        Ok((planned, running))
    }

    /// Goes through the rounds until nothing is left to do or `until` has come.
    async fn rounds(
        &mut self,
        desired: &Desired,
        rounds: &mut Rounds,
        until: Instant,
    ) -> Result<Progress, Error> {
        let mut started_anew = false;
        loop {
            match self.round(desired, rounds, until).await {
                Ok(Some(progress)) => return Ok(progress),
                Ok(None) if Instant::now() >= until => return Ok(Progress::Unfinished),
                Ok(None) => {}
                // The target may have been replaced by another one.
                Err(Error::NotTheApi { .. }) if !started_anew && self.group.start_anew() => {
                    started_anew = true
                }
                Err(error @ Error::Broken(_)) => rounds.failed(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// One round: the progress if nothing is left to do, `None` if there was something.
    async fn round(
        &mut self,
        desired: &Desired,
        rounds: &mut Rounds,
        until: Instant,
    ) -> Result<Option<Progress>, Error> {
        let (mut plan, running) = self.plan(desired).await?;
        self.withheld = std::mem::take(&mut plan.withheld);
        let zombies = self.zombies(running.as_ref());
        self.refused.keep_only(&plan.steps);
        let steps = plan.steps.iter().filter(|step| !self.refused.holds(step));
        let steps: Vec<Step> = steps.cloned().collect();
        if !steps.is_empty() {
            rounds.planned(&steps)?;
            let acted = self.act(&steps, until).await?;
            rounds.acted(acted.done);
            self.note_lack_of_room(acted);
            return Ok(None);
        }
        Ok(Some(self.progress(&plan, zombies)))
    }

    /// The progress when no step is left.
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

    /// The requests in flight on servers that were removed before they had finished. They cannot be told apart from those
    /// of servers that vanished, so all are counted.
    fn zombies(&self, running: Option<&Running>) -> u64 {
        let anyone_waits = self.drains.was_cut().next().is_some();
        running
            .filter(|_| anyone_waits)
            .map_or(0, |running| running.zombies)
    }

    /// Takes the steps while there is time; at least one.
    async fn act(&mut self, steps: &[Step], until: Instant) -> Result<Acted, Error> {
        let mut acted = Acted::default();
        for (place, step) in steps.iter().enumerate() {
            // Report one refusal, whether or not there is time.
            if let (Step::Add { .. }, Some((_, reason))) = (step, acted.full.first()) {
                let reason = reason.clone();
                acted.full.push((step.clone(), reason));
                continue;
            }
            if place > 0 && Instant::now() >= until {
                break;
            }
            match self.take(step).await? {
                Verdict::Done => {
                    let (target, upstream) = (self.group.api(), self.group.upstream());
                    let about = format!("{target} {upstream} {step}");
                    if let Some(more) = log_limit::allows_of("step", about, log_limit::STEPS) {
                        info!(%target, %upstream, "{step}{more}");
                    }
                    acted.done = true;
                    acted.freed |= matches!(step, Step::Remove { .. });
                }
                Verdict::Refused(refusal) => self.refused.add(step, refusal.reason),
                Verdict::Full(reason) => acted.full.push((step.clone(), reason)),
                Verdict::Exists(reason) => self.note_unseen(step, reason),
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
                parameters,
            } => {
                let addition = Addition {
                    endpoint,
                    weight: *weight,
                    down: *down,
                    parameters: *parameters,
                };
                self.add(addition).await
            }
            Step::Change { id, change, .. } => self.change(*id, *change).await,
            Step::Drain { id, .. } => self.group.drain(*id).await,
            Step::Remove {
                id,
                server,
                endpoint,
                cause,
            } => {
                if let (Cause::TimedOut, Some(endpoint)) = (cause, endpoint) {
                    self.drains.cut(endpoint);
                }
                self.group.remove(*id, server).await
            }
            // An API has no file.
            Step::Write { .. } => Ok(Verdict::Done),
        }
    }

    /// Adds a server, without refused parameters if necessary: a server that serves is more important.
    async fn add(&mut self, mut server: Addition<'_>) -> Result<Verdict, Error> {
        let was_backup = server.parameters.backup;
        self.unsupported.leave_out(&mut server.parameters);
        let mut blame = Blame::default();
        let verdict = loop {
            if was_backup && !server.parameters.backup {
                // Whether it may take traffic depends on the others: plan again.
                break Verdict::Stale;
            }
            let verdict = self.group.add(&server).await?;
            if let Some(verdict) = blame.take(verdict, &mut server.parameters) {
                break verdict;
            }
        };
        self.unsupported.note(blame);
        Ok(verdict)
    }

    /// Changes a server, without refused parameters if necessary.
    async fn change(&mut self, id: Id, mut change: Change) -> Result<Verdict, Error> {
        self.unsupported.leave_out(&mut change.parameters);
        let mut blame = Blame::default();
        let verdict = loop {
            if change == Change::default() {
                break Verdict::Stale;
            }
            let verdict = self.group.change(id, &change).await?;
            if let Some(verdict) = blame.take(verdict, &mut change.parameters) {
                break verdict;
            }
        };
        self.unsupported.note(blame);
        Ok(verdict)
    }

    /// An existing server may not be listed because the list has grown in between; the second time it is
    /// refused.
    fn note_unseen(&mut self, step: &Step, reason: String) {
        if !self.unseen.insert(step.to_string()) {
            self.refused.add(step, reason);
        }
    }

    /// Steps without space are refused, unless a server was removed in the same round: then the next one may have space.
    fn note_lack_of_room(&mut self, acted: Acted) {
        if acted.freed {
            self.refused.forget_lack_of_room();
            return;
        }
        for (step, reason) in acted.full {
            self.refused.add_for_lack_of_room(&step, reason);
        }
    }
}

/// The requests in flight by id. A server whose id and address do not match the list is left out: the target was
/// reloaded between the two answers, and its ids have changed.
fn activity(peers: &[Peer], running: &Running) -> Activity {
    let listed: HashMap<Id, &str> = peers
        .iter()
        .map(|peer| (peer.id, peer.server.as_str()))
        .collect();
    let same = |(id, server, _): &&(Id, String, u64)| listed.get(id) == Some(&server.as_str());
    let counted = running.peers.iter().filter(same);
    counted.map(|(id, _, active)| (*id, *active)).collect()
}
