//! One request, as the client saw it.

use tokio::time::Instant;

use crate::tried::Tried;

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) balancer: usize,
    pub(crate) is_post: bool,
    pub(crate) sent: Instant,
    /// When its end was seen, be it an answer or not.
    pub(crate) over: Instant,
    /// Whom the load balancer tried, in order.
    pub(crate) tried: Vec<Tried>,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}
