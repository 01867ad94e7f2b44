//! Names that become segments of etcd keys: services, instances, pushers.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::secret::value;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 253;

/// Why a text is no name.
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
    /// It holds a character that names do not have.
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

/// Checks that `text` can stand between two slashes of a key.
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
    /// The name of a service: what clients ask for, however many instances answer.
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
    /// Whether it says more than a container's name: that of the host, which stands before a colon.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.as_str().contains(':')
    }

    /// Whether somebody who says this name may mean the instance `other`: that very one, or the one of the container that is
    /// called so, `HOST:CONTAINER[:PORT]`.
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

/// Which instance of which service: `SERVICE/INSTANCE`.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_field_are_accepted() {
        for name in [
            "website",
            "nginx1",
            "example.com",
            "10.10.10.123:8081",
            "[2001:db8::5]:80",
            "web@1",
            "host:app:8080",
            "...",
            &"a".repeat(MAX_NAME),
        ] {
            assert_eq!(name.parse::<InstanceName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_would_break_a_key_or_a_line_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a\n",
            "ä",
            "a\0",
            "a\"",
            &"a".repeat(254),
        ] {
            assert!(name.parse::<ServiceName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_instance_id_is_exactly_two_names() {
        let id: InstanceId = "website/nginx1".parse().unwrap();
        assert_eq!(id.service.as_str(), "website");
        assert_eq!(id.instance.as_str(), "nginx1");
        assert_eq!(id.to_string(), "website/nginx1");
        for text in ["", "website", "website/", "/nginx1", "a/b/c", "a//b", "/"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_containers_name_means_its_instances_on_every_host() {
        let means = |name: &str, other: &str| {
            let [name, other] = [name, other].map(|it| it.parse::<InstanceName>().unwrap());
            name.means(&other)
        };
        for other in ["web1", "h1:web1", "h1:web1:80", "h1:web1:53:udp"] {
            assert!(means("web1", other), "{other}");
        }
        for other in [
            "web2",
            "web1:web2",
            "h1:web12",
            "h1:x:web1",
            ":",
            "[::1]:80",
        ] {
            assert!(!means("web1", other), "{other}");
        }
        assert!(!means("80", "web1:80") && !means("h1:web1", "h1:web1:80"));
    }

    #[test]
    fn an_error_shows_foreign_text_escaped_and_short() {
        let error = format!("\x1b[2J{}", "x".repeat(200))
            .parse::<ServiceName>()
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("\\x1b[2J"), "{text}");
        assert!(text.len() < 260, "{text}");
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_a_name_or_a_short_printable_error(text in any::<String>(), near in "[a-z._:@%+~/ -]{0,300}") {
            for text in [text, near] {
                match text.parse::<ServiceName>() {
                    Ok(name) => {
                        prop_assert_eq!(name.as_str(), &text);
                        prop_assert!(text.len() <= MAX_NAME && !text.contains('/'));
                        let id: InstanceId = format!("{text}/{text}").parse().unwrap();
                        prop_assert_eq!(id.to_string().parse::<InstanceId>().unwrap(), id);
                    }
                    Err(error) => {
                        let shown = error.to_string();
                        prop_assert!(shown.len() < 300 && shown.is_ascii() && !shown.contains('\n'), "{}", shown);
                    }
                }
                let _ = text.parse::<InstanceId>().map_err(|error| error.to_string());
            }
        }
    }
}
