//! `push.toml`: many nginx instances, many upstreams.
//!
//! The text is read into plain settings ([`Config`]) first: pure, every mistake noted with its line and column. What these
//! settings mean for this process is decided by [`File`], so that a reload can compare what was with what is to be.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{DRAIN_TIMEOUT, REQUEST_TIMEOUT, Route};
use crate::model::{MetaPrefix, Prefix, Protocol, PusherId, ServiceName, Version};
use crate::target::file::Proof;
use crate::target::vulcand::Scheme;
use crate::target::{ApiUrl, Layer, UpstreamName};
use crate::upstream::desired::{Limits, Rule, Terms};

mod file;
mod page;
mod read;
mod section;
mod target;
mod upstream;

pub use file::{File, Overrides};
pub use page::{Mistake, Place};
pub use read::read;

/// What checks the files of nginx, where nothing else is said.
pub const CHECK: &str = "nginx -t";
/// What makes nginx read its files again, where nothing else is said.
pub const RELOAD: &str = "nginx -s reload";

/// What a `push.toml` says. What is `None` is not said there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The name of this pusher.
    pub id: Option<PusherId>,
    /// Where records lie.
    pub prefix: Option<Prefix>,
    /// Where sidekick's own keys lie.
    pub meta_prefix: Option<MetaPrefix>,
    /// How long a change waits for others to follow.
    pub debounce: Option<Duration>,
    /// After how long an upstream is read without a change.
    pub resync: Option<Duration>,
    /// How long the presence outlives a killed pusher.
    pub ttl: Option<Duration>,
    /// How long the targets count as routing after the pusher was last there.
    pub forget_after: Option<Duration>,
    /// The targets, in the order of the text.
    pub targets: Vec<TargetSettings>,
    /// The upstreams, in the order of the text.
    pub upstreams: Vec<UpstreamSettings>,
}

impl Config {
    /// What a small file would say: every route goes to the API at every one of these URLs, by which it is called.
    #[must_use]
    pub fn of_flags(mut urls: Vec<ApiUrl>, routes: &[Route]) -> Self {
        let mut seen = BTreeSet::new();
        urls.retain(|url| seen.insert(url.to_string()));
        let targets = urls.into_iter().map(|url| TargetSettings {
            name: url.to_string().into(),
            how: How::Plus(ApiSettings::open(url, REQUEST_TIMEOUT)),
            place: Place::default(),
        });
        let targets: Vec<_> = targets.collect();
        let upstreams = routes.iter().map(|route| UpstreamSettings {
            targets: targets.iter().map(|target| target.name.clone()).collect(),
            ..UpstreamSettings::new(route.upstream.clone(), route.service.clone())
        });
        Self {
            upstreams: upstreams.collect(),
            targets,
            ..Self::default()
        }
    }
}

/// One `[[nginx]]` or `[[vulcand]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSettings {
    /// Its name, for people, for the presence and for `[[upstream]]`.
    pub name: Arc<str>,
    /// How it is told.
    pub how: How,
    /// Where it begins in the text.
    pub place: Place,
}

/// How a target is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Over the upstream API of NGINX Plus.
    Plus(ApiSettings),
    /// Over the older text API.
    UpstreamConf {
        /// Where it is, and how to get in.
        api: ApiSettings,
        /// Where nginx tells its state, if anywhere.
        status: Option<ApiUrl>,
    },
    /// In a file that nginx includes.
    ConfFile(FileSettings),
    /// In keys of etcd that vulcand reads.
    Vulcand {
        /// What all its keys begin with.
        prefix: Prefix,
        /// How vulcand reaches the servers.
        scheme: Scheme,
    },
}

impl How {
    /// The files that must be read for it. Of a file that is written, only the template.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Plus(api) | Self::UpstreamConf { api, .. } => api.files(),
            Self::ConfFile(file) => file.template.as_deref().into_iter().collect(),
            Self::Vulcand { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for How {
    /// Where the target is, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plus(api) | Self::UpstreamConf { api, .. } => write!(f, "{}", api.url),
            Self::ConfFile(file) => f.write_str(&shown(&file.file)),
            Self::Vulcand { prefix, .. } => write!(f, "{prefix} in etcd"),
        }
    }
}

/// Where an API is, and how to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where.
    pub url: ApiUrl,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Who we say we are.
    pub login: Login,
    /// Who vouches for the API, as a file of PEM; `None` for those whom the system trusts.
    pub cacert: Option<PathBuf>,
    /// The certificate that we show, and its key, as files of PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ApiSettings {
    /// The API at `url`, without a login.
    #[must_use]
    pub fn open(url: ApiUrl, timeout: Duration) -> Self {
        Self {
            url,
            timeout,
            login: Login::Nobody,
            cacert: None,
            identity: None,
        }
    }

    fn files(&self) -> Vec<&Path> {
        let login = match &self.login {
            Login::Nobody => None,
            Login::Basic { password_file, .. } => Some(password_file),
            Login::Bearer { file } => Some(file),
        };
        let (cert, key) = self
            .identity
            .as_ref()
            .map(|(cert, key)| (cert, key))
            .unzip();
        let all = [login, self.cacert.as_ref(), cert, key];
        all.into_iter().flatten().map(PathBuf::as_path).collect()
    }

    /// Whether anybody may come in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.login == Login::Nobody && self.cacert.is_none() && self.identity.is_none()
    }
}

/// Who we say we are. Secrets stay in their files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// Nothing is said.
    #[default]
    Nobody,
    /// A user with a password, as nginx's `auth_basic` wants it.
    Basic {
        /// The name.
        user: String,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// A token, as in `Authorization: Bearer TOKEN`.
    Bearer {
        /// The file with the token.
        file: PathBuf,
    },
}

/// A file that nginx includes, and how nginx is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// The file.
    pub file: PathBuf,
    /// The command that says whether nginx would take it.
    pub check: String,
    /// The command that makes nginx take it.
    pub reload: String,
    /// The template that it is made with; `None` for the built-in one.
    pub template: Option<PathBuf>,
    /// The least time between two reloads.
    pub min_reload_interval: Duration,
    /// How long a command may take.
    pub command_timeout: Duration,
    /// Where nginx tells its process id.
    pub pid: PathBuf,
    /// Where nginx is asked whether it has the file, if anywhere: an address of this machine.
    pub proof: Option<Proof>,
    /// Whether a file that is not sidekick's own is taken over. Said by a flag alone.
    pub adopt: bool,
}

/// One `[[upstream]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name in every target.
    pub name: UpstreamName,
    /// The service that it takes.
    pub service: ServiceName,
    /// Where in nginx it is.
    pub layer: Layer,
    /// The records of which protocol it takes.
    pub protocol: Protocol,
    /// The names of the targets that have it.
    pub targets: Vec<Arc<str>>,
    /// It takes only records of these versions; empty for all.
    pub versions: Vec<Version>,
    /// It takes only records with all of these tags.
    pub tags: Vec<String>,
    /// How far it may follow its records.
    pub limits: Limits,
    /// How long a draining server may take to finish.
    pub drain_timeout: Duration,
    /// What its servers are told.
    pub server: Terms,
    /// What servers with certain tags are told: the first that fits counts.
    pub rules: Vec<Rule>,
    /// Where it begins in the text.
    pub place: Place,
}

impl UpstreamSettings {
    /// The http upstream that takes all of `service` and goes nowhere yet; as shipped in all else.
    #[must_use]
    pub fn new(name: UpstreamName, service: ServiceName) -> Self {
        Self {
            name,
            service,
            layer: Layer::Http,
            protocol: Protocol::Tcp,
            targets: Vec::new(),
            versions: Vec::new(),
            tags: Vec::new(),
            limits: Limits::default(),
            drain_timeout: DRAIN_TIMEOUT,
            server: Terms::default(),
            rules: Vec::new(),
            place: Place::default(),
        }
    }
}

/// A file that cannot be used, with all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl Invalid {
    /// Each mistake in one line, with the file, the line and the column.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let file = shown(&self.file);
        self.mistakes
            .iter()
            .map(move |mistake| match mistake.place {
                Some(place) => format!("{file}:{place}: {}", mistake.text),
                None => format!("{file}: {}", mistake.text),
            })
    }
}

/// A path as people may see it.
pub(super) fn shown(path: &Path) -> String {
    crate::util::sanitize::printable(path.as_os_str().as_encoded_bytes(), 400)
}

#[cfg(test)]
mod tests;
