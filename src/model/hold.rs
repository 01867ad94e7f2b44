//! Holds: an instance that is out of rotation for a while.

use jiff::Timestamp;
use serde::Serialize;

use super::codec;
use super::{Nonce, Reason};

/// The value under a hold's key. The hold lasts as long as the key, which has a lease: readers do not compare
/// [`Hold::until`] with their own clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Why. Foreign text: make it [printable](crate::util::sanitize) before showing it.
    pub reason: String,
    /// When it ends, for display only.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub until: Option<Timestamp>,
    /// Who set it, as `user@host`. Foreign text.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub by: Option<String>,
    /// The process that wrote it.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub nonce: Option<Nonce>,
}

impl Hold {
    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::json(self)
    }

    /// Reads a value. Unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is not a JSON object with a reason, or when a field has the wrong type.
    pub fn decode(value: &[u8]) -> Result<Self, Reason> {
        let mut fields = codec::parse_bounded(value)?;
        let mut take = |name| fields.remove(name).filter(|value| !value.is_null());
        let reason = take("reason").ok_or(Reason::Missing("reason"))?;
        let (until, by, nonce) = (take("until"), take("by"), take("nonce"));
        Ok(Self {
            reason: codec::parsed("reason", "a string", &reason)?,
            until: codec::optional("until", "an RFC 3339 time", until)?,
            by: codec::optional("by", "a string", by)?,
            nonce: codec::optional("nonce", "a nonce", nonce)?,
        })
    }
}

#[cfg(test)]
mod tests;
