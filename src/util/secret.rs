//! Text that may contain a secret, and the parts of it that may be shown.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::util::sanitize::short;

/// Replaces a hidden part.
const HIDDEN: &str = "...";

/// Text that may contain a secret: a password, a token, a URL with a login in it. It cannot be printed: it has no
/// `Display`, and its `Debug` shows nothing. [`url`], [`command`] and [`header`] make what may be shown of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, to send or parse it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// What may be shown of a URL, or of a wrong one: no login and no query.
#[must_use]
pub fn url(text: &str) -> String {
    if text.starts_with('/') {
        return cut(text);
    }
    let scheme = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(scheme);
    // A login ends at the last @, even if the URL's author meant the host to begin earlier.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    // A login may come before what only looks like a scheme.
    let scheme = scheme.rsplit_once('@').map_or(scheme, |(_, scheme)| scheme);
    cut(&format!("{scheme}{rest}"))
}

/// Without everything after a `?` or a `#`.
fn cut(text: &str) -> String {
    match text.find(['?', '#']) {
        Some(at) => short(&text[..at]) + &text[at..=at] + HIDDEN,
        None => short(text),
    }
}

/// What may be shown of a parsed URL.
#[must_use]
pub fn of_url(url: &Url) -> String {
    let mut url = url.clone();
    // Fails for URLs that cannot have a login.
    let _ = (url.set_username(""), url.set_password(None));
    cut(url.as_str())
}

/// What may be shown of a value that is probably not a URL: as [`url`] if it may be one.
#[must_use]
pub fn value(text: &str) -> String {
    if text.contains("://") {
        url(text)
    } else {
        short(text)
    }
}

/// A message without the texts that it quotes, except those in `shown`.
#[must_use]
pub fn unquoted(message: &str, shown: &str) -> String {
    let parts = message.split('"').enumerate();
    let parts = parts.map(|(number, part)| match number % 2 {
        1 if !shown.contains(part) => HIDDEN,
        _ => part,
    });
    parts.collect::<Vec<_>>().join("\"")
}

/// What may be shown of a command line: the program.
#[must_use]
pub fn command(text: &str) -> String {
    match text.trim_start().split_once(char::is_whitespace) {
        Some((program, arguments)) if !arguments.trim().is_empty() => {
            format!("{} {HIDDEN}", short(program))
        }
        _ => short(text.trim()),
    }
}

/// What may be shown of a header, `NAME: VALUE`: the name.
#[must_use]
pub fn header(text: &str) -> String {
    match text.split_once(':') {
        // With a space in it, it is not a name, and may be all of the secret.
        Some((name, _)) if is_name(name) => format!("{name}: {HIDDEN}"),
        _ => HIDDEN.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 60 && text.bytes().all(allowed)
}

/// Whether a text contains a URL with a login, or with a token in its query.
#[must_use]
pub fn has_login(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may contain a slash.
        let authority = place.split(['/', '#']).next().unwrap_or_default();
        let before = place
            .rsplit_once('@')
            .and_then(|(login, _)| login.split_once(':'));
        let in_password = before.is_some_and(|(_, rest)| !begins_with_a_port(rest));
        let mut pairs = query.split(['&', ';']);
        let names = |pair: &str| is_credential(pair.split('=').next().unwrap_or_default());
        authority.contains('@') || in_password || pairs.any(names)
    })
}

/// Whether it begins with a port number, up to a path.
fn begins_with_a_port(text: &str) -> bool {
    let port = text.split('/').next().unwrap_or_default();
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a header is for authentication.
#[must_use]
pub fn is_credential(header: &str) -> bool {
    let name = header.split(':').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    ["auth", "cookie", "token", "secret", "key", "password"]
        .iter()
        .any(|word| name.contains(word))
}

/// What may be shown of a probe, from `--probe` or a container's labels.
#[must_use]
pub fn probe(text: &str) -> String {
    match text.strip_prefix("exec:") {
        Some(line) => format!("exec:{}", command(line)),
        None => url(text),
    }
}

#[cfg(test)]
mod tests;
