//! List, then watch, for ever: the one way in which sidekick follows keys in etcd.
//!
//! A listing replaces everything known; changes follow it in order. Whatever ends a watch (a cut
//! connection, a compaction, a token that ran out, a member without a leader, silence) leads back to a listing, so a
//! reader never acts on half a picture and never goes deaf. Resuming at the last revision
//! would be cheaper, but after a restore from a snapshot that revision lies in a future that never
//! comes, and etcd then says nothing at all.

use std::time::Duration;

use etcd_client::{
    EventType, GetOptions, KeyValue, SortOrder, SortTarget, WatchOptions, WatchResponse,
    WatchStream,
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use super::client::{CALL_TIMEOUT, Cluster, Connection, Pace};
use super::error::{Error, Right};
use super::range::Range;

/// How many keys one call of a listing asks for at first: some hundred kilobytes of ordinary records.
const PAGE: i64 = 1_000;
/// After so long without a word the member is asked whether it still watches.
const IDLE: Duration = Duration::from_secs(30);
/// The same where another member could be watched instead.
const IDLE_AMONG_SEVERAL: Duration = Duration::from_secs(5);
/// How long the member has to answer that where there is reason to doubt it: another one did better just now.
const DOUBT: Duration = Duration::from_secs(1);
/// After so long at least, and twice as long at most, it is counted whether the watch has missed something. etcd before 3.4.36
/// and 3.5.18 drops a deletion when it compacts its history at that very revision.
const COUNT_EVERY: Duration = Duration::from_secs(180);
/// What differs is counted again after so long: it may have been on its way.
const COUNT_AGAIN: Duration = Duration::from_secs(2);

/// One key as etcd holds it. Untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// The lease that it hangs on; 0 for none.
    pub lease: i64,
}

impl Entry {
    pub(crate) fn from_kv(kv: &KeyValue) -> Self {
        Self {
            key: kv.key().to_vec(),
            value: kv.value().to_vec(),
            mod_revision: kv.mod_revision(),
            lease: kv.lease(),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put(Entry),
    /// The key was deleted, by hand or by the end of its lease.
    Deleted {
        /// The key.
        key: Vec<u8>,
        /// The revision of the deletion.
        mod_revision: i64,
    },
}

impl Change {
    /// The revision of this change.
    #[must_use]
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Deleted { mod_revision, .. } => *mod_revision,
        }
    }
}

/// What a [`Watcher`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The whole range: replaces everything known.
    Listed {
        /// The revision of etcd at which it looked so. May be lower than one seen before: then
        /// etcd was restored from a snapshot.
        revision: i64,
        /// All keys.
        entries: Vec<Entry>,
    },
    /// What changed since, in order.
    Changed {
        /// The newest revision in it.
        revision: i64,
        /// The changes.
        changes: Vec<Change>,
    },
}

/// Where listings and changes come from. A seam for tests: the real one is [`Etcd`].
pub(crate) trait Source {
    type Stream: Events;

    /// The whole range.
    async fn list(&mut self) -> Result<(i64, Vec<Entry>), Error>;

    /// How many keys the range has, and the newest revision of any.
    async fn census(&self) -> Result<Census, Error>;

    /// Everything from `revision` (inclusive) on.
    async fn watch(&mut self, revision: i64) -> Result<Self::Stream, Error>;

    /// The pause after one more failure.
    fn pause(&mut self) -> Duration;

    /// Hears that the range is being followed.
    fn succeeded(&mut self);

    /// Whether this etcd was ever followed by all who wanted to.
    fn was_seen(&self) -> bool;

    /// Hears that it is followed no more; whether nobody else has said so of the same etcd.
    fn lost(&self) -> bool;

    /// Takes that back; whether it was the last to do so.
    fn regained(&self) -> bool;
}

/// An open watch.
pub(crate) trait Events {
    /// The next changes; never empty. Cancel safe.
    async fn next(&mut self) -> Result<Told, Error>;
}

/// What a watch tells at once.
#[derive(Debug)]
pub(crate) struct Told {
    /// The newest revision in it.
    revision: i64,
    changes: Vec<Change>,
    /// How many keys there are more by these changes; fewer when negative.
    more: i64,
}

/// How much there is in a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// How many keys.
    keys: i64,
    /// The newest revision of any; of what is known, the newest that was told at all.
    newest: i64,
}

impl Census {
    /// Whether the range can be so when this is known of it.
    fn fits(self, found: Self) -> bool {
        found.keys == self.keys && found.newest <= self.newest
    }
}

/// Follows a range of keys. See the module's text.
#[derive(Debug)]
pub struct Watcher {
    inner: Following<Etcd>,
}

impl Watcher {
    /// A watcher that has not asked yet.
    #[must_use]
    pub fn new(cluster: Cluster, range: Range) -> Self {
        Self {
            inner: Following::new(Etcd::new(cluster, range)),
        }
    }

    /// Whether what was told last still holds, as far as is known: changes flow, or there was a listing just now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        matches!(self.inner.state, State::Listed(_) | State::Watching(_))
    }

    /// The next listing or changes. Never fails and never ends: it retries for ever.
    ///
    /// Cancel safe: nothing that was not returned is lost.
    pub async fn next(&mut self) -> Update {
        self.inner.next().await
    }
}

/// Lists a range once, over one connection.
///
/// # Errors
///
/// When the member does not answer.
pub(crate) async fn list_over(
    cluster: &Cluster,
    connection: &Connection,
    range: &Range,
) -> Result<(i64, Vec<Entry>), Error> {
    let mut source = Etcd::new(cluster.clone(), range.clone());
    source.list_at(connection).await
}

/// The state machine behind [`Watcher`], over any source.
#[derive(Debug)]
struct Following<S: Source> {
    source: S,
    state: State<S::Stream>,
    /// Whether the last attempt failed, so that a failure is logged once and its end too.
    failing: bool,
    /// Whether it counts among the watches that have lost all of etcd.
    blind: bool,
    /// What was told so far comes to this.
    known: Census,
    /// When it is next compared with what there is.
    count_at: Instant,
    /// What was known when etcd last had something else.
    doubted: Option<Census>,
}

#[derive(Debug)]
enum State<E> {
    /// Nothing is known.
    Empty,
    /// The range was listed at this revision.
    Listed(i64),
    /// Changes flow.
    Watching(E),
    /// Something failed: the next attempt is due then.
    Failed(Instant),
}

impl<S: Source> Following<S> {
    fn new(source: S) -> Self {
        Self {
            source,
            state: State::Empty,
            failing: false,
            blind: false,
            known: Census::default(),
            count_at: Instant::now() + next_count(),
            doubted: None,
        }
    }

    async fn next(&mut self) -> Update {
        loop {
            // Each step leaves a state behind that is right also when the caller drops the future half way.
            let step = match &mut self.state {
                State::Empty => self.list().await,
                State::Listed(revision) => {
                    let from = *revision + 1;
                    self.open(from).await.map(|()| None)
                }
                State::Watching(stream) => {
                    let (source, count_at) = (&self.source, self.count_at);
                    let count = async {
                        sleep_until(count_at).await;
                        source.census().await
                    };
                    let told = tokio::select! {
                        biased;
                        told = stream.next() => told,
                        found = count => {
                            self.compare(found);
                            continue;
                        }
                    };
                    told.map(|told| {
                        self.known.keys += told.more;
                        self.known.newest = self.known.newest.max(told.revision);
                        let Told {
                            revision, changes, ..
                        } = told;
                        Some(Update::Changed { revision, changes })
                    })
                }
                State::Failed(retry_at) => {
                    sleep_until(*retry_at).await;
                    self.state = State::Empty;
                    continue;
                }
            };
            match step {
                Ok(Some(update)) => return update,
                Ok(None) => {}
                Err(error) => self.fail(&error),
            }
        }
    }

    async fn list(&mut self) -> Result<Option<Update>, Error> {
        let (revision, entries) = self.source.list().await?;
        self.state = State::Listed(revision);
        self.known = Census {
            keys: i64::try_from(entries.len()).unwrap_or(i64::MAX),
            newest: revision,
        };
        self.count_at = Instant::now() + next_count();
        self.doubted = None;
        Ok(Some(Update::Listed { revision, entries }))
    }

    async fn open(&mut self, from: i64) -> Result<(), Error> {
        let stream = self.source.watch(from).await?;
        self.state = State::Watching(stream);
        if std::mem::take(&mut self.failing) && self.sees_again() {
            let again = if self.source.was_seen() { " again" } else { "" };
            info!("etcd answers{again}");
        }
        self.source.succeeded();
        Ok(())
    }

    /// Compares what is known with what there is. What differs twice, while nothing was told in between, was missed: the range is
    /// listed again.
    fn compare(&mut self, found: Result<Census, Error>) {
        let now = Instant::now();
        let Ok(found) = found else {
            // If this is more than a moment's trouble, the watch tells.
            self.count_at = now + COUNT_AGAIN;
            return;
        };
        if self.known.fits(found) {
            self.doubted = None;
            self.count_at = now + next_count();
        } else if self.doubted.replace(self.known) == Some(self.known) {
            let (known, found) = (self.known.keys, found.keys);
            warn!(
                "etcd did not tell of every change: it has {found} keys here, and had told of {known}; listing all of them again \
                (etcd before 3.4.36 and 3.5.18 is known for that)"
            );
            self.state = State::Empty;
        } else {
            self.count_at = now + COUNT_AGAIN;
        }
    }

    /// Whether this is worth a word: that all of etcd is lost, several watches of it say once.
    fn is_news(&mut self, error: &Error) -> bool {
        self.blind = error.concerns_every_range();
        !self.blind || self.source.lost()
    }

    /// Takes back that etcd was lost; whether nobody else misses it.
    fn sees_again(&mut self) -> bool {
        !std::mem::take(&mut self.blind) || self.source.regained()
    }

    fn fail(&mut self, error: &Error) {
        if std::mem::replace(&mut self.failing, true) || !self.is_news(error) {
            debug!(%error, "still not following etcd");
        } else {
            match error {
                Error::Denied { .. } => warn!(%error, "trying again until the right is granted"),
                _ if self.source.was_seen() => {
                    warn!(%error, "lost sight of etcd; trying again until it answers");
                }
                _ => warn!(%error, "cannot follow etcd yet; trying again until it answers"),
            }
        }
        self.state = State::Failed(Instant::now() + self.source.pause());
    }
}

/// Jittered, so that agents which started together do not ask together.
fn next_count() -> Duration {
    COUNT_EVERY.mul_f64(1.0 + fastrand::f64())
}

impl<S: Source> Drop for Following<S> {
    fn drop(&mut self) {
        self.sees_again();
    }
}

/// The real source.
#[derive(Debug)]
pub(crate) struct Etcd {
    cluster: Cluster,
    range: Range,
    pace: Pace,
    /// How many keys a call of a listing asks for.
    page: i64,
}

impl Etcd {
    fn new(cluster: Cluster, range: Range) -> Self {
        let pace = cluster.pace();
        Self {
            cluster,
            range,
            pace,
            page: PAGE,
        }
    }

    /// Asks with smaller pages until each fits into a message: values of a megabyte each, written by
    /// whomever, must not blind the reader to all others.
    async fn list_at(&mut self, connection: &Connection) -> Result<(i64, Vec<Entry>), Error> {
        loop {
            match self.pages(connection).await {
                Err(error) if error.is_too_large() && self.page > 1 => self.page /= 10,
                answer => return answer,
            }
        }
    }

    async fn pages(&self, connection: &Connection) -> Result<(i64, Vec<Entry>), Error> {
        let mut start = self.range.start().to_vec();
        let mut entries = Vec::new();
        let mut listed_at = 0;
        loop {
            let mut options = GetOptions::new()
                .with_limit(self.page)
                .with_revision(listed_at);
            if let Some(end) = self.range.end() {
                options = options.with_range(end);
            }
            let mut client = connection.kv();
            let answer = connection
                .call(async move { client.get(start, Some(options)).await })
                .await
                .map_err(|error| error.about(connection, Right::Read, &self.range))?;
            if listed_at == 0 {
                // All pages show the same revision, or the listing would be no picture of any moment.
                listed_at = answer
                    .header()
                    .ok_or_else(|| connection.incomplete("a header"))?
                    .revision();
            }
            entries.extend(answer.kvs().iter().map(Entry::from_kv));
            match answer.kvs().last() {
                Some(last) if answer.more() => {
                    start = last.key().to_vec();
                    start.push(0);
                }
                _ => return Ok((listed_at, entries)),
            }
        }
    }

    async fn census_at(&self, connection: &Connection) -> Result<Census, Error> {
        // The count is of all, whatever the limit.
        let mut options = GetOptions::new()
            .with_limit(1)
            .with_keys_only()
            .with_sort(SortTarget::Mod, SortOrder::Descend);
        if let Some(end) = self.range.end() {
            options = options.with_range(end);
        }
        let mut client = connection.kv();
        let start = self.range.start().to_vec();
        let answer = connection
            .call(async move { client.get(start, Some(options)).await })
            .await?;
        Ok(Census {
            keys: answer.count(),
            newest: answer.kvs().first().map_or(0, KeyValue::mod_revision),
        })
    }

    async fn watch_at(&self, connection: &Connection, from: i64) -> Result<EtcdStream, Error> {
        let mut options = WatchOptions::new()
            .with_start_revision(from)
            .with_progress_notify()
            .with_fragment();
        if let Some(end) = self.range.end() {
            options = options.with_range(end);
        }
        let mut client = connection.watches();
        let key = self.range.start().to_vec();
        let stream = connection
            .call(async move { client.watch(key, Some(options)).await })
            .await
            .map_err(|error| error.about(connection, Right::Read, &self.range))?;
        Ok(EtcdStream {
            cluster: self.cluster.clone(),
            connection: connection.clone(),
            range: self.range.clone(),
            stream,
            asked: false,
            idle: match self.cluster.members() {
                0 | 1 => IDLE,
                _ => IDLE_AMONG_SEVERAL,
            },
            moved: self.cluster.moved(),
            heard_by: Instant::now() + IDLE_AMONG_SEVERAL,
        })
    }
}

impl Source for Etcd {
    type Stream = EtcdStream;

    async fn list(&mut self) -> Result<(i64, Vec<Entry>), Error> {
        let connection = self.cluster.connection().await?;
        let answer = self.list_at(&connection).await;
        answer.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    async fn census(&self) -> Result<Census, Error> {
        let connection = self.cluster.connection().await?;
        let answer = self.census_at(&connection).await;
        answer.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    async fn watch(&mut self, revision: i64) -> Result<EtcdStream, Error> {
        let connection = self.cluster.connection().await?;
        let answer = self.watch_at(&connection, revision).await;
        answer.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    fn pause(&mut self) -> Duration {
        self.pace.after_failure()
    }

    fn succeeded(&mut self) {
        self.pace.reset();
        self.cluster.has_sight();
    }

    fn was_seen(&self) -> bool {
        self.cluster.was_seen()
    }

    fn lost(&self) -> bool {
        self.cluster.lose_sight()
    }

    fn regained(&self) -> bool {
        self.cluster.regain_sight()
    }
}

/// An open watch at one member.
#[derive(Debug)]
pub(crate) struct EtcdStream {
    cluster: Cluster,
    connection: Connection,
    range: Range,
    stream: WatchStream,
    /// How long the member may stay silent before it is asked for a sign of life.
    idle: Duration,
    /// Tells when another connection is in use.
    moved: tokio::sync::watch::Receiver<()>,
    /// Whether the member was asked for a sign of life and has not given one yet.
    asked: bool,
    /// When the silence becomes too long. A point in time, as readers often drop the wait half way.
    heard_by: Instant,
}

impl EtcdStream {
    /// The next answer, or an error when the member stays silent after being asked.
    async fn message(&mut self) -> Result<WatchResponse, Error> {
        loop {
            let heard = tokio::select! {
                biased;
                heard = timeout_at(self.heard_by, self.stream.message()) => heard,
                Ok(()) = self.moved.changed(), if !self.asked => {
                    self.ask(DOUBT).await?;
                    continue;
                }
            };
            match heard {
                Ok(Ok(Some(answer))) => {
                    self.asked = false;
                    self.heard_by = Instant::now() + self.idle;
                    return Ok(answer);
                }
                Ok(Ok(None)) => return Err(self.ended("the stream was closed".to_owned())),
                Ok(Err(source)) => return Err(self.connection.error(source)),
                Err(_) if self.asked => {
                    return Err(Error::Silent {
                        endpoint: self.connection.endpoint().to_owned(),
                        after: CALL_TIMEOUT,
                    });
                }
                Err(_) => self.ask(CALL_TIMEOUT).await?,
            }
        }
    }

    /// Asks the member for a sign of life, which is due then.
    async fn ask(&mut self, within: Duration) -> Result<(), Error> {
        self.asked = true;
        self.heard_by = Instant::now() + within;
        let asking = self.stream.request_progress().await;
        asking.map_err(|source| self.connection.error(source))
    }

    fn ended(&self, reason: String) -> Error {
        Error::WatchEnded {
            endpoint: self.connection.endpoint().to_owned(),
            reason,
        }
    }

    async fn changes(&mut self) -> Result<Told, Error> {
        loop {
            let answer = self.message().await?;
            if answer.canceled() {
                let ended = self.ended(why_canceled(&answer));
                return Err(ended.about(&self.connection, Right::Read, &self.range));
            }
            let changes: Vec<_> = answer.events().iter().filter_map(change).collect();
            if changes.is_empty() {
                continue;
            }
            return Ok(Told {
                revision: changes.iter().map(Change::revision).max().unwrap_or(0),
                changes,
                more: answer.events().iter().map(more).sum(),
            });
        }
    }
}

impl Events for EtcdStream {
    async fn next(&mut self) -> Result<Told, Error> {
        let answer = self.changes().await;
        if let Err(error) = &answer {
            self.cluster.failed(&self.connection, error);
        }
        answer
    }
}

fn why_canceled(answer: &WatchResponse) -> String {
    match (answer.compact_revision(), answer.cancel_reason()) {
        (0, "") => "no reason given".to_owned(),
        (0, reason) => reason.to_owned(),
        (compacted, _) => format!("history before revision {compacted} was compacted away"),
    }
}

/// How many keys there are more by this event.
fn more(event: &etcd_client::Event) -> i64 {
    let is_new = |kv: &KeyValue| kv.create_revision() == kv.mod_revision();
    match event.event_type() {
        EventType::Put => event.kv().map_or(0, |kv| i64::from(is_new(kv))),
        EventType::Delete => -1,
    }
}

fn change(event: &etcd_client::Event) -> Option<Change> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Change::Put(Entry::from_kv(kv)),
        EventType::Delete => Change::Deleted {
            key: kv.key().to_vec(),
            mod_revision: kv.mod_revision(),
        },
    })
}

#[cfg(test)]
mod tests;
