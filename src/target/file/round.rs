//! The loop of a writer: gathers what the upstreams should be, compares, and repairs when something differs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use super::disk::Content;
use super::entry::Entry;
use super::foreign;
use super::names::AGAIN;
use super::nginx::Seen;
use super::text::{Blocks, edition, split};
use super::writer::{Change, Request, Running, Writer};
use crate::target::{Error, UpstreamName};
use crate::util::log_limit;

/// How long to wait for other upstreams that change at the same time.
const GATHER: Duration = Duration::from_millis(20);
/// At the start: how long to wait until every upstream has its first request.
const START: Duration = Duration::from_secs(10);

/// The writers of this process by file. After a SIGHUP the former writer of a file may still be at work.
static WORKING: Mutex<BTreeMap<PathBuf, Arc<Turn>>> = Mutex::new(BTreeMap::new());

/// What a comparison leads to.
enum Review {
    /// Nothing is to be done until then, or until the next request.
    Done(Option<Instant>),
    /// The file or nginx has something else.
    Differs {
        blocks: Blocks,
        found: Option<Content>,
        seen: Seen,
        /// Whether nginx runs these blocks, but names are still to be tried.
        is_loaded: bool,
    },
}

type Turn = tokio::sync::Mutex<()>;

/// Whose turn it is to work on `file`.
pub(super) fn turn(file: &Path) -> Arc<Turn> {
    let mut working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
    // Forget files without a writer.
    working.retain(|_, turn| Arc::strong_count(turn) > 1);
    working.entry(file.to_owned()).or_default().clone()
}

impl Writer {
    /// Works until the last handle is gone, or `leave` is called.
    pub(super) async fn run(mut self) {
        let mut leaving = self.leaving.clone();
        let leave = async {
            if leaving.wait_for(|leaving| *leaving).await.is_err() {
                // Nobody calls `leave` any more: finish what has begun.
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
        self.lock = None;
    }

    /// Takes back what is only tried. What nginx has checked and was told to read stays.
    async fn end_change(&mut self) {
        let ended = match std::mem::replace(&mut self.change, Change::None) {
            Change::None => Ok(()),
            Change::Tried(former) => self.disk.restore(former.as_deref()).await,
            Change::Told => self.disk.keep().await,
        };
        if let Err(error) = ended {
            warn!(%error, "cannot finish the change that was under way");
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
            again = match self.round().await {
                Ok(again) => again,
                Err(error) => {
                    self.fail_all(&error);
                    None
                }
            };
            let retry = self.names.any_fails().then(|| Instant::now() + AGAIN);
            again = again.or(retry);
        }
    }

    /// Restores what an earlier process left unfinished.
    async fn begin(&mut self) {
        self.lock = self.disk.lock().await;
        self.began = Instant::now();
        self.recover().await;
        // The first round reports a file that cannot be read.
        if let Ok(Some(content)) = self.disk.read().await {
            self.names.read(&content.text);
            self.edition = edition(&content.text).unwrap_or_default();
            let blocks = split(&content.text);
            if self.disk.left().await.is_none() && self.compose(&blocks) != content.text {
                // An edit may have the token of the original.
                self.edition += 1;
            }
            self.adopt(blocks);
        }
        if let Seen::Master(master) = self.nginx.see() {
            let leaving = master.workers().into_iter().filter(|worker| worker.leaving);
            self.old = leaving.map(|worker| (worker.process, 0)).collect();
        }
        self.lock = None;
    }

    async fn recover(&self) {
        if let Err(error) = self.disk.recover().await {
            warn!(%error, "cannot restore the file of an earlier process");
        }
    }

    /// Waits for a request, at most until `again`, and then a moment for others. `None` when the last handle is gone.
    async fn gather(&mut self, again: Option<Instant>) -> Option<()> {
        let timer = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            request = self.requests.recv() => Some(request?),
            () = timer => None,
        };
        if let Some(request) = first {
            self.take(request);
            let until = Instant::now() + GATHER;
            while !self.entries.values().all(|entry| entry.reply.is_some()) {
                match timeout_at(until, self.requests.recv()).await {
                    Ok(Some(request)) => self.take(request),
                    _ => break,
                }
            }
        }
        while let Ok(request) = self.requests.try_recv() {
            self.take(request);
        }
        Some(())
    }

    fn take(&mut self, request: Request) {
        if let Some(entry) = self.entries.get_mut(&request.upstream) {
            entry.ask(request.desired, request.reply);
        }
    }

    /// Compares, and repairs what differs. Returns when the next round is due without a request.
    async fn round(&mut self) -> Result<Option<Instant>, Error> {
        let done = self.repair().await;
        self.lock = None;
        done
    }

    async fn repair(&mut self) -> Result<Option<Instant>, Error> {
        let (blocks, found, seen, is_loaded) = match self.review().await? {
            Review::Done(again) => return Ok(again),
            Review::Differs { .. } => {
                self.lock = self.disk.lock().await;
                if self.lock.is_some() {
                    self.recover().await;
                }
                // What was found may be an attempt of another process, which is over now.
                match self.review().await? {
                    Review::Done(again) => return Ok(again),
                    Review::Differs {
                        blocks,
                        found,
                        seen,
                        is_loaded,
                    } => (blocks, found, seen, is_loaded),
                }
            }
        };
        let left = self.last.as_ref();
        let is_edited =
            left.is_some_and(|left| found.as_ref().is_none_or(|at| !left.has(&at.text)));
        match self.apply(blocks, found.as_ref(), seen).await {
            // Only names were to be tried: nginx has the rest, and the mistake is elsewhere.
            Err(Error::Refused { .. }) if is_loaded => {}
            applied => applied?,
        }
        let file = self.settings.shown();
        if is_edited && let Some(more) = log_limit::allows("edited", file.clone()) {
            warn!("somebody changed {file}: it is put back{more}");
        }
        self.answer(|_| true);
        Ok(None)
    }

    /// Compares, and answers when nothing is to be done.
    async fn review(&mut self) -> Result<Review, Error> {
        let found = self.disk.read().await?;
        let seen = self.nginx.see();
        if let Some(found) = &found {
            self.check_whose(found)?;
        }
        if let Some(until) = self.start_until(Instant::now()) {
            return Ok(Review::Done(Some(until)));
        }
        let is_touched = self.notice_edits(found.as_ref()).await;
        self.look_up().await;
        let blocks = self.current();
        let (is_same, is_loaded) = self.compare(found.as_ref(), seen, &blocks).await;
        if is_same || self.lock.is_some() {
            self.notice_others(found.as_ref());
        }
        if is_same && !is_touched && !self.names.any_untried() {
            let absent = self.nginx.absent(seen);
            if let Some(absent) = absent.filter(|_| is_loaded || seen != Seen::Hidden) {
                self.took(&blocks);
                return Err(absent);
            }
            if is_loaded {
                self.took(&blocks);
                self.answer(|_| true);
                return Ok(Review::Done(None));
            }
        }
        let next = self.interval.next(Instant::now());
        if seen != Seen::Nobody && next > Instant::now() {
            self.answer_settled(found.as_ref(), seen, &blocks);
            return Ok(Review::Done(Some(next)));
        }
        Ok(Review::Differs {
            blocks,
            found,
            seen,
            is_loaded,
        })
    }

    /// Whether the file has these blocks, and if so, whether nginx runs them.
    async fn compare(
        &mut self,
        found: Option<&Content>,
        seen: Seen,
        blocks: &Blocks,
    ) -> (bool, bool) {
        let differs = |running: &mut Running| found.is_none_or(|found| found.text != running.text);
        // Somebody has changed the file, and may have reloaded nginx too.
        self.running.take_if(differs);
        let Some(found) = found else {
            return (false, false);
        };
        let is_same = found.text == self.compose(blocks);
        let is_unknown = seen.master().is_some() && self.running.is_none();
        let is_loaded =
            (is_same || is_unknown) && self.is_loaded(&found.text, Some(found.since), seen).await;
        (is_same, is_same && is_loaded)
    }

    /// Refuses a file that is somebody else's, or takes it over.
    fn check_whose(&mut self, found: &Content) -> Result<(), Error> {
        let Some(taken_over) = foreign::check(&found.text, &self.settings)? else {
            return Ok(());
        };
        let is_known = taken_over.iter().all(|(name, block)| {
            let entry = self.entries.get(name);
            entry.map_or(self.others.get(name), |entry| entry.good.as_ref()) == Some(block)
        });
        // Log it once: this may be a retry.
        if !is_known || taken_over.is_empty() {
            let routed = |name: &UpstreamName| self.entries.contains_key(name);
            let what = "taking it over (--adopt)";
            foreign::log(&self.settings, &taken_over, routed, what);
            self.adopt(taken_over);
        }
        Ok(())
    }

    /// Until when to wait for upstreams that have neither a request nor a block: without servers they would fail all requests.
    fn start_until(&self, now: Instant) -> Option<Instant> {
        let until = self.began + START;
        let mut entries = self.entries.values();
        let unknown = entries.any(|entry| entry.desired.is_none() && entry.good.is_none());
        (unknown && now < until).then_some(until)
    }

    /// Whether an edit of somebody else, perhaps put back by now, may answer with the token of the original. With the lock that is
    /// certain, and the next token differs.
    async fn notice_edits(&mut self, found: Option<&Content>) -> bool {
        self.last = self.disk.left().await.or(self.last.take());
        let has = found
            .and_then(|found| edition(&found.text))
            .unwrap_or_default();
        let is_touched = self.is_touched(found);
        if let Some(last) = self.last.as_mut().filter(|_| is_touched) {
            last.proven = None;
        }
        if self.settings.proof.is_none() || !is_touched {
            if self.last.is_some() {
                self.edition = has;
            }
            return false;
        }
        if self.lock.is_some() {
            self.edition = self.edition.max(has) + 1;
        }
        true
    }

    /// Marks the upstreams that somebody else has changed in the file since the last round; all when the change is outside of them.
    fn notice_others(&mut self, found: Option<&Content>) {
        let found = found.map(|found| found.text.clone());
        if self.left.as_ref() == Some(&found) {
            return;
        }
        if let Some(left) = self.left.replace(found.clone()) {
            let before = split(&left.unwrap_or_default());
            let now = split(&found.unwrap_or_default());
            let differs = |name: &UpstreamName| before.get(name) != now.get(name);
            let any = self.entries.keys().any(differs);
            let entries = self.entries.iter_mut();
            let changed = entries.filter(|(name, _)| !any || differs(name));
            changed.for_each(|(_, entry)| entry.undone = true);
        }
    }

    /// Looks up the names of servers and renders the blocks.
    async fn look_up(&mut self) {
        let names = self.entries.values().flat_map(Entry::names);
        let names: BTreeSet<_> = names.cloned().collect();
        self.names.look_up(&names).await;
        if self.settings.check.is_none() {
            // Without a check nobody knows whether nginx resolves them.
            let candidates = self.names.candidates();
            self.names.judge(&candidates, Some(false));
        }
        self.update();
    }

    fn answer(&mut self, which: impl Fn(&UpstreamName) -> bool) {
        self.old.retain(|(process, _)| process.is_alive());
        // Workers of earlier reloads count too: a draining server was still up for them.
        let busy = |reload: u64| {
            let before = self.old.iter().filter(|(_, at)| *at <= reload);
            u64::try_from(before.count()).unwrap_or(u64::MAX)
        };
        for (name, entry) in &mut self.entries {
            if entry.reply.is_some() && which(name) {
                entry.answer(busy);
            }
        }
    }

    /// Answers the upstreams that do not change, while others wait for the next reload.
    fn answer_settled(&mut self, found: Option<&Content>, seen: Seen, blocks: &Blocks) {
        let Some(found) = found.filter(|found| self.runs(&found.text, seen)) else {
            return;
        };
        let has = split(&found.text);
        self.answer(|name| {
            let block = blocks.get(name);
            block.is_some() && has.get(name) == block
        });
    }

    fn fail_all(&mut self, error: &Error) {
        for entry in self.entries.values_mut() {
            entry.reply(Err(error.clone()));
        }
    }
}
