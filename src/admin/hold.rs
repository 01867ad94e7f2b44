//! Takes instances out of rotation for a while, and puts them back.

use std::time::Duration;

use super::Place;
use super::overview::Overview;
use crate::etcd::Error;
use crate::etcd::oneshot;
use crate::etcd::oneshot::{Lease, patiently};
use crate::etcd::pushers::unlisted;
use crate::etcd::range::Range;
use crate::model::{Hold, HoldScope, InstanceId, PusherId, PusherStatus};

/// Writes the hold under a lease of its length, replacing an older one; returns the revision.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn hold(
    place: &Place,
    scope: &HoldScope,
    hold: &Hold,
    length: Duration,
) -> Result<i64, Error> {
    let (key, value) = (place.meta.hold_key(scope), hold.encode());
    patiently(&place.cluster, place.patience, async |connection| {
        let lease = oneshot::grant(connection, length).await?;
        loop {
            let since = revision_of(connection, &key).await?;
            let lease = Lease::Id(lease);
            if let Some(revision) = oneshot::put(connection, &key, &value, lease, since).await? {
                return Ok(revision);
            }
        }
    })
    .await
}

/// Ends the hold; returns the revision, or `None` if there was none.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn end(place: &Place, scope: &HoldScope) -> Result<Option<i64>, Error> {
    delete(place, &place.meta.hold_key(scope)).await
}

/// An instance that takes traffic although it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillRouted {
    /// The instance.
    pub id: InstanceId,
    /// The pusher that routes it.
    pub pusher: PusherId,
    /// Why. Foreign text.
    pub reason: String,
}

/// The instances of this scope that still take traffic, as the live pushers report: the last ones of an upstream stay.
///
/// # Errors
///
/// When no member answers.
pub async fn still_routed(
    place: &Place,
    overview: &Overview,
    scope: &HoldScope,
) -> Result<Vec<StillRouted>, Error> {
    let range = Range::Prefix(place.meta.pushers_range().into_bytes());
    let (_, entries) = oneshot::list(&place.cluster, place.patience, &range).await?;
    let mut found = Vec::new();
    for entry in &entries {
        let pusher = place.meta.pusher(&entry.key);
        let Some((pusher, status_record)) = pusher.zip(PusherStatus::decode(&entry.value).ok())
        else {
            continue;
        };
        let elsewhere = status_record
            .prefix
            .as_ref()
            .is_some_and(|told| *told != place.prefix);
        // A key without a lease is not a pusher's.
        if entry.lease == 0 || elsewhere {
            continue;
        }
        let still = overview.covered(scope).filter_map(|(id, _)| {
            let service = status_record.services.get(&id.service)?;
            let still = &service.still_routed;
            let listed = still.listed.get(&id.instance).cloned();
            Some(StillRouted {
                id: id.clone(),
                pusher: pusher.clone(),
                reason: listed.or_else(|| (still.more > 0).then(unlisted))?,
            })
        });
        found.extend(still);
    }
    Ok(found)
}

/// Deletes one of sidekick's own keys, whatever wrote it; returns the revision, or `None` if it did not exist.
pub(super) async fn delete(place: &Place, key: &str) -> Result<Option<i64>, Error> {
    patiently(&place.cluster, place.patience, async |connection| {
        loop {
            let since = revision_of(connection, key).await?;
            if since == 0 {
                return Ok(None);
            }
            let deleted = oneshot::delete(connection, key, since).await?;
            if deleted.is_some() {
                return Ok(deleted);
            }
        }
    })
    .await
}

/// The revision of the key's last write; 0 if it does not exist.
pub(super) async fn revision_of(
    connection: &crate::etcd::client::Connection,
    key: &str,
) -> Result<i64, Error> {
    let seen = oneshot::get_to_write(connection, key).await?;
    Ok(seen.map_or(0, |entry| entry.mod_revision))
}
