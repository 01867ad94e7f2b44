//! List, then watch, for ever: the one way in which sidekick follows keys in etcd.
//!
//! A listing replaces everything known; changes follow it in order. Whatever ends a watch (a cut
//! connection, a compaction, a token that ran out, a member without a leader, silence) leads back to a listing, so a
//! reader never acts on half a picture and never goes deaf. Resuming at the last revision
//! would be cheaper, but after a restore from a snapshot that revision lies in a future that never
//! comes, and etcd then says nothing at all.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::client::{Cluster, Connection};
use super::error::Error;
use super::range::Range;
pub use super::update::{Change, Entry, Update};
use crate::util::few;
use crate::util::log_limit::{More, PER_KIND};
use crate::util::troubles::Troubles;
use member::Etcd;

/// After so long at least, and twice as long at most, it is counted whether the watch has missed something. etcd before 3.4.36
/// and 3.5.18 drops a deletion when it compacts its history at that very revision.
const COUNT_EVERY: Duration = Duration::from_secs(180);
/// What differs is counted again after so long: it may have been on its way.
const COUNT_AGAIN: Duration = Duration::from_secs(2);

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

    /// Hears that the range is being followed, and whether it had lost etcd as a whole; `true` if that is to be told.
    fn succeeded(&mut self, was_blind: bool) -> bool;

    /// Whether this etcd was ever followed by all who wanted to.
    fn was_seen(&self) -> bool;

    /// Notes that etcd as a whole is lost, for the first time since it was followed or still. Whether to tell that of this kind of
    /// trouble, by a line of this kind, and what to append.
    fn lost(&self, first: bool, trouble: &str, line: &'static str) -> Option<More>;

    /// Takes that back without a word.
    fn forget(&self);
}

/// An open watch.
pub(crate) trait Events {
    /// The next changes; never empty. Cancel safe.
    async fn next(&mut self) -> Result<Told, Error>;
}

/// The changes that a watch delivers at once.
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
    /// Whether the range can have this size when this is known of it.
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

    /// Whether the last update still holds, as far as is known: changes flow, or there was a listing just now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        matches!(self.inner.state, State::Listed(_) | State::Watching(_))
    }

    /// Why the range cannot be followed now, in words; `None` where it is, or was not tried yet.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.inner.trouble.subscribe()
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
    /// Its own troubles since it was followed.
    troubles: Troubles,
    /// The newest of them, in words.
    trouble: watch::Sender<Option<String>>,
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
            troubles: Troubles::default(),
            trouble: watch::Sender::new(None),
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
        let again = if self.source.was_seen() { " again" } else { "" };
        let was_told = self.troubles.end();
        self.trouble
            .send_if_modified(|trouble| trouble.take().is_some());
        if self.source.succeeded(std::mem::take(&mut self.blind)) || was_told {
            info!("etcd answers{again}");
        }
        Ok(())
    }

    /// Compares what is known with what etcd has. If both differ twice without an update in between, a change was missed: the range is
    /// listed again.
    fn compare(&mut self, found: Result<Census, Error>) {
        let now = Instant::now();
        let Ok(found) = found else {
            // If the trouble lasts, the watch reports it.
            self.count_at = now + COUNT_AGAIN;
            return;
        };
        if self.known.fits(found) {
            self.doubted = None;
            self.count_at = now + next_count();
        } else if self.doubted.replace(self.known) == Some(self.known) {
            let known = self.known.keys;
            let found = few::count(found.keys.unsigned_abs(), "key");
            warn!(
                "etcd did not tell of every change: it has {found} here, and had told of {known}; listing all of them again \
                (etcd before 3.4.36 and 3.5.18 is known for that)"
            );
            self.state = State::Empty;
        } else {
            self.count_at = now + COUNT_AGAIN;
        }
    }

    /// Tells each kind of trouble once, and few of those that are over soon. Trouble with all of etcd is told by one of the watches.
    fn fail(&mut self, error: &Error) {
        let words = Some(error.to_string());
        self.trouble.send_if_modified(|known| {
            let is_new = *known != words;
            *known = words;
            is_new
        });
        let trouble = error.kind();
        let line = match self.source.was_seen() {
            true => "cannot follow",
            false => "cannot follow yet",
        };
        let more = if error.concerns_every_range() {
            let first = !std::mem::replace(&mut self.blind, true);
            self.source.lost(first, &trouble, line)
        } else {
            self.forget();
            self.troubles.tell(&trouble, line, PER_KIND)
        };
        match (error, more) {
            (_, None) => debug!(%error, "still not following etcd"),
            (Error::Denied { .. }, Some(more)) => {
                warn!(%error, "trying again until the right is granted{more}");
            }
            (error, Some(more)) if !error.is_unanswered() => {
                warn!(%error, "cannot follow etcd; trying again until that works{more}");
            }
            (_, Some(more)) if self.source.was_seen() => {
                warn!(%error, "lost sight of etcd; trying again until it answers{more}");
            }
            (_, Some(more)) => {
                warn!(%error, "cannot follow etcd yet; trying again until it answers{more}");
            }
        }
        self.state = State::Failed(Instant::now() + self.source.pause());
    }

    fn forget(&mut self) {
        if std::mem::take(&mut self.blind) {
            self.source.forget();
        }
    }
}

/// Jittered, so that agents which started together do not ask together.
fn next_count() -> Duration {
    COUNT_EVERY.mul_f64(1.0 + fastrand::f64())
}

impl<S: Source> Drop for Following<S> {
    fn drop(&mut self) {
        self.forget();
    }
}

mod member;
mod reached;

#[cfg(test)]
mod tests;
