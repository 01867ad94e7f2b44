//! One attempt after the other until nginx has what it takes: write, check, reload, look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info};

use super::disk::Content;
use super::file_error;
use super::member::{Member, Refused};
use super::process::{Process, Worker, any_stays, replaced};
use super::render::Blocks;
use super::sift::Sift;
use super::site::{Actor, Running, Seen};
use crate::command::CommandLine;
use crate::record::Endpoint;
use crate::upstream::{Error, UpstreamName};

/// The first pause between two looks at whether nginx has taken the file; each is half as long again as the one before.
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// The longest.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// For how long old workers may take new connections beside new ones, where they cannot be seen. nginx lets 100 ms pass before it
/// tells them to leave.
const OVERLAP: Duration = Duration::from_millis(500);

/// How far an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// nginx only checks the file.
    Check,
    /// nginx has to take it.
    Reload,
}

impl Actor {
    /// Makes file and nginx so. What nginx refuses is noted with the upstreams; the others get through. Gives back whether an nginx
    /// runs.
    ///
    /// # Errors
    ///
    /// What concerns all of them. The file is then as it was found.
    pub(super) async fn apply(
        &mut self,
        wanted: Blocks,
        found: Option<&Content>,
        seen: Seen,
    ) -> Result<bool, Error> {
        let done = self.try_all(wanted, seen).await;
        let settled = match &done {
            Ok((blocks, _)) => {
                self.took(blocks);
                self.disk.keep().await
            }
            Err(_) => {
                let former = found.map(|found| found.text.as_str());
                self.disk.restore(former).await
            }
        };
        let (_, runs) = done?;
        settled.map_err(|reason| file_error(&self.settings.file, &reason))?;
        Ok(runs)
    }

    async fn try_all(&mut self, wanted: Blocks, seen: Seen) -> Result<(Blocks, bool), Error> {
        let mut blocks = wanted;
        match self.attempt(&blocks, Depth::Check).await {
            Err(error @ Error::Refused { .. }) => {
                blocks = self.sift(blocks, Depth::Check, error).await?;
            }
            checked => checked?,
        }
        if seen == Seen::Nobody {
            info!(file = %self.settings.file.display(), "written; nginx does not run");
            return Ok((blocks, false));
        }
        match self.reload(&blocks).await {
            Ok(()) => Ok((blocks, true)),
            Err(Error::Stopped(_)) => Ok((blocks, false)),
            Err(error) => {
                let blocks = self.sift(blocks, Depth::Reload, error).await?;
                Ok((blocks, true))
            }
        }
    }

    /// The upstreams that would get another block than nginx last took.
    fn changed(&self, blocks: &Blocks) -> Vec<UpstreamName> {
        let members = self.members.iter().filter(|(name, member)| {
            let block = blocks.get(*name);
            member.is_told() && (!member.has_good() || block != Some(&member.safe()))
        });
        members.map(|(name, _)| name.clone()).collect()
    }

    /// Finds the upstreams whose blocks nginx takes; `first` is what it said of all together.
    async fn sift(&mut self, wanted: Blocks, depth: Depth, first: Error) -> Result<Blocks, Error> {
        let changed = self.changed(&wanted);
        if changed.is_empty() {
            return Err(first);
        }
        let mut accepted = self.base(depth, &first).await?;
        let mut errors = BTreeMap::from([(changed[0].clone(), first.clone())]);
        let mut sift = Sift::new(changed);
        sift.refuse(first.to_string());
        while let Some(trial) = sift.trial() {
            let mut blocks = accepted.clone();
            for name in &trial {
                blocks.extend(wanted.get(name).map(|block| (name.clone(), block.clone())));
            }
            match self.attempt(&blocks, depth).await {
                Ok(()) => {
                    accepted = blocks;
                    sift.accept();
                }
                Err(error @ (Error::File { .. } | Error::Stopped(_))) => return Err(error),
                Err(error) => {
                    sift.refuse(error.to_string());
                    errors.extend(trial.last().map(|last| (last.clone(), error)));
                }
            }
        }
        for (name, _) in sift.end().1 {
            let error = errors.remove(&name).unwrap_or_else(|| first.clone());
            let instead = match depth {
                Depth::Check => self.sift_servers(&name, &mut accepted).await?,
                Depth::Reload => None,
            };
            debug!(upstream = %name, %error, "nginx refuses the block");
            if let Some(member) = self.members.get_mut(&name) {
                member.refuse(error, instead, Instant::now());
            }
        }
        // The last attempt may have been one that was refused.
        self.write(&accepted).await?;
        let text = self.compose(&accepted);
        if depth == Depth::Reload
            && self
                .running
                .as_ref()
                .is_none_or(|running| running.text != text)
        {
            self.reload(&accepted).await?;
        }
        Ok(accepted)
    }

    /// What nginx took last, if it still does: else the mistake is elsewhere, and nobody here is to blame.
    async fn base(&mut self, depth: Depth, first: &Error) -> Result<Blocks, Error> {
        let base = self.blocks(Member::safe);
        if self.attempt(&base, depth).await.is_ok() {
            return Ok(base);
        }
        // An upstream that has never been there may be called as another one elsewhere in the configuration.
        let mut only_good = base;
        only_good.retain(|name, _| self.members.get(name).is_some_and(Member::has_good));
        match self.attempt(&only_good, depth).await {
            Ok(()) => Ok(only_good),
            Err(error @ (Error::File { .. } | Error::Stopped(_))) => Err(error),
            Err(_) => Err(first.clone()),
        }
    }

    /// Finds the servers of an upstream that nginx takes, and puts the block into `accepted`; `None` when it takes not one.
    async fn sift_servers(
        &mut self,
        name: &UpstreamName,
        accepted: &mut Blocks,
    ) -> Result<Option<(String, Refused)>, Error> {
        let Some(endpoints) = self.members.get(name).map(Member::endpoints) else {
            return Ok(None);
        };
        let all: BTreeSet<Endpoint> = endpoints.iter().cloned().collect();
        let Ok(mut block) = self.block_without(name, &all) else {
            return Ok(None);
        };
        if endpoints.len() < 2 || !self.takes(accepted, name, &block).await? {
            return Ok(None);
        }
        let mut sift = Sift::new(endpoints);
        while let Some(trial) = sift.trial() {
            let with: BTreeSet<_> = trial.into_iter().collect();
            let without = all.difference(&with).cloned().collect();
            match self.block_without(name, &without) {
                Ok(tried) => match self.check(accepted, name, &tried).await {
                    Ok(()) => {
                        block = tried;
                        sift.accept();
                    }
                    Err(error @ Error::File { .. }) => return Err(error),
                    Err(Error::Refused { reason, .. }) => sift.refuse(reason),
                    Err(error) => sift.refuse(error.to_string()),
                },
                Err(reason) => sift.refuse(reason),
            }
        }
        let (taken, refused) = sift.end();
        if taken.is_empty() {
            return Ok(None);
        }
        accepted.insert(name.clone(), block.clone());
        Ok(Some((block, refused.into_iter().collect())))
    }

    fn block_without(
        &self,
        name: &UpstreamName,
        without: &BTreeSet<Endpoint>,
    ) -> Result<String, String> {
        let member = self.members.get(name).ok_or("it is gone")?;
        member.block_without(self.settings.template.as_ref(), without)
    }

    async fn takes(
        &mut self,
        accepted: &Blocks,
        name: &UpstreamName,
        block: &str,
    ) -> Result<bool, Error> {
        match self.check(accepted, name, block).await {
            Ok(()) => Ok(true),
            Err(Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn check(
        &mut self,
        accepted: &Blocks,
        name: &UpstreamName,
        block: &str,
    ) -> Result<(), Error> {
        let mut blocks = accepted.clone();
        blocks.insert(name.clone(), block.to_owned());
        self.attempt(&blocks, Depth::Check).await
    }

    async fn attempt(&mut self, blocks: &Blocks, depth: Depth) -> Result<(), Error> {
        self.write(blocks).await?;
        if let Some(check) = self.settings.check.clone() {
            self.command(&check)
                .await
                .map_err(|reason| Error::Refused {
                    command: check.to_string(),
                    reason,
                })?;
        }
        match depth {
            Depth::Check => Ok(()),
            Depth::Reload => self.reload(blocks).await,
        }
    }

    async fn write(&self, blocks: &Blocks) -> Result<(), Error> {
        let text = self.compose(blocks);
        let written = match self.disk.read().await {
            Ok(Some(found)) if found.text == text => Ok(()),
            _ => self.disk.write(&text).await,
        };
        written.map_err(|reason| file_error(&self.settings.file, &reason))
    }

    /// Has nginx read the file, and waits until the running nginx has it.
    async fn reload(&mut self, blocks: &Blocks) -> Result<(), Error> {
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
        self.taken(&text, &before, &command).await?;
        let old = before.iter().map(|worker| worker.process);
        let old = old.filter(|process| self.leaving.iter().all(|(known, _)| known != process));
        let old: Vec<_> = old.map(|process| (process, self.reloads)).collect();
        self.leaving.extend(old);
        let (file, reloads) = (self.settings.file.display(), self.reloads);
        info!(%file, reloads, "nginx has the file");
        self.running = Some(Running {
            master: self.look().master(),
            text,
        });
        Ok(())
    }

    /// Why a reload failed: where nginx cannot be seen, one that does not listen either does not run.
    async fn not_reloaded(&self, text: &str, command: CommandLine, reason: String) -> Error {
        let seen = self.look();
        let unseen = self.settings.proof.filter(|_| seen == Seen::Unseen);
        if seen == Seen::Nobody {
            return self.stopped();
        }
        if let Some(proof) = unseen
            && self.answers(proof, text).await.is_none()
        {
            return self.stopped();
        }
        let command = command.to_string();
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
                None if seen.master().is_none() => return Err(self.stopped()),
                None => replaced(before, &now),
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
            command: command.to_string(),
            after: self.settings.timeout,
        })
    }

    /// Runs a command for as long as it may take.
    async fn command(&self, command: &CommandLine) -> Result<(), String> {
        let limit = self.settings.timeout;
        match timeout(limit, command.run()).await {
            Ok(done) => done.map_err(|reason| without_stamps(&reason)),
            Err(_) => Err(format!(
                "not done within {}",
                humantime::format_duration(limit)
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
