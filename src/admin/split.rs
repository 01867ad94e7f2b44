//! Shares the traffic of a service among its versions.

use std::collections::BTreeMap;

use super::Place;
use super::hold::{delete, revision_of};
use super::overview::{Found, Instances, Overview, takes_traffic};
use crate::etcd::Error;
use crate::etcd::oneshot;
use crate::etcd::oneshot::{Lease, patiently};
use crate::model::{Address, InstanceId, Record, ServiceName, Share, Split, Version};

/// The effect of a split.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Every instance that takes traffic without the split, with its share under the split, from 0 to 1.
    pub shares: Vec<(InstanceId, Address, f64)>,
    /// Versions with a weight but without an instance that can take traffic.
    pub missing: Vec<Version>,
}

/// The effect of `split` on a service now; `None` if no instance would get any traffic.
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

/// The versions of a service as text, with how many instances of each take traffic.
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

/// Writes the split; returns the revision.
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

/// Ends the split; returns the revision, or `None` if there was none.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn clear(place: &Place, service: &ServiceName) -> Result<Option<i64>, Error> {
    delete(place, &place.meta.split_key(service)).await
}
