//! Owns the file: gathers what the upstreams should be, and makes the file and the running nginx so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use super::budget::Budget;
use super::disk::{Content, Disk};
use super::member::Member;
use super::process::{Process, all_started_after};
use super::proof::Proof;
use super::render::{Blocks, compose, split, token};
use super::{Asked, Settings, Verdict, file_error};
use crate::upstream::{Error, UpstreamName};

/// How long others are waited for that change together with the first.
const GATHER: Duration = Duration::from_millis(20);
/// How long it is waited at the start until it is known of every upstream what it should be.
const START: Duration = Duration::from_secs(10);

/// Those at work in this process, by file: after the settings were read again, the former site may still be at it.
static WORKING: Mutex<BTreeMap<PathBuf, Arc<Turn>>> = Mutex::new(BTreeMap::new());

type Turn = tokio::sync::Mutex<()>;

/// Does the work of a site.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) settings: Arc<Settings>,
    asked: mpsc::UnboundedReceiver<Asked>,
    pub(super) members: BTreeMap<UpstreamName, Member>,
    /// Blocks that were found in the file and are not looked after any more: nginx may still refer to them.
    others: Blocks,
    pub(super) disk: Disk,
    pub(super) budget: Budget,
    /// How often nginx was reloaded.
    pub(super) reloads: u64,
    /// What the running nginx has; `None` when that is not known.
    pub(super) running: Option<Running>,
    /// Workers that were told to leave, with the number of the reload.
    pub(super) leaving: Vec<(Process, u64)>,
    /// When something was asked for the first time.
    began: Instant,
}

/// What the running nginx has.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) master: Option<Process>,
    pub(super) text: String,
}

/// Which nginx runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// This one.
    Master(Process),
    /// None.
    Nobody,
    /// It cannot be seen; only its answers tell.
    Unseen,
}

impl Seen {
    pub(super) fn master(self) -> Option<Process> {
        match self {
            Self::Master(master) => Some(master),
            Self::Nobody | Self::Unseen => None,
        }
    }
}

impl Actor {
    pub(super) fn new(
        settings: Arc<Settings>,
        asked: mpsc::UnboundedReceiver<Asked>,
        tellers: BTreeMap<UpstreamName, watch::Sender<Verdict>>,
    ) -> Self {
        let member = |(name, teller): (UpstreamName, _)| (name.clone(), Member::new(name, teller));
        Self {
            disk: Disk::new(&settings.file),
            budget: Budget::new(settings.min_reload_interval),
            settings,
            others: Blocks::new(),
            asked,
            members: tellers.into_iter().map(member).collect(),
            reloads: 0,
            running: None,
            leaving: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Works until nobody can ask any more.
    pub(super) async fn run(mut self) {
        let turn = turn(&self.settings.file);
        {
            let _turn = turn.lock().await;
            self.begin().await;
        }
        let mut again = None;
        while self.gather(again).await.is_some() {
            let _turn = turn.lock().await;
            again = self.round().await;
        }
    }

    /// Takes over what an earlier process has left.
    async fn begin(&mut self) {
        self.began = Instant::now();
        if let Err(reason) = self.disk.recover().await {
            warn!(file = %self.settings.file.display(), %reason, "what was left beside cannot be put back");
        }
        // What cannot be read now is told by the first round.
        if let Ok(Some(content)) = self.disk.read().await {
            for (name, block) in split(&content.text) {
                let Ok(name) = name.parse::<UpstreamName>() else {
                    continue;
                };
                match self.members.get_mut(&name) {
                    Some(member) => member.adopt(block),
                    None => drop(self.others.insert(name, block)),
                }
            }
        }
        if let Seen::Master(master) = self.look() {
            let leaving = master.workers().into_iter().filter(|worker| worker.leaving);
            self.leaving = leaving.map(|worker| (worker.process, 0)).collect();
        }
    }

    /// Waits for something to do, at most until `again`, and on for others that ask at the same time.
    async fn gather(&mut self, again: Option<Instant>) -> Option<()> {
        let timer = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            asked = self.asked.recv() => Some(asked?),
            () = timer => None,
        };
        if let Some(asked) = first {
            self.take(asked);
            let until = Instant::now() + GATHER;
            while !self.members.values().all(Member::is_waiting) {
                match timeout_at(until, self.asked.recv()).await {
                    Ok(Some(asked)) => self.take(asked),
                    _ => break,
                }
            }
        }
        while let Ok(asked) = self.asked.try_recv() {
            self.take(asked);
        }
        Some(())
    }

    fn take(&mut self, asked: Asked) {
        if let Some(member) = self.members.get_mut(&asked.upstream) {
            let template = self.settings.template.as_ref();
            member.ask(asked.number, asked.desired, template);
        }
    }

    /// Compares, and repairs when something differs. Gives back when to do so again by itself.
    async fn round(&mut self) -> Option<Instant> {
        let found = match self.disk.read().await {
            Ok(found) => found,
            Err(reason) => {
                self.fail_all(&file_error(&self.settings.file, &reason));
                return None;
            }
        };
        let seen = self.look();
        let now = Instant::now();
        if let Some(until) = self.start_until(now) {
            return Some(until);
        }
        let blocks = self.blocks(|member| member.current(now));
        let text = self.compose(&blocks);
        let same = found.as_ref().filter(|found| found.text == text);
        if let Some(found) = same {
            if seen == Seen::Nobody {
                self.running = None;
                self.took(&blocks);
                self.fail_all(&self.stopped());
                return None;
            }
            if self.is_loaded(found, seen).await {
                self.took(&blocks);
                self.answer(|_| true);
                return None;
            }
        }
        if seen != Seen::Nobody {
            let next = self.budget.next(Instant::now());
            if next > Instant::now() {
                self.answer_settled(found.as_ref(), seen, &blocks);
                return Some(next);
            }
        }
        match self.apply(blocks, found.as_ref(), seen).await {
            Ok(true) => self.answer(|_| true),
            Ok(false) => self.fail_all(&self.stopped()),
            Err(error) => self.fail_all(&error),
        }
        None
    }

    /// Until when it is waited for upstreams of which nothing is known: without servers they would fail all requests.
    fn start_until(&self, now: Instant) -> Option<Instant> {
        let until = self.began + START;
        let mut members = self.members.values();
        let unknown = members.any(|member| !member.is_told() && !member.has_good());
        (unknown && now < until).then_some(until)
    }

    /// Which nginx runs.
    pub(super) fn look(&self) -> Seen {
        let master = self.settings.pid.as_deref().and_then(Process::master);
        match (master, self.settings.proof) {
            (Some(master), _) => Seen::Master(master),
            (None, Some(_)) => Seen::Unseen,
            (None, None) => Seen::Nobody,
        }
    }

    pub(super) fn stopped(&self) -> Error {
        let settings = &self.settings;
        Error::Stopped(match (&settings.pid, settings.proof) {
            (_, Some(proof)) => format!("nobody listens on {}", proof.address()),
            (Some(pid), None) => format!("{} names no process of it", pid.display()),
            (None, None) => "it cannot be seen".to_owned(),
        })
    }

    pub(super) fn blocks(&self, block: impl Fn(&Member) -> String) -> Blocks {
        let members = self.members.iter();
        members
            .map(|(name, member)| (name.clone(), block(member)))
            .collect()
    }

    pub(super) fn compose(&self, blocks: &Blocks) -> String {
        let proof = self.settings.proof.map(Proof::address);
        let mut all = self.others.clone();
        all.extend(blocks.clone());
        compose(&all, self.settings.layer, proof)
    }

    /// Whether the running nginx has the file as it was found.
    async fn is_loaded(&mut self, found: &Content, seen: Seen) -> bool {
        let known = self.running.as_ref().is_some_and(|running| {
            running.text == found.text && running.master == seen.master() && seen != Seen::Unseen
        });
        let loaded = known
            || match (self.settings.proof, seen) {
                (Some(proof), _) => self.answers(proof, &found.text).await == Some(true),
                (None, Seen::Master(master)) => all_started_after(&master.workers(), found.since),
                (None, _) => false,
            };
        self.running = loaded.then(|| Running {
            master: seen.master(),
            text: found.text.clone(),
        });
        loaded
    }

    /// Whether nginx answers that it has `text`; `None` when nobody listens.
    pub(super) async fn answers(&self, proof: Proof, text: &str) -> Option<bool> {
        let token = token(text).unwrap_or_default();
        proof.answers(self.settings.layer, token).await
    }

    /// nginx has these blocks, or will have them when it is started.
    pub(super) fn took(&mut self, blocks: &Blocks) {
        for (name, member) in &mut self.members {
            if let Some(block) = blocks.get(name) {
                member.took(block, self.reloads);
            }
        }
    }

    fn answer(&mut self, which: impl Fn(&UpstreamName) -> bool) {
        self.leaving.retain(|(process, _)| process.is_alive());
        // Those that left because of a later reload had the configuration of this one.
        let busy = |reload: u64| {
            let before = self.leaving.iter().filter(|(_, at)| *at <= reload);
            u64::try_from(before.count()).unwrap_or(u64::MAX)
        };
        for (name, member) in &self.members {
            if member.is_waiting() && which(name) {
                member.answer(busy);
            }
        }
    }

    /// A reload that others wait for holds nobody up for whom nothing changes.
    fn answer_settled(&mut self, found: Option<&Content>, seen: Seen, blocks: &Blocks) {
        let Some(running) = &self.running else {
            return;
        };
        if found.is_none_or(|found| found.text != running.text) || running.master != seen.master() {
            return;
        }
        let has = split(&running.text);
        self.answer(|name| {
            blocks
                .get(name)
                .is_some_and(|block| has.get(name.as_str()) == Some(block))
        });
    }

    fn fail_all(&self, error: &Error) {
        for member in self.members.values().filter(|member| member.is_waiting()) {
            member.fail(error);
        }
    }
}

/// Whose turn it is to work on `file`.
fn turn(file: &Path) -> Arc<Turn> {
    let mut working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever is gone needs no turn.
    working.retain(|_, turn| Arc::strong_count(turn) > 1);
    working.entry(file.to_owned()).or_default().clone()
}
