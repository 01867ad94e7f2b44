//! `[[nginx]]` and `[[vulcand]]`.

use std::path::{Path, PathBuf};

use super::section::{Refusal, Section};
use super::{ApiSettings, CHECK, FileSettings, How, Login, RELOAD, TargetSettings};
use crate::model::Prefix;
use crate::push::REQUEST_TIMEOUT;
use crate::target::file::{MIN_RELOAD_INTERVAL, PID, Proof, TIMEOUT};
use crate::target::{ApiUrl, vulcand};

/// Which keys a table has.
pub(super) struct Keys {
    pub(super) keys: &'static [&'static str],
    pub(super) refusals: &'static [Refusal],
}

const IN_A_FILE: &str =
    "a secret does not belong in this file; give `password_file` or `bearer_file`";
const ALWAYS_CHECKED: &str =
    "certificates are always checked; give `cacert` where the system does not know the authority";

pub(super) const NGINX: Keys = Keys {
    keys: &[
        "name",
        "api",
        "upstream_conf",
        "file",
        "request_timeout",
        "user",
        "password_file",
        "bearer_file",
        "cacert",
        "cert",
        "key",
        "status",
        "check",
        "reload",
        "template",
        "min_reload_interval",
        "command_timeout",
        "pid",
        "proof",
    ],
    refusals: &[
        ("password", IN_A_FILE),
        ("bearer", IN_A_FILE),
        ("token", IN_A_FILE),
        ("insecure", ALWAYS_CHECKED),
    ],
};

pub(super) const VULCAND: Keys = Keys {
    keys: &["name", "prefix", "scheme"],
    refusals: &[],
};

/// What makes a `[[nginx]]` the kind of target it is; exactly one of them.
const KINDS: [&str; 3] = ["api", "upstream_conf", "file"];

/// The kinds that a key goes with; `None` for keys of all.
fn kinds_of(key: &str) -> Option<&'static [&'static str]> {
    match key {
        "name" | "api" | "upstream_conf" | "file" => None,
        "status" => Some(&["upstream_conf"]),
        "check"
        | "reload"
        | "template"
        | "min_reload_interval"
        | "command_timeout"
        | "pid"
        | "proof" => Some(&["file"]),
        _ => Some(&["api", "upstream_conf"]),
    }
}

/// Reads a `[[nginx]]`.
pub(super) fn nginx(section: &Section<'_>, credentials: Option<&Path>) -> Option<TargetSettings> {
    let given: Vec<_> = KINDS.into_iter().filter(|kind| section.has(kind)).collect();
    // What can be read is read, so that every mistake in it is told.
    let api = api_settings(section, credentials);
    let status = api_url(section, "status");
    let file = file_settings(section);
    let kind = match given.as_slice() {
        [kind] => *kind,
        [] => {
            let text = "[[nginx]]: one of `api`, `upstream_conf` and `file` is needed";
            section.page().missing(section.start(), text);
            return None;
        }
        [.., last] => {
            let at = section.at_key(last);
            let text = "[[nginx]]: only one of `api`, `upstream_conf` and `file` can be given";
            section.page().note(at, text);
            return None;
        }
    };
    for key in NGINX.keys.iter().filter(|key| section.has(key)) {
        let kinds = kinds_of(key).filter(|kinds| !kinds.contains(&kind));
        if let Some(kinds) = kinds {
            let kinds = kinds.join("` or `");
            let text = format!("`{key}` goes with `{kinds}`, and this [[nginx]] has `{kind}`");
            section.page().note(section.at_key(key), text);
        }
    }
    let how = match kind {
        "api" => How::Plus(api?),
        "upstream_conf" => How::UpstreamConf { api: api?, status },
        _ => How::ConfFile(file?),
    };
    Some(TargetSettings {
        name: name(section)?,
        how,
        place: section.place(),
    })
}

/// Reads a `[[vulcand]]`.
pub(super) fn vulcand(section: &Section<'_>) -> Option<TargetSettings> {
    let prefix = match section.has("prefix") {
        true => section.parse::<Prefix>("prefix"),
        false => vulcand::PREFIX.parse().ok(),
    };
    let scheme = or_default(section, "scheme", Default::default, Section::parse);
    Some(TargetSettings {
        name: name(section)?,
        how: How::Vulcand {
            prefix: prefix?,
            scheme: scheme?,
        },
        place: section.place(),
    })
}

/// What is wrong with a name is noted where all names are compared.
fn name(section: &Section<'_>) -> Option<std::sync::Arc<str>> {
    let name = section
        .has("name")
        .then(|| section.text("name"))
        .flatten()?;
    let checked = crate::model::check_name("name", name);
    checked.is_ok().then(|| name.into())
}

/// The value of a key, or what stands for one that is not there; `None` only when it is wrong.
fn or_default<'s, T>(
    section: &Section<'s>,
    key: &str,
    default: impl FnOnce() -> T,
    read: impl FnOnce(&Section<'s>, &str) -> Option<T>,
) -> Option<T> {
    match section.has(key) {
        true => read(section, key),
        false => Some(default()),
    }
}

fn api_url(section: &Section<'_>, key: &str) -> Option<ApiUrl> {
    let text = section.text(key)?;
    let url = section.parse(key)?;
    let login = reqwest::Url::parse(text)
        .is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
    if login {
        section.note(
            key,
            "a login does not belong in a URL; give `user` and `password_file`",
        );
        return None;
    }
    Some(url)
}

fn api_settings(section: &Section<'_>, credentials: Option<&Path>) -> Option<ApiSettings> {
    let key = ["api", "upstream_conf"]
        .into_iter()
        .find(|key| section.has(key));
    let url = key.and_then(|key| api_url(section, key));
    let timeout = or_default(
        section,
        "request_timeout",
        || REQUEST_TIMEOUT,
        Section::time_above_zero,
    );
    let login = login(section, credentials);
    let [cacert, cert, own_key] = ["cacert", "cert", "key"].map(|key| {
        or_default(
            section,
            key,
            || None,
            |section, key| path(section, key).map(Some),
        )
    });
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if section.has(one) && !section.has(other) {
            section
                .page()
                .missing(section.at_key(one), format!("`{one}` needs `{other}`"));
        }
    }
    let plain = key
        .and_then(|key| section.text(key))
        .is_some_and(|url| url.starts_with("http://"));
    for certificate in ["cacert", "cert"] {
        if plain && section.has(certificate) {
            let text =
                format!("`{certificate}` goes with https://, and the URL begins with http://");
            section.page().note(section.at_key(certificate), text);
        }
    }
    Some(ApiSettings {
        url: url?,
        timeout: timeout?,
        login: login?,
        cacert: cacert?,
        identity: cert?.zip(own_key?),
    })
}

fn login(section: &Section<'_>, credentials: Option<&Path>) -> Option<Login> {
    let [password, bearer] = ["password_file", "bearer_file"].map(|key| {
        or_default(
            section,
            key,
            || None,
            |section, key| secret(section, key, credentials).map(Some),
        )
    });
    let user = or_default(
        section,
        "user",
        || None,
        |section, key| {
            let name = section.text(key)?;
            if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
                section.note(
                    key,
                    "a user's name is neither empty nor has it a colon or control characters",
                );
                return None;
            }
            Some(Some(name.to_owned()))
        },
    );
    for (one, other) in [("user", "password_file"), ("password_file", "user")] {
        if section.has(one) && !section.has(other) {
            section
                .page()
                .missing(section.at_key(one), format!("`{one}` needs `{other}`"));
        }
    }
    if section.has("bearer_file") && (section.has("user") || section.has("password_file")) {
        let text = "`bearer_file` and `user`: only one login can be given";
        section.page().note(section.at_key("bearer_file"), text);
    }
    let (user, password, bearer) = (user?, password?, bearer?);
    Some(match (user.zip(password), bearer) {
        (Some((user, password_file)), _) => Login::Basic {
            user,
            password_file,
        },
        (None, Some(file)) => Login::Bearer { file },
        (None, None) => Login::Nobody,
    })
}

/// An absolute path: nobody can say in which folder an agent runs.
fn path(section: &Section<'_>, key: &str) -> Option<PathBuf> {
    let path = Path::new(section.text(key)?);
    if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) {
        section.note(
            key,
            "an absolute path such as \"/etc/sidekick/...\" is expected",
        );
        return None;
    }
    Some(path.to_owned())
}

/// The path of a secret: absolute, or the name of a credential of this systemd unit.
fn secret(section: &Section<'_>, key: &str, credentials: Option<&Path>) -> Option<PathBuf> {
    let text = section.text(key)?;
    let is_name = !text.is_empty() && !text.contains(['/', '\0']) && !text.starts_with('.');
    match credentials {
        Some(folder) if is_name => Some(folder.join(text)),
        None if is_name => {
            section.note(key, "this is no absolute path, and this process has no systemd credentials (LoadCredential=)");
            None
        }
        _ => path(section, key),
    }
}

/// A command as a shell would split it into words.
fn command(section: &Section<'_>, key: &str) -> Option<String> {
    let text = section.text(key)?;
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Some(text.to_owned()),
        Some(_) => {
            section.note(key, "the command is missing");
            None
        }
        None => {
            section.note(key, "a quote is not closed");
            None
        }
    }
}

fn file_settings(section: &Section<'_>) -> Option<FileSettings> {
    let file = section.has("file").then(|| path(section, "file")).flatten();
    let check = or_default(section, "check", || CHECK.to_owned(), command);
    let reload = or_default(section, "reload", || RELOAD.to_owned(), command);
    let template = or_default(
        section,
        "template",
        || None,
        |section, key| path(section, key).map(Some),
    );
    let interval = or_default(
        section,
        "min_reload_interval",
        || MIN_RELOAD_INTERVAL,
        Section::time,
    );
    let timeout = or_default(
        section,
        "command_timeout",
        || TIMEOUT,
        Section::time_above_zero,
    );
    let pid = or_default(section, "pid", || PID.into(), path);
    let proof = or_default(
        section,
        "proof",
        || None,
        |section, key| proof(section, key).map(Some),
    );
    Some(FileSettings {
        file: file?,
        check: check?,
        reload: reload?,
        template: template?,
        min_reload_interval: interval?,
        command_timeout: timeout?,
        pid: pid?,
        proof: proof?,
        adopt: false,
    })
}

/// Where nginx is asked whether it has the file: only this machine may ask.
fn proof(section: &Section<'_>, key: &str) -> Option<Proof> {
    let own = section.text(key)?.parse().ok();
    if own.is_none() {
        section.note(
            key,
            "a loopback address with a port such as \"127.0.0.1:9181\" is expected",
        );
    }
    own
}
