//! Holds: an instance that is out of rotation for a while.

use jiff::Timestamp;

use super::codec::{self, Object};
use super::{Nonce, Reason};

/// The value under a hold's key. The hold lasts as long as the key does, which hangs on a lease: no reader compares
/// [`Hold::until`] with its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why. Foreign text: to be made [printable](crate::util::sanitize) before it is shown.
    pub reason: String,
    /// When it ends by itself, for people.
    pub until: Option<Timestamp>,
    /// Who asked for it, as `user@host`. Foreign text, as the reason is.
    pub by: Option<String>,
    /// Which process wrote it.
    pub nonce: Option<Nonce>,
}

impl Hold {
    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.field("reason", self.reason.as_str());
        if let Some(until) = self.until {
            object.field("until", until.to_string());
        }
        if let Some(by) = &self.by {
            object.field("by", by.as_str());
        }
        if let Some(nonce) = &self.nonce {
            object.field("nonce", nonce.as_str());
        }
        object.finish()
    }

    /// Reads a value. Unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is no JSON object with a reason, or when a field of the table is something else.
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
