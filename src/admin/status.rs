//! How the pushers do, and which load balancers are without one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Place;
use super::deletions::deletions;
use super::follow;
use super::overview::{Line, Overview, Revisions};
use crate::etcd::Error;
use crate::etcd::oneshot::{is_out_of_space, list, patiently};
use crate::etcd::range::Range;
use crate::etcd::watch::Entry;
use crate::model::{
    Balancer, PusherId, PusherStatus, Quarantined, Reason, ServiceName, ServiceStatus,
};
use crate::util::sanitize::printable;

/// How it all stands.
#[derive(Debug)]
pub struct Status {
    /// The live pushers, by name.
    pub pushers: Vec<Pusher>,
    /// The load balancers without a live pusher, by its name: they go on routing as they were told last.
    pub silent: Vec<(PusherId, Silent)>,
    /// Load balancers that several live pushers feed from different prefixes.
    pub conflicts: Vec<Conflict>,
    /// Keys of pushers that are ignored, and why: without a lease no pusher keeps them.
    pub ignored: Vec<(String, String)>,
    /// The records, splits and holds that cannot be read, by key.
    pub quarantined: Vec<Quarantined>,
    /// etcd has no room and rejects writes, so statuses may be stale. `false` where this user may not read the alarm.
    pub out_of_space: bool,
}

/// One live pusher.
#[derive(Debug)]
pub struct Pusher {
    /// Its name, printable.
    pub id: String,
    /// What it tells about itself, or why that cannot be read.
    pub status_record: Result<PusherStatus, Reason>,
    /// The same as it stands in etcd, with the fields that are not known here.
    pub raw: Map<String, Value>,
    /// How far it is behind, for each service that it routes.
    pub lags: BTreeMap<ServiceName, Lag>,
}

impl Pusher {
    /// Whether this pusher would route it if it could be read.
    #[must_use]
    pub fn quarantines(&self, quarantined: &Quarantined) -> bool {
        let service = quarantined.service.as_ref();
        service.is_none_or(|service| self.lags.contains_key(service))
    }
}

/// A load balancer whose pusher is silent.
#[derive(Debug)]
pub struct Silent {
    /// What it routes, and where.
    pub balancer: Balancer,
    /// The live pushers that feed all of its targets in its place; where there are none, it may send requests anywhere.
    pub fed_by: Vec<String>,
}

/// Two live pushers that undo each other's changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The load balancer that both feed.
    pub target: String,
    /// Each with the prefix that it follows.
    pub pushers: Vec<(String, String)>,
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

/// Reads how every live pusher does, which load balancers have none, and what none can read.
///
/// # Errors
///
/// When no member answers.
pub async fn status(place: &Place) -> Result<Status, Error> {
    // The status records first: whatever they have not applied of what is read after them is behind by that moment only.
    let range = |prefix: String| Range::Prefix(prefix.into_bytes());
    let pushers = range(place.meta.pushers_range());
    let (revision, entries) = list(&place.cluster, place.patience, &pushers).await?;
    let balancers = range(place.meta.balancers_range());
    let (_, balancers) = list(&place.cluster, place.patience, &balancers).await?;
    let mut ignored = Vec::new();
    let mut ignore = |entry: &Entry, why: String| {
        ignored.push((printable(&entry.key, 300), why));
    };
    let mut live = Vec::new();
    for entry in &entries {
        if entry.lease == 0 {
            ignore(entry, UNLEASED.to_owned());
        } else if place.meta.pusher(&entry.key).is_none() {
            ignore(entry, NAMELESS.to_owned());
        } else {
            live.push((entry, PusherStatus::decode(&entry.value)));
        }
    }
    let readable = live.iter().filter_map(|(_, status)| status.as_ref().ok());
    let least = Least::of(readable, revision);
    let (overview, deleted) =
        tokio::join!(follow::read(place, None), deletions(place, least.of_all()));
    let mut overview = overview?;
    for (kind, keys) in deleted {
        overview.note_deleted(kind, keys);
    }
    let live = live.into_iter();
    let live = live.map(|(entry, status)| pusher(place, &overview, &least, entry, status));
    let live: Vec<_> = live.collect();
    let quarantined = overview.lines().filter_map(|line| match line {
        Line::Quarantined(quarantined) => Some(quarantined),
        Line::Record { .. } | Line::Split { .. } | Line::Hold(_) => None,
    });
    let mut read = BTreeMap::new();
    for entry in &balancers {
        match (
            place.meta.balancer(&entry.key),
            Balancer::decode(&entry.value),
        ) {
            _ if entry.lease == 0 => ignore(entry, UNLEASED.to_owned()),
            (Some(id), Ok(balancer)) => {
                read.insert(id, balancer);
            }
            (_, Err(reason)) => ignore(entry, reason.to_string()),
            (None, Ok(_)) => ignore(entry, NAMELESS.to_owned()),
        }
    }
    let alarm = patiently(&place.cluster, place.patience, async |connection| {
        is_out_of_space(connection).await
    });
    let out_of_space = alarm.await.unwrap_or_else(|error| {
        tracing::debug!(%error, "etcd does not tell whether it has room");
        false
    });
    Ok(Status {
        out_of_space,
        conflicts: conflicts(&live, &read),
        silent: silent(&live, read),
        pushers: live,
        ignored,
        quarantined: quarantined.collect(),
    })
}

const UNLEASED: &str = "it has no lease, so no pusher keeps it";
const NAMELESS: &str = "its name is no pusher's";

/// Those without a live pusher of the same name.
fn silent(live: &[Pusher], all: BTreeMap<PusherId, Balancer>) -> Vec<(PusherId, Silent)> {
    let lives = |id: &PusherId| live.iter().any(|pusher| pusher.id == id.as_str());
    let (alive, silent): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.into_iter().partition(|(id, _)| lives(id));
    let fed_by = |balancer: &Balancer| {
        let mut others = BTreeSet::new();
        for service in &balancer.services {
            for fed in balancer.feeds(service)? {
                let feeds = |it: &Balancer| {
                    let same = it.prefix == balancer.prefix && it.services.contains(service);
                    same && it.feeds(service).is_some_and(|all| all.contains(&fed))
                };
                let (id, _) = alive.iter().find(|(_, it)| feeds(it))?;
                others.insert(id.to_string());
            }
        }
        Some(others.into_iter().collect())
    };
    let silent = silent.into_iter().map(|(id, balancer)| {
        let fed_by = fed_by(&balancer).unwrap_or_default();
        (id, Silent { balancer, fed_by })
    });
    silent.collect()
}

/// The targets that live pushers feed from different prefixes, for a service of the same name.
fn conflicts(live: &[Pusher], all: &BTreeMap<PusherId, Balancer>) -> Vec<Conflict> {
    let lives = |id: &PusherId| live.iter().any(|pusher| pusher.id == id.as_str());
    let alive: Vec<_> = all.iter().filter(|(id, _)| lives(id)).collect();
    let mut by_target = BTreeMap::<_, Vec<_>>::new();
    for (id, balancer) in &alive {
        for target in &balancer.targets {
            by_target.entry(target).or_default().push((id, balancer));
        }
    }
    let disagree = |pushers: &Vec<(&&PusherId, &&Balancer)>| {
        pushers.iter().any(|(_, one)| {
            let mut others = pushers.iter();
            others.any(|(_, other)| {
                one.prefix != other.prefix && !one.services.is_disjoint(&other.services)
            })
        })
    };
    let conflicts = by_target.into_iter().filter(|(_, it)| disagree(it));
    let conflicts = conflicts.map(|(target, pushers)| Conflict {
        target: target.clone(),
        pushers: (pushers.iter())
            .map(|(id, balancer)| (id.to_string(), balancer.prefix.to_string()))
            .collect(),
    });
    conflicts.collect()
}

/// The least that any pusher has applied of each service; who has applied nothing does not count.
struct Least {
    services: BTreeMap<ServiceName, Revisions>,
    /// What etcd has reached.
    reached: i64,
}

impl Least {
    fn of<'a>(pushers: impl Iterator<Item = &'a PusherStatus>, reached: i64) -> Self {
        let mut least = Self {
            services: BTreeMap::new(),
            reached,
        };
        let services = pushers.flat_map(|pusher| &pusher.services);
        for (service, status) in services.filter(|(_, status)| !status.idle) {
            let applied = least.applied(status);
            let known = least.services.entry(service.clone()).or_default();
            *known = lesser(*known, applied);
        }
        least
    }

    /// The same of all services.
    fn of_all(&self) -> Revisions {
        let all = self.services.values().copied();
        all.fold(Revisions::default(), lesser)
    }

    /// What a pusher has applied. A revision that etcd has not reached comes from before a restore, and counts as nothing.
    fn applied(&self, status: &ServiceStatus) -> Revisions {
        let reached = |applied: i64| if applied > self.reached { 0 } else { applied };
        Revisions {
            records: reached(status.applied),
            overrides: reached(status.overrides),
        }
    }
}

/// The lesser ones that are not 0.
fn lesser(one: Revisions, other: Revisions) -> Revisions {
    let lesser = |one: i64, other: i64| match (one, other) {
        (0, known) | (known, 0) => known,
        _ => one.min(other),
    };
    Revisions {
        records: lesser(one.records, other.records),
        overrides: lesser(one.overrides, other.overrides),
    }
}

fn pusher(
    place: &Place,
    overview: &Overview,
    least: &Least,
    entry: &Entry,
    status_record: Result<PusherStatus, Reason>,
) -> Pusher {
    let services = status_record
        .iter()
        .flat_map(|status_record| &status_record.services);
    let services = services.filter(|(_, status)| !status.idle);
    let lags = services.map(|(service, status)| {
        let applied = least.applied(status);
        let (changes, since) = overview.since(service, applied);
        // A deletion that every pusher has applied leaves no trace here. The same for each of them.
        let by_all = least.services.get(service).copied().unwrap_or_default();
        let newest = overview.newest(service).records.max(by_all.records);
        let lag = Lag {
            applied: applied.records,
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
        status_record,
    }
}

#[cfg(test)]
mod tests;
