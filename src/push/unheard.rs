//! Why etcd does not tell the records, for the status of a pusher that waits for them.

use std::future::pending;

use tokio::sync::watch::Receiver;

use super::peers::Peers;
use crate::etcd::watch::Watcher;

/// What both watches of a pusher have trouble with.
///
/// Only a new trouble is news: whoever waits for a watch beside this must not begin anew while it lists.
#[derive(Debug)]
pub(super) struct Unheard {
    records: Receiver<Option<String>>,
    peers: Receiver<Option<String>>,
}

impl Unheard {
    /// By these watches.
    pub(super) fn by(records: &Watcher, peers: &Peers) -> Self {
        Self {
            records: records.trouble(),
            peers: peers.trouble(),
        }
    }

    /// Waits for news, where that is of interest. Cancel safe.
    pub(super) async fn changed(&mut self, is_of_interest: bool) {
        if !is_of_interest {
            pending().await
        }
        // A watch that was replaced has none.
        tokio::select! {
            Ok(()) = self.records.changed() => {}
            Ok(()) = self.peers.changed() => {}
            else => pending().await,
        }
    }

    /// In words.
    pub(super) fn in_words(&self) -> Option<String> {
        let records = self.records.borrow().clone();
        records.or_else(|| self.peers.borrow().clone())
    }
}
