//! Targets: what is made equal to the records.
//!
//! A driver implements [`Upstream`] for one kind of target. It reads what is there, does what is missing, reads it back,
//! and says "converged" only of what it has read. It keeps nothing that a restart of the target makes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Endpoint, NameError, check_name};
use crate::upstream::desired::Desired;
use crate::upstream::plan::Plan;

pub mod file;
mod restart_watch;
pub mod vulcand;

pub use api::url::{ApiUrl, ApiUrlError};

/// One upstream of one target.
pub trait Upstream {
    /// Makes the upstream equal to `desired` and reads it back. Ends as soon as nothing is left to do but to wait for
    /// draining servers, and also when there is much to do, so that something newer may be desired meanwhile; whoever calls it
    /// comes back.
    ///
    /// # Errors
    ///
    /// When the upstream could not be made equal, or that could not be confirmed. What was done until then stands.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A request that was on its way may or may not have taken effect; the next call
    /// reads what is there before it does anything.
    fn converge(
        &mut self,
        desired: &Desired,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// What [`Upstream::converge`] would do first. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the upstream could not be read.
    fn compare(&mut self, desired: &Desired) -> impl Future<Output = Result<Plan, Error>> + Send;

    /// The target was restarted or reloaded, or nobody could ask it for a while: what it does not have any more it may have lost
    /// by itself. To be said as soon as that is seen, if a little late.
    fn forgotten(&mut self) {}

    /// Whether a restart may make the target forget what it had. Where not, whatever it lacks was taken out by somebody, and that is
    /// what wakes whoever looks after it.
    fn forgets(&self) -> bool {
        true
    }
}

/// How far an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything is waited for.
    pub progress: Progress,
    /// The steps that the target refuses, with the reasons. They hold nothing else back and are tried again later.
    pub refused: BTreeMap<String, String>,
    /// Why the target does not have a server as one that takes traffic, where it refuses it.
    pub missing: BTreeMap<Endpoint, String>,
    /// The servers that take traffic there, as last read; `None` where they are those that are desired, but for the missing.
    pub serving: Option<BTreeSet<Endpoint>>,
    /// Whether anything had to be changed.
    pub changed: bool,
}

impl Outcome {
    /// So far, with nothing refused and nothing changed.
    #[must_use]
    pub fn new(progress: Progress) -> Self {
        Self {
            progress,
            refused: BTreeMap::new(),
            missing: BTreeMap::new(),
            serving: None,
            changed: false,
        }
    }
}

/// Whether anything is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Some of it is done, and more is to do at once.
    Unfinished,
    /// The upstream was read back and is as desired, but for what it refuses.
    Converged,
    /// So it is, but requests still run on servers that are to go.
    Draining {
        /// How many requests.
        active: u64,
        /// The revision up to which everything is as desired all the same: the last one before any of these servers began to
        /// drain.
        confirmed: i64,
    },
}

/// Why an upstream could not be made equal to the records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody listens: the target does not run, so it sends nobody anywhere.
    #[error("connection refused: nginx does not run, or its API listens elsewhere")]
    NotRunning,
    /// There is no way to the target.
    #[error("the API cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended before the whole answer was there. What was asked may have been done.
    #[error("the connection to the API broke: {0}")]
    Broken(String),
    /// No whole answer in time. What was asked may have been done.
    #[error("no whole answer from the API within {} (--request-timeout)", crate::util::duration::show(*.0))]
    Silent(Duration),
    /// The answer is larger than anything that this API says.
    #[error("{request}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        request: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Something answers, but not an upstream API.
    #[error(
        "{request}: {reason}; is this the location of the API (`api write=on;`, the Lua API, or `upstream_conf;`)?"
    )]
    NotTheApi {
        /// What was asked.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The API speaks no version that this driver knows.
    #[error("the API offers versions {offered}; {known} are known here")]
    NoCommonVersion {
        /// What it offers.
        offered: String,
        /// What the driver knows.
        known: &'static str,
    },
    /// The target asks for a login, or forbids.
    #[error(
        "{request}: HTTP {status}: the API does not let us in; {}",
        match status {
            401 => "is this the right login for auth_basic or auth_jwt of its location?",
            _ => "see allow and deny of its location, and what our login may do",
        }
    )]
    Denied {
        /// What was asked.
        request: String,
        /// 401 or 403.
        status: u16,
    },
    /// The target wants to see a certificate, or another one.
    #[error("{request}: {text}: is this the right client certificate for ssl_verify_client?")]
    Certificate {
        /// What was asked.
        request: String,
        /// What the target says, printable and short.
        text: String,
    },
    /// The API can only be read.
    #[error("the API is read-only: its location needs `api write=on;`")]
    ReadOnly,
    /// There is no such upstream.
    #[error("nginx has no upstream \"{0}\" that its API can change")]
    NoUpstream(UpstreamName),
    /// The API knows of no stream upstreams.
    #[error(
        "nginx has no stream upstreams that its API can change: there is no `stream` block, or this API is for http only"
    )]
    NoStream,
    /// The upstream cannot be changed.
    #[error("upstream \"{0}\" is static: it needs a `zone`")]
    NoZone(UpstreamName),
    /// Another answer that is no success.
    #[error("{request}: HTTP {status} {text}")]
    Answer {
        /// What was asked.
        request: String,
        /// The HTTP status.
        status: u16,
        /// Code and text of the answer, printable and short.
        text: String,
    },
    /// A server that is to finish cannot be kept from getting new requests.
    #[error("a draining server still gets requests: nginx refuses drain and down: {0}")]
    Undrainable(String),
    /// etcd, where the target reads its servers, does not do what is asked.
    #[error("{0}")]
    Etcd(String),
    /// What was done does not show when it is read back.
    #[error("the target accepts \"{0}\", but does not show it when asked again")]
    Unsettled(String),
    /// No nginx runs that would read its file.
    #[error("nginx does not run: {0}; the file is as it should be")]
    Stopped(String),
    /// The master process was killed, and its workers go on without.
    #[error(
        "nginx's master process is gone, but its worker process {0} still answers, with the configuration that it had: end it with `kill -QUIT {0}`, and start nginx"
    )]
    Orphaned(u32),
    /// Nothing shows whether an nginx runs that has the file.
    #[error(
        "no nginx can be seen that has the file: {0}; where nginx runs here, write its process id there, or restart it; where it runs in a container or another pid namespace, set `proof`"
    )]
    Unseen(String),
    /// Its servers have names that do not resolve, and without them it would have none.
    #[error("no server is left whose name resolves, so the former ones stay: {0}")]
    Unresolved(String),
    /// The file cannot be read or written, or is not ours to write.
    #[error("{file} {reason}")]
    File {
        /// The file.
        file: String,
        /// What failed.
        reason: String,
    },
    /// The template fails.
    #[error("the template fails: {0}")]
    Template(String),
    /// nginx would not take the file. The former one is back in its place.
    #[error("`{command}` refuses it: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// What it says.
        reason: String,
    },
    /// nginx cannot be told to read the file.
    #[error("`{command}` fails: {reason}")]
    Reload {
        /// The command.
        command: String,
        /// What it says.
        reason: String,
    },
    /// nginx was told to read the file, but goes on with the one before.
    #[error("nginx goes on with the configuration it had, {} after `{command}`: its error log says why",
        crate::util::duration::show(*.after))]
    NotTaken {
        /// The command.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
}

impl Error {
    /// Whether the target certainly sends no requests anywhere, so that nobody need wait for it. Whatever else keeps it from being
    /// reached says nothing about the requests that it may still be sending.
    #[must_use]
    pub fn is_not_routing(&self) -> bool {
        matches!(self, Self::NotRunning | Self::Stopped(_))
    }

    /// Whether the target, or the etcd that it reads, could not be asked: another attempt may do. Else it was, and the answer is no:
    /// somebody has to change something.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::NotRunning
            | Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Silent(_)
            | Self::Etcd(_)
            | Self::Stopped(_)
            | Self::Orphaned(_)
            | Self::Unseen(_) => true,
            Self::TooLarge { .. }
            | Self::NotTheApi { .. }
            | Self::NoCommonVersion { .. }
            | Self::Denied { .. }
            | Self::Certificate { .. }
            | Self::ReadOnly
            | Self::NoUpstream(_)
            | Self::NoStream
            | Self::NoZone(_)
            | Self::Answer { .. }
            | Self::Undrainable(_)
            | Self::Unsettled(_)
            | Self::Unresolved(_)
            | Self::File { .. }
            | Self::Template(_)
            | Self::Refused { .. }
            | Self::Reload { .. }
            | Self::NotTaken { .. } => false,
        }
    }
}

/// Where in nginx an upstream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// In `http {}`: requests.
    #[default]
    Http,
    /// In `stream {}`: connections.
    Stream,
}

/// The name of an upstream in nginx: 1 to 253 bytes of `A-Z a-z 0-9 . _ : @ % + ~ [ ] -`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamName(Arc<str>);

impl UpstreamName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UpstreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name("upstream name", text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
pub mod api;
