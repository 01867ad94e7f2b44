//! registrator's labels: `SERVICE_*` labels and environment variables of a container. Pure.
//!
//! `SERVICE_NAME` is for all its ports and `SERVICE_80_NAME` for port 80. One port's value beats that for all
//! ports; then a label beats the environment. An empty value counts as unset, and `0`, `false` and `no` turn a flag off.
//! Free pairs come from labels only: the environment of an image also has what its program needs, such as passwords.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::container::Container;
use super::port::ContainerPort;
use crate::util::duration;
use crate::util::sanitize::short;
use crate::util::secret;

/// Their common prefix.
const PREFIX: &str = "SERVICE_";

/// Names with a meaning; all others except `check_…` are free pairs.
const KNOWN: [&str; 6] = ["name", "id", "tags", "ignore", "version", "weight"];

/// The supported checks and their settings.
const CHECKS: [&str; 10] = [
    "check_http",
    "check_https",
    "check_tcp",
    "check_grpc",
    "check_grpc_use_tls",
    "check_cmd",
    "check_http_method",
    "check_interval",
    "check_timeout",
    "check_tls_skip_verify",
];

/// How many names of ignored variables are listed.
const NAMES_SHOWN: usize = 10;

/// A value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelValue {
    /// The value. Foreign text.
    pub value: String,
    /// `label SERVICE_80_NAME`.
    pub source: String,
    /// Whether it is for one port.
    pub about_port: bool,
    is_label: bool,
}

/// Everything that a container sets for one of its ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    said: BTreeMap<String, LabelValue>,
    /// Free pairs in the environment, by name.
    left_out: Vec<String>,
}

/// An invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_text} \"{value}\": expected {expected}")]
pub struct Meaningless {
    source_text: String,
    value: String,
    expected: &'static str,
}

/// The check of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// An HTTP request to the announced address.
    Http {
        /// The path, with its leading slash. Foreign text.
        path: String,
        /// Whether it uses TLS.
        tls: bool,
        /// The method, if not GET. Foreign text.
        method: Option<String>,
        /// Whether any certificate is accepted.
        skip_verify: bool,
    },
    /// A connection to the announced address.
    Tcp,
    /// gRPC's health service at the announced address.
    Grpc {
        /// Whether it uses TLS.
        tls: bool,
    },
    /// A command that must exit with 0. It comes from the image or the container's owner: it is meant to run
    /// **inside** the container, and must never run on the host.
    ContainerExec {
        /// Words as a shell splits them; no shell runs it. Foreign text.
        command: String,
    },
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http {
                path, tls, method, ..
            } => {
                let scheme = if *tls { "https" } else { "http" };
                let method = method.as_deref().unwrap_or("GET");
                write!(f, "{scheme} {method} {}", secret::url(path))
            }
            Self::Tcp => f.write_str("tcp"),
            Self::Grpc { tls: false } => f.write_str("grpc"),
            Self::Grpc { tls: true } => f.write_str("grpc by tls"),
            Self::ContainerExec { command } => {
                write!(f, "in the container: {}", secret::command(command))
            }
        }
    }
}

impl Labels {
    /// The container's settings for this port, or for all of them.
    #[must_use]
    pub fn of(container: &Container, port: Option<ContainerPort>) -> Self {
        let mut labels = Self::default();
        for (name, value) in &container.env {
            labels.add(name, value, false, port);
        }
        for (name, value) in &container.labels {
            labels.add(name, value, true, port);
        }
        labels
    }

    fn add(&mut self, name: &str, value: &str, is_label: bool, port: Option<ContainerPort>) {
        let Some(key) = name.strip_prefix(PREFIX) else {
            return;
        };
        if key.is_empty() || value.is_empty() {
            return;
        }
        let (number, rest) = split_port(key);
        if number.is_some() && number != port.map(|port| port.number.get()) {
            return;
        }
        let said = LabelValue {
            value: value.to_owned(),
            source: format!("{} {}", if is_label { "label" } else { "env" }, short(name)),
            about_port: number.is_some(),
            is_label,
        };
        let rank = |said: &LabelValue| (said.about_port, said.is_label);
        let key = rest.to_ascii_lowercase();
        if !is_label && is_free(&key) {
            self.left_out.push(short(name));
            return;
        }
        if self
            .said
            .get(&key)
            .is_none_or(|old| rank(old) < rank(&said))
        {
            self.said.insert(key, said);
        }
    }

    /// The value of this name, in lower case and without the prefix: `check_http`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&LabelValue> {
        self.said.get(name)
    }

    /// As [`Self::get`], unless the value means no.
    fn flag(&self, name: &str) -> Option<&LabelValue> {
        let no = |said: &&LabelValue| {
            let words = ["0", "false", "no"];
            let value = said.value.trim();
            words.iter().any(|word| value.eq_ignore_ascii_case(word))
        };
        self.get(name).filter(|said| !no(said))
    }

    /// The label or variable that turns announcing off.
    #[must_use]
    pub fn ignored(&self) -> Option<&LabelValue> {
        self.flag("ignore")
    }

    /// The tags; a backslash escapes a comma in a tag.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.get("tags")
            .map_or_else(Vec::new, |said| split_tags(&said.value))
    }

    /// The values of all labels with other names, without the passwords in addresses.
    #[must_use]
    pub fn meta(&self) -> BTreeMap<String, String> {
        let free = self.said.iter().filter(|(name, _)| is_free(name));
        free.map(|(name, said)| (name.clone(), without_userinfo(&said.value)))
            .collect()
    }

    /// The environment's variables with other names, which are not used, as a message; their values may be secrets.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let names = &self.left_out;
        let shown = names.iter().take(NAMES_SHOWN).map(String::as_str);
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMES_SHOWN);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        (!names.is_empty()).then(|| {
            format!(
                "env {shown}{more} is not announced: free attributes are taken from labels only"
            )
        })
    }

    /// The weight.
    ///
    /// # Errors
    ///
    /// [`Meaningless`] for an invalid value.
    pub fn weight(&self) -> Result<Option<u16>, Meaningless> {
        let Some(said) = self.get("weight") else {
            return Ok(None);
        };
        let weight = said.value.trim().parse();
        weight.map(Some).map_err(|_| Meaningless {
            source_text: said.source.clone(),
            value: short(&said.value),
            expected: "a number from 0 to 65535",
        })
    }

    /// Checks that are not supported.
    pub fn unknown_checks(&self) -> impl Iterator<Item = &LabelValue> {
        let unknown =
            |name: &String| name.starts_with("check_") && !CHECKS.contains(&name.as_str());
        self.said
            .iter()
            .filter(move |(name, _)| unknown(name))
            .map(|(_, said)| said)
    }

    /// The checks, each with its source.
    #[must_use]
    pub fn checks(&self) -> Vec<(Check, &LabelValue)> {
        let http = |name: &str, tls: bool| {
            let said = self.get(name)?;
            let slash = if said.value.starts_with('/') { "" } else { "/" };
            let path = format!("{slash}{}", said.value);
            let method = self.get("check_http_method");
            let method = method.map(|said| said.value.clone());
            let skip_verify = tls && self.flag("check_tls_skip_verify").is_some();
            let check = Check::Http {
                path,
                tls,
                method,
                skip_verify,
            };
            Some((check, said))
        };
        let grpc = |said| {
            let tls = self.flag("check_grpc_use_tls").is_some();
            (Check::Grpc { tls }, said)
        };
        let in_container = |said: &'_ LabelValue| Check::ContainerExec {
            command: said.value.clone(),
        };
        let checks = [
            http("check_http", false),
            http("check_https", true),
            self.flag("check_tcp").map(|said| (Check::Tcp, said)),
            self.flag("check_grpc").map(grpc),
            self.get("check_cmd").map(|said| (in_container(said), said)),
        ];
        checks.into_iter().flatten().collect()
    }

    /// `check_interval` or `check_timeout`.
    ///
    /// # Errors
    ///
    /// [`Meaningless`] for an invalid time.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, Meaningless> {
        let Some(said) = self.get(name) else {
            return Ok(None);
        };
        let time = duration::read(&said.value).filter(|time| !time.is_zero());
        time.map(Some).ok_or_else(|| Meaningless {
            source_text: said.source.clone(),
            value: short(&said.value),
            expected: "a time such as 500ms, 10s or 1m",
        })
    }
}

/// Whether a name has no meaning here.
fn is_free(name: &str) -> bool {
    !KNOWN.contains(&name) && !name.starts_with("check_")
}

/// The text without the part before the `@` of an address in it: `postgres://host/db` for `postgres://me:secret@host/db`,
/// and `tcp(host)/db` for `me:secret@tcp(host)/db`.
fn without_userinfo(text: &str) -> String {
    let ends = |it: char| it.is_whitespace() || ",;\"'<>".contains(it);
    let mut kept = String::with_capacity(text.len());
    for word in text.split_inclusive(ends) {
        let (scheme, rest) = match word.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, word),
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        // Without a scheme: a mail address has no password.
        let user = user.filter(|user| scheme.is_some() || user.contains(':'));
        let rest = rest.get(user.map_or(0, |user| user.len() + 1)..);
        if let Some(scheme) = scheme {
            kept.push_str(scheme);
            kept.push_str("://");
        }
        kept.push_str(rest.unwrap_or_default());
    }
    kept
}

/// `80_NAME` is for port 80; `80` alone is a name.
fn split_port(key: &str) -> (Option<u16>, &str) {
    let split = key.split_once('_');
    match split.map(|(number, rest)| (number.parse(), rest)) {
        Some((Ok(number), rest)) if !rest.is_empty() => (Some(number), rest),
        _ => (None, key),
    }
}

fn split_tags(text: &str) -> Vec<String> {
    let mut tags = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(',')) => {
                characters.next();
                push(&mut tags, ',');
            }
            (',', _) => tags.push(String::new()),
            (other, _) => push(&mut tags, other),
        }
    }
    tags.retain(|tag| !tag.is_empty());
    tags
}

fn push(tags: &mut [String], character: char) {
    if let Some(last) = tags.last_mut() {
        last.push(character);
    }
}

#[cfg(test)]
mod tests;
