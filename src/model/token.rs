//! Short opaque texts: versions and nonces.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::str::FromStr;

use crate::util::sanitize::short;

/// The longest version or nonce, in bytes.
pub const MAX_TOKEN: usize = 255;

/// Why a text is not a version or nonce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing was given.
    #[error("the {what} is empty")]
    Empty {
        /// What it should have been.
        what: &'static str,
    },
    /// It is longer than [`MAX_TOKEN`].
    #[error("the {what} is {length} bytes long; at most {MAX_TOKEN} are allowed")]
    TooLong {
        /// What it should have been.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// It contains a space, a control character or a character outside ASCII.
    #[error("the {what} \"{text}\" may hold printable ASCII characters only, and no spaces")]
    Character {
        /// What it should have been.
        what: &'static str,
        /// The text given, made printable.
        text: String,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), TokenError> {
    if text.is_empty() {
        return Err(TokenError::Empty { what });
    }
    if text.len() > MAX_TOKEN {
        let length = text.len();
        return Err(TokenError::TooLong { what, length });
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = short(text);
        return Err(TokenError::Character { what, text });
    }
    Ok(())
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to [`MAX_TOKEN`] printable ASCII characters without spaces, so that it can be put into a table, a log line
        /// or a command as it is.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TokenError;

            fn from_str(text: &str) -> Result<Self, TokenError> {
                check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

token!(
    /// The version that an instance runs: an image tag, a git hash, a branch (it may contain `/`).
    Version,
    "version"
);
token!(
    /// Identifies the process that wrote a record.
    Nonce,
    "nonce"
);

impl Nonce {
    /// A new nonce, different from that of every other process.
    #[must_use]
    pub fn fresh() -> Self {
        // The operating system's randomness keys a RandomState; 128 bits of its output are unique enough to tell two
        // processes apart. It is not a secret.
        let (one, two) = (RandomState::new(), RandomState::new());
        Self(format!("{:016x}{:016x}", one.hash_one(1), two.hash_one(2)).into())
    }
}

#[cfg(test)]
mod tests;
