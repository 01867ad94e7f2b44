//! Text that may hold a secret, and how much of it may be shown.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::util::sanitize::short;

/// What stands for the part that is not shown.
const HIDDEN: &str = "...";

/// Text that may hold a secret: a password, a token, a URL with a login in it. There is no way to print it: it has no
/// `Display`, and its `Debug` shows nothing. What people may see of it is made by [`url`], [`command`] or [`header`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for who sends it or reads what it means.
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

/// What may be shown of a URL, or of what was meant to be one: no login and no query.
#[must_use]
pub fn url(text: &str) -> String {
    if text.starts_with('/') {
        return cut(text);
    }
    let scheme = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(scheme);
    // A login ends at the last @, wherever the URL's author thought that its host begins.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    // A login may have got before what only looks like a scheme.
    let scheme = scheme.rsplit_once('@').map_or(scheme, |(_, scheme)| scheme);
    cut(&format!("{scheme}{rest}"))
}

/// Without what comes behind a `?` or a `#`.
fn cut(text: &str) -> String {
    match text.find(['?', '#']) {
        Some(at) => short(&text[..at]) + &text[at..=at] + HIDDEN,
        None => short(text),
    }
}

/// What may be shown of a URL that was read.
#[must_use]
pub fn of_url(url: &Url) -> String {
    let mut url = url.clone();
    // Fails for URLs that cannot have a login.
    let _ = (url.set_username(""), url.set_password(None));
    cut(url.as_str())
}

/// What may be shown of a value that is probably none: like [`url`] where it may be one.
#[must_use]
pub fn value(text: &str) -> String {
    if text.contains("://") {
        url(text)
    } else {
        short(text)
    }
}

/// A message without what it quotes, unless that stands in `shown`.
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
        // With a space in it, it is no name, and may be all of the secret.
        Some((name, _)) if is_name(name) => format!("{name}: {HIDDEN}"),
        _ => HIDDEN.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 60 && text.bytes().all(allowed)
}

/// Whether a text has a URL in it that says who comes: a login, or a token in its query.
#[must_use]
pub fn has_login(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold a slash.
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

/// Whether the digits of a port stand there, up to a path.
fn begins_with_a_port(text: &str) -> bool {
    let port = text.split('/').next().unwrap_or_default();
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a header is there to let somebody in.
#[must_use]
pub fn is_credential(header: &str) -> bool {
    let name = header.split(':').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    ["auth", "cookie", "token", "secret", "key", "password"]
        .iter()
        .any(|word| name.contains(word))
}

/// What may be shown of a probe, as `--probe` and the labels of a container spell it.
#[must_use]
pub fn probe(text: &str) -> String {
    match text.strip_prefix("exec:") {
        Some(line) => format!("exec:{}", command(line)),
        None => url(text),
    }
}

#[cfg(test)]
mod tests;
