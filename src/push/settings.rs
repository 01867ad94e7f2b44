//! What to push, where to, and how.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::driver::Driver;
use crate::desired::{Limits, Pool, Selection};
use crate::reconcile::Pacing;
use crate::record::{MetaPrefix, NameError, Prefix, PusherId, ServiceName};
use crate::registry::watch::Range;
use crate::upstream::access::{Access, AccessError};
use crate::upstream::plus::{self, Api, Plus, watch_nginx};
use crate::upstream::{ApiUrl, Layer, UpstreamName};

/// How long a presence outlives a killed pusher where nothing else is said.
pub const TTL: Duration = Duration::from_secs(15);
/// How long a draining server may take to finish where nothing else is said.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a target may take to answer one request where nothing else is said.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What to push, where to, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this pusher, unique among those of one etcd.
    pub id: PusherId,
    /// Where records lie.
    pub prefix: Prefix,
    /// Where the presence goes.
    pub meta: MetaPrefix,
    /// At least one.
    pub targets: Vec<Target>,
    /// How fast changes are followed.
    pub pacing: Pacing,
    /// How long the presence outlives a killed pusher.
    pub ttl: Duration,
}

impl Settings {
    /// All routes with their targets, in the order in which they are numbered.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&Target, &Arc<Route>)> {
        let routes = |target| {
            Target::routes(target)
                .iter()
                .map(move |route| (target, route))
        };
        self.targets.iter().flat_map(routes)
    }

    /// The services that are routed.
    pub(super) fn services(&self) -> BTreeSet<ServiceName> {
        self.routes()
            .map(|(_, route)| route.service.clone())
            .collect()
    }

    /// The keys to watch: those of the service when there is only one, else those of all.
    pub(super) fn range(&self) -> Range {
        let services = self.services();
        let only = services.first().filter(|_| services.len() == 1);
        Range::Prefix(self.prefix.service_range(only).into_bytes())
    }

    /// The keys to watch for what other pushers and people say: one range for all of it, as what one watch tells is in order.
    pub(super) fn meta_range(&self) -> Range {
        Range::Prefix(self.meta.range().into_bytes())
    }
}

/// Which records an upstream takes, and how it is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The upstream.
    pub upstream: UpstreamName,
    /// Where in nginx it is.
    pub layer: Layer,
    /// The service.
    pub service: ServiceName,
    /// Which of its records are taken, and what is made of them.
    pub selection: Selection,
    /// How far it may follow them.
    pub limits: Limits,
    /// How long a draining server may take to finish.
    pub drain_timeout: Duration,
}

impl Route {
    /// The http upstream that takes all of `service`.
    #[must_use]
    pub fn new(upstream: UpstreamName, service: ServiceName) -> Self {
        Self {
            upstream,
            layer: Layer::Http,
            service,
            selection: Selection::default(),
            limits: Limits::default(),
            drain_timeout: DRAIN_TIMEOUT,
        }
    }

    /// What decides what the upstream should be.
    pub(super) fn pool(&self) -> Pool {
        Pool::new(self.service.clone(), self.selection.clone())
    }
}

/// Why a text is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("UPSTREAM or UPSTREAM=SERVICE is expected: {0}")]
pub struct RouteError(#[from] NameError);

impl FromStr for Route {
    type Err = RouteError;

    /// Reads `UPSTREAM[=SERVICE]`; the service is called as the upstream is where nothing else is said.
    fn from_str(text: &str) -> Result<Self, RouteError> {
        let (upstream, service) = text.split_once('=').unwrap_or((text, text));
        Ok(Self::new(upstream.parse()?, service.parse()?))
    }
}

/// Why a target cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No upstream is named.
    #[error("{0}: no upstream is named")]
    NoRoute(Arc<str>),
    /// An upstream is named more than once.
    #[error("upstream \"{0}\" is named more than once")]
    Twice(UpstreamName),
    /// There is no way in.
    #[error("{url}: {source}")]
    Access {
        /// The target.
        url: ApiUrl,
        /// What failed.
        #[source]
        source: Box<AccessError>,
    },
}

/// One nginx, and what is routed there.
#[derive(Debug, Clone)]
pub struct Target {
    name: Arc<str>,
    kind: Kind,
    routes: Vec<Arc<Route>>,
}

/// How a target is told.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Over the upstream API of NGINX Plus.
    Plus(Arc<Api>),
}

impl Kind {
    /// The nginx whose upstream API is at `url` and answers each request within `timeout`. Opens no connection.
    ///
    /// # Errors
    ///
    /// For https, when the system's certificates cannot be loaded.
    pub fn plus(url: ApiUrl, timeout: Duration) -> Result<Self, TargetError> {
        let settings = plus::Settings {
            url: url.clone(),
            timeout,
            access: Access::default(),
        };
        match Api::new(settings) {
            Ok(api) => Ok(Self::Plus(Arc::new(api))),
            Err(error) => Err(TargetError::Access {
                url,
                source: Box::new(error),
            }),
        }
    }
}

impl Target {
    /// The target called `name`, told as `kind` says.
    ///
    /// # Errors
    ///
    /// When there is no route or an upstream has two.
    pub fn new(name: &str, kind: Kind, routes: Vec<Arc<Route>>) -> Result<Self, TargetError> {
        if routes.is_empty() {
            return Err(TargetError::NoRoute(name.into()));
        }
        let mut named = BTreeSet::new();
        for route in &routes {
            if !named.insert((route.layer, &route.upstream)) {
                return Err(TargetError::Twice(route.upstream.clone()));
            }
        }
        let name = name.into();
        Ok(Self { name, kind, routes })
    }

    /// Its name, for people and for the presence.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is routed there.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// What makes an upstream of it equal.
    pub(super) fn driver(&self, route: &Route) -> Driver {
        match &self.kind {
            Kind::Plus(api) => Driver::Plus(Plus::new(
                api.clone(),
                route.layer,
                route.upstream.clone(),
                route.drain_timeout,
            )),
        }
    }

    /// Counts up whenever the target may have forgotten everything. Never ends.
    pub(super) async fn watch(self, period: Duration, restarts: watch::Sender<u64>) {
        match self.kind {
            Kind::Plus(api) => watch_nginx(api, period, restarts).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(routes: &[&str]) -> Result<Target, TargetError> {
        let route = |route: &&str| Arc::new(route.parse().unwrap());
        let url = "http://127.0.0.1:1/api";
        let kind = Kind::plus(url.parse().unwrap(), REQUEST_TIMEOUT)?;
        Target::new(url, kind, routes.iter().map(route).collect())
    }

    fn range(routes: &[&str]) -> Range {
        let settings = Settings {
            id: "edge".parse().unwrap(),
            prefix: Prefix::default(),
            meta: MetaPrefix::default(),
            targets: vec![target(routes).unwrap()],
            pacing: Pacing::default(),
            ttl: TTL,
        };
        settings.range()
    }

    #[test]
    fn a_service_is_called_as_its_upstream_where_nothing_else_is_said() {
        let route: Route = "website".parse().unwrap();
        assert_eq!(
            (route.upstream.as_str(), route.service.as_str()),
            ("website", "website")
        );
        let route: Route = "front=website".parse().unwrap();
        assert_eq!(
            (route.upstream.as_str(), route.service.as_str()),
            ("front", "website")
        );
        for text in ["", "=", "a=", "=a", "a b", "a=b=c", "a/b", "a=b/c"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_upstream_takes_one_service() {
        assert!(target(&["a", "b=a"]).is_ok());
        let error = target(&["a", "b", "a=c"]).unwrap_err().to_string();
        assert_eq!(error, "upstream \"a\" is named more than once");
        assert!(matches!(target(&[]), Err(TargetError::NoRoute(_))));
    }

    #[test]
    fn no_more_keys_are_watched_than_needed() {
        let prefix = |text: &str| Range::Prefix(text.into());
        assert_eq!(range(&["front=website"]), prefix("/services/website/"));
        assert_eq!(
            range(&["front=website", "back=website"]),
            prefix("/services/website/")
        );
        assert_eq!(range(&["website", "shop"]), prefix("/services/"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_a_route_or_a_short_error(text in any::<String>(), near in "[a-z0-9_.=/-]{0,30}") {
            for text in [text, near] {
                match text.parse::<Route>() {
                    Ok(route) => {
                        let again: Route = format!("{}={}", route.upstream, route.service).parse().unwrap();
                        prop_assert_eq!((again.upstream, again.service), (route.upstream, route.service));
                    }
                    Err(error) => prop_assert!(error.to_string().len() < 400),
                }
            }
        }
    }
}
