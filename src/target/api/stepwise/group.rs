//! What stepwise convergence needs of an API.

use std::num::NonZeroU16;

use crate::model::Endpoint;
use crate::target::{ApiUrl, Error, Layer, UpstreamName};
use crate::upstream::plan::{Change, Id, Peer};
use crate::upstream::server::Parameters;

/// One upstream of one target, as its API shows it.
pub(crate) trait Group: Send + Sync {
    /// The API, for the log.
    fn api(&self) -> &ApiUrl;

    /// The upstream, for the log.
    fn upstream(&self) -> &UpstreamName;

    /// Call this when the answer is not from the expected API; `true` if a retry may work.
    fn start_anew(&self) -> bool;

    /// The servers.
    fn servers(&self) -> impl Future<Output = Result<Vec<Peer>, Error>> + Send;

    /// The servers' requests in flight; `None` if the target does not show them.
    fn activity(&self) -> impl Future<Output = Result<Option<Running>, Error>> + Send;

    /// Adds a server.
    fn add(&self, server: &Addition<'_>) -> impl Future<Output = Result<Verdict, Error>> + Send;

    /// Changes a server.
    fn change(
        &self,
        id: Id,
        change: &Change,
    ) -> impl Future<Output = Result<Verdict, Error>> + Send;

    /// Stops new requests to a server. Must not be skipped: announcers wait for it.
    fn drain(&self, id: Id) -> impl Future<Output = Result<Verdict, Error>> + Send;

    /// Removes a server: the one that was listed with this id and, printable, this address.
    fn remove(&self, id: Id, server: &str) -> impl Future<Output = Result<Verdict, Error>> + Send;
}

/// A server to add.
#[derive(Debug)]
pub(crate) struct Addition<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) weight: NonZeroU16,
    pub(crate) down: bool,
    pub(crate) parameters: Parameters,
}

/// The requests in flight on the servers of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// Id, address and number of requests.
    pub(crate) peers: Vec<(Id, String, u64)>,
    /// Servers that were removed and still have requests.
    pub(crate) zombies: u64,
}

/// The result of a request to change something.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Done.
    Done,
    /// This one server is refused; others are not.
    Refused(Refusal),
    /// There is no space for another server.
    Full(String),
    /// The server exists already: read again.
    Exists(String),
    /// The server no longer exists: read again.
    Stale,
}

/// Why something was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The message.
    pub(in crate::target) reason: String,
    /// Its subject.
    pub(in crate::target) about: About,
}

/// The subject of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The server itself: its address, its weight.
    Server,
    /// The parameter of this name.
    Parameter(&'static str),
    /// The target does not say.
    Unknown,
}

/// Stops new requests to a server: by draining where the API and the layer know that, else by setting it down.
pub(crate) async fn drain_or_set_down(
    group: &impl Group,
    layer: Layer,
    id: Id,
) -> Result<Verdict, Error> {
    let drain = Change {
        drain: Some(true),
        ..Change::default()
    };
    match layer {
        Layer::Http => match group.change(id, &drain).await? {
            Verdict::Refused(_) => set_down(group, id).await,
            verdict => Ok(verdict),
        },
        Layer::Stream => set_down(group, id).await,
    }
}

/// Stops new requests to a server by setting it down, which lets requests finish.
async fn set_down(group: &impl Group, id: Id) -> Result<Verdict, Error> {
    let down = Change {
        down: Some(true),
        ..Change::default()
    };
    match group.change(id, &down).await? {
        Verdict::Refused(Refusal { reason, .. }) | Verdict::Full(reason) => {
            Err(Error::Undrainable(reason))
        }
        verdict => Ok(verdict),
    }
}
