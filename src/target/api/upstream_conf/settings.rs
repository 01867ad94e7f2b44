//! The settings of an API before it is opened.

use std::path::Path;
use std::sync::Arc;

use super::api::ConfApi;
use crate::target::api::access::AccessError;
use crate::target::api::settings::{ApiSettings, ApiTarget, KEYS, REFUSALS, api_url};
use crate::target::{ApiUrl, Driver, FromTable, Syntax};
use crate::util::toml::Section;

/// Where the API is, and how to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where `upstream_conf;` is.
    pub api: ApiSettings,
    /// Where `status;` is, which tells running requests and reloads. Without it a draining server is given its whole time.
    pub status: Option<ApiUrl>,
}

impl ApiTarget for Settings {
    fn api(&self) -> &ApiSettings {
        &self.api
    }

    fn api_mut(&mut self) -> &mut ApiSettings {
        &mut self.api
    }

    fn open_api(&self) -> Result<Arc<dyn Driver>, AccessError> {
        let api = ConfApi::new(self.api.clone(), self.status.clone())?;
        Ok(Arc::new(api))
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
