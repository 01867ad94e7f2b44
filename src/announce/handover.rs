//! What one image of the program leaves to the next: in a file in memory, which is the next one's standard input.

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

/// The name of that file, by which an image knows that it goes on from another one.
const NAME: &str = "sidekick-handover";
/// How the state is written. A program that does not know it refuses it in its trial.
const VERSION: u32 = 1;
/// More than any state, bytes.
const MAX: u64 = 4 << 20;

/// The state of an announcer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    version: u32,
    /// Whether systemd was told that the service is up.
    is_up: bool,
    /// Whether the container was announced at any time: until then its absence is another matter.
    pub(super) served: bool,
    /// The run of the container that is announced.
    pub(super) run: Option<String>,
    pub(super) announced: Option<Announced>,
}

/// An instance, and how it stands.
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
    /// Whether the start is over, and what was not as it should be then.
    pub(super) told: bool,
    pub(super) although: Option<String>,
    pub(super) key: lease::Handed,
}

/// How long ago the image before this one has handed over to it; `None` when there was none.
#[must_use]
pub fn handed_over() -> Option<Duration> {
    const STDIN: &str = "/proc/self/fd/0";
    let file = std::fs::read_link(STDIN).ok()?;
    if !file.to_str()?.contains(NAME) {
        return None;
    }
    let written = std::fs::metadata(STDIN).and_then(|file| file.modified());
    // By a clock that was set back, it is long ago.
    let ago = written.ok().and_then(|at| at.elapsed().ok());
    Some(ago.unwrap_or(Duration::MAX))
}

/// Leaves nothing on standard input: neither this process nor a child of it has any further use for a state.
pub(super) fn forget() {
    let closed = File::open("/dev/null").and_then(|null| Ok(dup2_stdin(null)?));
    if let Err(error) = closed {
        tracing::debug!(%error, "standard input stays open");
    }
}

impl Default for Handover {
    /// Nothing: the process was started just now.
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
    /// What the image before this one has left, where there was one.
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
                // The record tells enough to go on from.
                warn!("the handover of the previous program cannot be read: {why}");
                None
            }
        }
    }

    /// Reads what `encode` has written.
    ///
    /// # Errors
    /// In words; also when another version of the program has written it otherwise.
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
        // Every key of it is a text, and every value can be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The state in a file in memory, to be read from its beginning. It closes itself when another program is started.
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
