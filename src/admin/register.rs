//! Writes a record once, without an announcer.

use std::time::Duration;

use super::Place;
use super::announcer::Keeper;
use crate::etcd::Error;
use crate::etcd::client::Connection;
use crate::etcd::oneshot;
use crate::etcd::oneshot::{Lease, patiently};
use crate::etcd::watch::Entry;
use crate::model::{Format, InstanceId, Nonce, Record, State, decode};
use crate::util::clock;
use crate::util::duration::whole_seconds;

/// The record to register.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Service and instance.
    pub id: InstanceId,
    /// The record; nonce and since are set here.
    pub record: Record,
    /// The record's format.
    pub format: Format,
    /// How long it lasts unless it is registered again; by default, for ever.
    pub ttl: Option<Duration>,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was written.
    Written {
        /// The revision of the write.
        revision: i64,
        /// The former owner of the record; it exits if it is still running.
        deposed: Option<String>,
    },
    /// It existed already, and stays.
    Unchanged,
    /// It existed already, and its time starts again.
    Renewed,
    /// A process keeps a record there and would write it back at once.
    Refused {
        /// A description of the process.
        by: String,
    },
}

/// What to write.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Write,
    Keep,
    Renew(i64),
    Refuse(String),
}

/// Writes the record, unless it exists already.
///
/// The newest claimant wins: it deposes the owner of another record there.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn register(place: &Place, mut wanted: Wanted) -> Result<Outcome, Error> {
    wanted.record.nonce = Some(Nonce::fresh());
    wanted.record.since = Some(clock::seconds());
    let key = place.prefix.key(&wanted.id);
    // The owner from the first look: a write whose answer was lost looks like our own record at the next one.
    let mut deposed = None;
    patiently(&place.cluster, place.patience, async |connection| {
        loop {
            let seen = oneshot::get_to_write(connection, &key).await?;
            let known = seen.as_ref().and_then(|entry| read(place, entry));
            let own = known
                .as_ref()
                .is_some_and(|record| record.nonce == wanted.record.nonce);
            if let (true, Some(entry)) = (own && wanted.format == Format::Json, &seen) {
                let (revision, deposed) = (entry.mod_revision, deposed.take());
                return Ok(Outcome::Written { revision, deposed });
            }
            match wanted.step(seen.as_ref(), known.as_ref()) {
                Step::Keep => return Ok(Outcome::Unchanged),
                Step::Refuse(by) => return Ok(Outcome::Refused { by }),
                Step::Renew(lease) => {
                    if wanted.renew(connection, lease).await? {
                        return Ok(Outcome::Renewed);
                    }
                }
                Step::Write => {}
            }
            deposed = seen.as_ref().and_then(Keeper::of).map(|keeper| keeper.name);
            let written = wanted.write(connection, &key, seen.as_ref(), known).await?;
            if let Some(revision) = written {
                let deposed = deposed.take();
                return Ok(Outcome::Written { revision, deposed });
            }
        }
    })
    .await
}

fn read(place: &Place, entry: &Entry) -> Option<Record> {
    let read = decode(&place.prefix, &entry.key, &entry.value);
    read.ok().map(|(_, record)| record)
}

impl Wanted {
    /// What to do if etcd has `seen`, whose value is `known`.
    fn step(&self, seen: Option<&Entry>, known: Option<&Record>) -> Step {
        let Some(entry) = seen else {
            return Step::Write;
        };
        let keeper = Keeper::of(entry);
        let same = known.is_some_and(|known| self.says(entry, known));
        match (self.ttl, self.format, keeper) {
            // Plain records have no nonce.
            (None, Format::Plain, Some(keeper)) => Step::Refuse(keeper.name),
            (None, _, None) if same && entry.lease == 0 => Step::Keep,
            (Some(_), _, None) if same && entry.lease != 0 => Step::Renew(entry.lease),
            _ => Step::Write,
        }
    }

    /// Whether the entry, with the record `known`, equals the desired record.
    fn says(&self, entry: &Entry, known: &Record) -> bool {
        if self.format == Format::Plain {
            // It contains nothing else, not even a version.
            return entry.value == self.record.encode(Format::Plain);
        }
        let mut known = known.clone();
        known.nonce.clone_from(&self.record.nonce);
        known.since = self.record.since;
        known.extra.clear();
        entry.value.trim_ascii().starts_with(b"{") && known == self.record
    }

    /// Renews the record's lease; `false` if it has another length or is gone.
    async fn renew(&self, connection: &Connection, lease: i64) -> Result<bool, Error> {
        let left = oneshot::time_left(connection, lease).await?;
        let wanted = self.ttl.map(whole_seconds);
        let granted = left.map(|left| left.granted.as_secs());
        Ok(wanted == granted && oneshot::renew(connection, lease).await?)
    }

    /// Writes the record unless the key has changed since it was read; unknown fields stay.
    async fn write(
        &self,
        connection: &Connection,
        key: &str,
        seen: Option<&Entry>,
        known: Option<Record>,
    ) -> Result<Option<i64>, Error> {
        let lease = match self.ttl {
            Some(ttl) => Lease::Id(oneshot::grant(connection, ttl).await?),
            None => Lease::None,
        };
        let record = Record {
            state: State::Up,
            reason: None,
            extra: known.map(|known| known.extra).unwrap_or_default(),
            ..self.record.clone()
        };
        let value = record.encode(self.format);
        let since = seen.map_or(0, |entry| entry.mod_revision);
        oneshot::put(connection, key, &value, lease, since).await
    }
}

#[cfg(test)]
mod tests;
