//! `push.toml`: many nginx instances, many upstreams.
//!
//! The text is parsed into plain settings ([`Config`]) first: pure, with the line and column of every mistake.
//! [`File`] then makes them the settings of this process, so that a reload can compare old and new.

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

/// The contents of a `push.toml`. `None` means not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The name of this pusher.
    pub id: Option<PusherId>,
    /// Prefix of the records.
    pub prefix: Option<Prefix>,
    /// Prefix of sidekick's own keys.
    pub meta_prefix: Option<MetaPrefix>,
    /// How long a change waits for further ones.
    pub debounce: Option<Duration>,
    /// Time between two reads of an upstream without a change.
    pub resync: Option<Duration>,
    /// How long the status record outlives a killed pusher.
    pub ttl: Option<Duration>,
    /// How long the targets count as routing after the pusher was last seen.
    pub forget_after: Option<Duration>,
    /// The targets, in the order of the text.
    pub targets: Vec<TargetTable>,
    /// The upstreams, in the order of the text.
    pub upstreams: Vec<UpstreamSettings>,
}

impl Config {
    /// The settings of a small file: every route goes to the API at every one of these URLs, which is also its name.
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
    /// Its name in messages, in the status record and in `[[upstream]]`.
    pub name: Arc<str>,
    /// Its kind and settings.
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
    /// Its layer in nginx.
    pub layer: Layer,
    /// The protocol of the records that it takes.
    pub protocol: Protocol,
    /// The names of the targets that have it.
    pub targets: Vec<Arc<str>>,
    /// It takes only records of these versions; empty for all.
    pub versions: Vec<Version>,
    /// It takes only records with all of these tags.
    pub tags: Vec<String>,
    /// The limits of the removal guard.
    pub limits: Limits,
    /// How long a draining server may take to finish.
    pub drain_timeout: Duration,
    /// The parameters of its servers.
    pub server: Terms,
    /// The parameters of servers with certain tags: the first match wins.
    pub rules: Vec<Rule>,
    /// Where it begins in the text.
    pub place: Place,
}

impl UpstreamSettings {
    /// The http upstream of all of `service`, without targets; the rest has its defaults.
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

/// A file that cannot be used, with every mistake in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl Invalid {
    /// Each mistake in one line, with file, line and column.
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
