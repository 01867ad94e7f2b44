//! What is known of an API before it is opened.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::api::ConfApi;
use crate::target::api::settings::{ApiSettings, KEYS, REFUSALS, api_url};
use crate::target::{
    ApiUrl, Driver, DriverSettings, FromTable, Layer, OpenError, Syntax, TargetFlags, UpstreamName,
};
use crate::util::toml::Section;

/// Where the API is, and how to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where `upstream_conf;` is.
    pub api: ApiSettings,
    /// Where `status;` is, which tells running requests and reloads. Without it a draining server is given its whole time.
    pub status: Option<ApiUrl>,
}

impl DriverSettings for Settings {
    fn open(&self, _: &[(Layer, UpstreamName)]) -> Result<Arc<dyn Driver>, OpenError> {
        match ConfApi::new(self.api.clone(), self.status.clone()) {
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
        mark: Some("upstream_conf"),
        keys: &[KEYS, &["status"]],
        refusals: REFUSALS,
    };

    fn read(section: &Section<'_>, credentials: Option<&Path>) -> Option<Self> {
        let api = ApiSettings::read(section, "upstream_conf", credentials);
        let status = section.optional("status", api_url);
        Some(Self {
            api: api?,
            status: status?,
        })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.api.url.fmt(f)
    }
}
