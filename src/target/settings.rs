//! The kinds of target and their settings: one line per driver.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use super::api::{plus, upstream_conf};
use super::driver::{DriverSettings, FromTable, Syntax};
use super::{file, vulcand};
use crate::util::toml::Section;

/// A kind of target, as in `push.toml`.
pub(crate) struct Kind {
    /// The shape of its table.
    pub(crate) syntax: Syntax,
    /// As [`FromTable::read`].
    pub(crate) read: fn(&Section<'_>, Option<&Path>) -> Option<TargetSettings>,
}

macro_rules! drivers {
    ($($(#[$doc:meta])* $name:ident($settings:ty),)+) => {
        /// The settings of a target before it is opened.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum TargetSettings {
            $($(#[$doc])* $name($settings),)+
        }

        impl TargetSettings {
            /// All kinds, in the order of messages.
            pub(crate) const KINDS: &[Kind] = &[
                $(Kind {
                    syntax: <$settings as FromTable>::SYNTAX,
                    read: |section, credentials| {
                        <$settings as FromTable>::read(section, credentials).map(Self::$name)
                    },
                },)+
            ];
        }

        impl Deref for TargetSettings {
            type Target = dyn DriverSettings;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$name(settings) => settings,)+
                }
            }
        }

        impl DerefMut for TargetSettings {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self {
                    $(Self::$name(settings) => settings,)+
                }
            }
        }
    };
}

drivers! {
    /// The upstream API of NGINX Plus.
    Plus(plus::Settings),
    /// The older text API.
    UpstreamConf(upstream_conf::Settings),
    /// A file that nginx includes.
    File(file::Settings),
    /// Keys of etcd that vulcand reads.
    Vulcand(vulcand::Settings),
}
