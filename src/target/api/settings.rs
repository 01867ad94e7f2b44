//! The address of an API, with its login and certificates.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::access::{AccessError, Credentials, Login, check_user};
use super::url::ApiUrl;
use crate::target::driver::{Driver, DriverSettings, OpenError, TargetFlags};
use crate::target::name::{Layer, UpstreamName};
use crate::util::toml::{Refusal, Section};

/// The default timeout of a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The keys of a table about an API, besides the one with its URL.
pub(super) const KEYS: &[&str] = &[
    "request_timeout",
    "user",
    "password_file",
    "bearer_file",
    "cacert",
    "cert",
    "key",
];

pub(super) const REFUSALS: &[Refusal] = &[
    ("password", IN_A_FILE),
    ("bearer", IN_A_FILE),
    ("token", IN_A_FILE),
    ("insecure", ALWAYS_CHECKED),
];
const IN_A_FILE: &str =
    "a secret does not belong in this file; give `password_file` or `bearer_file`";
const ALWAYS_CHECKED: &str =
    "certificates are always checked; give `cacert` where the system does not know the authority";

/// The address of an API, with its login and certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// The URL.
    pub url: ApiUrl,
    /// Timeout of a request.
    pub timeout: Duration,
    /// Login and certificates.
    pub credentials: Credentials,
}

impl ApiSettings {
    /// The API at `url`, without a login.
    #[must_use]
    pub fn new(url: ApiUrl) -> Self {
        Self {
            url,
            timeout: REQUEST_TIMEOUT,
            credentials: Credentials::default(),
        }
    }

    /// Reads a table in which `mark` has the URL.
    pub(super) fn read(section: &Section<'_>, mark: &str, folder: Option<&Path>) -> Option<Self> {
        let url = section.has(mark).then(|| api_url(section, mark)).flatten();
        let timeout = section.or("request_timeout", REQUEST_TIMEOUT, Section::time_above_zero);
        let login = login(section, folder);
        let [cacert, cert, key] =
            ["cacert", "cert", "key"].map(|key| section.optional(key, Section::path));
        section.needs_both("cert", "key");
        let url_text = section.has(mark).then(|| section.text(mark)).flatten();
        let plain = url_text.is_some_and(|url| url.starts_with("http://"));
        for certificate in ["cacert", "cert"] {
            if plain && section.has(certificate) {
                let text =
                    format!("`{certificate}` goes with https://, and the URL begins with http://");
                section.note_key(certificate, text);
            }
        }
        Some(Self {
            url: url?,
            timeout: timeout?,
            credentials: Credentials {
                login: login?,
                cacert: cacert?,
                identity: cert?.zip(key?),
            },
        })
    }
}

/// Settings of a target with an API.
pub(super) trait ApiTarget: fmt::Debug {
    fn api(&self) -> &ApiSettings;

    fn api_mut(&mut self) -> &mut ApiSettings;

    /// Reads the files, but opens no connection.
    fn open_api(&self) -> Result<Arc<dyn Driver>, AccessError>;
}

impl<T: ApiTarget> DriverSettings for T {
    fn open(&self, _: &[(Layer, UpstreamName)]) -> Result<Arc<dyn Driver>, OpenError> {
        let about = |error| OpenError(format!("{}: {error}", self.api().url));
        self.open_api().map_err(about)
    }

    fn place(&self) -> String {
        self.api().url.to_string()
    }

    fn files(&self) -> Vec<&Path> {
        self.api().credentials.files()
    }

    fn is_local(&self) -> bool {
        self.api().url.is_local()
    }

    fn apply_flags(&mut self, flags: TargetFlags) {
        if let Some(timeout) = flags.request_timeout {
            self.api_mut().timeout = timeout;
        }
    }
}

/// A URL without a login.
pub(super) fn api_url(section: &Section<'_>, key: &str) -> Option<ApiUrl> {
    let url: ApiUrl = section.parse(key)?;
    if url.has_login() {
        let text = "a login does not belong in a URL; give `user` and `password_file`";
        section.note(key, text);
        return None;
    }
    Some(url)
}

fn login(section: &Section<'_>, folder: Option<&Path>) -> Option<Login> {
    let [password, bearer] = ["password_file", "bearer_file"]
        .map(|key| section.optional(key, |section, key| secret(section, key, folder)));
    let user = section.optional("user", |section, key| {
        let name = section.text(key)?;
        let checked = check_user(name).inspect_err(|error| section.note(key, error));
        checked.is_ok().then(|| name.to_owned())
    });
    section.needs_both("user", "password_file");
    if section.has("bearer_file") && (section.has("user") || section.has("password_file")) {
        let text = "`bearer_file` and `user`: only one login can be given";
        section.note_key("bearer_file", text);
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

/// The path of a secret: absolute, or the name of a credential of this systemd unit, in `folder`.
fn secret(section: &Section<'_>, key: &str, folder: Option<&Path>) -> Option<PathBuf> {
    let text = section.text(key)?;
    let is_name = !text.is_empty() && !text.contains(['/', '\0']) && !text.starts_with('.');
    match folder {
        Some(folder) if is_name => Some(folder.join(text)),
        None if is_name => {
            section.note(key, "this is no absolute path, and this process has no systemd credentials (LoadCredential=)");
            None
        }
        _ => section.path(key),
    }
}
