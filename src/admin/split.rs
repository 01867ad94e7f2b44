//! Sharing the traffic of a service among its versions.

use std::collections::BTreeMap;

use super::Place;
use super::hold::{delete, revision_of};
use super::overview::{Found, Instances, Overview, takes_traffic};
use crate::etcd::Error;
use crate::etcd::oneshot;
use crate::etcd::oneshot::{Lease, patiently};
use crate::model::{Address, InstanceId, Record, ServiceName, Share, Split, Version};

/// What a split would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Every instance that takes traffic without the split, with its share of it under the split, from 0 to 1.
    pub shares: Vec<(InstanceId, Address, f64)>,
    /// Versions that are to take traffic and have no instance that could.
    pub missing: Vec<Version>,
}

/// What `split` would do to a service as it is now; `None` when nobody would get any traffic.
#[must_use]
pub fn preview(split: &Split, overview: &Overview, service: &ServiceName) -> Option<Preview> {
    let live: Vec<_> = overview
        .instances(service)
        .filter(|(_, record, hold)| takes_traffic(record.value, hold.as_ref()))
        .collect();
    let shares: Vec<_> = live
        .iter()
        .map(|(_, record, _)| Share {
            version: record.value.version.as_ref(),
            weight: record.value.effective_weight(),
        })
        .collect();
    let weights = split.spread(&shares)?;
    let total: f64 = weights.iter().copied().map(f64::from).sum();
    let share = |((id, record, _), weight): (&(&InstanceId, Found<&Record>, _), &u16)| {
        let address = record.value.address();
        ((*id).clone(), address, f64::from(*weight) / total)
    };
    let there = |version: &Version| shares.iter().any(|share| share.version == Some(version));
    let wanted = split.weights().iter().filter(|(_, weight)| **weight > 0);
    Some(Preview {
        shares: live.iter().zip(&weights).map(share).collect(),
        missing: wanted
            .map(|(version, _)| version)
            .filter(|version| !there(version))
            .cloned()
            .collect(),
    })
}

/// The versions of a service in words, with how many instances of each take traffic.
#[must_use]
pub fn versions_in_words(versions: &BTreeMap<Option<Version>, Instances>) -> String {
    if versions.is_empty() {
        return "it has no instance at all".to_owned();
    }
    let one = |(version, count): (&Option<Version>, &Instances)| {
        let name = version.as_ref().map(Version::as_str);
        let name = name.unwrap_or("an instance without a version");
        let Instances { live, held } = count;
        match held {
            0 => format!("{name} ({live} live)"),
            _ => format!("{name} ({live} live, {held} held)"),
        }
    };
    let all: Vec<_> = versions.iter().map(one).collect();
    format!("there is {}", all.join(", "))
}

/// Writes the split; gives the revision.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn split(place: &Place, service: &ServiceName, split: &Split) -> Result<i64, Error> {
    let (key, value) = (place.meta.split_key(service), split.encode());
    patiently(&place.cluster, place.patience, async |connection| {
        loop {
            let since = revision_of(connection, &key).await?;
            let written = oneshot::put(connection, &key, &value, Lease::None, since).await?;
            if let Some(revision) = written {
                return Ok(revision);
            }
        }
    })
    .await
}

/// Ends the split; gives the revision of that, or `None` when there was none.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn clear(place: &Place, service: &ServiceName) -> Result<Option<i64>, Error> {
    delete(place, &place.meta.split_key(service)).await
}
