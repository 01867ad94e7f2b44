//! Why a container cannot be announced, and the name of the host that it runs on.

use std::str::FromStr;

use super::labels::Meaningless;
use super::unreachable::Unreachable;
use crate::model::{InstanceName, NameError};
use crate::util::sanitize::short;

/// Default names of hosts that nobody has named, or their beginning.
pub(super) const LOCAL: &str = "localhost";

/// The host's name in the names of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(pub(super) InstanceName);

/// Why a text is not usable as a host's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// It is not a valid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Every host has this name.
    #[error(
        "\"{0}\" says nothing: every host is called so, and their instances would take each other's place"
    )]
    Local(String),
    /// It has a colon, which would end it.
    #[error("\"{0}\" has a colon, and the container's name begins behind one")]
    Colon(String),
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let name: InstanceName = text.parse()?;
        let beginning = text.get(..LOCAL.len()).unwrap_or_default();
        if beginning.eq_ignore_ascii_case(LOCAL) {
            return Err(HostNameError::Local(short(text)));
        }
        if text.contains(':') {
            return Err(HostNameError::Colon(short(text)));
        }
        Ok(Self(name))
    }
}

/// Why a container cannot be announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has no address, or several to choose from.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A name is invalid.
    #[error("{source_text}: {error}")]
    Name {
        /// Its source.
        source_text: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// The image has no name, or several.
    #[error(
        "the service cannot be told from the image, {0}: give SERVICE/INSTANCE, or the container a label SERVICE_NAME"
    )]
    NoService(String),
    /// The host has no name.
    #[error("what the host is called is not known ({0}): give --host-name, or SERVICE/INSTANCE")]
    NoHostName(String),
    /// The host's name is not usable.
    #[error("the host's name, {0}: give --host-name, or SERVICE/INSTANCE")]
    HostName(HostNameError),
    /// The value of a label or variable is invalid.
    #[error(transparent)]
    Meaningless(#[from] Meaningless),
}

impl Problem {
    /// Whether it may end by itself, because only the surroundings are not ready.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(unreachable) => unreachable.is_passing(),
            // A host may get its name late while it starts.
            Self::NoHostName(_) | Self::HostName(HostNameError::Local(_)) => true,
            _ => false,
        }
    }
}
