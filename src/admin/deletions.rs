//! What was deleted lately: a listing has no trace of that, but etcd's history does.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::Place;
use super::overview::{KINDS, Revisions, ranges};
use crate::etcd::history::changes_after;
use crate::etcd::oneshot::patiently;
use crate::etcd::range::Range;
use crate::model::Kind;

/// How long etcd has to tell.
const LIMIT: Duration = Duration::from_secs(1);

/// What was deleted of each kind: the keys, with the revisions.
pub(super) type Deletions = Vec<(Kind, BTreeMap<Vec<u8>, i64>)>;

/// What was deleted after these revisions and is still gone, as far as etcd tells: what it has compacted away is not known, and
/// nothing where this user may not ask. All kinds are asked for at once, as etcd hands out its history slowly.
pub(super) async fn deletions(place: &Place, after: Revisions) -> Deletions {
    let ranges = KINDS.into_iter().zip(ranges(&place.prefixes(), None));
    let asked = ranges.map(|(kind, range)| async move {
        match after.of(kind) {
            0 => (kind, BTreeMap::new()),
            after => (kind, deleted(place, &range, after).await),
        }
    });
    join_all(asked).await
}

async fn deleted(place: &Place, range: &Range, after: i64) -> BTreeMap<Vec<u8>, i64> {
    let asking = patiently(&place.cluster, LIMIT, async |connection| {
        changes_after(connection, range, after).await
    });
    match timeout(LIMIT, asking).await {
        Ok(Ok(past)) => past.deleted,
        Ok(Err(error)) => {
            tracing::debug!(%error, "etcd does not tell what was deleted");
            BTreeMap::new()
        }
        Err(_) => BTreeMap::new(),
    }
}
