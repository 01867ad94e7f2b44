//! What to push, where to, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::reconcile::Pacing;
use crate::record::{MetaPrefix, NameError, Prefix, PusherId, ServiceName};
use crate::registry::watch::Range;
use crate::upstream::UpstreamName;
use crate::upstream::plus::{Api, ApiUrl};

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
    /// How long a draining server may take to finish.
    pub drain_timeout: Duration,
    /// How long the presence outlives a killed pusher.
    pub ttl: Duration,
}

impl Settings {
    /// All routes with their targets, in the order in which they are numbered.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&Target, &Route)> {
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
}

/// Which service an upstream takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The upstream.
    pub upstream: UpstreamName,
    /// The service.
    pub service: ServiceName,
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
        Ok(Self {
            upstream: upstream.parse()?,
            service: service.parse()?,
        })
    }
}

/// Why a target cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No upstream is named.
    #[error("{0}: no upstream is named")]
    NoRoute(ApiUrl),
    /// An upstream is named more than once.
    #[error("upstream \"{0}\" is named more than once")]
    Twice(UpstreamName),
    /// The system's certificates cannot be used.
    #[error("{url}: no https: {}", crate::http::cause(source))]
    Tls {
        /// The target.
        url: ApiUrl,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
}

/// One nginx, and what is routed there.
#[derive(Debug, Clone)]
pub struct Target {
    api: Arc<Api>,
    routes: Vec<Route>,
}

impl Target {
    /// The nginx whose API is at `url` and answers each request within `timeout`. Opens no connection.
    ///
    /// # Errors
    ///
    /// When there is no route or an upstream has two, and for https when the system's certificates cannot be loaded.
    pub fn new(url: ApiUrl, timeout: Duration, routes: Vec<Route>) -> Result<Self, TargetError> {
        if routes.is_empty() {
            return Err(TargetError::NoRoute(url));
        }
        let mut named = BTreeMap::new();
        for route in &routes {
            if named.insert(&route.upstream, &route.service).is_some() {
                return Err(TargetError::Twice(route.upstream.clone()));
            }
        }
        let api = match Api::new(url.clone(), timeout) {
            Ok(api) => Arc::new(api),
            Err(source) => return Err(TargetError::Tls { url, source }),
        };
        Ok(Self { api, routes })
    }

    /// Its API.
    #[must_use]
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// What is routed there.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(routes: &[&str]) -> Result<Target, TargetError> {
        let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        Target::new(
            "http://127.0.0.1:1/api".parse().unwrap(),
            REQUEST_TIMEOUT,
            routes,
        )
    }

    fn range(routes: &[&str]) -> Range {
        let settings = Settings {
            id: "edge".parse().unwrap(),
            prefix: Prefix::default(),
            meta: MetaPrefix::default(),
            targets: vec![target(routes).unwrap()],
            pacing: Pacing::default(),
            drain_timeout: DRAIN_TIMEOUT,
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
