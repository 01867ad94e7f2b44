//! The driver for vulcand, which reads its backends and servers from etcd and watches them for changes.
//!
//! Every write is a transaction on the keys as they were read. vulcand has no draining: a server that drains is
//! removed.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use tokio::sync::{RwLock, watch};
use tokio::time::Instant;
use tracing::{debug, info};

use super::{Driver, Error, Layer, Outcome, Progress, Upstream, UpstreamName};
use crate::etcd::client::Cluster;
use crate::etcd::range::Range;
use crate::etcd::watch::{Change, Entry, Update, Watcher, list_over};
use crate::etcd::{self, Right};
use crate::model::Prefix;
use crate::upstream::guard::Sight;
use crate::upstream::plan::{Plan, Step};
use crate::upstream::state::Desired;
use crate::util::log_limit;

pub(crate) mod fuzz;
mod keys;
mod settings;

use keys::{Move, Place};
pub use settings::{PREFIX, Scheme, SchemeError, Settings};

/// The most keys in one transaction: etcd's default limit is 128.
const MAX_OPERATIONS: usize = 100;
/// A convergence ends after this many readings without its own writes, or lost races against another writer.
const PATIENCE: usize = 4;
/// How long a convergence runs before it looks for a newer desired state.
const TURN: Duration = Duration::from_millis(250);
/// How many own revisions are remembered.
const OWN: usize = 256;

/// The prefix of the keys of all backends.
#[must_use]
pub fn backends(prefix: &Prefix) -> String {
    format!("{prefix}/backends/")
}

/// One vulcand, or all that read the same keys.
#[derive(Debug)]
pub struct Keys {
    settings: Settings,
    /// The newest revisions written from here.
    own: Mutex<VecDeque<i64>>,
    /// Held shared by writers, until the revision of the write is known.
    writing: RwLock<()>,
    /// The key prefixes of the backends that this pusher manages.
    ranges: Mutex<Vec<String>>,
}

impl Keys {
    /// The keys of `settings`. Sends nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            own: Mutex::new(VecDeque::new()),
            writing: RwLock::new(()),
            ranges: Mutex::new(Vec::new()),
        }
    }

    fn wrote(&self, revision: i64) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.truncate(OWN - 1);
        own.push_front(revision);
    }

    /// Whether somebody else changed a key of these backends.
    fn is_foreign(&self, change: &Change) -> bool {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match change {
            Change::Put(entry) => &entry.key,
            Change::Deleted { key, .. } => key,
        };
        let is_here = |range: &String| key.starts_with(range.as_bytes());
        !own.contains(&change.revision()) && ranges.iter().any(is_here)
    }

    /// Makes all of `moves`, below `range`, if none of their keys has changed since; returns whether it did.
    async fn write(
        &self,
        cluster: &Cluster,
        range: &Range,
        moves: &[Move],
    ) -> Result<bool, etcd::Error> {
        let unchanged = |step: &Move| {
            let (key, seen) = (step.key.clone(), step.unless_changed_since);
            Compare::mod_revision(key, CompareOp::Equal, seen)
        };
        let operation = |step: &Move| match &step.value {
            Some(value) => TxnOp::put(step.key.clone(), value.clone(), None),
            None => TxnOp::delete(step.key.clone(), None),
        };
        let txn = Txn::new()
            .when(moves.iter().map(unchanged).collect::<Vec<_>>())
            .and_then(moves.iter().map(operation).collect::<Vec<_>>());
        let connection = cluster.connection().await?;
        let mut client = connection.kv();
        let _writing = self.writing.read().await;
        let answer = connection.call(async move { client.txn(txn).await }).await;
        let answer = answer.inspect_err(|error| cluster.failed(&connection, error));
        let answer = answer.map_err(|error| connection.about(error, Right::Write, range))?;
        if answer.succeeded() {
            self.wrote(answer.header().map_or(0, |header| header.revision()));
        }
        Ok(answer.succeeded())
    }
}

#[async_trait]
impl Driver for Keys {
    fn upstream(
        self: Arc<Self>,
        _: Layer,
        name: &UpstreamName,
        _: Duration,
        cluster: &Cluster,
    ) -> Option<Box<dyn Upstream>> {
        Some(Box::new(Vulcand::new(self, name.clone(), cluster.clone())))
    }

    /// Increments whenever somebody else changes a managed backend, and when etcd was unreachable or restored.
    async fn watch(self: Arc<Self>, _: Duration, changed: watch::Sender<u64>, cluster: Cluster) {
        let range = backends(&self.settings.prefix);
        let mut watcher = Watcher::new(cluster, Range::Prefix(range.into_bytes()));
        let mut listed = false;
        loop {
            let foreign = match watcher.next().await {
                Update::Listed { .. } => std::mem::replace(&mut listed, true),
                Update::Changed { changes, .. } => {
                    // The answer to our own write may arrive after its event.
                    drop(self.writing.write().await);
                    changes.iter().any(|change| self.is_foreign(change))
                }
            };
            if foreign {
                debug!(prefix = %self.settings.prefix, "somebody else changed keys of vulcand");
                changed.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

/// One backend of vulcand.
#[derive(Debug)]
pub struct Vulcand {
    keys: Arc<Keys>,
    /// The etcd that vulcand reads.
    cluster: Cluster,
    backend: UpstreamName,
    place: Place,
    /// What requests are sent to.
    sight: Sight,
}

impl Vulcand {
    /// The backend called `backend`.
    #[must_use]
    pub fn new(keys: Arc<Keys>, backend: UpstreamName, cluster: Cluster) -> Self {
        let place = Place::new(&keys.settings.prefix, &backend);
        let mut ranges = keys.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if !ranges.contains(&place.range) {
            ranges.push(place.range.clone());
        }
        drop(ranges);
        Self {
            keys,
            cluster,
            backend,
            place,
            sight: Sight::default(),
        }
    }

    /// The keys of the backend.
    fn range(&self) -> Range {
        Range::Prefix(self.place.range.clone().into_bytes())
    }

    async fn read(&self) -> Result<Vec<Entry>, Error> {
        let range = self.range();
        let told = |error: etcd::Error| Error::Etcd(error.to_string());
        let connection = self.cluster.connection().await.map_err(told)?;
        let listed = list_over(&self.cluster, &connection, &range).await;
        let listed = listed.inspect_err(|error| self.cluster.failed(&connection, error));
        let (_, entries) = listed.map_err(told)?;
        Ok(entries)
    }

    /// The moves, and their goal: the desired state as it fits the existing keys.
    async fn moves<'a>(
        &mut self,
        desired: &'a Desired,
    ) -> Result<(Vec<Move>, Cow<'a, Desired>), Error> {
        let found = self.read().await?;
        let (scheme, now) = (self.keys.settings.scheme, Instant::now());
        let mut serving = keys::serving(&self.place, &found);
        if !keys::has_backend(&self.place, &found) {
            self.sight.forget(now);
            serving.clear();
        }
        self.sight.read(serving, desired, now);
        let desired = desired.fit(&self.sight, &BTreeSet::new());
        let moves = keys::moves(&self.place, scheme, &desired, &found);
        Ok((moves, desired))
    }

    /// Makes the moves until all are made, another writer was faster, or `until`; `true` if any was made.
    async fn make(&self, moves: &[Move], until: Instant) -> Result<bool, Error> {
        let (mut made, range) = (false, self.range());
        for some in moves.chunks(MAX_OPERATIONS) {
            let written = self.keys.write(&self.cluster, &range, some).await;
            if !written.map_err(|error| Error::Etcd(error.to_string()))? {
                break;
            }
            made = true;
            for step in some.iter().flat_map(|step| &step.steps) {
                self.log(step);
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(made)
    }

    /// Logs the moves; if somebody else undoes them again and again, not every time.
    fn log(&self, step: &Step) {
        let (prefix, backend) = (&self.keys.settings.prefix, &self.backend);
        let about = format!("{prefix} {backend} {step}");
        if let Some(more) = log_limit::allows_of("vulcand step", about, log_limit::STEPS) {
            info!(vulcand = %prefix, %backend, "{step}{more}");
        }
    }
}

#[async_trait]
impl Upstream for Vulcand {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        let until = Instant::now() + TURN;
        let mut fewest = usize::MAX;
        let mut disappointments = 0;
        let mut changed = false;
        let outcome = |progress, changed, serving| Outcome {
            refused: keys::untold(desired),
            changed,
            serving,
            ..Outcome::new(progress)
        };
        loop {
            let (moves, _) = self.moves(desired).await?;
            let Some(first) = moves.first() else {
                let serving = Some(self.sight.serving().clone());
                return Ok(outcome(Progress::Converged, changed, serving));
            };
            if moves.len() >= fewest {
                disappointments += 1;
                if disappointments == PATIENCE {
                    let key = crate::util::sanitize::short(&first.key);
                    return Err(Error::NotConverged(format!("write {key}")));
                }
            }
            fewest = fewest.min(moves.len());
            changed |= self.make(&moves, until).await?;
            if moves.len() > MAX_OPERATIONS && Instant::now() >= until {
                return Ok(outcome(Progress::Unfinished, changed, None));
            }
        }
    }

    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error> {
        let (moves, desired) = self.moves(desired).await?;
        Ok(keys::plan(moves, &desired))
    }

    fn forgets(&self) -> bool {
        false
    }
}
