//! One attempt after the other until nginx has what it takes: write, check, reload, look.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use regex_lite::Regex;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::info;

use super::disk::Content;
use super::nginx::Seen;
use super::process::{Process, Worker, any_stays, replaced};
use super::text::{Blocks, token};
use super::writer::{Change, Running, Writer};
use crate::target::Error;
use crate::util::command::CommandLine;
use crate::util::log_limit;

/// After a reload: the first pause between two looks. Each pause is half as long again as the one before.
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// The longest pause.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// How long old workers may still accept connections when they cannot be seen. nginx waits 100 ms before it tells them to quit.
const OVERLAP: Duration = Duration::from_millis(500);

/// How far an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// nginx only checks the file.
    Check,
    /// nginx has to run it.
    Reload,
}

impl Writer {
    /// Writes the file and reloads nginx. An upstream that nginx refuses remembers that; the others get through.
    ///
    /// # Errors
    ///
    /// What concerns all upstreams. The former file is back then, unless the error is only that no nginx can be seen.
    pub(super) async fn apply(
        &mut self,
        wanted: Blocks,
        found: Option<&Content>,
        seen: Seen,
    ) -> Result<(), Error> {
        let former = found.map(|found| found.text.clone());
        self.change = Change::Tried(former.clone());
        self.is_first = false;
        let done = self.try_all(wanted, seen).await;
        let applied = match &done {
            Ok((blocks, _)) => {
                self.took(blocks);
                self.left = Some(Some(self.compose(blocks)));
                self.disk.keep().await
            }
            Err(_) => self.disk.restore(former.as_deref()).await,
        };
        self.change = Change::None;
        let left = match &done {
            Ok((blocks, _)) => Some(self.compose(blocks)),
            Err(_) => former,
        };
        if let Some(left) = left {
            self.note_left(left, found).await;
        }
        let (_, absent) = done?;
        applied?;
        absent.map_or(Ok(()), Err)
    }

    /// Returns what stands in the file, and the reason when no nginx runs it.
    async fn try_all(
        &mut self,
        wanted: Blocks,
        seen: Seen,
    ) -> Result<(Blocks, Option<Error>), Error> {
        let blocks = self.checked(wanted).await?;
        if seen == Seen::Hidden {
            let failed = self.reload_hidden(&blocks).await;
            return Ok((blocks, Some(self.nginx.unseen(failed))));
        }
        if let Some(absent) = self.nginx.absent(seen) {
            let file = self.settings.file.display();
            if seen == Seen::Nobody
                && let Some(more) = log_limit::allows("written", file.to_string())
            {
                info!(%file, "written; nginx does not run{more}");
            }
            return Ok((blocks, Some(absent)));
        }
        // Perhaps everything new was left out.
        let text = self.compose(&blocks);
        if self.is_loaded(&text, None, seen).await {
            return Ok((blocks, None));
        }
        match self.reload(&blocks).await {
            Ok(()) => Ok((blocks, None)),
            Err(absent @ Error::Stopped(_)) => Ok((blocks, Some(absent))),
            Err(error) => {
                let blocks = self.bisect(blocks, Depth::Reload, error).await?;
                Ok((blocks, None))
            }
        }
    }

    /// What nginx's check takes of these blocks. A name that does not resolve here is left out when nginx refuses the file with it and
    /// takes it without.
    async fn checked(&mut self, wanted: Blocks) -> Result<Blocks, Error> {
        let candidates = self.names.candidates();
        let error = match self.attempt(&wanted, Depth::Check).await {
            Ok(()) => {
                self.names.judge(&candidates, Some(true));
                return Ok(wanted);
            }
            Err(error @ Error::Refused { .. }) => error,
            Err(error) => return Err(error),
        };
        if candidates.is_empty() {
            return self.bisect(wanted, Depth::Check, error).await;
        }
        self.names.judge(&candidates, Some(false));
        self.update();
        let without = self.current();
        match self.attempt(&without, Depth::Check).await {
            Ok(()) => return Ok(without),
            // There is another mistake as well.
            Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        self.names.judge(&candidates, None);
        self.update();
        let blocks = self.current();
        self.bisect(blocks, Depth::Check, error).await
    }

    pub(super) async fn attempt(&mut self, blocks: &Blocks, depth: Depth) -> Result<(), Error> {
        self.write(blocks).await?;
        if let Some(check) = self.settings.check.clone() {
            let checked = self.command(&check).await;
            checked.map_err(|reason| Error::Refused {
                command: check.program(),
                reason: with_advice(reason),
            })?;
        }
        match depth {
            Depth::Check => Ok(()),
            Depth::Reload => self.reload(blocks).await,
        }
    }

    pub(super) async fn write(&self, blocks: &Blocks) -> Result<(), Error> {
        let text = self.compose(blocks);
        match self.disk.read().await {
            Ok(Some(found)) if found.text == text => Ok(()),
            _ => self.disk.write(&text).await,
        }
    }

    /// Waits until the next reload is allowed, and counts it as begun.
    async fn next_reload(&mut self) {
        sleep_until(self.interval.next(Instant::now())).await;
        self.interval.begin(Instant::now());
    }

    /// Reloads nginx and waits until it runs the file.
    pub(super) async fn reload(&mut self, blocks: &Blocks) -> Result<(), Error> {
        self.next_reload().await;
        let text = self.compose(blocks);
        let before = self.nginx.look().workers();
        self.reloads += 1;
        self.running = None;
        let command = self.settings.reload.clone();
        if let Err(reason) = self.command(&command).await {
            return Err(self.not_reloaded(&text, &command, reason).await);
        }
        let tried = std::mem::replace(&mut self.change, Change::Told);
        if let Err(error) = self.taken(&text, &before, &command).await {
            self.change = tried;
            return Err(error);
        }
        let old = before.iter().map(|worker| worker.process);
        let old = old.filter(|process| self.old.iter().all(|(known, _)| known != process));
        let old: Vec<_> = old.map(|process| (process, self.reloads)).collect();
        self.old.extend(old);
        let (file, reloads) = (self.settings.file.display(), self.reloads);
        if let Some(more) = log_limit::allows("reloaded", file.to_string()) {
            info!(%file, reloads, "nginx has the file{more}");
        }
        let master = self.nginx.see().master();
        let workers = master.map(Process::children).unwrap_or_default();
        self.running = Some(Running {
            master,
            workers,
            text,
        });
        Ok(())
    }

    /// Why a reload failed. An nginx that cannot be seen and does not listen where it should does not run.
    async fn not_reloaded(&self, text: &str, command: &CommandLine, reason: String) -> Error {
        match (self.nginx.look(), self.settings.proof) {
            (Seen::Nobody, _) => return self.nginx.stopped(),
            (Seen::Orphaned(worker), _) => return Error::Orphaned(worker.id()),
            (Seen::Unseen, Some(proof))
                if self.listened() && self.nginx.answers(proof, text).await.is_none() =>
            {
                return self.nginx.stopped();
            }
            _ => {}
        }
        Error::Reload {
            command: command.program(),
            reason: reason + &self.nginx.pid_hint(),
        }
    }

    /// Whether the former file has the listener for the proof.
    fn listened(&self) -> bool {
        match &self.change {
            Change::Tried(former) => former.as_deref().and_then(token).is_some(),
            Change::Told | Change::None => true,
        }
    }

    /// Waits until nginx runs `text` and no worker of `before` accepts connections.
    async fn taken(
        &self,
        text: &str,
        before: &[Worker],
        command: &CommandLine,
    ) -> Result<(), Error> {
        let until = Instant::now() + self.settings.timeout;
        let mut pause = FIRST_LOOK;
        // Since when it runs it.
        let mut since = None;
        loop {
            let seen = self.nginx.look();
            let now = seen.workers();
            let has = match (self.settings.proof, seen) {
                (Some(proof), _) => self.nginx.answers(proof, text).await == Some(true),
                (None, Seen::Master(_)) => replaced(before, &now),
                (None, Seen::Orphaned(worker)) => return Err(Error::Orphaned(worker.id())),
                (None, _) => return Err(self.nginx.stopped()),
            };
            since = since.filter(|_| has).or(has.then(Instant::now));
            let alone = match seen {
                Seen::Unseen => since.is_some_and(|since| since.elapsed() >= OVERLAP),
                _ => !any_stays(before, &now),
            };
            if has && alone {
                return Ok(());
            }
            if Instant::now() >= until {
                break;
            }
            sleep(pause).await;
            pause = (pause + pause / 2).min(LONGEST_LOOK);
        }
        // An old worker hangs. Draining waits for it; new servers need not.
        since.map(|_: Instant| ()).ok_or_else(|| Error::NotTaken {
            command: command.program(),
            after: self.settings.timeout,
        })
    }

    /// Reloads an nginx that cannot be seen. Returns the reason when that is not possible.
    async fn reload_hidden(&mut self, blocks: &Blocks) -> Option<String> {
        let command = self.settings.reload.clone();
        let pid = self.settings.pid.as_deref();
        if command.is_program("nginx") && pid.is_some_and(Process::is_stranger) {
            return Some(format!(
                "as it names another process, `{command}` is not run: the signal might reach that"
            ));
        }
        self.next_reload().await;
        self.running = None;
        if let Err(reason) = self.command(&command).await {
            return Some(format!("`{command}` fails: {reason}"));
        }
        self.change = Change::Told;
        self.running = Some(Running {
            master: None,
            workers: BTreeSet::new(),
            text: self.compose(blocks),
        });
        None
    }

    /// Runs a command, for at most the timeout.
    async fn command(&self, command: &CommandLine) -> Result<(), String> {
        let limit = self.settings.timeout;
        match timeout(limit, command.run()).await {
            Ok(done) => done.map_err(|reason| without_stamps(&reason)),
            Err(_) => Err(format!(
                "it did not finish within {}",
                crate::util::duration::show(limit)
            )),
        }
    }
}

/// What to do about an upstream that another file has too.
fn with_advice(reason: String) -> String {
    let twice = reason.contains("duplicate upstream");
    let advice = "; another file that nginx includes has it too: remove it there, or remove that file if it is a former `file` of sidekick's";
    reason + if twice { advice } else { "" }
}

/// Removes the time and the process id that nginx puts before each line, which leaves more room for the reason.
fn without_stamps(reason: &str) -> String {
    static STAMPS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\b(\d{4}/\d\d/\d\d |\d\d:\d\d:\d\d |\d+#\d+: )").ok());
    let stamps = STAMPS.as_ref();
    stamps.map_or_else(
        || reason.to_owned(),
        |stamps| stamps.replace_all(reason, "").into_owned(),
    )
}

#[cfg(test)]
mod tests;
