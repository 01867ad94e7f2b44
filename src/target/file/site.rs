//! Owns the file: gathers what the upstreams should be, and makes the file and the running nginx so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use super::attempt::Reached;
use super::budget::Budget;
use super::disk::{Content, Disk};
use super::member::Member;
use super::names::{self, Names};
use super::process::Process;
use super::proof::Proof;
use super::render::{Blocks, compose, split};
use super::seen::{Met, Seen};
use super::template::Template;
use super::{Asked, Settings, Verdict, file_error};
use crate::target::{Error, UpstreamName};

/// How long others are waited for that change together with the first.
const GATHER: Duration = Duration::from_millis(20);
/// How long it is waited at the start until it is known of every upstream what it should be.
const START: Duration = Duration::from_secs(10);

/// Those at work in this process, by file: after the settings were read again, the former site may still be at it.
static WORKING: Mutex<BTreeMap<PathBuf, Arc<Turn>>> = Mutex::new(BTreeMap::new());

pub(super) type Turn = tokio::sync::Mutex<()>;

/// Does the work of a site.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) settings: Arc<Settings>,
    pub(super) template: Option<Arc<Template>>,
    asked: mpsc::UnboundedReceiver<Asked>,
    pub(super) members: BTreeMap<UpstreamName, Member>,
    /// Blocks that were found in the file and are not looked after any more: nginx may still refer to them.
    pub(super) others: Blocks,
    pub(super) disk: Disk,
    pub(super) budget: Budget,
    /// How often nginx was reloaded.
    pub(super) reloads: u64,
    /// What the running nginx has; `None` when that is not known.
    pub(super) running: Option<Running>,
    /// What was left in the file last; `None` before anything was read.
    pub(super) left: Option<Option<String>>,
    /// What an nginx that cannot be seen was last told to read.
    pub(super) told: Option<String>,
    /// The nginx that was seen by its process last: once that is gone, none runs.
    pub(super) met: Option<Met>,
    /// Whether the file that nginx should have has the listener that answers for it.
    pub(super) listens: bool,
    /// What servers' names resolve to.
    pub(super) names: Names,
    /// How far a change of the file has come.
    pub(super) change: Change,
    leaving: watch::Receiver<bool>,
    /// Workers that were told to leave, with the number of the reload.
    pub(super) old: Vec<(Process, u64)>,
    /// When something was asked for the first time.
    began: Instant,
}

/// What the running nginx has.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) master: Option<Process>,
    pub(super) text: String,
}

/// How far a change of the file has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// There is none.
    None,
    /// Something is tried; before, this stood in the file.
    Tried(Option<String>),
    /// nginx has checked it and was told to read it.
    Told,
}

impl Actor {
    pub(super) fn new(
        settings: Arc<Settings>,
        template: Option<Arc<Template>>,
        asked: mpsc::UnboundedReceiver<Asked>,
        tellers: BTreeMap<UpstreamName, watch::Sender<Verdict>>,
        leaving: watch::Receiver<bool>,
    ) -> Self {
        let member = |(name, teller): (UpstreamName, _)| (name.clone(), Member::new(name, teller));
        Self {
            disk: Disk::new(&settings.file),
            budget: Budget::new(settings.min_reload_interval),
            settings,
            template,
            others: Blocks::new(),
            asked,
            members: tellers.into_iter().map(member).collect(),
            reloads: 0,
            running: None,
            left: None,
            told: None,
            met: None,
            listens: false,
            names: Names::new(),
            change: Change::None,
            old: Vec::new(),
            leaving,
            began: Instant::now(),
        }
    }

    /// Works until nobody can ask any more, or it is time to leave.
    pub(super) async fn run(mut self) {
        let mut leaving = self.leaving.clone();
        let leave = async {
            if leaving.wait_for(|leaving| *leaving).await.is_err() {
                // Another site has the file now; what is begun is finished.
                std::future::pending().await
            }
        };
        tokio::select! {
            () = leave => {}
            () = self.work() => return,
        }
        let turn = turn(&self.settings.file);
        let _turn = turn.lock().await;
        self.end_change().await;
    }

    /// Takes back what is only tried; what nginx has checked and was told of stays.
    async fn end_change(&mut self) {
        let ended = match std::mem::replace(&mut self.change, Change::None) {
            Change::None => Ok(()),
            Change::Tried(former) => self.disk.restore(former.as_deref()).await,
            Change::Told => self.disk.keep().await,
        };
        if let Err(reason) = ended {
            warn!(file = %self.settings.file.display(), %reason, "left in the middle of a change");
        }
    }

    async fn work(&mut self) {
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
            self.names.read(&content.text);
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
        if let Seen::Master(master) = self.see() {
            let leaving = master.workers().into_iter().filter(|worker| worker.leaving);
            self.old = leaving.map(|worker| (worker.process, 0)).collect();
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
            member.ask(asked.number, asked.desired);
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
        let seen = self.see();
        if let Some(found) = &found
            && let Err(error) = self.check_whose(found)
        {
            self.fail_all(&error);
            return None;
        }
        if let Some(until) = self.start_until(Instant::now()) {
            return Some(until);
        }
        self.notice_others(found.as_ref());
        if let Err(error) = self.resolve(found.as_ref()).await {
            self.fail_all(&error);
            return None;
        }
        let again = self
            .names
            .any_fails()
            .then(|| Instant::now() + names::AGAIN);
        if found.as_ref().map(|found| &found.text)
            != self.running.as_ref().map(|running| &running.text)
        {
            // Whoever has changed the file may have had nginx read it too.
            self.running = None;
        }
        let now = Instant::now();
        let blocks = self.blocks(|member| member.current(now));
        let text = self.compose(&blocks);
        let same = found.as_ref().filter(|found| found.text == text);
        match (same, seen) {
            (Some(_), Seen::Nobody) => {
                self.running = None;
                self.took(&blocks);
                self.fail_all(&self.stopped());
                return again;
            }
            (Some(_), Seen::Orphaned(worker)) => {
                self.running = None;
                self.took(&blocks);
                self.fail_all(&Error::Orphaned(worker.id()));
                return again;
            }
            (Some(_), Seen::Hidden) if self.told.as_ref() == Some(&text) => {
                self.took(&blocks);
                self.fail_all(&self.unseen(None));
                return again;
            }
            (Some(found), _) => {
                if self.is_loaded(found, seen).await {
                    self.took(&blocks);
                    self.answer(|_| true);
                    return again;
                }
            }
            // What it has is known as long as this process runs: a check of something else may touch the file.
            (None, Seen::Master(_)) if self.running.is_none() => {
                if let Some(found) = &found {
                    self.is_loaded(found, seen).await;
                }
            }
            (None, _) => {}
        }
        if seen != Seen::Nobody {
            let next = self.budget.next(Instant::now());
            if next > Instant::now() {
                self.answer_settled(found.as_ref(), seen, &blocks);
                return Some(next);
            }
        }
        match self.apply(blocks, found.as_ref(), seen).await {
            Ok(Reached::Running) => self.answer(|_| true),
            Ok(Reached::Stopped) => self.fail_all(&self.stopped()),
            Ok(Reached::Orphaned(worker)) => self.fail_all(&Error::Orphaned(worker.id())),
            Ok(Reached::Unseen(reason)) => self.fail_all(&self.unseen(reason)),
            Err(error) => self.fail_all(&error),
        }
        again
    }

    /// Notes which upstreams somebody else has changed in the file since it was left; all of them where it is none of them.
    fn notice_others(&mut self, found: Option<&Content>) {
        let found = found.map(|found| found.text.clone());
        if self.left.as_ref() == Some(&found) {
            return;
        }
        if let Some(left) = self.left.replace(found.clone()) {
            let before = split(&left.unwrap_or_default());
            let now = split(&found.unwrap_or_default());
            let differs = |name: &UpstreamName| before.get(name.as_str()) != now.get(name.as_str());
            let any = self.members.keys().any(differs);
            let members = self.members.iter_mut();
            let changed = members.filter(|(name, _)| !any || differs(name));
            changed.for_each(|(_, member)| member.set_undone());
        }
    }

    /// Looks up the names of servers. Those that neither resolve here nor are taken by nginx are left out.
    async fn resolve(&mut self, found: Option<&Content>) -> Result<(), Error> {
        let names: BTreeSet<_> = self
            .members
            .values()
            .flat_map(Member::names)
            .cloned()
            .collect();
        self.names.look_up(&names).await;
        self.update();
        let suspects = self.names.suspects();
        if suspects.is_empty() {
            return Ok(());
        }
        self.change = Change::Tried(found.map(|found| found.text.clone()));
        let judged = self.judge(&suspects).await;
        self.end_change().await;
        judged
    }

    /// Makes the blocks of what is desired and of what names resolve to.
    pub(super) fn update(&mut self) {
        let template = self.template.as_ref();
        for member in self.members.values_mut() {
            member.update(&self.names, template);
        }
    }

    /// Until when it is waited for upstreams of which nothing is known: without servers they would fail all requests.
    fn start_until(&self, now: Instant) -> Option<Instant> {
        let until = self.began + START;
        let mut members = self.members.values();
        let unknown = members.any(|member| !member.is_told() && member.good().is_none());
        (unknown && now < until).then_some(until)
    }

    pub(super) fn blocks(&self, block: impl Fn(&Member) -> Option<String>) -> Blocks {
        let members = self.members.iter();
        members
            .filter_map(|(name, member)| Some((name.clone(), block(member)?)))
            .collect()
    }

    pub(super) fn compose(&self, blocks: &Blocks) -> String {
        let proof = self.settings.proof.map(Proof::address);
        let mut all = self.others.clone();
        all.extend(blocks.clone());
        compose(&all, self.settings.layer, proof)
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
        self.old.retain(|(process, _)| process.is_alive());
        // Those that left because of a later reload had the configuration of this one.
        let busy = |reload: u64| {
            let before = self.old.iter().filter(|(_, at)| *at <= reload);
            u64::try_from(before.count()).unwrap_or(u64::MAX)
        };
        for (name, member) in &mut self.members {
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
pub(super) fn turn(file: &Path) -> Arc<Turn> {
    let mut working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever is gone needs no turn.
    working.retain(|_, turn| Arc::strong_count(turn) > 1);
    working.entry(file.to_owned()).or_default().clone()
}
