//! What a driver has to offer, from its settings to one upstream.
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

/// What is known of a target before it is opened: plain values, so that a reload can tell what has changed.
pub trait DriverSettings: fmt::Debug {
    /// Opens the target for these upstreams. Reads the files that it needs, but opens no connection.
    ///
    /// # Errors
    ///
    /// When a file cannot be used, or the settings do not go together.
    fn open(&self, upstreams: &[(Layer, UpstreamName)]) -> Result<Arc<dyn Driver>, OpenError>;

    /// Where the target is, for people.
    fn place(&self) -> String;

    /// The files that it needs: with another content the target is another one.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Whether the same settings mean another target on every machine.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether it is one file that holds all its upstreams.
    fn is_file(&self) -> bool {
        false
    }

    /// What has no stream upstreams, where it has none.
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

/// Settings that stand in a table of `push.toml`.
pub(crate) trait FromTable: Sized {
    /// The table.
    const SYNTAX: Syntax;

    /// Reads the table, and notes all that is wrong there; also one of another kind, which has none of the own keys.
    /// `credentials` is where the secrets of this unit lie, if there are any.
    fn read(section: &Section<'_>, credentials: Option<&Path>) -> Option<Self>;
}

/// What a table of `push.toml` looks like, besides its `name`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    /// Its name, as in `nginx`.
    pub(crate) table: &'static str,
    /// The same as people write it: `[[nginx]]`.
    pub(crate) title: &'static str,
    /// The key that makes it this kind, where several kinds share a table.
    pub(crate) mark: Option<&'static str>,
    /// The other keys.
    pub(crate) keys: &'static [&'static [&'static str]],
    /// Keys that it does not have, and what to do instead.
    pub(crate) refusals: &'static [Refusal],
}

/// The command-line flags for all targets.
#[derive(Debug, Clone, Copy, Default)]
pub struct TargetFlags {
    /// How long an API may take to answer.
    pub request_timeout: Option<Duration>,
    /// Whether a file that is not sidekick's own is taken over.
    pub adopt: bool,
}

/// Why a target cannot be opened, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// A target: what its upstreams share.
#[async_trait]
pub trait Driver: fmt::Debug + Send + Sync {
    /// One of its upstreams; draining servers have `drain_timeout` to finish. `None` for one that it was not opened for, where that
    /// matters.
    fn upstream(
        self: Arc<Self>,
        layer: Layer,
        name: &UpstreamName,
        drain_timeout: Duration,
        cluster: &Cluster,
    ) -> Option<Box<dyn Upstream>>;

    /// Counts `restarts` up whenever the target may have forgotten everything; looks once in each `period`. Never ends.
    async fn watch(
        self: Arc<Self>,
        period: Duration,
        restarts: watch::Sender<u64>,
        cluster: Cluster,
    );

    /// Finishes work that nobody waits for any more: nothing stays half done.
    async fn leave(&self) {}

    /// Logs what would be taken over, where something is not sidekick's own. Changes nothing.
    async fn log_adoption(&self) {}
}

/// One upstream of one target.
#[async_trait]
pub trait Upstream: Send {
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
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error>;

    /// What [`Upstream::converge`] would do first. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the upstream could not be read.
    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error>;

    /// The target was restarted or reloaded, or could not be read for a while: it may have lost servers by itself. Call this as
    /// soon as that is seen.
    fn forgotten(&mut self) {}

    /// Whether a restart may make the target forget what it had. Where not, whatever is missing was taken out by somebody, and that is
    /// what wakes its reconciler.
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
        /// The revision up to which everything is as desired anyway: the last one before any of these servers began to
        /// drain.
        confirmed: i64,
    },
}
