//! A target and its routes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::identity::identity;
use super::route::Route;
use crate::etcd::client::Cluster;
use crate::target::files::{Unreadable, fingerprint};
use crate::target::{Driver, OpenError, TargetSettings, Upstream, UpstreamName};

/// How many upstreams of one target converge at once.
const CONCURRENCY: usize = 8;

/// Why a target is invalid.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No upstream is named.
    #[error("{0}: no upstream is named")]
    NoRoute(Arc<str>),
    /// An upstream is named more than once.
    #[error("upstream \"{0}\" is named more than once")]
    Twice(UpstreamName),
    /// A file that it needs cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Its settings are invalid.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A target and its routes.
#[derive(Debug, Clone)]
pub struct Target {
    name: Arc<str>,
    settings: TargetSettings,
    /// The fingerprint of the files that it needs: secrets and certificates change under the same name.
    files: u64,
    driver: Arc<dyn Driver>,
    routes: Vec<Arc<Route>>,
}

impl Target {
    /// The target `name` with these `settings`. Reads the files that they name, but opens no connection.
    ///
    /// # Errors
    ///
    /// When there is no route, an upstream has two, a file cannot be read, or, for https, the certificates cannot be used.
    pub fn new(
        name: &str,
        settings: TargetSettings,
        routes: Vec<Arc<Route>>,
    ) -> Result<Self, TargetError> {
        // First, so that this is also reported of a target whose routes are all wrong.
        let files = fingerprint(&settings.files())?;
        let upstreams: Vec<_> = routes.iter().map(|route| route.place()).collect();
        let driver = settings.open(&upstreams)?;
        if routes.is_empty() {
            return Err(TargetError::NoRoute(name.into()));
        }
        let mut named = BTreeSet::new();
        if let Some((_, twice)) = upstreams.into_iter().find(|it| !named.insert(it.clone())) {
            return Err(TargetError::Twice(twice));
        }
        Ok(Self {
            name: name.into(),
            settings,
            files,
            driver,
            routes,
        })
    }

    /// Whether `other` is the same target, with whatever routes; a file target depends on its routes too.
    pub(super) fn is_told_as(&self, other: &Self) -> bool {
        let upstreams = |target: &Self| -> Vec<_> {
            let routes = target.routes.iter();
            routes.map(|route| route.upstream.clone()).collect()
        };
        let parts = |target: &Self| (target.name.clone(), target.settings.clone(), target.files);
        parts(self) == parts(other)
            && (!self.settings.is_file() || upstreams(self) == upstreams(other))
    }

    /// Its name in messages and in the status record.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its identity: two pushers of one target use the same one.
    pub(super) fn identity(&self) -> String {
        identity(&self.settings)
    }

    /// Its kind and settings.
    #[must_use]
    pub fn settings(&self) -> &TargetSettings {
        &self.settings
    }

    /// Its routes.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// How many of its upstreams may converge at once.
    pub(super) fn concurrency(&self) -> usize {
        match self.settings.is_file() {
            // One reload serves all that change together, so none may wait for another.
            true => self.routes.len().max(CONCURRENCY),
            false => CONCURRENCY,
        }
    }

    /// The state that its upstreams share.
    pub(super) fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// The driver of an upstream; `None` for a route that it was not made with.
    pub(super) fn upstream(&self, route: &Route, cluster: &Cluster) -> Option<Box<dyn Upstream>> {
        let (layer, name, drain_timeout) = (route.layer, &route.upstream, route.drain_timeout);
        let driver = self.driver.clone();
        driver.upstream(layer, name, drain_timeout, cluster)
    }
}

#[cfg(test)]
mod tests;
