//! What is known of an API before it is opened.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::api::Api;
use crate::target::api::settings::{ApiSettings, KEYS, REFUSALS};
use crate::target::{
    Driver, DriverSettings, FromTable, Layer, OpenError, Syntax, TargetFlags, UpstreamName,
};
use crate::util::toml::Section;

/// Where an API is, and how to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The API.
    pub api: ApiSettings,
}

impl DriverSettings for Settings {
    fn open(&self, _: &[(Layer, UpstreamName)]) -> Result<Arc<dyn Driver>, OpenError> {
        match Api::new(self.api.clone()) {
            Ok(api) => Ok(Arc::new(api)),
            Err(error) => Err(self.api.open_error(error)),
        }
    }

    fn files(&self) -> Vec<&Path> {
        self.api.credentials.files()
    }

    fn is_local(&self) -> bool {
        self.api.url.is_local()
    }

    fn obey(&mut self, flags: TargetFlags) {
        self.api.obey(flags);
    }
}

impl FromTable for Settings {
    const SYNTAX: Syntax = Syntax {
        table: "nginx",
        title: "[[nginx]]",
        mark: Some("api"),
        keys: &[KEYS],
        refusals: REFUSALS,
    };

    fn read(section: &Section<'_>, credentials: Option<&Path>) -> Option<Self> {
        let api = ApiSettings::read(section, "api", credentials)?;
        Some(Self { api })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.api.url.fmt(f)
    }
}
