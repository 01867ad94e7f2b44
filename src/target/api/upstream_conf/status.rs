//! The JSON of the `status` module, as far as the driver looks at it.

use serde::Deserialize;

use crate::target::api::stepwise::Running;
use crate::upstream::plan::Id;

/// The state of an upstream: an object since version 5 of the module, a bare list before.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Status {
    Whole {
        peers: Vec<Peer>,
        /// Servers that were removed and still have requests.
        #[serde(default)]
        zombies: u64,
    },
    Bare(Vec<Peer>),
}

/// The state of one server.
#[derive(Debug, Deserialize)]
pub(super) struct Peer {
    id: Id,
    server: String,
    active: u64,
}

impl From<Status> for Running {
    fn from(status: Status) -> Self {
        let (peers, zombies) = match status {
            Status::Whole { peers, zombies } => (peers, zombies),
            Status::Bare(peers) => (peers, 0),
        };
        let peers = peers.into_iter();
        Self {
            peers: peers
                .map(|peer| (peer.id, peer.server, peer.active))
                .collect(),
            zombies,
        }
    }
}
