//! `push.toml`: many nginx instances, many upstreams.
//!
//! The text is read into plain settings ([`Config`]) first: pure, every mistake noted with its line and column. What these
//! settings mean for this process is decided by [`File`], so that a reload can compare what was with what is to be.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::route::{DRAIN_TIMEOUT, Route};
use crate::model::{MetaPrefix, Prefix, Protocol, PusherId, ServiceName, Version};
use crate::target::api::{ApiSettings, plus};
use crate::target::{ApiUrl, Layer, TargetSettings, UpstreamName};
use crate::upstream::choose::{Rule, Terms};
use crate::upstream::guard::Limits;
use crate::util::sanitize::printable;
pub use crate::util::toml::{Mistake, Place};

mod file;
mod names;
mod read;
mod target;
mod upstream;

pub use file::{File, FromFlags};
pub use read::read;

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
    /// How long the status record outlives a killed pusher.
    pub ttl: Option<Duration>,
    /// How long the targets count as routing after the pusher was last there.
    pub forget_after: Option<Duration>,
    /// The targets, in the order of the text.
    pub targets: Vec<TargetTable>,
    /// The upstreams, in the order of the text.
    pub upstreams: Vec<UpstreamSettings>,
}

impl Config {
    /// What a small file would say: every route goes to the API at every one of these URLs, by which it is called.
    #[must_use]
    pub fn of_flags(mut urls: Vec<ApiUrl>, routes: &[Route]) -> Self {
        let mut seen = BTreeSet::new();
        urls.retain(|url| seen.insert(url.to_string()));
        let targets = urls.into_iter().map(|url| TargetTable {
            name: url.to_string().into(),
            settings: TargetSettings::Plus(plus::Settings {
                api: ApiSettings::new(url),
            }),
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
pub struct TargetTable {
    /// Its name, for people, for the status record and for `[[upstream]]`.
    pub name: Arc<str>,
    /// What it is, and its settings.
    pub settings: TargetSettings,
    /// Where it begins in the text.
    pub place: Place,
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
    /// The parameters of its servers.
    pub server: Terms,
    /// The parameters of servers with certain tags: the first that matches counts.
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
        let file = printable(self.file.as_os_str().as_encoded_bytes(), 400);
        self.mistakes
            .iter()
            .map(move |mistake| match mistake.place {
                Some(place) => format!("{file}:{place}: {}", mistake.text),
                None => format!("{file}: {}", mistake.text),
            })
    }
}

#[cfg(test)]
mod tests;
