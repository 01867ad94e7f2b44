//! Owns the file: what is known of it, of its upstreams, and of the nginx that reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::debug;

use super::disk::{Content, Disk};
use super::entry::{Answer, Entry};
use super::lock::{Left, Lock, Proven};
use super::names::Names;
use super::nginx::{Nginx, Seen};
use super::process::{Process, Worker, all_started_after, answering};
use super::proof::Proof;
use super::reload_interval::ReloadInterval;
use super::settings::Settings;
use super::template::Template;
use super::text::{Blocks, compose};
use crate::target::UpstreamName;
use crate::upstream::state::Desired;

/// What an upstream should be, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) upstream: UpstreamName,
    pub(super) desired: Desired,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// Does the work on one file.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) settings: Arc<Settings>,
    template: Option<Arc<Template>>,
    pub(super) requests: mpsc::UnboundedReceiver<Request>,
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) entries: BTreeMap<UpstreamName, Entry>,
    /// Blocks of upstreams that are no longer routed. They stay, as nginx may still refer to them.
    pub(super) others: Blocks,
    pub(super) disk: Disk,
    pub(super) nginx: Nginx,
    /// What servers' names resolve to.
    pub(super) names: Names,
    pub(super) interval: ReloadInterval,
    /// How often nginx was reloaded.
    pub(super) reloads: u64,
    /// What the running nginx has; `None` when that is not known.
    pub(super) running: Option<Running>,
    /// What this writer last left in the file; `None` at the start.
    pub(super) left: Option<Option<String>>,
    /// Held while the file is tried and until it is what it is to be.
    pub(super) lock: Option<Lock>,
    /// What this process or another one has last left there.
    pub(super) last: Option<Left>,
    /// Raised when somebody else may have loaded an edit of the file, which has the token of the original.
    pub(super) edition: u64,
    /// How far a change of the file has come.
    pub(super) change: Change,
    /// Workers that were told to leave, with the number of the reload.
    pub(super) old: Vec<(Process, u64)>,
    /// When the work began.
    pub(super) began: Instant,
    /// Whether nothing was compared and tried yet.
    pub(super) is_first: bool,
}

/// What the running nginx has. For one that cannot be seen: what it was last told to read.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) master: Option<Process>,
    /// Its workers that have the text. Others under the same master come from a later reload, which somebody else may have made while
    /// something different was in the file, or replace one that crashed.
    pub(super) workers: BTreeSet<Process>,
    pub(super) text: String,
}

/// How far a change of the file has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// There is none.
    None,
    /// Something is tried. This is the former content.
    Tried(Option<String>),
    /// nginx has checked it and was told to read it.
    Told,
}

impl Writer {
    pub(super) fn new(
        settings: Arc<Settings>,
        template: Option<Arc<Template>>,
        requests: mpsc::UnboundedReceiver<Request>,
        upstreams: impl IntoIterator<Item = UpstreamName>,
        leaving: watch::Receiver<bool>,
    ) -> Self {
        let entry = |name: UpstreamName| (name.clone(), Entry::new(name));
        Self {
            template,
            requests,
            leaving,
            entries: upstreams.into_iter().map(entry).collect(),
            others: Blocks::new(),
            disk: Disk::new(settings.clone()),
            nginx: Nginx::new(settings.clone()),
            names: Names::new(),
            interval: ReloadInterval::new(settings.min_reload_interval),
            settings,
            reloads: 0,
            running: None,
            left: None,
            lock: None,
            last: None,
            edition: 0,
            change: Change::None,
            old: Vec::new(),
            began: Instant::now(),
            is_first: true,
        }
    }

    /// Renders the blocks that are out of date.
    pub(super) fn update(&mut self) {
        let template = self.template.as_ref();
        for entry in self.entries.values_mut() {
            entry.update(&self.names, template);
        }
    }

    pub(super) fn blocks(&self, block: impl Fn(&Entry) -> Option<String>) -> Blocks {
        let entries = self.entries.iter();
        let blocks = entries.filter_map(|(name, entry)| Some((name.clone(), block(entry)?)));
        blocks.collect()
    }

    /// The text for the file now.
    pub(super) fn current(&self) -> Blocks {
        let now = Instant::now();
        self.blocks(|entry| entry.current(now))
    }

    pub(super) fn compose(&self, blocks: &Blocks) -> String {
        let proof = self.settings.proof.map(Proof::address);
        let mut all = self.others.clone();
        all.extend(blocks.clone());
        compose(&all, self.settings.layer, proof, self.edition)
    }

    /// Assumes that nginx takes the blocks that were found in the file.
    pub(super) fn adopt(&mut self, found: Blocks) {
        for (name, block) in found {
            match self.entries.get_mut(&name) {
                Some(entry) => entry.good = Some(block),
                None => drop(self.others.insert(name, block)),
            }
        }
    }

    /// nginx runs these blocks, or will when it starts.
    pub(super) fn took(&mut self, blocks: &Blocks) {
        for (name, entry) in &mut self.entries {
            if let Some(block) = blocks.get(name) {
                entry.took(block, self.reloads);
            }
        }
    }

    /// Whether the nginx that was seen is known to have this text.
    pub(super) fn runs(&self, text: &str, seen: Seen) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| {
            running.text == text
                && running.master == seen.master()
                && seen != Seen::Unseen
                && answering(&seen.workers()).all(|worker| running.workers.contains(&worker))
        })
    }

    /// Whether the running nginx has `text`; `since` is when the file got it.
    pub(super) async fn is_loaded(
        &mut self,
        text: &str,
        since: Option<SystemTime>,
        seen: Seen,
    ) -> bool {
        if self.runs(text, seen) {
            return true;
        }
        // Perhaps another process has loaded it.
        let proven = self.last.as_ref().filter(|last| last.has(text));
        if let Some(proven) = proven.and_then(|last| last.proven.clone()) {
            let former = self.running.replace(Running {
                master: Some(proven.master),
                workers: proven.workers,
                text: text.to_owned(),
            });
            if self.runs(text, seen) {
                return true;
            }
            self.running = former;
        }
        let workers = seen.workers();
        let loaded = match (self.settings.proof, seen) {
            (Some(proof), _) => {
                !self.are_mixed(&workers) && self.nginx.answers(proof, text).await == Some(true)
            }
            (None, Seen::Master(master)) => {
                since.is_some_and(|since| self.has_read(since, master, &workers))
            }
            (None, _) => false,
        };
        self.is_first = false;
        self.running = loaded.then(|| Running {
            master: seen.master(),
            workers: answering(&workers).collect(),
            text: text.to_owned(),
        });
        loaded
    }

    /// Remembers that an attempt has left `text` in the file, also for other processes. A `former` content that somebody else has touched
    /// stays a touched one.
    pub(super) async fn note_left(&mut self, text: String, former: Option<&Content>) {
        let since = match self.disk.read().await {
            Ok(Some(found)) if found.text == text => found.since,
            // Somebody has changed it already.
            _ => SystemTime::UNIX_EPOCH,
        };
        let proven = match &self.running {
            Some(Running {
                master: Some(master),
                workers,
                text: running,
            }) if *running == text => Some(Proven {
                master: *master,
                workers: workers.clone(),
            }),
            _ => None,
        };
        let is_former = former.is_some_and(|former| former.text == text);
        // The proof of an edit is that of the original.
        let is_sure = proven.is_some() && self.settings.proof.is_none();
        if is_former && !is_sure && self.is_touched(former) {
            return;
        }
        let known = self.last.take().filter(|last| last.has(&text));
        let proven = proven.or(known.and_then(|last| last.proven));
        let left = Left::new(&text, since, proven);
        if let Some(lock) = &self.lock
            && let Err(error) = lock.note(&left)
        {
            debug!(%error, "cannot write down what was left");
        }
        self.last = Some(left);
    }

    /// Whether somebody who is no sidekick has changed the file since.
    pub(super) fn is_touched(&self, found: Option<&Content>) -> bool {
        let Some((last, found)) = self.last.as_ref().zip(found) else {
            return false;
        };
        !last.is(&found.text, found.since)
    }

    /// Whether old and new workers answer, as in the moment of a reload: one answer says nothing about all of them then.
    fn are_mixed(&self, workers: &[Worker]) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let is_known = |worker| running.workers.contains(&worker);
            answering(workers).any(is_known) && !answering(workers).all(is_known)
        })
    }

    /// Whether the file that stands there `since` then is what nginx has read, to judge by when its processes were started.
    ///
    /// nginx starts new workers a while after it has read the file, and meanwhile this writer may have put a former file back.
    fn has_read(&self, since: SystemTime, master: Process, workers: &[Worker]) -> bool {
        let pause = match self.is_first {
            true => Duration::ZERO,
            false => self.settings.timeout,
        };
        master.is_newer(since) || all_started_after(workers, since + pause)
    }
}
