//! One nginx, and how it is told.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::config::{ApiSettings, FileSettings, How, Login};
use super::driver::Driver;
use super::identity::identity;
use super::settings::Route;
use crate::etcd::client::Cluster;
use crate::model::Prefix;
use crate::target::api::access;
use crate::target::api::access::{Access, AccessError, Again, Secret, Tls};
use crate::target::api::plus;
use crate::target::api::plus::{Api, Plus};
use crate::target::api::upstream_conf;
use crate::target::api::upstream_conf::{ConfApi, UpstreamConf};
use crate::target::file;
use crate::target::file::{Site, Template};
use crate::target::vulcand;
use crate::target::vulcand::{Keys, Scheme, Vulcand};
use crate::target::{ApiUrl, Layer, UpstreamName};

/// How many upstreams of one target are converged at once.
const CONCURRENCY: usize = 8;
/// As much of a secret, a certificate or a template as is looked at, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a target cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No upstream is named.
    #[error("{0}: no upstream is named")]
    NoRoute(Arc<str>),
    /// An upstream is named more than once.
    #[error("upstream \"{0}\" is named more than once")]
    Twice(UpstreamName),
    /// What says who we are cannot be used.
    #[error("{url}: {source}")]
    Access {
        /// The target.
        url: ApiUrl,
        /// What is wrong.
        #[source]
        source: Box<AccessError>,
    },
    /// A file that it needs cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What went wrong. Not called a source, as its words are part of this error's own.
        error: std::io::Error,
    },
    /// A target of this kind cannot be so.
    #[error("{0}")]
    Wrong(String),
}

/// One nginx, and what is routed there.
#[derive(Debug, Clone)]
pub struct Target {
    name: Arc<str>,
    how: How,
    /// What stands in the files that it needs: secrets and certificates change under the same name.
    files: u64,
    kind: Kind,
    routes: Vec<Arc<Route>>,
}

/// How a target is told: what is needed to do it.
#[derive(Debug, Clone)]
enum Kind {
    /// Over the upstream API of NGINX Plus.
    Plus(Arc<Api>),
    /// Over the older text API.
    UpstreamConf(Arc<ConfApi>),
    /// In a file that nginx includes.
    ConfFile(Site),
    /// In keys of etcd that vulcand reads, once etcd is known.
    Vulcand {
        prefix: Prefix,
        scheme: Scheme,
        keys: Arc<OnceLock<Arc<Keys>>>,
    },
}

impl Kind {
    /// What is needed to do as the settings say. Opens no connection.
    fn of(how: &How, routes: &[Arc<Route>]) -> Result<Self, TargetError> {
        match how {
            How::Plus(api) => {
                let settings = plus::Settings {
                    url: api.url.clone(),
                    timeout: api.timeout,
                    access: renewed(how, api).map_err(of(api))?,
                };
                let api = Api::new(settings).map_err(of(api))?;
                Ok(Self::Plus(Arc::new(api)))
            }
            How::UpstreamConf { api, status } => {
                let settings = upstream_conf::Settings {
                    url: api.url.clone(),
                    status: status.clone(),
                    timeout: api.timeout,
                    access: renewed(how, api).map_err(of(api))?,
                };
                let api = ConfApi::new(settings).map_err(of(api))?;
                Ok(Self::UpstreamConf(Arc::new(api)))
            }
            How::ConfFile(file) => site(file, routes).map(Self::ConfFile),
            How::Vulcand { prefix, scheme } => {
                if let Some(route) = routes.iter().find(|route| route.layer != Layer::Http) {
                    let upstream = &route.upstream;
                    return Err(TargetError::Wrong(format!(
                        "vulcand has no stream upstreams: \"{upstream}\" cannot go there"
                    )));
                }
                Ok(Self::Vulcand {
                    prefix: prefix.clone(),
                    scheme: *scheme,
                    keys: Arc::default(),
                })
            }
        }
    }
}

/// Whose mistake it is.
fn of(api: &ApiSettings) -> impl Fn(AccessError) -> TargetError {
    |source| TargetError::Access {
        url: api.url.clone(),
        source: Box::new(source),
    }
}

/// Who we say we are. Reads the files.
fn access(api: &ApiSettings) -> Result<Access, AccessError> {
    let login = match &api.login {
        Login::Nobody => access::Login::default(),
        Login::Basic {
            user,
            password_file,
        } => access::Login::basic(user, Secret::from_file(password_file)?)?,
        Login::Bearer { file } => access::Login::bearer(Secret::from_file(file)?)?,
    };
    let (cert, key) = api.identity.as_ref().map(|(cert, key)| (cert, key)).unzip();
    let tls = Tls::read(
        api.cacert.as_deref(),
        cert.map(PathBuf::as_path),
        key.map(PathBuf::as_path),
    )?;
    let again = Again::default();
    Ok(Access { login, tls, again })
}

/// Who we say we are, and how that is read again once the files have changed.
fn renewed(how: &How, api: &ApiSettings) -> Result<Access, AccessError> {
    let (how, api_settings) = (how.clone(), api.clone());
    let known = Mutex::new(fingerprint(&how)?);
    let again = Again::by(move || {
        let now = fingerprint(&how)?;
        // Nothing panics while holding it.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return Ok(None);
        }
        let read = access(&api_settings)?;
        *known = now;
        Ok(Some(read))
    });
    Ok(Access {
        again,
        ..access(api)?
    })
}

/// The file, with the upstreams that go there. Reads the template.
fn site(file: &FileSettings, routes: &[Arc<Route>]) -> Result<Site, TargetError> {
    let wrong = |error: &dyn fmt::Display| TargetError::Wrong(error.to_string());
    let layer = routes.first().map_or(Layer::Http, |route| route.layer);
    if let Some(route) = routes.iter().find(|route| route.layer != layer) {
        let (one, other) = (&routes[0].upstream, &route.upstream);
        return Err(TargetError::Wrong(format!(
            "a file is included in http or in stream, and \"{one}\" and \"{other}\" are not of one protocol: give each a file"
        )));
    }
    let template = file.template.as_deref().map(Template::read).transpose();
    let command = |text: &str| text.parse().map_err(|error: String| wrong(&error));
    let settings = file::Settings {
        template: template.map_err(|error| wrong(&error))?.map(Arc::new),
        check: Some(command(&file.check)?),
        reload: command(&file.reload)?,
        min_reload_interval: file.min_reload_interval,
        timeout: file.command_timeout,
        pid: Some(file.pid.clone()),
        proof: file.proof,
        adopt: file.adopt,
        ..file::Settings::new(&file.file, layer)
    };
    let names = routes.iter().map(|route| route.upstream.clone());
    Site::new(settings, names).map_err(|error| wrong(&error))
}

/// A number that changes with what stands in the files that a target needs.
fn read_files(how: &How) -> Result<u64, TargetError> {
    fingerprint(how).map_err(|error| match error {
        AccessError::Unreadable { file, error } => TargetError::Unreadable { file, error },
        other => TargetError::Wrong(other.to_string()),
    })
}

/// The same for who knows that they are about access.
fn fingerprint(how: &How) -> Result<u64, AccessError> {
    let mut hasher = DefaultHasher::new();
    for file in how.files() {
        let mut bytes = Vec::new();
        let opened = File::open(file);
        match opened.and_then(|opened| opened.take(MAX_FILE).read_to_end(&mut bytes)) {
            Ok(_) => bytes.hash(&mut hasher),
            Err(error) => {
                let file = file.to_owned();
                return Err(AccessError::Unreadable { file, error });
            }
        }
    }
    Ok(hasher.finish())
}

impl Target {
    /// Whether it is a file that nginx includes.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::ConfFile(_))
    }

    /// The target called `name`, told as `how` says. Reads the files that are named there, but opens no connection.
    ///
    /// # Errors
    ///
    /// When there is no route, an upstream has two, a file cannot be read, or, for https, the certificates cannot be used.
    pub fn new(name: &str, how: How, routes: Vec<Arc<Route>>) -> Result<Self, TargetError> {
        // First, so that this is told also of a target for which all routes are wrong.
        let (files, kind) = (read_files(&how)?, Kind::of(&how, &routes)?);
        if routes.is_empty() {
            return Err(TargetError::NoRoute(name.into()));
        }
        let mut named = BTreeSet::new();
        for route in &routes {
            if !named.insert((route.layer, &route.upstream)) {
                return Err(TargetError::Twice(route.upstream.clone()));
            }
        }
        Ok(Self {
            name: name.into(),
            files,
            kind,
            how,
            routes,
        })
    }

    /// Whether `other` is told in the same way, whatever is routed there; but a file holds what it was made for.
    pub(super) fn is_told_as(&self, other: &Self) -> bool {
        let upstreams = |target: &Self| -> Vec<_> {
            let routes = target.routes.iter();
            routes.map(|route| route.upstream.clone()).collect()
        };
        let same = (&self.name, &self.how, self.files) == (&other.name, &other.how, other.files);
        let whole = matches!(self.kind, Kind::ConfFile(_));
        same && (!whole || upstreams(self) == upstreams(other))
    }

    /// Its name, for people and for the presence.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is, whatever it is called: two pushers of one target name it alike.
    pub(super) fn identity(&self) -> String {
        identity(&self.how)
    }

    /// How it is told.
    #[must_use]
    pub fn how(&self) -> &How {
        &self.how
    }

    /// What is routed there.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// How many of its upstreams may be converged at once.
    pub(super) fn concurrency(&self) -> usize {
        match self.kind {
            // One reload serves all that change together, so none may wait for another.
            Kind::ConfFile(_) => self.routes.len().max(CONCURRENCY),
            _ => CONCURRENCY,
        }
    }

    /// What makes an upstream of it equal; `None` for a route that it was not made with.
    pub(super) fn driver(&self, route: &Route, cluster: &Cluster) -> Option<Driver> {
        let (layer, upstream, drain) = (route.layer, route.upstream.clone(), route.drain_timeout);
        Some(match &self.kind {
            Kind::Plus(api) => Driver::Plus(Plus::new(api.clone(), layer, upstream, drain)),
            Kind::UpstreamConf(api) => {
                Driver::UpstreamConf(UpstreamConf::new(api.clone(), layer, upstream, drain))
            }
            Kind::ConfFile(site) => Driver::ConfFile(site.upstream(&upstream, drain)?),
            Kind::Vulcand { .. } => Driver::Vulcand(Vulcand::new(self.keys(cluster)?, upstream)),
        })
    }

    /// vulcand's keys, which all its upstreams share.
    fn keys(&self, cluster: &Cluster) -> Option<Arc<Keys>> {
        let Kind::Vulcand {
            prefix,
            scheme,
            keys,
        } = &self.kind
        else {
            return None;
        };
        let made = keys.get_or_init(|| {
            Arc::new(Keys::new(vulcand::Settings {
                cluster: cluster.clone(),
                prefix: prefix.clone(),
                scheme: *scheme,
            }))
        });
        Some(made.clone())
    }

    /// Says, where it is a file that is not sidekick's own, what would be taken over. Changes nothing.
    pub(super) async fn tell_adoption(&self) {
        if let Kind::ConfFile(site) = &self.kind {
            site.tell_adoption().await;
        }
    }

    /// Ends what goes on in it although nobody waits for it any more.
    pub(super) async fn leave(&self) {
        if let Kind::ConfFile(site) = &self.kind {
            site.leave().await;
        }
    }

    /// Counts up whenever the target may have forgotten everything. Never ends.
    pub(super) async fn watch(
        self,
        period: Duration,
        restarts: watch::Sender<u64>,
        cluster: Cluster,
    ) {
        let keys = self.keys(&cluster);
        match self.kind {
            Kind::Plus(api) => plus::watch_nginx(api, period, restarts).await,
            Kind::UpstreamConf(api) => upstream_conf::watch_nginx(api, period, restarts).await,
            Kind::ConfFile(site) => file::watch_nginx(site, period, restarts).await,
            Kind::Vulcand { .. } => match keys {
                Some(keys) => vulcand::watch_keys(keys, restarts).await,
                None => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests;
