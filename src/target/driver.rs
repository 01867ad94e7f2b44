//! The interface of a driver, from its settings to one upstream.
//!
//! ```text
//! DriverSettings ─open─► Driver (one a target) ─upstream─► Upstream (one each)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::error::Error;
use super::name::{Layer, UpstreamName};
use crate::etcd::client::Cluster;
use crate::model::{Endpoint, Prefix};
use crate::upstream::plan::Plan;
use crate::upstream::state::Desired;
use crate::util::toml::{Refusal, Section};

/// The settings of a target before it is opened: plain values, so that a reload can compare them.
pub trait DriverSettings: fmt::Debug {
    /// Opens the target for these upstreams. Reads the files that it needs, but opens no connection.
    ///
    /// # Errors
    ///
    /// When a file cannot be used, or the settings contradict each other.
    fn open(&self, upstreams: &[(Layer, UpstreamName)]) -> Result<Arc<dyn Driver>, OpenError>;

    /// Where the target is, for messages.
    fn place(&self) -> String;

    /// The files that it needs: if their contents change, it is another target.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Whether the same settings mean another target on every machine.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether it is one file with all its upstreams.
    fn is_file(&self) -> bool {
        false
    }

    /// The name of this kind of target, if it has no stream upstreams.
    fn without_streams(&self) -> Option<&'static str> {
        None
    }

    /// The keys in etcd that belong to the target.
    fn own_keys(&self) -> Option<&Prefix> {
        None
    }

    /// Applies command-line overrides.
    fn apply_flags(&mut self, _: TargetFlags) {}
}

/// Settings from a table of `push.toml`.
pub(crate) trait FromTable: Sized {
    /// The table.
    const SYNTAX: Syntax;

    /// Reads the table, and notes every mistake; also for a table of another kind, without keys of its own.
    /// `credentials` is the directory of this unit's secrets, if any.
    fn read(section: &Section<'_>, credentials: Option<&Path>) -> Option<Self>;
}

/// The shape of a table of `push.toml`, besides its `name`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    /// Its name, as in `nginx`.
    pub(crate) table: &'static str,
    /// The same in messages: `[[nginx]]`.
    pub(crate) title: &'static str,
    /// The key that marks this kind, if several kinds share a table.
    pub(crate) mark: Option<&'static str>,
    /// The other keys.
    pub(crate) keys: &'static [&'static [&'static str]],
    /// Keys that it does not have, and what to do instead.
    pub(crate) refusals: &'static [Refusal],
}

/// The command-line flags for all targets.
#[derive(Debug, Clone, Copy, Default)]
pub struct TargetFlags {
    /// Timeout of a request to an API.
    pub request_timeout: Option<Duration>,
    /// Whether a file that is not sidekick's own is taken over.
    pub adopt: bool,
}

/// Why a target cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// A target: the state that its upstreams share.
#[async_trait]
pub trait Driver: fmt::Debug + Send + Sync {
    /// One of its upstreams, with this drain timeout for its servers. `None` if it was not opened for that upstream,
    /// where that matters.
    fn upstream(
        self: Arc<Self>,
        layer: Layer,
        name: &UpstreamName,
        drain_timeout: Duration,
        cluster: &Cluster,
    ) -> Option<Box<dyn Upstream>>;

    /// Increments `restarts` whenever the target may have forgotten everything; looks once in each `period`. Never ends.
    async fn watch(
        self: Arc<Self>,
        period: Duration,
        restarts: watch::Sender<u64>,
        cluster: Cluster,
    );

    /// Finishes abandoned work: nothing stays half done.
    async fn leave(&self) {}

    /// Logs what would be taken over, if something is not sidekick's own. Changes nothing.
    async fn log_adoption(&self) {}
}

/// One upstream of one target.
#[async_trait]
pub trait Upstream: Send {
    /// Makes the upstream equal to `desired` and reads it back. Returns as soon as only draining servers are left to wait
    /// for, and also in the middle of many changes, because the desired state may be newer by then; the caller calls it
    /// again.
    ///
    /// # Errors
    ///
    /// When the upstream could not be made equal, or that could not be confirmed. Changes until then stay.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A request in flight may or may not have taken effect; the next call
    /// reads the current state first.
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error>;

    /// The first steps of [`Upstream::converge`]. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the upstream could not be read.
    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error>;

    /// The target was restarted or reloaded, or could not be read for a while: it may have lost servers by itself. Call
    /// it as soon as that is noticed.
    fn forgotten(&mut self) {}

    /// Whether a restart may make the target forget its servers. If not, a missing server was removed by somebody else,
    /// which wakes the reconciler.
    fn forgets(&self) -> bool {
        true
    }
}

/// The result of a look at an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it waits for anything.
    pub progress: Progress,
    /// The steps that the target refuses, with the reasons. They do not hold others back and are retried later.
    pub refused: BTreeMap<String, String>,
    /// Why a server does not take traffic in the target, if the target refuses it.
    pub missing: BTreeMap<Endpoint, String>,
    /// The servers that take traffic there, as last read; `None` if these are the desired ones, without the missing ones.
    pub serving: Option<BTreeSet<Endpoint>>,
    /// Whether anything was changed.
    pub changed: bool,
}

impl Outcome {
    /// This progress, with nothing refused and nothing changed.
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

/// What a convergence waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Some changes are made, and more are to follow at once.
    Unfinished,
    /// The upstream was read back and is as desired, but for what it refuses.
    Converged,
    /// It is, but servers that must go still have requests.
    Draining {
        /// How many requests.
        active: u64,
        /// The revision up to which everything is as desired anyway: the last one before any of these servers began to
        /// drain.
        confirmed: i64,
    },
}
