//! Unit files for one backend, made from those in `units/`: pure.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use crate::util::duration::whole_seconds;
use crate::util::sanitize::short;

const SERVICE: &str = include_str!("../../units/sidekick@.service");
const FLEET: &str = include_str!("../../units/sidekick-fleet@.service");
const PODMAN: &str = include_str!("../../units/podman.conf");
const BACKEND: &str = include_str!("../../units/quadlet/backend.container");
const BACKEND_SIDEKICK: &str = include_str!("../../units/quadlet/backend-sidekick.container");

/// The installed program, as in the units.
const PROGRAM: &str = "/usr/local/bin/sidekick";
/// The longest name of a unit, in bytes.
const MAX_NAME: usize = 255;

/// Why a text is not the name of a service unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitNameError {
    /// It has a character that unit names do not have.
    #[error("\"{0}\" is not the name of a unit: letters, digits and :-_.\\@ are allowed")]
    Character(String),
    /// It is another kind of unit.
    #[error("\"{0}\" is not a service")]
    NotAService(String),
    /// It is empty or too long.
    #[error("a unit's name has 1 to {MAX_NAME} bytes")]
    Length,
}

/// The name of a service unit, without `.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName(String);

impl FromStr for UnitName {
    type Err = UnitNameError;

    fn from_str(text: &str) -> Result<Self, UnitNameError> {
        const OTHERS: [&str; 6] = [
            ".socket",
            ".target",
            ".timer",
            ".mount",
            ".path",
            ".container",
        ];
        let name = text.strip_suffix(".service").unwrap_or(text);
        if name.is_empty() || name.len() + ".service".len() > MAX_NAME {
            return Err(UnitNameError::Length);
        }
        if OTHERS.iter().any(|ending| name.ends_with(ending)) {
            return Err(UnitNameError::NotAService(short(text)));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        if !name.bytes().all(allowed) {
            return Err(UnitNameError::Character(short(text)));
        }
        Ok(Self(name.to_owned()))
    }
}

impl std::fmt::Display for UnitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// The values that differ between two backends' units.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The unit of the backend, without `.service`.
    pub backend: UnitName,
    /// The arguments of `sidekick announce`.
    pub arguments: Vec<String>,
    /// The longest time between two signs of progress.
    pub slowest: Duration,
    /// How long leaving takes at most.
    pub leaving: Duration,
    /// The socket that it needs.
    pub socket: Socket,
}

/// The daemon that a sidekick of a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// None, or one that needs no special rights.
    Any,
    /// Docker's, by its group.
    Docker,
    /// Root's Podman.
    Podman,
}

/// The unit of a sidekick; for a cluster that fleet schedules, or for this host.
#[must_use]
pub fn service(settings: &Settings, fleet: bool) -> String {
    let template = if fleet { FLEET } else { SERVICE };
    let body = without_head(template);
    let command = format!("{PROGRAM} announce {}", join(&settings.arguments));
    let filled = fill(body, |line| match line.split_once('=') {
        Some(("ExecStart", _)) => Some(format!("ExecStart={command}")),
        Some(("WatchdogSec", shipped)) => {
            // Twice that, or systemd kills a healthy agent.
            Some(at_least("WatchdogSec", shipped, settings.slowest * 2))
        }
        Some(("TimeoutStopSec", shipped)) => {
            Some(at_least("TimeoutStopSec", shipped, settings.leaving))
        }
        Some(("SupplementaryGroups", _)) if settings.socket != Socket::Docker => None,
        _ => Some(line.replace("%i", &settings.backend.0)),
    });
    let mut text = format!("# {}-sidekick.service\n\n{filled}", settings.backend);
    if settings.socket == Socket::Podman {
        text.push('\n');
        text.push_str(without_head(PODMAN));
    }
    text
}

/// A template without its first lines, which explain the installation.
fn without_head(template: &str) -> &str {
    template
        .split_once("\n\n")
        .map_or(template, |(_, body)| body)
}

/// A backend and its sidekick as containers of Podman's Quadlet: the file names and contents.
#[must_use]
pub fn quadlet(settings: &Settings, image: &str, publish: Option<&str>) -> [(String, String); 2] {
    let name = settings.backend.0.as_str();
    let backend = fill(BACKEND, |line| match line.split_once('=') {
        Some(("Image", _)) => Some(format!("Image={}", escape(image))),
        Some(("PublishPort", _)) => publish.map(|ports| format!("PublishPort={}", escape(ports))),
        _ => Some(named(line, name)),
    });
    let stop = settings.leaving.as_secs() + 5;
    let sidekick = fill(BACKEND_SIDEKICK, |line| match line.split_once('=') {
        Some(("Exec", _)) => Some(format!("Exec=announce {}", join(&settings.arguments))),
        Some(("TimeoutStopSec", shipped)) => {
            let limit = Duration::from_secs(stop);
            Some(at_least("TimeoutStopSec", shipped, limit))
        }
        Some(("PodmanArgs", _)) => {
            let limit = settings.leaving.as_secs().max(25);
            Some(format!("PodmanArgs=--stop-timeout={limit}"))
        }
        _ => Some(named(line, name)),
    });
    [
        (format!("{name}.container"), backend),
        (format!("{name}-sidekick.container"), sidekick),
    ]
}

/// A line of a Quadlet template for another backend. In a comment, the word alone is not its name.
fn named(line: &str, name: &str) -> String {
    if !line.starts_with('#') {
        return line.replace("backend", name);
    }
    let names = ["backend.container", "backend.service", "backend-sidekick"];
    names.into_iter().fold(line.to_owned(), |line, known| {
        line.replace(known, &known.replace("backend", name))
    })
}

/// Fills in a template line by line. A dropped directive takes the comment above it along.
fn fill(template: &str, mut line_of: impl FnMut(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut comment = 0;
    for line in template.lines() {
        if !line.starts_with('#') {
            let filled = line_of(line);
            match filled {
                Some(line) => {
                    // Writing to a String cannot fail.
                    let _ = writeln!(text, "{line}");
                    comment = text.len();
                }
                None => text.truncate(comment),
            }
        } else if let Some(line) = line_of(line) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// The directive with the template's time, or a longer one.
fn at_least(directive: &str, shipped: &str, needed: Duration) -> String {
    let seconds = whole_seconds(needed);
    let known = shipped.trim_end_matches('s').parse().unwrap_or(0);
    format!("{directive}={}s", seconds.max(known))
}

/// Arguments of a command line in a unit.
fn join(arguments: &[String]) -> String {
    let quoted: Vec<_> = arguments.iter().map(|argument| quote(argument)).collect();
    quoted.join(" ")
}

/// One argument for `ExecStart=`: specifiers and variables are escaped, and everything that is not plain is quoted.
#[must_use]
pub fn quote(argument: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@+=:,./~-".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        return Cow::Borrowed(argument);
    }
    let mut quoted = String::from("\"");
    for character in argument.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            character if character.is_control() => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(quoted, "\\x{byte:02x}");
                }
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// Escapes a value outside of command lines: only specifiers are special there.
fn escape(value: &str) -> String {
    value.replace('%', "%%")
}

#[cfg(test)]
mod tests;
