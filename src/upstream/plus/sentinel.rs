//! Notices that nginx was restarted, reloaded, stopped or exchanged.
//!
//! What was set over the API may be gone then, so everything is to be read again at once instead of at the next resync.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use super::api::Api;
use super::wire::Identity;
use crate::upstream::Error;

/// What answered.
#[derive(Debug, PartialEq)]
enum Seen {
    /// This process of nginx, with this configuration.
    Nginx(Identity),
    /// Something that does not say who it is.
    Unnamed,
    /// Nobody.
    Nobody,
}

/// Counts up whenever another nginx, or none, answers at `api`, which is asked once in each `period`. Never ends.
pub async fn watch_nginx(api: Arc<Api>, period: Duration, changes: watch::Sender<u64>) {
    let mut last = None;
    loop {
        let seen = match api.identity().await {
            Ok(identity) => Seen::Nginx(identity),
            Err(Error::NotTheApi { .. }) => Seen::Unnamed,
            Err(_) => Seen::Nobody,
        };
        if last.as_ref().is_some_and(|last| *last != seen) {
            debug!(nginx = %api.url(), ?seen, "another nginx than before");
            changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        last = Some(seen);
        sleep(period).await;
    }
}
