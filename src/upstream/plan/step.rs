//! The steps that make an upstream as desired.

use std::fmt;
use std::num::NonZeroU16;

use super::setting::Setting;
use crate::model::Endpoint;
use crate::upstream::server::Parameters;

/// nginx's id of a server in its upstream. Valid until nginx reloads: never kept from one reading to the next.
pub type Id = u64;

/// What a step sets. `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// The share of the traffic.
    pub weight: Option<NonZeroU16>,
    /// Whether it takes no traffic.
    pub down: Option<bool>,
    /// Whether it drains.
    pub drain: Option<bool>,
    /// Other parameters. Never whether it is a backup: nginx cannot change that.
    pub parameters: Parameters,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            self.weight.map(|weight| format!("weight={weight}")),
            self.down.map(|down| format!("down={down}")),
            self.drain.map(|drain| format!("drain={drain}")),
        ];
        let settings = Setting::of(&self.parameters).map(|setting| setting.to_string());
        let said: Vec<_> = flags.into_iter().flatten().chain(settings).collect();
        f.write_str(&said.join(" "))
    }
}

/// Why a server is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No record names it.
    NoRecord,
    /// It has no more requests.
    Drained,
    /// It did not finish in time.
    TimedOut,
    /// The upstream has it twice.
    Surplus,
    /// Another one with its address has replaced it, as a backup or as a normal server.
    Replaced,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRecord => "no record names it",
            Self::Drained => "drained",
            Self::TimedOut => "the drain timeout is over",
            Self::Surplus => "it is there twice",
            Self::Replaced => "another one has taken its place",
        })
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add a server.
    Add {
        /// Its address.
        endpoint: Endpoint,
        /// Its share of the traffic.
        weight: NonZeroU16,
        /// Whether it takes no traffic for now.
        down: bool,
        /// Its parameters.
        parameters: Parameters,
    },
    /// Change a server.
    Change {
        /// Its id.
        id: Id,
        /// Its address.
        endpoint: Endpoint,
        /// What to set.
        change: Change,
    },
    /// Drain a server.
    Drain {
        /// Its id.
        id: Id,
        /// Its address.
        endpoint: Endpoint,
    },
    /// Remove a server.
    Remove {
        /// Its id.
        id: Id,
        /// Its address, printable.
        server: String,
        /// Its address, if a record can name it.
        endpoint: Option<Endpoint>,
        /// Why.
        cause: Cause,
    },
    /// Rewrite a file in which something else than a server differs.
    Write {
        /// The file, printable.
        file: String,
    },
}

impl Step {
    /// The address or the file of the step, printable.
    #[must_use]
    pub fn server(&self) -> String {
        match self {
            Self::Add { endpoint, .. }
            | Self::Change { endpoint, .. }
            | Self::Drain { endpoint, .. } => endpoint.to_string(),
            Self::Remove { server, .. } => server.clone(),
            Self::Write { file } => file.clone(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add {
                endpoint,
                weight,
                down,
                parameters,
            } => {
                let down = if *down { " down=true" } else { "" };
                write!(f, "add {endpoint} weight={weight}{down}")?;
                Setting::of(parameters).try_for_each(|setting| write!(f, " {setting}"))
            }
            Self::Change {
                endpoint, change, ..
            } => write!(f, "change {endpoint} {change}"),
            Self::Drain { endpoint, .. } => write!(f, "drain {endpoint}"),
            Self::Remove { server, cause, .. } => write!(f, "remove {server} ({cause})"),
            Self::Write { file } => write!(f, "write {file} anew"),
        }
    }
}
