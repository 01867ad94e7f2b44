//! Removes a pusher's keys from etcd, for a load balancer that is gone for good.

use std::time::Duration;

use crate::etcd;
use crate::etcd::client::Cluster;
use crate::etcd::oneshot::{delete, get_to_write, patiently};
use crate::model::{MetaPrefix, PusherId};

/// Timeout of the calls to etcd.
const PATIENCE: Duration = Duration::from_secs(10);

/// The result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// A pusher of that id is running: nothing was removed.
    Lives,
    /// Its keys are gone.
    Gone,
    /// There were none.
    Unknown,
}

/// Removes both keys of `id`, unless a pusher of that id is running.
///
/// # Errors
///
/// When etcd does not answer, or refuses.
pub async fn retire(
    cluster: &Cluster,
    meta: &MetaPrefix,
    id: &PusherId,
) -> Result<Retired, etcd::Error> {
    let (pusher, balancer) = (meta.pusher_key(id), meta.balancer_key(id));
    patiently(cluster, PATIENCE, async |connection| {
        loop {
            let status = get_to_write(connection, &pusher).await?;
            let key = get_to_write(connection, &balancer).await?;
            // Without a lease it is no pusher's, and would stay for ever.
            if status.as_ref().is_some_and(|entry| entry.lease != 0) {
                return Ok(Retired::Lives);
            }
            let mut unchanged = true;
            for (name, entry) in [(&pusher, &status), (&balancer, &key)] {
                if let Some(entry) = entry {
                    let deleted = delete(connection, name, entry.mod_revision).await?;
                    unchanged &= deleted.is_some();
                }
            }
            match (unchanged, status.or(key)) {
                (true, Some(_)) => return Ok(Retired::Gone),
                (true, None) => return Ok(Retired::Unknown),
                // Another process has written it in the meantime: a pusher that starts.
                (false, _) => {}
            }
        }
    })
    .await
}
