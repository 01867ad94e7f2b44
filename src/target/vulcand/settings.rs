//! Where vulcand reads, and the scheme of its servers.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::Keys;
use crate::model::Prefix;
use crate::target::{Driver, DriverSettings, FromTable, Layer, OpenError, Syntax, UpstreamName};
use crate::util::toml::Section;

/// Where vulcand reads where nothing else is said.
pub const PREFIX: &str = "/vulcand";

/// How vulcand speaks to servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    /// http.
    #[default]
    Http,
    /// https.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Why a text is no scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected http or https")]
pub struct SchemeError;

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let known = [Self::Http, Self::Https];
        let found = known.into_iter().find(|scheme| scheme.as_str() == text);
        found.ok_or(SchemeError)
    }
}

/// Where vulcand reads, and the scheme of its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where in etcd: [`PREFIX`] as shipped.
    pub prefix: Prefix,
    /// How vulcand speaks to servers.
    pub scheme: Scheme,
}

impl DriverSettings for Settings {
    fn open(&self, _: &[(Layer, UpstreamName)]) -> Result<Arc<dyn Driver>, OpenError> {
        Ok(Arc::new(Keys::new(self.clone())))
    }

    fn place(&self) -> String {
        format!("{} in etcd", self.prefix)
    }

    fn without_streams(&self) -> Option<&'static str> {
        Some("vulcand")
    }

    fn own_keys(&self) -> Option<&Prefix> {
        Some(&self.prefix)
    }
}

impl FromTable for Settings {
    const SYNTAX: Syntax = Syntax {
        table: "vulcand",
        title: "[[vulcand]]",
        mark: None,
        keys: &[&["prefix", "scheme"]],
        refusals: &[],
    };

    fn read(section: &Section<'_>, _: Option<&Path>) -> Option<Self> {
        let prefix = match section.has("prefix") {
            true => section.parse("prefix"),
            false => PREFIX.parse().ok(),
        };
        let scheme = section.or("scheme", Scheme::default(), Section::parse);
        Some(Self {
            prefix: prefix?,
            scheme: scheme?,
        })
    }
}
