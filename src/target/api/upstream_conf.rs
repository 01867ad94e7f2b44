//! The driver for the older text API, `upstream_conf`, of NGINX Plus R12 and before.
//!
//! It does not show running requests; the `status` module does. Without that, a draining server gets its whole
//! drain timeout.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::stepwise::{Addition, Group, Running, Stepwise, Verdict, drain_or_set_down};
use crate::etcd::client::Cluster;
use crate::target::restart_watch;
use crate::target::{ApiUrl, Driver, Error, Layer, Upstream, UpstreamName};
use crate::upstream::plan::{Change, Id, Peer, Setting};

mod api;
pub(crate) mod fuzz;
mod lines;
mod settings;
mod status;

pub use api::ConfApi;
use api::Query;
pub use settings::Settings;

#[derive(Debug)]
struct ConfGroup {
    api: Arc<ConfApi>,
    layer: Layer,
    upstream: UpstreamName,
}

/// The upstream called `upstream` in the http or stream block of the nginx at `api`; draining servers have `drain_timeout` to finish.
#[must_use]
pub fn upstream(
    api: Arc<ConfApi>,
    layer: Layer,
    upstream: UpstreamName,
    drain_timeout: Duration,
) -> Box<dyn Upstream> {
    let group = ConfGroup {
        api,
        layer,
        upstream,
    };
    Box::new(Stepwise::new(group, drain_timeout))
}

#[async_trait]
impl Driver for ConfApi {
    fn upstream(
        self: Arc<Self>,
        layer: Layer,
        name: &UpstreamName,
        drain_timeout: Duration,
        _: &Cluster,
    ) -> Option<Box<dyn Upstream>> {
        Some(upstream(self, layer, name.clone(), drain_timeout))
    }

    /// Only the status module shows a reload.
    async fn watch(self: Arc<Self>, period: Duration, restarts: watch::Sender<u64>, _: Cluster) {
        restart_watch::watch(self.url(), || self.identity(), period, restarts).await;
    }
}

impl ConfGroup {
    fn query(&self) -> Query {
        Query::new(self.layer, &self.upstream)
    }

    fn query_about(&self, id: Id) -> Query {
        self.query().with("id", id)
    }

    /// Adds the server again that `peer` is, as one that does not drain, and removes `peer`: there is no other way back.
    async fn exchange(&self, peer: &Peer) -> Result<Verdict, Error> {
        let mut query = Query::adding(self.layer, &self.upstream)
            .with("server", &peer.server)
            .with("weight", peer.weight);
        for (name, number) in [
            ("max_conns", peer.tuning.max_conns),
            ("max_fails", peer.tuning.max_fails),
        ] {
            query = number
                .into_iter()
                .fold(query, |query, n| query.with(name, n));
        }
        let times = [
            peer.tuning.fail_timeout.map(Setting::FailTimeout),
            peer.tuning.slow_start.map(Setting::SlowStart),
        ];
        query = times.into_iter().flatten().fold(query, Query::with_setting);
        if peer.backup {
            query = query.flag("backup");
        }
        match self.api.change(query).await? {
            (Verdict::Done, _) => self.remove(peer.id, &peer.server).await,
            (verdict, _) => Ok(verdict),
        }
    }
}

impl Group for ConfGroup {
    fn api(&self) -> &ApiUrl {
        self.api.url()
    }

    fn upstream(&self) -> &UpstreamName {
        &self.upstream
    }

    /// There is nothing to negotiate.
    fn start_anew(&self) -> bool {
        false
    }

    async fn servers(&self) -> Result<Vec<Peer>, Error> {
        self.api.servers(self.query(), &self.upstream).await
    }

    async fn activity(&self) -> Result<Option<Running>, Error> {
        Ok(self.api.running(self.layer, &self.upstream).await)
    }

    async fn add(&self, server: &Addition<'_>) -> Result<Verdict, Error> {
        let mut query = Query::adding(self.layer, &self.upstream)
            .with("server", server.endpoint)
            .with("weight", server.weight);
        if server.down {
            query = query.flag("down");
        }
        let query = Setting::of(&server.parameters).fold(query, Query::with_setting);
        let (verdict, _) = self.api.change(query).await?;
        Ok(verdict)
    }

    async fn change(&self, id: Id, change: &Change) -> Result<Verdict, Error> {
        let mut query = self.query_about(id).flag("verbose");
        if let Some(weight) = change.weight {
            query = query.with("weight", weight);
        }
        match (change.down, change.drain) {
            (Some(true), _) => query = query.flag("down"),
            (_, Some(true)) => query = query.flag("drain"),
            (Some(false), _) | (_, Some(false)) => query = query.flag("up"),
            (None, None) => {}
        }
        let query = Setting::of(&change.parameters).fold(query, Query::with_setting);
        let (verdict, shown) = self.api.change(query).await?;
        // Whether "up" ends draining is documented nowhere; the answer shows it.
        let still_drains = |peer: &&Peer| peer.id == id && peer.drain;
        match shown.iter().find(still_drains) {
            Some(peer) if change.drain == Some(false) => self.exchange(peer).await,
            _ => Ok(verdict),
        }
    }

    async fn drain(&self, id: Id) -> Result<Verdict, Error> {
        drain_or_set_down(self, self.layer, id).await
    }

    async fn remove(&self, id: Id, _: &str) -> Result<Verdict, Error> {
        let query = Query::removing(self.layer, &self.upstream).with("id", id);
        let (verdict, _) = self.api.change(query).await?;
        Ok(verdict)
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
