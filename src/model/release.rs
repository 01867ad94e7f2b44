//! An operator's order that an upstream follow its records, without protection.

use jiff::Timestamp;
use serde::Serialize;

use super::codec;
use super::{Nonce, Reason};

/// The value under a release's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Tells releases of one upstream apart: each is applied once.
    pub nonce: Nonce,
    /// When it was given.
    pub since: Timestamp,
}

impl Release {
    /// The value to write: compact JSON, one line.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::json(self)
    }

    /// Parses a value. Unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is no such JSON object.
    pub fn decode(value: &[u8]) -> Result<Self, Reason> {
        let mut fields = codec::parse_object(value)?;
        let (nonce, since) = codec::author(&mut fields)?;
        Ok(Self { nonce, since })
    }
}

#[cfg(test)]
mod tests;
