//! The state that one image of the program hands to the next: a memfd that becomes the next one's standard input.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::stdio::dup2_stdin;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::announce::gate::Gate;
use crate::announce::phase::{OnFailure, Phase};
use crate::etcd::client;
use crate::etcd::lease;
use crate::systemd::notify;

/// The name of that file, by which an image recognizes a handover.
const NAME: &str = "sidekick-handover";
/// Version of the format. A program that does not know it refuses it in its trial.
const VERSION: u32 = 1;
/// The largest state, in bytes.
const MAX: u64 = 4 << 20;

/// The state of an announcer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    version: u32,
    /// Whether systemd was notified that the service is up.
    is_up: bool,
    /// Whether the container was ever announced: before that, its absence is handled differently.
    pub(super) served: bool,
    /// The run of the container that is announced.
    pub(super) run: Option<String>,
    pub(super) announced: Option<Announced>,
}

/// An instance and its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Announced {
    pub(super) etcd: client::Settings,
    pub(super) id: String,
    pub(super) prefix: String,
    pub(super) meta: String,
    /// As JSON, with nonce and since.
    pub(super) record: String,
    pub(super) format: String,
    pub(super) ttl: Duration,
    pub(super) on_failure: OnFailure,
    pub(super) drain_timeout: Duration,
    pub(super) linger: Duration,
    pub(super) gate: Gate,
    pub(super) phase: Phase,
    pub(super) reason: Option<String>,
    /// Whether the start is over, and what was still wrong then.
    pub(super) told: bool,
    pub(super) although: Option<String>,
    pub(super) key: lease::Handed,
}

/// How long ago the former image handed over to this one; `None` without a handover.
#[must_use]
pub fn handed_over() -> Option<Duration> {
    const STDIN: &str = "/proc/self/fd/0";
    let file = std::fs::read_link(STDIN).ok()?;
    // A file of that name on a disk is none.
    let name = file.to_str()?.strip_prefix("/memfd:")?;
    name.starts_with(NAME).then_some(())?;
    let written = std::fs::metadata(STDIN).and_then(|file| file.modified());
    // If the clock was set back, it is long ago.
    let ago = written.ok().and_then(|at| at.elapsed().ok());
    Some(ago.unwrap_or(Duration::MAX))
}

/// Closes standard input: neither this process nor its children need the state any more.
pub(super) fn forget() {
    let closed = File::open("/dev/null").and_then(|null| Ok(dup2_stdin(null)?));
    if let Err(error) = closed {
        tracing::debug!(%error, "standard input stays open");
    }
}

impl Default for Handover {
    /// For a process that starts without a handover.
    fn default() -> Self {
        Self {
            version: VERSION,
            is_up: notify::is_up(),
            served: false,
            run: None,
            announced: None,
        }
    }
}

impl Handover {
    /// The former image's state, if there was one.
    #[must_use]
    pub fn of_former_image() -> Option<Self> {
        handed_over()?;
        let read = Self::read(io::stdin());
        forget();
        match read {
            Ok(handover) => {
                if handover.is_up {
                    notify::was_up();
                }
                Some(handover)
            }
            Err(why) => {
                // The record is enough to continue from.
                warn!("the handover of the previous program cannot be read: {why}");
                None
            }
        }
    }

    /// Reads the output of `encode`.
    ///
    /// # Errors
    /// Why it cannot be read; also when another version of the program wrote another format.
    pub fn read(from: impl Read) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let mut bytes = Vec::new();
        let read = from.take(MAX).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        let head: Head = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if head.version != VERSION {
            return Err(format!(
                "the running announcer hands over version {} of its state, and this program takes version {VERSION}: restart it",
                head.version
            ));
        }
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    fn encode(&self) -> Vec<u8> {
        // Every key is a string, and every value can be serialized.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The state in a memfd, at its start. It is closed on exec of another program.
    pub(super) fn in_memory(&self) -> io::Result<File> {
        let mut file = File::from(memfd_create(NAME, MemfdFlags::CLOEXEC)?);
        file.write_all(&self.encode())?;
        file.rewind()?;
        Ok(file)
    }

    /// Whether an instance is announced.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced.is_some()
    }
}

#[cfg(test)]
mod tests;
