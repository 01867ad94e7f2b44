//! The task that keeps a key: it renews the lease, watches the key, and repairs both.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::handed::{Handed, Lease};
use super::status::{LeaseStatus, Wanted};
use crate::etcd::Error;
use crate::etcd::calls;
use crate::etcd::client::{Cluster, Connection};
use crate::etcd::keepalive::Keepalive;
use crate::etcd::ownership::Claim;
use crate::etcd::range::Range;
use crate::etcd::watch::{Entry, Watcher};
use crate::util::troubles::Troubles;

/// The pause before a write that etcd had no room for is tried again.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(5);

/// The least pause before the next attempt, while a lease is about to end.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// The entry of the key as far as this process has seen.
#[derive(Debug)]
pub(super) enum Seen {
    /// It must be read.
    Unknown,
    /// So it was, by the newest answer.
    Known(Option<Entry>),
}

/// Why the key is not kept any more.
#[derive(Debug)]
pub(super) enum Ended {
    /// The owner dropped its end: the lease is left to run out.
    Abandoned,
    /// The key is gone, as wanted.
    Absent,
    /// The key is gone, as etcd has no room for what was wanted.
    NoSpace,
    /// A newer claimant has it.
    Deposed(String),
    /// etcd refuses to delete it.
    Refused(Arc<str>),
}

/// How an attempt begins.
#[derive(Debug)]
enum Entered {
    /// The key is as wanted, under a lease that is renewed.
    Kept(Box<Keepalive>),
    /// There is nothing more to do.
    Ended(Ended),
}

/// How the task ended.
#[derive(Debug)]
pub(super) enum Left {
    /// No key of this process is left. With the revision of our last deletion, if known.
    Gone(Option<i64>),
    /// etcd refuses to delete it, in these words.
    Refused(Arc<str>),
    /// It stays as it is, for the next image of this process.
    HandedOver(Handed),
}

pub(super) struct Task {
    pub(super) cluster: Cluster,
    pub(super) key: Vec<u8>,
    pub(super) ttl: Duration,
    pub(super) wants: watch::Receiver<Wanted>,
    pub(super) statuses: watch::Sender<LeaseStatus>,
    pub(super) beats: watch::Sender<()>,
    /// How long etcd keeps a lease of this key that nobody renews.
    pub(super) granted: watch::Sender<Duration>,
    pub(super) claim: Claim,
    pub(super) lease: Option<Lease>,
    /// Whether etcd may have a value of this process: written, and not known to be refused or gone.
    pub(super) may_stand: bool,
    /// One that lasted until etcd had not been heard for too long. Whether etcd has ended it too is not known: it counts
    /// no time while it does not run, and anew when its leader changes.
    pub(super) unheard: Option<Lease>,
    pub(super) seen: Seen,
    /// The revision at which the key was last taken away from here.
    pub(super) deleted: Option<i64>,
    /// Whether a deletion of this process may yet arrive: it was sent, and no answer came.
    pub(super) may_go: bool,
    /// Whether etcd had no room for what was to be written last.
    pub(super) no_space: bool,
    /// Whether the last attempt made and kept the key as wanted, until it failed.
    pub(super) worked: bool,
    /// The troubles since it worked.
    pub(super) troubles: Troubles,
    /// Why the lease counts as gone, if it does since it worked.
    pub(super) gone: Option<&'static str>,
    /// What etcd refused last, if it has answered at all since.
    pub(super) refusal: Option<Error>,
    /// Whether an earlier image of this process kept the key, and etcd has not answered since.
    pub(super) is_resumed: bool,
}

impl Task {
    pub(super) async fn run(&mut self) -> Left {
        loop {
            let wanted = !self.wants.borrow_and_update().is_absent();
            // A key of an earlier image goes too if nothing is wanted.
            if wanted || self.may_stand {
                match self.keep_until_gone().await {
                    Ended::Absent => self.report(LeaseStatus::Absent),
                    Ended::NoSpace => {
                        let deleted = self.deleted;
                        self.report(LeaseStatus::NoSpace { deleted });
                        // Whatever is wanted next; the same again only after a while.
                        if let Ok(Err(_)) = timeout(NO_SPACE_PAUSE, self.wants.changed()).await {
                            return Left::Gone(self.deleted);
                        }
                    }
                    Ended::Abandoned => return Left::Gone(None),
                    Ended::Deposed(by) => {
                        self.report(LeaseStatus::Deposed { by: by.into() });
                        return Left::Gone(None);
                    }
                    Ended::Refused(why) => return Left::Refused(why),
                }
            } else if self.wants.changed().await.is_err() {
                return Left::Gone(self.deleted);
            }
        }
    }

    /// What the next image of this process needs to know.
    pub(super) fn handed(&self) -> Handed {
        let held = match &*self.statuses.borrow() {
            LeaseStatus::Held { revision, value } => Some((*revision, value.to_vec())),
            _ => None,
        };
        Handed {
            lease: self.lease.map(Into::into),
            leases: self.claim.leases().to_vec(),
            claimed: self.claim.is_settled(),
            confirmed: self.claim.confirmed(),
            lost: self.claim.has_lost_lease(),
            began: Some(self.claim.began()),
            held,
        }
    }

    /// From the first wish for a value until the key is gone again.
    async fn keep_until_gone(&mut self) -> Ended {
        let mut watcher = Watcher::new(self.cluster.clone(), Range::Key(self.key.clone()));
        let mut pace = self.cluster.pace();
        self.seen = Seen::Unknown;
        // A key of an earlier image counts as kept until etcd says otherwise.
        if !matches!(*self.statuses.borrow(), LeaseStatus::Held { .. }) {
            self.report_pending(None);
        }
        // Refused tokens since the owner dropped the keeper: with a new one, another member may do it.
        let mut refusals = 0;
        loop {
            if self.has_nothing_to_take_away() {
                // A key whose lease etcd does not know any more went with it.
                self.may_stand = false;
                return Ended::Absent;
            }
            let error = match self.attempt(&mut watcher).await {
                Ok(ended) => {
                    if matches!(ended, Ended::Absent | Ended::NoSpace) {
                        self.note_absent();
                    }
                    return ended;
                }
                Err(error) => error,
            };
            self.beats.send_replace(());
            self.seen = Seen::Unknown;
            if self.worked {
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
            self.refusal = error.is_refusal().then_some(error);
            self.pause(pace.after_failure()).await;
        }
    }

    /// Connects, makes the key right and keeps it so, until something fails.
    async fn attempt(&mut self, watcher: &mut Watcher) -> Result<Ended, Error> {
        // A key that should go is deleted however long that takes.
        let lease = self.lease.filter(|_| !self.wants_nothing());
        let deadline = lease.map(|lease| lease.until);
        let connecting = async {
            let mut connection = self.cluster.connection().await?;
            let entered = self.enter(&mut connection).await;
            entered
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
        let kept = self
            .watch_over(&mut connection, &mut keepalive, watcher)
            .await;
        kept.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    /// Ends with a live lease and the wanted key, or with the reason to keep it no longer.
    async fn enter(&mut self, connection: &mut Connection) -> Result<Entered, Error> {
        // The lease of a key that should go is not renewed: if etcd refuses the deletion, the key ends with its lease.
        if self.wants_nothing()
            && let Some(lease) = self.lease.or(self.unheard)
            && let Some(ended) = self.make_so(connection, lease.id).await?
        {
            return Ok(Entered::Ended(ended));
        }
        let lease = match self.lease {
            Some(lease) => lease,
            None => self.grant(connection).await?,
        };
        let keepalive = self.renew(connection, lease).await?;
        let ended = self.make_so(connection, lease.id).await?;
        Ok(ended.map_or_else(|| Entered::Kept(Box::new(keepalive)), Entered::Ended))
    }

    /// Renews the lease from now on.
    pub(super) async fn renew(
        &mut self,
        connection: &mut Connection,
        lease: Lease,
    ) -> Result<Keepalive, Error> {
        // As often as was asked for, also where etcd grants more: others watch for renewals at that pace.
        let ttl = lease.ttl.min(self.ttl);
        let renewed = calls::renew(&self.cluster, connection, &self.key, lease.id, ttl).await?;
        let (keepalive, until);
        ((keepalive, until), *connection) = renewed;
        self.lease = Some(Lease { until, ..lease });
        Ok(keepalive)
    }

    /// Renews the lease and repairs the key until something fails or nothing is wanted any more.
    async fn watch_over(
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
                changed = self.wants.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Abandoned);
                    }
                }
            }
            if let Some(ended) = self.make_so(connection, keepalive.lease()).await? {
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

    /// Sleeps, but leaves time to save the lease, and no longer when the owner wants something else: on its way out it
    /// has no time for long pauses.
    async fn pause(&mut self, delay: Duration) {
        if self.has_nothing_to_take_away() {
            return;
        }
        let mut until = Instant::now() + delay;
        if let Some(lease) = self.lease.filter(|_| !self.wants_nothing()) {
            let now = Instant::now();
            // Half of what is left of it: more than one attempt saves it yet.
            let left = lease.until.saturating_duration_since(now);
            until = until
                .min(now + (left / 2).max(LEAST_PAUSE))
                .min(lease.until);
        }
        // A dropped keeper wants nothing either, but only a message from it ends the wait early.
        if let Ok(Ok(())) = timeout_at(until, self.wants.changed()).await {
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
        self.wants_nothing() && self.wants.has_changed().is_err()
    }

    pub(super) fn wants_nothing(&self) -> bool {
        self.wants.borrow().is_absent()
    }
}
