//! One key that lives exactly as long as its owner wants it and its owner lives.
//!
//! The owner states an [`Intent`]; a task of its own makes it true in etcd and reports the
//! [`Tenure`]. The task renews the lease, watches the key, and heals whatever happens to either: a
//! lost or revoked lease, a deleted or overwritten key, a wiped or restored etcd, any outage.
//! Every write is a transaction on what was seen before it, so that nothing of a successor is ever touched.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::Error;
use super::calls::{self, Written};
use super::client::{Cluster, Connection};
use super::keepalive::Keepalive;
use super::ownership::{Claim, Move};
use super::watch::{Change, Entry, Range, Update, Watcher};
use crate::record::Nonce;

mod report;

/// How long an attempt to reach etcd and the pause before the next one take at most, while etcd is away.
pub const SLOWEST_ATTEMPT: Duration = Duration::from_secs(8);

/// What the owner wants to stand under the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Nothing.
    Absent {
        /// Written just before the deletion, so that readers can tell it from an expiry.
        goodbye: Option<Arc<[u8]>>,
    },
    /// This value.
    Present(Arc<[u8]>),
    /// This value, which says that nobody should send anything there; nothing where etcd has no room to write it.
    PresentOrAbsent(Arc<[u8]>),
}

impl Intent {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }
}

/// What came of a value that was to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It stands there since this revision.
    At(i64),
    /// A newer claimant has the key.
    Deposed,
    /// etcd has no room for it: the key was deleted instead, at this revision where etcd told.
    Deleted(Option<i64>),
}

/// How a key was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// It is gone, or was never there. With the revision of the last deletion from here, where etcd told.
    Gone(Option<i64>),
    /// etcd has not confirmed it: what is left there goes when its lease ends.
    Unconfirmed {
        /// How long the lease lasts at most, while etcd works.
        within: Duration,
        /// Whether etcd works: it has answered, with a refusal.
        answers: bool,
        /// What went wrong last.
        why: Option<Arc<str>>,
    },
}

impl Released {
    /// The revision of the deletion.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        match self {
            Self::Gone(revision) => *revision,
            Self::Unconfirmed { .. } => None,
        }
    }
}

/// Why a key is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub text: Arc<str>,
    /// Whether it is a missing right: it lasts until somebody grants that, and the words say how.
    pub denied: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&str> for Trouble {
    fn from(text: &str) -> Self {
        Self {
            text: text.into(),
            denied: false,
        }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        Self {
            text: error.to_string().into(),
            denied: matches!(error, Error::Denied { .. }),
        }
    }
}

/// What is known about the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenure {
    /// Nothing stands under the key by this owner's doing, as wanted.
    Absent,
    /// Something is wanted that etcd has not confirmed, or no longer vouches for.
    Pending {
        /// Why not, after a failure.
        error: Option<Trouble>,
    },
    /// etcd has confirmed it.
    Held {
        /// The revision of the write.
        revision: i64,
        /// What was written.
        value: Arc<[u8]>,
    },
    /// As with `Absent`, but because etcd has no room for what is wanted.
    NoSpace {
        /// The revision of the deletion, where etcd told.
        deleted: Option<i64>,
    },
    /// A newer claimant has the key; the task has ended and touches nothing any more.
    Deposed {
        /// Who, in words.
        by: Arc<str>,
    },
}

impl Tenure {
    /// The revision at which etcd confirmed exactly `value`.
    #[must_use]
    pub fn revision_of(&self, value: &[u8]) -> Option<i64> {
        match self {
            Self::Held {
                revision,
                value: held,
            } if **held == *value => Some(*revision),
            _ => None,
        }
    }

    /// What went wrong, where something is wanted that etcd has not confirmed.
    #[must_use]
    pub fn error(&self) -> Option<Arc<str>> {
        match self {
            Self::Pending { error: Some(error) } => Some(error.text.clone()),
            _ => None,
        }
    }
}

/// The owner's end of a key.
#[derive(Debug)]
pub struct Holder {
    intent: watch::Sender<Intent>,
    tenure: watch::Receiver<Tenure>,
    pulse: watch::Receiver<()>,
    /// How long the key outlives it.
    granted: watch::Receiver<Duration>,
    task: JoinHandle<Left>,
}

/// How the task ended.
#[derive(Debug)]
enum Left {
    /// Nothing of this process stands there. With the revision of the last deletion from here, where etcd told.
    Gone(Option<i64>),
    /// etcd refuses to take it away, in these words.
    Refused(Arc<str>),
}

/// Starts the task that keeps `key` as intended; at first nothing is intended.
///
/// `ttl` is how long the key outlives a dead process, rounded up to whole seconds.
/// `nonce` names this process in the values that it will intend.
///
/// Dropping the holder ends the task and leaves the key to expire.
#[must_use]
pub fn hold(cluster: Cluster, key: String, nonce: Nonce, ttl: Duration) -> Holder {
    let (intent, intents) = watch::channel(Intent::Absent { goodbye: None });
    let (tenures, tenure) = watch::channel(Tenure::Absent);
    let (beats, pulse) = watch::channel(());
    let (grants, granted) = watch::channel(ttl);
    let tenant = Tenant {
        cluster,
        key: key.into_bytes(),
        ttl,
        intents,
        tenures,
        beats,
        granted: grants,
        claim: Claim::new(nonce),
        lease: None,
        may_stand: false,
        unheard: None,
        seen: Seen::Unknown,
        deleted: None,
        no_space: false,
        failing: None,
    };
    Holder {
        intent,
        tenure,
        pulse,
        granted,
        task: tokio::spawn(tenant.run()),
    }
}

impl Holder {
    /// States what is wanted from now on.
    pub fn set(&self, intent: Intent) {
        self.intent.send_if_modified(|current| {
            let changed = *current != intent;
            *current = intent;
            changed
        });
    }

    /// The reports.
    #[must_use]
    pub fn tenure(&self) -> watch::Receiver<Tenure> {
        self.tenure.clone()
    }

    /// Changes whenever the lease was renewed or an attempt to keep the key has ended: the task lives.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<()> {
        self.pulse.clone()
    }

    /// Waits until etcd confirms `value`, which was wanted before.
    pub async fn confirmed(&self, value: &[u8]) -> Confirmed {
        let mut tenure = self.tenure();
        let outcome = |tenure: &Tenure| match tenure {
            Tenure::Deposed { .. } => Some(Confirmed::Deposed),
            Tenure::NoSpace { deleted } => Some(Confirmed::Deleted(*deleted)),
            tenure => tenure.revision_of(value).map(Confirmed::At),
        };
        let reached = tenure.wait_for(|tenure| outcome(tenure).is_some()).await;
        // The task has ended without a word: it is nobody's any more.
        reached.map_or(Confirmed::Deposed, |tenure| {
            outcome(&tenure).unwrap_or(Confirmed::Deposed)
        })
    }

    /// Takes the key away and ends the task, waiting `within` at most, and not at all where etcd refuses. Whatever is still
    /// in etcd then goes with the lease. `goodbye` is written before the deletion, where it does not stand already.
    ///
    /// Tells whether it is known to be gone.
    pub async fn release(mut self, goodbye: Option<Arc<[u8]>>, within: Duration) -> Released {
        self.set(Intent::Absent { goodbye });
        drop(self.intent);
        let (answers, why) = match timeout(within, &mut self.task).await {
            Ok(Ok(Left::Gone(deleted))) => return Released::Gone(deleted),
            Ok(Ok(Left::Refused(why))) => (true, Some(why)),
            _ => {
                self.task.abort();
                (false, self.tenure.borrow().error())
            }
        };
        Released::Unconfirmed {
            within: *self.granted.borrow(),
            answers,
            why,
        }
    }
}

/// How long an etcd without room is left alone with what it had no room for.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(5);

/// A lease that etcd has granted.
#[derive(Debug, Clone, Copy)]
struct Lease {
    id: i64,
    /// As granted: etcd may give more than was asked.
    ttl: Duration,
    /// Until then etcd keeps it, whatever happens.
    until: Instant,
}

/// What stands under the key as far as this process has seen.
#[derive(Debug)]
enum Seen {
    /// It must be asked.
    Unknown,
    /// So it was, by the newest answer.
    Known(Option<Entry>),
}

/// How the pursuit of a wish ended.
#[derive(Debug)]
enum Ended {
    /// The owner dropped its end: the lease is left to run out.
    Abandoned,
    /// The key is gone, as wanted.
    Absent,
    /// The key is gone, as etcd has no room for what was wanted.
    NoSpace,
    /// A newer claimant has it.
    Deposed(String),
    /// etcd refuses to take it away.
    Refused(Arc<str>),
}

/// How an attempt begins.
#[derive(Debug)]
enum Entered {
    /// The key is as intended, under a lease that is renewed.
    Kept(Box<Keepalive>),
    /// There is nothing more to do.
    Ended(Ended),
}

struct Tenant {
    cluster: Cluster,
    key: Vec<u8>,
    ttl: Duration,
    intents: watch::Receiver<Intent>,
    tenures: watch::Sender<Tenure>,
    beats: watch::Sender<()>,
    /// How long etcd keeps a lease of this key that nobody renews.
    granted: watch::Sender<Duration>,
    claim: Claim,
    lease: Option<Lease>,
    /// Whether something may stand under the key by this process: written, and not known to be refused or gone.
    may_stand: bool,
    /// One that lasted until etcd had not been heard for too long. Whether etcd has ended it too is not known: it counts
    /// no time while it does not run, and anew when its leader changes.
    unheard: Option<Lease>,
    seen: Seen,
    /// The revision at which the key was last taken away from here.
    deleted: Option<i64>,
    /// Whether etcd had no room for what was to be written last.
    no_space: bool,
    /// What went wrong last, since it worked.
    failing: Option<String>,
}

impl Tenant {
    async fn run(mut self) -> Left {
        loop {
            let wanted = !self.intents.borrow_and_update().is_absent();
            if wanted {
                match self.pursue().await {
                    Ended::Absent => self.report(Tenure::Absent),
                    Ended::NoSpace => {
                        let deleted = self.deleted;
                        self.report(Tenure::NoSpace { deleted });
                        // Whatever is wanted next; the same again only after a while.
                        if let Ok(Err(_)) = timeout(NO_SPACE_PAUSE, self.intents.changed()).await {
                            return Left::Gone(self.deleted);
                        }
                    }
                    Ended::Abandoned => return Left::Gone(None),
                    Ended::Deposed(by) => {
                        self.report(Tenure::Deposed { by: by.into() });
                        return Left::Gone(None);
                    }
                    Ended::Refused(why) => return Left::Refused(why),
                }
            } else if self.intents.changed().await.is_err() {
                return Left::Gone(self.deleted);
            }
        }
    }

    /// From the first wish for a value until the key is gone again.
    async fn pursue(&mut self) -> Ended {
        let mut watcher = Watcher::new(self.cluster.clone(), Range::Key(self.key.clone()));
        let mut pace = self.cluster.pace();
        self.seen = Seen::Unknown;
        self.report_pending(None);
        // Refusals of a token since the owner has let go: with a new one, another member may do it.
        let mut refusals = 0;
        loop {
            if self.has_nothing_to_take_away() {
                return Ended::Absent;
            }
            let error = match self.attempt(&mut watcher).await {
                Ok(ended) => return ended,
                Err(error) => error,
            };
            self.beats.send_replace(());
            self.seen = Seen::Unknown;
            if self.failing.is_none() {
                // It worked until now.
                pace.reset();
            }
            if error.is_lease_not_found() {
                self.lost("etcd no longer knows the lease");
            }
            self.note_failure(&error);
            if self.is_let_go() && error.is_refusal() {
                refusals += 1;
                if !error.wants_a_new_login() || refusals > self.cluster.members() {
                    return Ended::Refused(error.to_string().into());
                }
            }
            self.pause(pace.after_failure()).await;
        }
    }

    /// Connects, makes the key right and keeps it so, until something fails.
    async fn attempt(&mut self, watcher: &mut Watcher) -> Result<Ended, Error> {
        // What is to go is taken away however long that takes.
        let lease = self.lease.filter(|_| !self.wants_nothing());
        let deadline = lease.map(|lease| lease.until);
        let connecting = async {
            let mut connection = self.cluster.connection().await?;
            let settled = self.enter(&mut connection).await;
            settled
                .inspect_err(|error| self.cluster.failed(&connection, error))
                .map(|entered| (connection, entered))
        };
        let entered = match deadline {
            Some(deadline) => timeout_at(deadline, connecting).await,
            None => Ok(connecting.await),
        };
        let Ok(entered) = entered else {
            return Err(self.expired());
        };
        let (mut connection, mut keepalive) = match entered? {
            (_, Entered::Ended(ended)) => return Ok(ended),
            (connection, Entered::Kept(keepalive)) => (connection, *keepalive),
        };
        self.unheard = None;
        self.note_success();
        let kept = self.keep(&mut connection, &mut keepalive, watcher).await;
        kept.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    /// Has a living lease and a right key at the end, or an end of the pursuit.
    async fn enter(&mut self, connection: &mut Connection) -> Result<Entered, Error> {
        // What is to go is not renewed: where etcd refuses to take it away, it ends with its lease.
        if self.wants_nothing()
            && let Some(lease) = self.lease.or(self.unheard)
            && let Some(ended) = self.settle(connection, lease.id).await?
        {
            return Ok(Entered::Ended(ended));
        }
        let lease = match self.lease {
            Some(lease) => lease,
            None => self.grant(connection).await?,
        };
        let keepalive = self.renew(connection, lease).await?;
        let ended = self.settle(connection, lease.id).await?;
        Ok(ended.map_or_else(|| Entered::Kept(Box::new(keepalive)), Entered::Ended))
    }

    /// Renews the lease from now on.
    async fn renew(
        &mut self,
        connection: &mut Connection,
        lease: Lease,
    ) -> Result<Keepalive, Error> {
        // As often as was asked for, also where etcd grants more: whoever waits for a sign of life reckons with that.
        let ttl = lease.ttl.min(self.ttl);
        let renewed = calls::renew(&self.cluster, connection, &self.key, lease.id, ttl).await?;
        let (keepalive, until);
        ((keepalive, until), *connection) = renewed;
        self.lease = Some(Lease { until, ..lease });
        Ok(keepalive)
    }

    async fn keep(
        &mut self,
        connection: &mut Connection,
        keepalive: &mut Keepalive,
        watcher: &mut Watcher,
    ) -> Result<Ended, Error> {
        loop {
            tokio::select! {
                until = keepalive.next() => {
                    let until = until?;
                    self.beats.send_replace(());
                    if let Some(lease) = &mut self.lease {
                        lease.until = until;
                    }
                    continue;
                }
                update = watcher.next() => {
                    if !self.saw(update) {
                        continue;
                    }
                }
                changed = self.intents.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Abandoned);
                    }
                }
            }
            if let Some(ended) = self.settle(connection, keepalive.lease()).await? {
                return Ok(ended);
            }
            if let (false, Some(lease)) = (keepalive.is_over(connection), self.lease) {
                // Another member answered in place of this one.
                *keepalive = self.renew(connection, lease).await?;
            }
        }
    }

    async fn grant(&mut self, connection: &mut Connection) -> Result<Lease, Error> {
        let asked_at = Instant::now();
        let (id, ttl);
        ((id, ttl), *connection) = calls::grant(&self.cluster, connection, self.ttl).await?;
        let lease = Lease {
            id,
            ttl,
            until: asked_at + ttl,
        };
        self.note_granted(ttl);
        self.claim.leased(lease.id);
        self.lease = Some(lease);
        Ok(lease)
    }

    /// Does what is needed until the key is as intended.
    async fn settle(
        &mut self,
        connection: &mut Connection,
        lease: i64,
    ) -> Result<Option<Ended>, Error> {
        loop {
            let seen = self.look(connection).await?;
            let intent = self.intents.borrow_and_update().clone();
            let or_absent = matches!(intent, Intent::PresentOrAbsent(_));
            let value = match intent {
                Intent::Present(value) | Intent::PresentOrAbsent(value) => value,
                Intent::Absent { goodbye } => {
                    match self.say_goodbye(connection, lease, seen, goodbye).await? {
                        Some(ended) => return Ok(Some(ended)),
                        None => continue,
                    }
                }
            };
            match self.claim.decide(seen.as_ref(), &value, lease) {
                Move::Done { revision } => {
                    self.report(Tenure::Held { revision, value });
                    return Ok(None);
                }
                Move::Yield { to } => return Ok(Some(Ended::Deposed(to))),
                Move::Write {
                    unless_changed_since,
                } => {
                    self.note_healing(seen.as_ref(), &value);
                    let written = self
                        .write(connection, lease, unless_changed_since, seen, &value)
                        .await;
                    match written {
                        Err(error) if or_absent && error.is_out_of_space() => {
                            self.note_no_space(&error);
                            self.revoke(connection, lease).await?;
                            return Ok(Some(Ended::NoSpace));
                        }
                        written => written?,
                    }
                }
            }
        }
    }

    /// Takes the key away. `None` when the key turned out to have changed meanwhile.
    async fn say_goodbye(
        &mut self,
        connection: &mut Connection,
        lease: i64,
        seen: Option<Entry>,
        goodbye: Option<Arc<[u8]>>,
    ) -> Result<Option<Ended>, Error> {
        if let Some(by) = seen.as_ref().and_then(|entry| self.claim.successor(entry)) {
            return Ok(Some(Ended::Deposed(by)));
        }
        let ours = seen.filter(|entry| self.claim.is_ours(entry));
        if let (Some(entry), Some(goodbye)) = (ours, goodbye)
            && *entry.value != *goodbye
        {
            let unless_changed_since = entry.mod_revision;
            let written = self
                .write(
                    connection,
                    lease,
                    unless_changed_since,
                    Some(entry),
                    &goodbye,
                )
                .await;
            match written {
                // What cannot say goodbye goes without.
                Err(error) if error.is_out_of_space() => self.note_no_space(&error),
                written => return written.map(|()| None),
            }
        }
        self.revoke(connection, lease).await?;
        Ok(Some(Ended::Absent))
    }

    /// Deletes the key together with its lease: only what still hangs on this process's own lease goes.
    async fn revoke(&mut self, connection: &mut Connection, lease: i64) -> Result<(), Error> {
        let deleted;
        (deleted, *connection) = calls::revoke(&self.cluster, connection, &self.key, lease).await?;
        self.deleted = deleted;
        self.may_stand = false;
        self.lease = None;
        self.unheard = None;
        self.seen = Seen::Unknown;
        Ok(())
    }

    /// What stands under the key: as seen last, or asked now.
    async fn look(&mut self, connection: &mut Connection) -> Result<Option<Entry>, Error> {
        if let Seen::Known(entry) = &self.seen {
            return Ok(entry.clone());
        }
        let entry;
        (entry, *connection) = calls::get(&self.cluster, connection, &self.key).await?;
        self.seen = Seen::Known(entry.clone());
        Ok(entry)
    }

    /// Writes `value` if the key was not changed since; either way what stands there is seen then.
    async fn write(
        &mut self,
        connection: &mut Connection,
        lease: i64,
        unless_changed_since: i64,
        seen: Option<Entry>,
        value: &Arc<[u8]>,
    ) -> Result<(), Error> {
        self.claim.attempting(seen.as_ref());
        // Until the answer is here, nobody knows.
        self.seen = Seen::Unknown;
        let stood = std::mem::replace(&mut self.may_stand, true);
        let put = calls::put(
            &self.cluster,
            connection,
            &self.key,
            value,
            lease,
            unless_changed_since,
        );
        let written;
        (written, *connection) = put.await.inspect_err(|error| {
            if error.is_refusal() {
                self.may_stand = stood;
            }
        })?;
        self.no_space = false;
        self.seen = Seen::Known(match written {
            Written::Yes(entry) => Some(entry),
            Written::Instead(entry) => entry,
        });
        Ok(())
    }

    /// Takes in what the watch tells; says whether it is news.
    fn saw(&mut self, update: Update) -> bool {
        let entry = match update {
            Update::Listed { entries, .. } => entries.into_iter().next(),
            Update::Changed { changes, .. } => {
                let Some(newest) = changes.into_iter().max_by_key(Change::revision) else {
                    return false;
                };
                if matches!(&self.seen, Seen::Known(Some(entry)) if newest.revision() <= entry.mod_revision)
                {
                    return false;
                }
                match newest {
                    Change::Put(entry) => Some(entry),
                    Change::Deleted { .. } => None,
                }
            }
        };
        if matches!(&self.seen, Seen::Known(seen) if *seen == entry) {
            return false;
        }
        self.seen = Seen::Known(entry);
        true
    }

    /// Sleeps, but not beyond the end of the lease, and no longer when the owner wants something else: on its way out it
    /// has no time for long pauses.
    async fn pause(&mut self, delay: Duration) {
        if self.has_nothing_to_take_away() {
            return;
        }
        let mut until = Instant::now() + delay;
        if let Some(lease) = self.lease.filter(|_| !self.wants_nothing()) {
            until = until.min(lease.until);
        }
        // A holder that was dropped wants nothing either, but only a word of it ends the wait early.
        if let Ok(Ok(())) = timeout_at(until, self.intents.changed()).await {
            return;
        }
        sleep_until(until).await;
    }

    /// Whether the owner wants nothing and nothing can be left: then no further attempt is needed.
    fn has_nothing_to_take_away(&self) -> bool {
        self.wants_nothing() && (!self.may_stand || self.lease.or(self.unheard).is_none())
    }

    /// Whether the owner wants nothing, and nothing else ever again.
    fn is_let_go(&self) -> bool {
        self.wants_nothing() && self.intents.has_changed().is_err()
    }

    fn wants_nothing(&self) -> bool {
        self.intents.borrow().is_absent()
    }
}
