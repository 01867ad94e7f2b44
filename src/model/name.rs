//! Names that become segments of etcd keys: services, instances, pushers.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::util::secret::value;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 253;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the {what} is empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// It is longer than [`MAX_NAME`].
    #[error("the {what} is {length} bytes long; at most {MAX_NAME} are allowed")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// It is `.` or `..`.
    #[error("the {what} must not be \"{text}\"")]
    Dots {
        /// Which name.
        what: &'static str,
        /// The text given.
        text: String,
    },
    /// It contains a character that names do not allow.
    #[error(
        "the {what} \"{text}\" has a character that is not allowed; letters, digits and ._:@%+~[]- are"
    )]
    Character {
        /// Which name.
        what: &'static str,
        /// The text given, made printable.
        text: String,
    },
    /// `SERVICE/INSTANCE` was expected.
    #[error("\"{text}\" is not SERVICE/INSTANCE: exactly one / belongs between the two names")]
    NotAPair {
        /// The text given, made printable.
        text: String,
    },
}

/// Checks that `text` can be one segment of a key.
pub(crate) fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > MAX_NAME {
        let length = text.len();
        return Err(NameError::TooLong { what, length });
    }
    if text == "." || text == ".." {
        let text = text.to_owned();
        return Err(NameError::Dots { what, text });
    }
    if !text.bytes().all(is_name_byte) {
        let text = value(text);
        return Err(NameError::Character { what, text });
    }
    Ok(())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:@%+~[]-".contains(&byte)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to [`MAX_NAME`] bytes of `A-Z a-z 0-9 . _ : @ % + ~ [ ] -`, but not `.` or `..`. Cheap to clone.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
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

name!(
    /// The name of a service, which may have many instances.
    ServiceName,
    "service name"
);
name!(
    /// The name of one instance of a service.
    InstanceName,
    "instance name"
);
name!(
    /// The name of a pusher, unique among the pushers of one etcd.
    PusherId,
    "pusher id"
);

impl InstanceName {
    /// Whether it has the host's name before a colon, and not only the container's.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.as_str().contains(':')
    }

    /// Whether this name may stand for the instance `other`: that very one, or the one of the container with this
    /// name, `HOST:CONTAINER[:PORT]`.
    #[must_use]
    pub fn means(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        // HOST:PORT is an address.
        if self.is_whole() || other.endpoint().is_some() {
            return false;
        }
        let mut parts = other.as_str().split(':').skip(1);
        parts.next() == Some(self.as_str())
    }
}

/// An instance of a service: `SERVICE/INSTANCE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The service.
    pub service: ServiceName,
    /// The instance of it.
    pub instance: InstanceName,
}

impl FromStr for InstanceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let pair = text.split_once('/').filter(|(_, rest)| !rest.contains('/'));
        let Some((service, instance)) = pair else {
            let text = value(text);
            return Err(NameError::NotAPair { text });
        };
        Ok(Self {
            service: service.parse()?,
            instance: instance.parse()?,
        })
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.instance)
    }
}

#[cfg(test)]
mod tests;
