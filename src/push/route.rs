//! Which records go to which upstream.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{NameError, Protocol, ServiceName};
use crate::target::{Layer, UpstreamName};
use crate::upstream::choose::Selection;
use crate::upstream::guard::Limits;
use crate::upstream::pool::Pool;

/// The default drain timeout of a server.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// An upstream of a target.
pub(super) type Place = (Layer, UpstreamName);

/// The records of an upstream, and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The upstream.
    pub upstream: UpstreamName,
    /// Its layer in nginx.
    pub layer: Layer,
    /// The service.
    pub service: ServiceName,
    /// Which of its records are taken, and their servers' parameters.
    pub selection: Selection,
    /// The limits of the removal guard.
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

    /// The identity of an upstream in a target, which has each once.
    pub(super) fn place(&self) -> Place {
        (self.layer, self.upstream.clone())
    }

    /// The upstream in messages: those of `stream {}` are marked.
    pub(super) fn name(&self) -> String {
        let upstream = &self.upstream;
        match self.layer {
            Layer::Http => upstream.to_string(),
            Layer::Stream => format!("stream/{upstream}"),
        }
    }

    /// The upstream, and its selection of records if it does not take all of them.
    pub(super) fn in_words(&self) -> String {
        let layer = match self.layer {
            Layer::Http => "http",
            Layer::Stream => "stream",
        };
        let mut words = format!("{layer}/{}", self.upstream);
        let Selection {
            protocol,
            versions,
            tags,
            ..
        } = &self.selection;
        if *protocol == Protocol::Udp {
            words += " udp";
        }
        let versions: BTreeSet<_> = versions.iter().map(ToString::to_string).collect();
        let tags: BTreeSet<_> = tags.iter().cloned().collect();
        for (name, all) in [("versions", versions), ("tags", tags)] {
            if !all.is_empty() {
                let all: Vec<_> = all.into_iter().collect();
                words += &format!(" {name}={}", all.join(","));
            }
        }
        words
    }

    /// The part that decides the desired state.
    pub(super) fn pool(&self) -> Pool {
        Pool::new(self.service.clone(), self.selection.clone())
    }
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("UPSTREAM or UPSTREAM=SERVICE is expected: {0}")]
pub struct RouteError(#[from] NameError);

impl FromStr for Route {
    type Err = RouteError;

    /// Parses `UPSTREAM[=SERVICE]`; by default, the service has the name of the upstream.
    fn from_str(text: &str) -> Result<Self, RouteError> {
        let (upstream, service) = text.split_once('=').unwrap_or((text, text));
        Ok(Self::new(upstream.parse()?, service.parse()?))
    }
}

#[cfg(test)]
mod tests;
