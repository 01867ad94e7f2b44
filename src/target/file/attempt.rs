//! One attempt after the other until nginx has what it takes: write, check, reload, look.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::info;

use super::disk::Content;
use super::file_error;
use super::process::{Process, Worker, any_stays, replaced};
use super::render::Blocks;
use super::seen::Seen;
use super::site::{Actor, Change, Running};
use crate::model::DnsName;
use crate::target::Error;
use crate::util::command::CommandLine;
use crate::util::log_limit;

/// The first pause between two looks at whether nginx has taken the file; each is half as long again as the one before.
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// The longest.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// For how long old workers may take new connections beside new ones, where they cannot be seen. nginx lets 100 ms pass before it
/// tells them to leave.
const OVERLAP: Duration = Duration::from_millis(500);

/// How far an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// nginx only checks the file.
    Check,
    /// nginx has to take it.
    Reload,
}

/// What a file has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    /// The running nginx has it.
    Running,
    /// No nginx runs; the next one will have it.
    Stopped,
    /// No master runs that would read it, but a worker that goes on without.
    Orphaned(Process),
    /// Nothing shows whether an nginx has it; why it could not even be told, where that is so.
    Unseen(Option<String>),
}

impl Actor {
    /// Makes file and nginx so. What nginx refuses is noted with the upstreams; the others get through.
    ///
    /// # Errors
    ///
    /// What concerns all of them. The file is then as it was found.
    pub(super) async fn apply(
        &mut self,
        wanted: Blocks,
        found: Option<&Content>,
        seen: Seen,
    ) -> Result<Reached, Error> {
        let former = found.map(|found| found.text.clone());
        self.change = Change::Tried(former.clone());
        let done = self.try_all(wanted, seen).await;
        let settled = match &done {
            Ok((blocks, _)) => {
                self.took(blocks);
                self.left = Some(Some(self.compose(blocks)));
                self.disk.keep().await
            }
            Err(_) => self.disk.restore(former.as_deref()).await,
        };
        self.change = Change::None;
        let (_, reached) = done?;
        settled.map_err(|reason| file_error(&self.settings.file, &reason))?;
        Ok(reached)
    }

    async fn try_all(&mut self, wanted: Blocks, seen: Seen) -> Result<(Blocks, Reached), Error> {
        let mut blocks = wanted;
        match self.attempt(&blocks, Depth::Check).await {
            Err(error @ Error::Refused { .. }) => {
                blocks = self.without_refused(blocks, error).await?;
            }
            checked => checked?,
        }
        match seen {
            Seen::Nobody => {
                let file = self.settings.file.display();
                if let Some(more) = log_limit::allows("written", file.to_string()) {
                    info!(%file, "written; nginx does not run{more}");
                }
                return Ok((blocks, Reached::Stopped));
            }
            Seen::Orphaned(worker) => return Ok((blocks, Reached::Orphaned(worker))),
            Seen::Hidden => {
                let failed = self.tell_unseen(&blocks).await;
                return Ok((blocks, Reached::Unseen(failed)));
            }
            Seen::Master(_) | Seen::Unseen => {}
        }
        if self.has(&blocks, seen).await {
            return Ok((blocks, Reached::Running));
        }
        match self.reload(&blocks).await {
            Ok(()) => Ok((blocks, Reached::Running)),
            Err(Error::Stopped(_)) => Ok((blocks, Reached::Stopped)),
            Err(error) => {
                let blocks = self.sift(blocks, Depth::Reload, error).await?;
                Ok((blocks, Reached::Running))
            }
        }
    }

    /// What nginx takes of a file that it refuses with `error`.
    async fn without_refused(&mut self, wanted: Blocks, error: Error) -> Result<Blocks, Error> {
        if !self.names.doubt() {
            return self.sift(wanted, Depth::Check, error).await;
        }
        let suspects = self.names.suspects();
        self.judge(&suspects).await?;
        let blocks = self.blocks(|member| member.current(Instant::now()));
        match self.attempt(&blocks, Depth::Check).await {
            Err(error @ Error::Refused { .. }) => self.sift(blocks, Depth::Check, error).await,
            checked => checked.map(|()| blocks),
        }
    }

    /// Whether the running nginx has these blocks already: what was left out was all that is new.
    async fn has(&mut self, blocks: &Blocks, seen: Seen) -> bool {
        let text = self.compose(blocks);
        match (self.settings.proof, &self.running) {
            (_, Some(running)) if seen != Seen::Unseen => {
                running.text == text && running.master == seen.master()
            }
            (Some(proof), _) => self.answers(proof, &text).await == Some(true),
            _ => false,
        }
    }

    /// Whether nginx takes names that do not resolve here. When it refuses the file with them and takes it without, they are left
    /// out.
    pub(super) async fn judge(&mut self, suspects: &[DnsName]) -> Result<(), Error> {
        let now = Instant::now();
        let mut takes = Some(false);
        if self.settings.check.is_some() {
            let with = self.blocks(|member| member.current(now));
            takes = match self.attempt(&with, Depth::Check).await {
                Ok(()) => Some(true),
                Err(Error::Refused { .. }) => {
                    self.names.judge(suspects, Some(false));
                    self.update();
                    let without = self.blocks(|member| member.current(now));
                    match self.attempt(&without, Depth::Check).await {
                        Ok(()) => Some(false),
                        // The mistake is elsewhere, at least one of them.
                        Err(Error::Refused { .. }) => None,
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            };
        }
        self.names.judge(suspects, takes);
        self.update();
        Ok(())
    }

    pub(super) async fn attempt(&mut self, blocks: &Blocks, depth: Depth) -> Result<(), Error> {
        self.write(blocks).await?;
        if let Some(check) = self.settings.check.clone() {
            self.command(&check)
                .await
                .map_err(|reason| Error::Refused {
                    command: check.program(),
                    reason,
                })?;
        }
        match depth {
            Depth::Check => Ok(()),
            Depth::Reload => self.reload(blocks).await,
        }
    }

    pub(super) async fn write(&self, blocks: &Blocks) -> Result<(), Error> {
        let text = self.compose(blocks);
        let written = match self.disk.read().await {
            Ok(Some(found)) if found.text == text => Ok(()),
            _ => self.disk.write(&text).await,
        };
        written.map_err(|reason| file_error(&self.settings.file, &reason))
    }

    /// Has nginx read the file, and waits until the running nginx has it.
    pub(super) async fn reload(&mut self, blocks: &Blocks) -> Result<(), Error> {
        sleep_until(self.budget.next(Instant::now())).await;
        let text = self.compose(blocks);
        let master = self.look().master();
        let before = master.map(Process::workers).unwrap_or_default();
        self.budget.spend(Instant::now());
        self.reloads += 1;
        self.running = None;
        let command = self.settings.reload.clone();
        if let Err(reason) = self.command(&command).await {
            return Err(self.not_reloaded(&text, command, reason).await);
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
        self.listens = self.settings.proof.is_some();
        self.running = Some(Running {
            master: self.see().master(),
            text,
        });
        Ok(())
    }

    /// Why a reload failed: where nginx cannot be seen, one that does not listen where it should does not run.
    async fn not_reloaded(&self, text: &str, command: CommandLine, reason: String) -> Error {
        let seen = self.look();
        let unseen = self
            .settings
            .proof
            .filter(|_| seen == Seen::Unseen && self.listens);
        if seen == Seen::Nobody {
            return self.stopped();
        }
        if let Some(proof) = unseen
            && self.answers(proof, text).await.is_none()
        {
            return self.stopped();
        }
        if let Seen::Orphaned(worker) = seen {
            return Error::Orphaned(worker.id());
        }
        let command = command.program();
        let reason = reason + &self.pid_hint();
        Error::Reload { command, reason }
    }

    /// Waits until the running nginx has `text`, and nobody else takes new connections; `before` were its workers.
    async fn taken(
        &self,
        text: &str,
        before: &[Worker],
        command: &CommandLine,
    ) -> Result<(), Error> {
        let until = Instant::now() + self.settings.timeout;
        let mut pause = FIRST_LOOK;
        // Since when it has it.
        let mut since = None;
        loop {
            let seen = self.look();
            let now = seen.master().map(Process::workers).unwrap_or_default();
            let has = match self.settings.proof {
                Some(proof) => self.answers(proof, text).await == Some(true),
                None => match seen {
                    Seen::Master(_) => replaced(before, &now),
                    Seen::Orphaned(worker) => return Err(Error::Orphaned(worker.id())),
                    Seen::Nobody | Seen::Unseen | Seen::Hidden => return Err(self.stopped()),
                },
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
        if since.is_some() {
            // An old worker hangs. It is counted as long as it lives, but nobody waits for it who only comes.
            return Ok(());
        }
        Err(Error::NotTaken {
            command: command.program(),
            after: self.settings.timeout,
        })
    }

    /// Runs a command for as long as it may take.
    pub(super) async fn command(&self, command: &CommandLine) -> Result<(), String> {
        let limit = self.settings.timeout;
        match timeout(limit, command.run()).await {
            Ok(done) => done.map_err(|reason| without_stamps(&reason)),
            Err(_) => Err(format!(
                "not done within {}",
                crate::util::duration::show(limit)
            )),
        }
    }
}

/// Without the time and the process that nginx names before each line: both say nothing here, and take the room of what does.
fn without_stamps(reason: &str) -> String {
    let shape = |word: &str| -> String {
        let one = |c: char| if c.is_ascii_digit() { '0' } else { c };
        word.chars().map(one).collect()
    };
    let is_process = |word: &str| {
        let numbers = word.strip_suffix(':').and_then(|word| word.split_once('#'));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        numbers.is_some_and(|(process, thread)| is_number(process) && is_number(thread))
    };
    let is_stamp =
        |word: &&str| matches!(shape(word).as_str(), "0000/00/00" | "00:00:00") || is_process(word);
    let words: Vec<_> = reason.split(' ').filter(|word| !is_stamp(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_says_is_told_without_time_and_process() {
        let said = "exit status: 1: 2026/11/21 14:59:52 [emerg] 22480#22480: unknown directive \"x\" in /etc/nginx/a.conf:1; \
                    nginx: configuration file /etc/nginx/nginx.conf test failed";
        assert_eq!(
            without_stamps(said),
            "exit status: 1: [emerg] unknown directive \"x\" in /etc/nginx/a.conf:1; nginx: configuration file \
             /etc/nginx/nginx.conf test failed"
        );
        for other in ["", "a  b", "1#: #1: 10:20 2026/1/1", "exit status: 1"] {
            assert_eq!(without_stamps(other), other);
        }
    }
}
