//! The value of the key: every write is a transaction on what was seen before it.

use std::sync::Arc;

use super::status::{LeaseStatus, Wanted};
use super::task::{Ended, Seen, Task};
use crate::etcd::Error;
use crate::etcd::calls;
use crate::etcd::calls::Written;
use crate::etcd::client::Connection;
use crate::etcd::ownership::Move;
use crate::etcd::watch::{Change, Entry, Update};

impl Task {
    /// Writes until the key is as wanted.
    pub(super) async fn make_so(
        &mut self,
        connection: &mut Connection,
        lease: i64,
    ) -> Result<Option<Ended>, Error> {
        loop {
            let seen = self.look(connection).await?;
            let wanted = self.wants.borrow_and_update().clone();
            let or_absent = matches!(wanted, Wanted::PresentOrAbsent(_));
            let value = match wanted {
                Wanted::Present(value) | Wanted::PresentOrAbsent(value) => value,
                Wanted::Absent { notice } => {
                    match self.withdraw(connection, lease, seen, notice).await? {
                        Some(ended) => return Ok(Some(ended)),
                        None => continue,
                    }
                }
            };
            match self.claim.decide(seen.as_ref(), &value, lease) {
                Move::Done { revision } => {
                    self.report(LeaseStatus::Held { revision, value });
                    return Ok(None);
                }
                Move::Yield { to } => {
                    self.check_lease(connection).await?;
                    return Ok(Some(Ended::Deposed(to)));
                }
                Move::Write {
                    unless_changed_since,
                } => {
                    self.note_healing(connection, seen.as_ref(), &value).await?;
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

    /// Fails where etcd does not know the lease any more, as when it was restored to an older state: then that is what happened, and
    /// not a takeover.
    async fn check_lease(&mut self, connection: &mut Connection) -> Result<(), Error> {
        if let (false, Some(lease)) = (self.claim.has_lost_lease(), self.lease) {
            self.renew(connection, lease).await?;
        }
        Ok(())
    }

    /// Tells that the key is not as it was left, and whose hand that was; or whose place this process takes.
    ///
    /// Fails where the key went with its lease: that has a line of its own.
    async fn note_healing(
        &mut self,
        connection: &mut Connection,
        seen: Option<&Entry>,
        value: &Arc<[u8]>,
    ) -> Result<(), Error> {
        if let Some(former) = self.claim.replaces(seen) {
            self.note_takeover(&former);
        }
        if self.statuses.borrow().revision_of(value).is_none() {
            return Ok(());
        }
        match seen {
            // An own write that was given up, and arrived all the same.
            Some(entry) if self.claim.is_ours(entry) => self.report_pending(None),
            None if std::mem::take(&mut self.may_go) => self.report_pending(None),
            Some(_) => self.note_strangers_hand("overwritten"),
            None => {
                self.check_lease(connection).await?;
                self.note_strangers_hand("deleted");
            }
        }
        Ok(())
    }

    /// Gives notice, then deletes the key. `None` when the key turned out to have changed meanwhile.
    async fn withdraw(
        &mut self,
        connection: &mut Connection,
        lease: i64,
        seen: Option<Entry>,
        notice: Option<Arc<[u8]>>,
    ) -> Result<Option<Ended>, Error> {
        if let Some(by) = seen.as_ref().and_then(|entry| self.claim.successor(entry)) {
            if seen.is_some_and(|entry| entry.lease != lease) {
                // It has no keys any more. If it cannot be revoked, it ends by itself.
                let _ = self.revoke(connection, lease).await;
            }
            return Ok(Some(Ended::Deposed(by)));
        }
        let is_there = seen.is_some();
        let ours = seen.filter(|entry| self.claim.is_ours(entry));
        let unless_changed_since = ours.as_ref().map(|entry| entry.mod_revision);
        if let (Some(entry), Some(notice)) = (ours, notice)
            && *entry.value != *notice
        {
            let since = entry.mod_revision;
            let written = self
                .write(connection, lease, since, Some(entry), &notice)
                .await;
            match written {
                // If the notice cannot be written, delete without it.
                Err(error) if error.is_out_of_space() => self.note_no_space(&error),
                written => return written.map(|()| None),
            }
        }
        let revoked = self.revoke(connection, lease).await;
        match (revoked, unless_changed_since) {
            // Before 3.5.30 anybody can tie a key of his own to this lease, which is then not ours alone to end.
            (Err(Error::Denied { .. }), Some(since)) => self.delete(connection, since).await,
            (Err(Error::Denied { .. }), None) if !is_there => {
                self.gone(None);
                Ok(Some(Ended::Absent))
            }
            (revoked, _) => revoked.map(|()| Some(Ended::Absent)),
        }
    }

    /// Deletes the key alone: its lease ends by itself. `None` when the key turned out to have changed meanwhile.
    async fn delete(
        &mut self,
        connection: &mut Connection,
        unless_changed_since: i64,
    ) -> Result<Option<Ended>, Error> {
        self.may_go = true;
        let sent = calls::delete(&self.cluster, connection, &self.key, unless_changed_since).await;
        self.may_go = sent.as_ref().is_err_and(|error| !error.is_refusal());
        let deleted;
        (deleted, *connection) = sent?;
        self.seen = Seen::Unknown;
        if deleted.is_none() {
            return Ok(None);
        }
        self.gone(deleted);
        Ok(Some(Ended::Absent))
    }

    /// Deletes the key together with its lease: only keys of this process's own lease go.
    async fn revoke(&mut self, connection: &mut Connection, lease: i64) -> Result<(), Error> {
        self.may_go = true;
        let sent = calls::revoke(&self.cluster, connection, &self.key, lease).await;
        // What etcd refuses never arrives.
        self.may_go = sent.as_ref().is_err_and(|error| !error.is_refusal());
        let deleted;
        (deleted, *connection) = sent?;
        self.gone(deleted);
        Ok(())
    }

    /// No key of this process is left since this revision.
    fn gone(&mut self, deleted: Option<i64>) {
        // A lease without a key took nothing along.
        let stood = std::mem::replace(&mut self.may_stand, false);
        self.deleted = deleted.filter(|_| stood);
        self.may_go = false;
        self.lease = None;
        self.unheard = None;
        self.seen = Seen::Unknown;
    }

    /// The entry of the key: as last seen, or read now.
    async fn look(&mut self, connection: &mut Connection) -> Result<Option<Entry>, Error> {
        if let Seen::Known(entry) = &self.seen {
            return Ok(entry.clone());
        }
        let entry;
        (entry, *connection) = calls::get(&self.cluster, connection, &self.key).await?;
        self.seen = Seen::Known(entry.clone());
        Ok(entry)
    }

    /// Writes `value` if the key was not changed since; either way the entry is known then.
    async fn write(
        &mut self,
        connection: &mut Connection,
        lease: i64,
        unless_changed_since: i64,
        seen: Option<Entry>,
        value: &Arc<[u8]>,
    ) -> Result<(), Error> {
        self.claim.attempting(seen.as_ref());
        // Unknown until the answer is here.
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

    /// Applies an update of the watch; `true` if it changed anything.
    pub(super) fn saw(&mut self, update: Update) -> bool {
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
}
