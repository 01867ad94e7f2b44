//! Why a container cannot be announced, and the name of the host that it runs on.

use std::str::FromStr;

use super::labels::Meaningless;
use super::unreachable::Unreachable;
use crate::model::{InstanceName, NameError};
use crate::util::sanitize::short;

/// What a host is called that nobody has given a name, or the beginning of it.
pub(super) const LOCAL: &str = "localhost";

/// What a host is called in the names of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(pub(super) InstanceName);

/// Why a text is no name for a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// It is none at all.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Every host is called so.
    #[error(
        "\"{0}\" says nothing: every host is called so, and their instances would take each other's place"
    )]
    Local(String),
    /// It has a colon, which ends it.
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

/// Why nothing can be announced for a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has no address, or it takes a choice.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A name is none.
    #[error("{source_text}: {error}")]
    Name {
        /// Where it stands.
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
    /// The host's name is none that can be used.
    #[error("the host's name, {0}: give --host-name, or SERVICE/INSTANCE")]
    HostName(HostNameError),
    /// The value of a label or variable means nothing.
    #[error(transparent)]
    Meaningless(#[from] Meaningless),
}

impl Problem {
    /// Whether it may end by itself, without anybody giving something else: only the surroundings lack something.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(unreachable) => unreachable.is_passing(),
            // A host may get its name late in its start.
            Self::NoHostName(_) | Self::HostName(HostNameError::Local(_)) => true,
            _ => false,
        }
    }
}
