//! A daemon's events about containers. Pure.

use bollard::models::{EventMessage, EventMessageTypeEnum};

use super::signal;

/// The event types to subscribe to, of Docker and of Podman. Health checks cause three more events a run, which
/// are left out.
pub(super) const ACTIONS: [&str; 15] = [
    "start",
    "restart",
    "die",
    "died",
    "kill",
    "stop",
    "oom",
    "pause",
    "unpause",
    "rename",
    "update",
    "destroy",
    "remove",
    "health_status",
    "create",
];

/// Network events that concern a container: its addresses or published ports have changed.
pub(super) const NETWORK_ACTIONS: [&str; 2] = ["connect", "disconnect"];

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What happened.
    pub(super) action: Action,
    /// The container's id.
    pub(super) id: String,
    /// Its current name; for a network event, the network's name.
    pub(super) name: Option<String>,
    /// When, in nanoseconds since 1970 by the daemon's clock.
    pub(super) at: i64,
}

/// The kind of event, as far as it says more than "look".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The container's process has ended.
    Died {
        /// Its exit code.
        code: i64,
    },
    /// A signal was sent to it.
    Signalled {
        /// Which; Podman does not say.
        number: Option<u8>,
    },
    /// Anything that inspect shows better.
    Other,
}

/// `None` if it is not an event of a container.
pub(super) fn read(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let attribute = |name: &str| attributes.get(name).map(String::as_str);
    let id = match message.typ {
        // Docker reports it for the network and names the container; Podman reports it for the container.
        Some(EventMessageTypeEnum::NETWORK) => {
            attribute("container").map_or(actor.id, |id| Some(id.to_owned()))
        }
        _ => actor.id,
    };
    let action = match message.action?.as_str() {
        "die" | "died" => {
            let code = attribute("exitCode").or_else(|| attribute("containerExitCode"));
            let code = code.and_then(|code| code.parse().ok());
            // An unknown code is left to inspect.
            code.map_or(Action::Other, |code| Action::Died { code })
        }
        "kill" => Action::Signalled {
            number: attribute("signal").and_then(signal::number),
        },
        _ => Action::Other,
    };
    let seconds = || message.time?.checked_mul(1_000_000_000);
    Some(Event {
        action,
        id: id?,
        name: attribute("name").map(str::to_owned),
        at: message
            .time_nano
            .or_else(seconds)
            .unwrap_or_default()
            .max(0),
    })
}

impl Event {
    /// Whether it may be about the container with this id or, if the id is not known, with this name or beginning of an
    /// id. Daemons also match beginnings of names, and report all networks.
    pub(super) fn concerns(&self, id: Option<&str>, name: &str) -> bool {
        id == Some(&*self.id)
            || self.id.starts_with(name)
            || self.name.as_ref().is_none_or(|own| own == name)
    }
}

/// A time in the daemon's notation for `since`.
pub(super) fn since(at: i64) -> String {
    let (seconds, nanoseconds) = (at / 1_000_000_000, at % 1_000_000_000);
    format!("{seconds}.{nanoseconds:09}")
}

#[cfg(test)]
mod tests;
