//! A record without an announcer: one write.

use std::time::Duration;

use super::keeper::Keeper;
use super::{Place, now};
use crate::record::{Format, InstanceId, Nonce, Record, State, decode};
use crate::registry::Error;
use crate::registry::client::Connection;
use crate::registry::oneshot::{self, Lease, patiently};
use crate::registry::ttl::whole_seconds;
use crate::registry::watch::Entry;

/// What is to be registered.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which instance of which service.
    pub id: InstanceId,
    /// The record; nonce and since are filled in here.
    pub record: Record,
    /// How it is written.
    pub format: Format,
    /// How long it lasts unless it is registered again; for ever when absent.
    pub ttl: Option<Duration>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was written.
    Written {
        /// The revision of the write.
        revision: i64,
        /// Who kept another record there and gives up now, if it still lives. In words.
        deposed: Option<String>,
    },
    /// It stood there already, and will stay.
    Unchanged,
    /// It stood there already, and lasts for the whole time again.
    Renewed,
    /// Somebody keeps a record there who would write it back at once.
    Refused {
        /// Who, in words.
        by: String,
    },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Write,
    Keep,
    Renew(i64),
    Refuse(String),
}

/// Writes the record, unless it stands there already.
///
/// The newest claimant wins: whoever kept another record there is deposed.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn register(place: &Place, mut wanted: Wanted) -> Result<Outcome, Error> {
    wanted.record.nonce = Some(Nonce::fresh());
    wanted.record.since = Some(now());
    let key = place.prefix.key(&wanted.id);
    // Found by the first look: a write whose answer was lost shows as our own at the next one.
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
    /// What is to be done where `seen` stands, which says `known`.
    fn step(&self, seen: Option<&Entry>, known: Option<&Record>) -> Step {
        let Some(entry) = seen else {
            return Step::Write;
        };
        let keeper = Keeper::of(entry);
        let same = known.is_some_and(|known| self.says(entry, known));
        match (self.ttl, self.format, keeper) {
            // It has no room to say that somebody newer wrote it.
            (None, Format::Plain, Some(keeper)) => Step::Refuse(keeper.name),
            (None, _, None) if same && entry.lease == 0 => Step::Keep,
            (Some(_), _, None) if same && entry.lease != 0 => Step::Renew(entry.lease),
            _ => Step::Write,
        }
    }

    /// Whether the entry, which says `known`, is written and says the same as the record that is wanted.
    fn says(&self, entry: &Entry, known: &Record) -> bool {
        if self.format == Format::Plain {
            // It has no room for anything else, a version included.
            return entry.value == self.record.encode(Format::Plain);
        }
        let mut known = known.clone();
        known.nonce.clone_from(&self.record.nonce);
        known.since = self.record.since;
        known.extra.clear();
        entry.value.trim_ascii().starts_with(b"{") && known == self.record
    }

    /// Renews the lease that the record hangs on; `false` when it is of another length, or gone.
    async fn renew(&self, connection: &Connection, lease: i64) -> Result<bool, Error> {
        let left = oneshot::time_left(connection, lease).await?;
        let wanted = self.ttl.map(whole_seconds);
        let granted = left.map(|left| left.granted.as_secs());
        Ok(wanted == granted && oneshot::renew(connection, lease).await?)
    }

    /// Writes the record unless the key has changed since it was seen; the fields that are not known here stay.
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
mod tests {
    use super::*;

    const BY_HAND: i64 = 0x51de_ca00_0000_0007;

    fn wanted(address: &str, format: Format, ttl: Option<u64>) -> Wanted {
        let address: crate::record::Address = address.parse().unwrap();
        let mut record = Record::from(address);
        record.nonce = Some("us".parse().unwrap());
        Wanted {
            id: "web/a".parse().unwrap(),
            record,
            format,
            ttl: ttl.map(Duration::from_secs),
        }
    }

    fn step(wanted: &Wanted, value: &str, lease: i64) -> Step {
        let entry = Entry {
            key: b"/services/web/a".to_vec(),
            value: value.as_bytes().to_vec(),
            mod_revision: 5,
            lease,
        };
        let known = decode(&crate::record::Prefix::default(), &entry.key, &entry.value);
        let known = known.ok().map(|(_, record)| record);
        wanted.step(Some(&entry), known.as_ref())
    }

    const V1: &str = r#"{"host":"10.0.0.5","port":80,"version":"v1","nonce":"x","since":"2026-01-02T03:04:05Z","rack":7}"#;

    #[test]
    fn the_same_record_is_not_written_again() {
        let permanent = wanted("10.0.0.5:80/v1", Format::Json, None);
        assert_eq!(step(&permanent, V1, 0), Step::Keep);
        let leased = wanted("10.0.0.5:80/v1", Format::Json, Some(60));
        assert_eq!(step(&leased, V1, BY_HAND), Step::Renew(BY_HAND));
        let plain = wanted("10.0.0.5:80", Format::Plain, None);
        assert_eq!(step(&plain, "10.0.0.5:80", 0), Step::Keep);
        let without_room = wanted("10.0.0.5:80/v1", Format::Plain, None);
        assert_eq!(step(&without_room, "10.0.0.5:80", 0), Step::Keep);
    }

    #[test]
    fn whatever_differs_is_written() {
        let permanent = wanted("10.0.0.5:80/v1", Format::Json, None);
        assert_eq!(permanent.step(None, None), Step::Write);
        assert_eq!(step(&permanent, &V1.replace("v1", "v2"), 0), Step::Write);
        assert_eq!(step(&permanent, "10.0.0.5:80", 0), Step::Write);
        assert_eq!(step(&permanent, "no record", 0), Step::Write);
        let draining = V1.replace("\"nonce\"", "\"state\":\"draining\",\"nonce\"");
        assert_eq!(step(&permanent, &draining, 0), Step::Write);
        // To last for ever, or not any more.
        assert_eq!(step(&permanent, V1, BY_HAND), Step::Write);
        let leased = wanted("10.0.0.5:80/v1", Format::Json, Some(60));
        assert_eq!(step(&leased, V1, 0), Step::Write);
    }

    #[test]
    fn a_process_that_keeps_the_record_is_deposed_where_that_can_be_said() {
        for ttl in [None, Some(60)] {
            let json = wanted("10.0.0.5:80/v1", Format::Json, ttl);
            assert_eq!(step(&json, V1, 7), Step::Write);
        }
        let leased = wanted("10.0.0.5:80", Format::Plain, Some(60));
        assert_eq!(step(&leased, V1, 7), Step::Write);
        let permanent = wanted("10.0.0.5:80", Format::Plain, None);
        assert!(matches!(step(&permanent, V1, 7), Step::Refuse(_)));
    }
}
