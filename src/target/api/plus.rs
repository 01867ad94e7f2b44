//! The driver for NGINX Plus' upstream API, versions 2 to 9, and for whatever else speaks it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::stepwise::{Addition, Group, Running, Stepwise, Verdict, drain_or_set_down};
use crate::etcd::client::Cluster;
use crate::target::restart_watch;
use crate::target::{ApiUrl, Driver, Error, Layer, Upstream, UpstreamName};
use crate::upstream::plan::{Change, Id, Peer};
use crate::util::sanitize::short;

mod api;
pub(crate) mod fuzz;
mod settings;
mod wire;

pub use api::Api;
pub use settings::Settings;
use wire::ServerSettings;

#[derive(Debug)]
struct PlusGroup {
    api: Arc<Api>,
    layer: Layer,
    upstream: UpstreamName,
}

impl PlusGroup {
    fn name(&self) -> (Layer, &UpstreamName) {
        (self.layer, &self.upstream)
    }
}

/// The upstream called `upstream` in the http or stream block of the nginx at `api`; draining servers have `drain_timeout` to finish.
#[must_use]
pub fn upstream(
    api: Arc<Api>,
    layer: Layer,
    upstream: UpstreamName,
    drain_timeout: Duration,
) -> Box<dyn Upstream> {
    let group = PlusGroup {
        api,
        layer,
        upstream,
    };
    Box::new(Stepwise::new(group, drain_timeout))
}

#[async_trait]
impl Driver for Api {
    fn upstream(
        self: Arc<Self>,
        layer: Layer,
        name: &UpstreamName,
        drain_timeout: Duration,
        _: &Cluster,
    ) -> Option<Box<dyn Upstream>> {
        Some(upstream(self, layer, name.clone(), drain_timeout))
    }

    async fn watch(self: Arc<Self>, period: Duration, restarts: watch::Sender<u64>, _: Cluster) {
        restart_watch::watch(self.url(), || self.identity(), period, restarts).await;
    }
}

impl Group for PlusGroup {
    fn api(&self) -> &ApiUrl {
        self.api.url()
    }

    fn upstream(&self) -> &UpstreamName {
        &self.upstream
    }

    /// nginx may have been exchanged for one with other versions.
    fn start_anew(&self) -> bool {
        self.api.forget_version()
    }

    async fn servers(&self) -> Result<Vec<Peer>, Error> {
        self.api.servers(self.name()).await
    }

    async fn activity(&self) -> Result<Option<Running>, Error> {
        let status = self.api.status(self.name()).await?;
        Ok(Some(status.into()))
    }

    async fn add(&self, server: &Addition<'_>) -> Result<Verdict, Error> {
        let settings = ServerSettings::from(server);
        self.api.add(self.name(), &settings).await
    }

    async fn change(&self, id: Id, change: &Change) -> Result<Verdict, Error> {
        let settings = ServerSettings::from(change);
        self.api.patch(self.name(), id, &settings).await
    }

    async fn drain(&self, id: Id) -> Result<Verdict, Error> {
        drain_or_set_down(self, self.layer, id).await
    }

    async fn remove(&self, id: Id, server: &str) -> Result<Verdict, Error> {
        // nginx may have been reloaded since the list was read, and call another one so: a wrong change is repaired by the
        // next look, but a wrong removal costs requests.
        match self.api.server(self.name(), id).await {
            Ok(peer) if short(&peer.server) != server => return Ok(Verdict::Stale),
            // An API that cannot show single servers may still remove them.
            Ok(_) | Err(Error::NotTheApi { .. } | Error::Answer { .. }) => {}
            Err(error) => return Err(error),
        }
        self.api.remove(self.name(), id).await
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
