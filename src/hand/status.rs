//! How the pushers do.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Place;
use super::follow;
use super::roster::{Line, Revisions, Roster};
use crate::printable::printable;
use crate::record::{Presence, Quarantined, Reason, ServiceName};
use crate::registry::Error;
use crate::registry::oneshot::list;
use crate::registry::watch::{Entry, Range};

/// How it all stands.
#[derive(Debug)]
pub struct Status {
    /// The live pushers, by name.
    pub pushers: Vec<Pusher>,
    /// The records, splits and holds that cannot be read, by key.
    pub quarantined: Vec<Quarantined>,
}

/// One live pusher.
#[derive(Debug)]
pub struct Pusher {
    /// Its name, printable.
    pub id: String,
    /// What it tells about itself, or why that cannot be read.
    pub presence: Result<Presence, Reason>,
    /// The same as it stands in etcd, with the fields that are not known here.
    pub raw: Map<String, Value>,
    /// How far it is behind, for each service that it routes.
    pub lags: BTreeMap<ServiceName, Lag>,
}

impl Pusher {
    /// Whether this would be its concern, could it be read.
    #[must_use]
    pub fn sets_aside(&self, quarantined: &Quarantined) -> bool {
        let service = quarantined.service.as_ref();
        service.is_none_or(|service| self.lags.contains_key(service))
    }
}

/// How far a pusher is behind etcd with one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Which revision of the records it has applied; 0 for none.
    pub applied: i64,
    /// What there is to apply.
    pub newest: i64,
    /// How many records, splits and holds have changed since.
    pub changes: usize,
    /// When the first of these changes happened, where that can be known.
    pub since: Option<Timestamp>,
}

impl Lag {
    /// Whether everything is applied.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.applied >= self.newest && self.applied > 0 && self.changes == 0
    }
}

/// Reads how every live pusher does, and what none can read.
///
/// # Errors
///
/// When no member answers.
pub async fn status(place: &Place) -> Result<Status, Error> {
    // The presences first: whatever they have not applied of what is read after them is behind by that moment only.
    let range = Range::Prefix(place.meta.pushers_range().into_bytes());
    let (revision, entries) = list(&place.cluster, place.patience, &range).await?;
    let roster = follow::read(place, None).await?;
    let pusher = |entry: &Entry| pusher(place, &roster, revision, entry);
    let quarantined = roster.lines().filter_map(|line| match line {
        Line::Unreadable(quarantined) => Some(quarantined),
        Line::Record { .. } | Line::Split { .. } | Line::Hold(_) => None,
    });
    Ok(Status {
        pushers: entries.iter().map(pusher).collect(),
        quarantined: quarantined.collect(),
    })
}

fn pusher(place: &Place, roster: &Roster, revision: i64, entry: &Entry) -> Pusher {
    let presence = Presence::decode(&entry.value);
    let services = presence.iter().flat_map(|presence| &presence.services);
    let lags = services.map(|(service, status)| {
        // A revision that etcd has not reached comes from before a restore, and counts as nothing.
        let reached = |applied: i64| if applied > revision { 0 } else { applied };
        let revisions = Revisions {
            records: reached(status.applied),
            choices: reached(status.overrides),
        };
        let (changes, since) = roster.since(service, revisions);
        let newest = roster.newest(service).records;
        let applied = revisions.records;
        let lag = Lag {
            applied,
            newest,
            changes,
            since,
        };
        (service.clone(), lag)
    });
    let range = place.meta.pushers_range();
    let name = entry.key.strip_prefix(range.as_bytes());
    Pusher {
        id: printable(name.unwrap_or(&entry.key), 253),
        raw: serde_json::from_slice(&entry.value).unwrap_or_default(),
        lags: lags.collect(),
        presence,
    }
}
