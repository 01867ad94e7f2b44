//! Which nginx runs, and whether it has the file.

use std::path::Path;

use tokio::time::{Instant, sleep_until};

use super::disk::Content;
use super::process::{Process, Worker, all_started_after, none_anywhere};
use super::proof::Proof;
use super::render::{Blocks, token};
use super::site::{Actor, Change, Running};
use crate::target::Error;

/// Which nginx runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// This one.
    Master(Process),
    /// Certainly none.
    Nobody,
    /// It cannot be seen; only its answers tell.
    Unseen,
    /// It cannot be seen, and nothing else tells.
    Hidden,
    /// Its master is gone, and this worker of it still answers.
    Orphaned(Process),
}

/// The nginx that was seen last.
#[derive(Debug)]
pub(super) struct Met {
    master: Process,
    workers: Vec<Worker>,
}

impl Met {
    /// The one that has lost its pid file, or its master, while it still answers.
    fn still(&self) -> Option<Seen> {
        if self.master.is_alive() {
            return Some(Seen::Master(self.master));
        }
        let mut answering = self.workers.iter().filter(|worker| !worker.leaving);
        let left = answering.find(|worker| worker.process.is_alive());
        left.map(|worker| Seen::Orphaned(worker.process))
    }
}

impl Seen {
    pub(super) fn master(self) -> Option<Process> {
        match self {
            Self::Master(master) => Some(master),
            Self::Nobody | Self::Unseen | Self::Hidden | Self::Orphaned(_) => None,
        }
    }
}

impl Actor {
    pub(super) fn see(&mut self) -> Seen {
        let seen = self.look();
        if let Some(master) = seen.master() {
            let workers = master.workers();
            self.met = Some(Met { master, workers });
        }
        seen
    }

    /// Which nginx runs. A pid file that names none proves nothing: somebody may have removed it, or nginx may run in another pid
    /// namespace, or have another file.
    pub(super) fn look(&self) -> Seen {
        if let Some(master) = self.named() {
            return Seen::Master(master);
        }
        let still = self.met.as_ref().and_then(Met::still);
        match (still, self.settings.proof) {
            (Some(still), _) => still,
            (None, Some(_)) => Seen::Unseen,
            (None, None) if self.met.is_some() || none_anywhere() => Seen::Nobody,
            (None, None) => Seen::Hidden,
        }
    }

    /// The master that the pid file names.
    fn named(&self) -> Option<Process> {
        self.settings.pid.as_deref().and_then(Process::master)
    }

    /// What to do where the reload fails because the pid file does not name the nginx that runs; empty where it does.
    pub(super) fn pid_hint(&self) -> String {
        match (self.look(), self.named(), &self.settings.pid) {
            (Seen::Master(master), None, Some(pid)) => format!(
                "; {pid} does not name the nginx that still runs, process {id}: write {id} into it, or restart nginx",
                pid = pid.display(),
                id = master.id()
            ),
            _ => String::new(),
        }
    }

    pub(super) fn unseen(&self, reason: Option<String>) -> Error {
        let pid = self.settings.pid.as_deref().unwrap_or(Path::new(""));
        let reason = reason.map_or_else(String::new, |reason| format!(", and {reason}"));
        Error::Unseen(format!("{} names no running nginx{reason}", pid.display()))
    }

    /// Has an nginx that cannot be seen read the file. Gives back why that cannot be done.
    pub(super) async fn tell_unseen(&mut self, blocks: &Blocks) -> Option<String> {
        let command = self.settings.reload.clone();
        let pid = self.settings.pid.as_deref();
        if command.is_program("nginx") && pid.is_some_and(Process::is_stranger) {
            return Some(format!(
                "as it names another process, `{command}` is not run: the signal might reach that"
            ));
        }
        sleep_until(self.budget.next(Instant::now())).await;
        self.budget.spend(Instant::now());
        self.told = None;
        match self.command(&command).await {
            Ok(()) => {
                self.change = Change::Told;
                self.told = Some(self.compose(blocks));
                None
            }
            Err(reason) => Some(format!("`{command}` fails: {reason}")),
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

    /// Whether the running nginx has the file as it was found.
    pub(super) async fn is_loaded(&mut self, found: &Content, seen: Seen) -> bool {
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
}
