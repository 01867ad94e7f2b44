//! The load balancers that a pusher feeds, which keep routing when the pusher is silent.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::codec;
use super::reasons::MAX_LISTED;
use super::{Nonce, Prefix, Reason, ServiceName};
use crate::util::sanitize::printable;

/// The longest name of a target, in bytes, without the three dots of one that was cut.
const MAX_TARGET: usize = 400;

/// The longest description of an upstream, in bytes.
const MAX_FED: usize = 4 * MAX_TARGET;

/// The value under a balancer's key: what its targets keep routing, even without the pusher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balancer {
    /// The prefix of the records that the pusher followed.
    pub prefix: Prefix,
    /// The services that it routes.
    pub services: BTreeSet<ServiceName>,
    /// The targets; two pushers of one target use the same name for it. Foreign text where it was read.
    pub targets: BTreeSet<String>,
    /// The upstreams of each service, as by [`Balancer::fed`], unless every target has all of it in the http upstream of
    /// its name. Foreign text where it was read.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub routes: BTreeMap<ServiceName, BTreeSet<String>>,
    /// The process that wrote it.
    pub nonce: Nonce,
    /// When that process started.
    pub since: Timestamp,
}

/// The default upstream of a service.
fn usual(service: &ServiceName) -> String {
    format!("http/{service}")
}

/// The targets up to the limit of a reader, each as it is shown.
fn as_read<'t>(targets: impl Iterator<Item = &'t str>) -> BTreeSet<String> {
    as_shown(targets.take(MAX_LISTED))
}

fn as_shown<'t>(targets: impl Iterator<Item = &'t str>) -> BTreeSet<String> {
    targets.map(|name| printable(name, MAX_TARGET)).collect()
}

impl Balancer {
    /// An upstream of a target, in words that are the same for two pushers that feed it alike. `upstream` describes it
    /// and its records.
    #[must_use]
    pub fn fed(target: &str, upstream: &str) -> String {
        format!("{} {upstream}", printable(target, MAX_TARGET))
    }

    /// These targets as a reader sees them.
    #[must_use]
    pub fn read_back(targets: &BTreeSet<String>) -> BTreeSet<String> {
        as_read(targets.iter().map(String::as_str))
    }

    /// These targets as they are shown, including those beyond a reader's limit.
    #[must_use]
    pub fn shown(targets: &BTreeSet<String>) -> BTreeSet<String> {
        as_shown(targets.iter().map(String::as_str))
    }

    /// The upstreams that it feeds with a service, as by [`Balancer::fed`]; `None` if not all are listed.
    #[must_use]
    pub fn feeds(&self, service: &ServiceName) -> Option<BTreeSet<String>> {
        let told = match self.routes.get(service) {
            Some(told) => told.clone(),
            None => self.usually_feeds(service),
        };
        // Beyond the limit there may be more.
        (!told.is_empty() && told.len() < MAX_LISTED).then_some(told)
    }

    fn usually_feeds(&self, service: &ServiceName) -> BTreeSet<String> {
        let upstream = usual(service);
        let targets = self.targets.iter();
        targets.map(|target| Self::fed(target, &upstream)).collect()
    }

    /// The upstreams of each service, as by [`Balancer::fed`], without the default ones.
    #[must_use]
    pub fn feeding(mut self, fed: BTreeMap<ServiceName, BTreeSet<String>>) -> Self {
        let unusual = fed.into_iter();
        self.routes = unusual
            .filter(|(service, fed)| *fed != self.usually_feeds(service))
            .map(|(service, fed)| (service, fed.into_iter().take(MAX_LISTED).collect()))
            .collect();
        self
    }

    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::json(self)
    }

    /// Reads a value. Unknown fields and services with invalid names are ignored.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is no such JSON object.
    pub fn decode(value: &[u8]) -> Result<Self, Reason> {
        let mut fields = codec::parse_object(value)?;
        let (nonce, since) = codec::author(&mut fields)?;
        let prefix = fields.remove("prefix").ok_or(Reason::Missing("prefix"))?;
        let mut texts = |name: &'static str| match fields.remove(name) {
            None => Err(Reason::Missing(name)),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(Reason::Field(name, "a list of strings")),
        };
        let (services, targets) = (texts("services")?, texts("targets")?);
        let routes = match fields.remove("routes") {
            Some(Value::Object(routes)) => routes,
            None => serde_json::Map::new(),
            Some(_) => return Err(Reason::Field("routes", "an object")),
        };
        let services = services.iter().filter_map(Value::as_str);
        let targets = targets.iter().filter_map(Value::as_str);
        Ok(Self {
            prefix: codec::parsed("prefix", "a prefix", &prefix)?,
            services: services.filter_map(|name| name.parse().ok()).collect(),
            targets: as_read(targets),
            routes: routes.iter().filter_map(read_fed).collect(),
            nonce,
            since,
        })
    }
}

fn read_fed((service, fed): (&String, &Value)) -> Option<(ServiceName, BTreeSet<String>)> {
    let fed = fed.as_array()?.iter().filter_map(Value::as_str);
    let fed = fed.take(MAX_LISTED);
    let fed = fed.map(|text| printable(text, MAX_FED)).collect();
    Some((service.parse().ok()?, fed))
}

#[cfg(test)]
mod tests;
