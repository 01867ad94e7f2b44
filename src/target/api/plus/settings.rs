//! The settings of an API before it is opened.

use std::path::Path;
use std::sync::Arc;

use super::api::Api;
use crate::target::api::access::AccessError;
use crate::target::api::settings::{ApiSettings, ApiTarget, KEYS, REFUSALS};
use crate::target::{Driver, FromTable, Syntax};
use crate::util::toml::Section;

/// The address of an API, with the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The API.
    pub api: ApiSettings,
}

impl ApiTarget for Settings {
    fn api(&self) -> &ApiSettings {
        &self.api
    }

    fn api_mut(&mut self) -> &mut ApiSettings {
        &mut self.api
    }

    fn open_api(&self) -> Result<Arc<dyn Driver>, AccessError> {
        Ok(Arc::new(Api::new(self.api.clone())?))
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
