//! Which nginx runs, and whether it has the file.

use std::path::Path;
use std::sync::Arc;

use super::process::{Process, Worker, none_anywhere};
use super::proof::Proof;
use super::settings::Settings;
use super::text::token;
use crate::target::Error;

/// Which nginx runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// This one.
    Master(Process),
    /// Certainly none.
    Nobody,
    /// It cannot be seen; only its answers show it.
    Unseen,
    /// It cannot be seen, and nothing else shows it.
    Hidden,
    /// Its master is gone, and this worker of it still answers.
    Orphaned(Process),
}

impl Seen {
    pub(super) fn master(self) -> Option<Process> {
        match self {
            Self::Master(master) => Some(master),
            Self::Nobody | Self::Unseen | Self::Hidden | Self::Orphaned(_) => None,
        }
    }

    /// Its workers; none when they cannot be seen.
    pub(super) fn workers(self) -> Vec<Worker> {
        self.master().map(Process::workers).unwrap_or_default()
    }
}

/// The nginx that reads the file.
#[derive(Debug)]
pub(super) struct Nginx {
    settings: Arc<Settings>,
    /// The master that was seen last, with its workers: once these are gone, none runs.
    met: Option<(Process, Vec<Worker>)>,
}

impl Nginx {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let met = None;
        Self { settings, met }
    }

    /// As [`look`](Nginx::look), and remembers it.
    pub(super) fn see(&mut self) -> Seen {
        let seen = self.look();
        if let Some(master) = seen.master() {
            self.met = Some((master, master.workers()));
        }
        seen
    }

    /// Which nginx runs. A pid file that names none proves nothing: somebody may have removed it, or nginx may run in another pid
    /// namespace, or have another file.
    pub(super) fn look(&self) -> Seen {
        if let Some(master) = self.named() {
            return Seen::Master(master);
        }
        match (self.still(), self.settings.proof) {
            (Some(still), _) => still,
            (None, Some(_)) => Seen::Unseen,
            (None, None) if self.met.is_some() || none_anywhere() => Seen::Nobody,
            (None, None) => Seen::Hidden,
        }
    }

    /// The one that was seen last, when it still answers without its pid file or its master.
    fn still(&self) -> Option<Seen> {
        let (master, workers) = self.met.as_ref()?;
        if master.is_alive() {
            return Some(Seen::Master(*master));
        }
        let mut answering = workers.iter().filter(|worker| !worker.leaving);
        let left = answering.find(|worker| worker.process.is_alive())?;
        Some(Seen::Orphaned(left.process))
    }

    /// The master that the pid file names.
    fn named(&self) -> Option<Process> {
        self.settings.pid.as_deref().and_then(Process::master)
    }

    /// Why no nginx can be expected to run the file; `None` when one can.
    pub(super) fn absent(&self, seen: Seen) -> Option<Error> {
        match seen {
            Seen::Nobody => Some(self.stopped()),
            Seen::Orphaned(worker) => Some(Error::Orphaned(worker.id())),
            Seen::Hidden => Some(self.unseen(None)),
            Seen::Master(_) | Seen::Unseen => None,
        }
    }

    pub(super) fn stopped(&self) -> Error {
        Error::Stopped(match (&self.settings.pid, self.settings.proof) {
            (_, Some(proof)) => format!("nobody listens on {}", proof.address()),
            (Some(pid), None) => format!("{} names no process of it", pid.display()),
            (None, None) => "it cannot be seen".to_owned(),
        })
    }

    /// Nothing shows whether an nginx runs the file; `reason` is why the reload was not possible either.
    pub(super) fn unseen(&self, reason: Option<String>) -> Error {
        let pid = self.settings.pid.as_deref().unwrap_or(Path::new(""));
        let reason = reason.map_or_else(String::new, |reason| format!(", and {reason}"));
        Error::Unseen(format!("{} names no running nginx{reason}", pid.display()))
    }

    /// What to do about a pid file that does not name the running nginx; empty when it does.
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

    /// Whether nginx answers that it runs `text`; `None` when nobody listens.
    pub(super) async fn answers(&self, proof: Proof, text: &str) -> Option<bool> {
        let token = token(text).unwrap_or_default();
        proof.answers(self.settings.layer, token).await
    }
}
