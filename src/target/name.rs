//! Which upstream of a target.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::model::{NameError, check_name};

/// Where in nginx an upstream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// In `http {}`: requests.
    #[default]
    Http,
    /// In `stream {}`: connections.
    Stream,
}

/// The name of an upstream in nginx: 1 to 253 bytes of `A-Z a-z 0-9 . _ : @ % + ~ [ ] -`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamName(Arc<str>);

impl UpstreamName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UpstreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name("upstream name", text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
