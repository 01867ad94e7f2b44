//! A daemon's events about containers. Pure.

use bollard::models::{EventMessage, EventMessageTypeEnum};

use super::signal;

/// The actions asked for, in the words of Docker and of Podman. Health checks cause three further events a run;
/// nobody is to be woken by those.
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

/// What happens to networks and concerns a container: it has other addresses or published ports from then on.
pub(super) const NETWORK_ACTIONS: [&str; 2] = ["connect", "disconnect"];

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What happened.
    pub(super) action: Action,
    /// To which container, by its whole id.
    pub(super) id: String,
    /// What that is called now; for an event of a network, what the network is called.
    pub(super) name: Option<String>,
    /// When, in nanoseconds since 1970 by the daemon's clock.
    pub(super) at: i64,
}

/// What happened, as far as it tells more than "look".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The container's process has ended.
    Died {
        /// How.
        code: i64,
    },
    /// A signal was sent to it.
    Signalled {
        /// Which; Podman does not tell.
        number: Option<u8>,
    },
    /// Something that an inspect answer tells better.
    Other,
}

/// `None` for what is no event of a container.
pub(super) fn read(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let attribute = |name: &str| attributes.get(name).map(String::as_str);
    let id = match message.typ {
        // Docker tells it of the network and names the container; Podman tells it of the container.
        Some(EventMessageTypeEnum::NETWORK) => {
            attribute("container").map_or(actor.id, |id| Some(id.to_owned()))
        }
        _ => actor.id,
    };
    let action = match message.action?.as_str() {
        "die" | "died" => {
            let code = attribute("exitCode").or_else(|| attribute("containerExitCode"));
            let code = code.and_then(|code| code.parse().ok());
            // An unknown code is left to the inspect answer.
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
    /// Whether it may concern the container of this id or, if nothing else is known of it, of this name or beginning of an
    /// id. Daemons compare beginnings of names too, and report all networks.
    pub(super) fn concerns(&self, id: Option<&str>, name: &str) -> bool {
        id == Some(&*self.id)
            || self.id.starts_with(name)
            || self.name.as_ref().is_none_or(|own| own == name)
    }
}

/// The notation in which a daemon is asked for events from a time on.
pub(super) fn since(at: i64) -> String {
    let (seconds, nanoseconds) = (at / 1_000_000_000, at % 1_000_000_000);
    format!("{seconds}.{nanoseconds:09}")
}

#[cfg(test)]
mod tests;
