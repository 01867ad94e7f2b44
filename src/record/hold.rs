//! Holds: an instance that is out of rotation for a while.

use jiff::Timestamp;

use super::codec::{self, Object};
use super::{Nonce, Reason};

/// The value under a hold's key. The hold lasts as long as the key does, which hangs on a lease: no reader compares
/// [`Hold::until`] with its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why. Foreign text: to be made [printable](crate::printable) before it is shown.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hold() -> Hold {
        Hold {
            reason: "disk full, see T-17".to_owned(),
            until: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            by: Some("eve@ops1".to_owned()),
            nonce: Some("n1".parse().unwrap()),
        }
    }

    #[test]
    fn a_hold_is_one_line_of_json_in_the_contracts_order() {
        let text = String::from_utf8(hold().encode()).unwrap();
        assert_eq!(
            text,
            r#"{"reason":"disk full, see T-17","until":"2026-01-02T03:04:05Z","by":"eve@ops1","nonce":"n1"}"#
        );
    }

    #[test]
    fn a_hold_written_by_hand_needs_a_reason_only() {
        let read = Hold::decode(br#" {"reason":"disk", "ticket":7, "by":null} "#).unwrap();
        let expected = Hold {
            reason: "disk".to_owned(),
            until: None,
            by: None,
            nonce: None,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_hold_is_refused_with_a_reason() {
        for (text, named) in [
            ("", "JSON"),
            ("disk full", "JSON"),
            ("[]", "object"),
            ("{}", "\"reason\" is missing"),
            (r#"{"reason":7}"#, "\"reason\""),
            (r#"{"reason":"x","until":"tomorrow"}"#, "\"until\""),
            (r#"{"reason":"x","until":7}"#, "\"until\""),
            (r#"{"reason":"x","by":["eve"]}"#, "\"by\""),
            (r#"{"reason":"x","nonce":"a b"}"#, "\"nonce\""),
        ] {
            let reason = Hold::decode(text.as_bytes()).unwrap_err().to_string();
            assert!(reason.contains(named), "{text}: {reason}");
        }
        let large = format!(r#"{{"reason":"{}"}}"#, "x".repeat(codec::MAX_VALUE));
        let reason = Hold::decode(large.as_bytes()).unwrap_err();
        assert!(matches!(reason, Reason::TooLarge(_)), "{reason}");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            reason: String,
            until in proptest::option::of(0_i64..4_000_000_000),
            by: Option<String>,
        ) {
            let until = until.map(|second| Timestamp::from_second(second).unwrap());
            let hold = Hold { reason, until, by, nonce: None };
            let value = hold.encode();
            prop_assert!(!value.contains(&b'\n'));
            prop_assert_eq!(Hold::decode(&value).unwrap(), hold);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Hold::decode(&bytes);
        }
    }
}
