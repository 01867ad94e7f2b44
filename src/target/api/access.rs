//! How to get in: logins and certificates for the APIs of targets. No secret shows in a log or on a command line.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::{Certificate, ClientBuilder, Identity, RequestBuilder};

use crate::util::http;
pub use crate::util::secret::Secret;

/// The largest file that is taken for a secret or a certificate, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why there is no way in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What went wrong. Not called a source, as its words are part of this error's own.
        error: std::io::Error,
    },
    /// A secret that cannot be one.
    #[error("{place}: {reason}")]
    Secret {
        /// Where it was to come from.
        place: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A user's name that cannot be one.
    #[error("a user's name is neither empty nor has it a colon or control characters")]
    User,
    /// A file without a certificate, or without a key.
    #[error("{}: {reason}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("a client certificate needs its key, and a key its certificate")]
    HalfIdentity,
    /// Certificates where nothing looks at them.
    #[error("certificates are given, but the URL is http://")]
    PlainUrl,
    /// Two logins.
    #[error("the URL has a login, and another one is given")]
    TwoLogins,
    /// The certificates do not go together, or those of the system cannot be loaded.
    #[error("no https: {0}")]
    Tls(String),
}

impl Secret {
    /// The content of a file, without the line break at its end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or does not hold one line of text.
    pub fn from_file(file: &Path) -> Result<Self, AccessError> {
        let place = file.display().to_string();
        let Ok(text) = String::from_utf8(read(file)?) else {
            let reason = "it is not text";
            return Err(AccessError::Secret { place, reason });
        };
        Self::checked(place, text.trim_end_matches(['\r', '\n']))
    }

    /// The value of a variable of the environment.
    ///
    /// # Errors
    ///
    /// When there is no such variable, or it does not hold one line of text.
    pub fn from_env(name: &str) -> Result<Self, AccessError> {
        let place = format!("environment variable {name}");
        match env::var(name) {
            Ok(text) => Self::checked(place, &text),
            Err(env::VarError::NotPresent) => {
                let reason = "it is not set";
                Err(AccessError::Secret { place, reason })
            }
            Err(env::VarError::NotUnicode(_)) => {
                let reason = "it is not text";
                Err(AccessError::Secret { place, reason })
            }
        }
    }

    fn checked(place: String, text: &str) -> Result<Self, AccessError> {
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.chars().any(char::is_control) {
            "it has a line break or another control character"
        } else {
            return Ok(text.into());
        };
        Err(AccessError::Secret { place, reason })
    }
}

/// Who we say we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login(Kind);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Nobody,
    Basic {
        user: String,
        password: Secret,
    },
    Bearer(Secret),
}

impl Login {
    /// A user with a password, as nginx's `auth_basic` wants it.
    ///
    /// # Errors
    ///
    /// When the user's name cannot be one.
    pub fn basic(user: &str, password: Secret) -> Result<Self, AccessError> {
        if user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()) {
            return Err(AccessError::User);
        }
        let user = user.to_owned();
        Ok(Self(Kind::Basic { user, password }))
    }

    /// A token, as in `Authorization: Bearer TOKEN`.
    ///
    /// # Errors
    ///
    /// When the token has characters that no token has.
    pub fn bearer(token: Secret) -> Result<Self, AccessError> {
        if token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(Kind::Bearer(token)));
        }
        Err(AccessError::Secret {
            place: "the bearer token".to_owned(),
            reason: "it has characters other than printable ASCII without spaces",
        })
    }

    /// Whether we say nothing.
    pub(crate) fn is_none(&self) -> bool {
        self.0 == Kind::Nobody
    }

    /// Says it in a request.
    pub(crate) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.0 {
            Kind::Nobody => request,
            Kind::Basic { user, password } => request.basic_auth(user, Some(password.reveal())),
            Kind::Bearer(token) => request.bearer_auth(token.reveal()),
        }
    }
}

/// The certificates of https.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Who may vouch for the target; `None` for those whom the system trusts.
    authorities: Option<Vec<Certificate>>,
    /// What we show.
    identity: Option<Identity>,
}

impl Tls {
    /// Reads the files: `ca` vouches for the target in place of those whom the system trusts, `cert` and `key` are what
    /// we show. All are PEM.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or does not hold what it should, or when only one of `cert` and `key` is given.
    pub fn read(
        ca: Option<&Path>,
        cert: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Self, AccessError> {
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some(identity(cert, key)?),
            (None, None) => None,
            _ => return Err(AccessError::HalfIdentity),
        };
        Ok(Self {
            authorities: ca.map(authorities).transpose()?,
            identity,
        })
    }

    fn is_none(&self) -> bool {
        self.authorities.is_none() && self.identity.is_none()
    }

    /// Whether the target gets to see a certificate.
    pub(crate) fn shows_certificate(&self) -> bool {
        self.identity.is_some()
    }
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, AccessError> {
    let bad = |reason: String| AccessError::Pem {
        file: file.to_owned(),
        reason,
    };
    let read = Certificate::from_pem_bundle(&read(file)?);
    let certificates = read.map_err(|error| bad(http::cause(&error)))?;
    if certificates.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, AccessError> {
    let mut pem = read(cert)?;
    pem.push(b'\n');
    pem.extend(read(key)?);
    Identity::from_pem(&pem).map_err(|error| AccessError::Pem {
        file: cert.to_owned(),
        reason: format!("with key {}: {}", key.display(), http::cause(&error)),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, AccessError> {
    let mut bytes = Vec::new();
    let opened = File::open(file);
    let read = opened.and_then(|opened| opened.take(MAX_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(AccessError::Unreadable {
            file: file.to_owned(),
            error,
        }),
    }
}

/// How to get in to one target.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who we say we are.
    pub login: Login,
    /// The certificates of https.
    pub tls: Tls,
    /// How both are read again when the target does not let us in.
    pub again: Again,
}

/// Reads what says who we are again; tells nothing where it is as it was.
#[derive(Clone, Default)]
pub struct Again(Option<Arc<Reader>>);

type Reader = dyn Fn() -> Result<Option<Access>, AccessError> + Send + Sync;

impl Again {
    /// By this function, which gives nothing while nothing has changed.
    pub fn by(
        read: impl Fn() -> Result<Option<Access>, AccessError> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// What has changed; nothing where it is never read again.
    pub(crate) fn read(&self) -> Result<Option<Access>, AccessError> {
        self.0.as_ref().map_or(Ok(None), |read| read())
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Again" } else { "Never" })
    }
}

impl Access {
    /// A client for a target that is spoken to with https or without.
    pub(crate) fn client(&self, https: bool) -> Result<ClientBuilder, AccessError> {
        if !https && !self.tls.is_none() {
            return Err(AccessError::PlainUrl);
        }
        let Tls {
            authorities,
            identity,
        } = &self.tls;
        // The system's certificates are not even loaded where others are given.
        let mut client = http::client(https && authorities.is_none());
        if let Some(authorities) = authorities {
            client = client.tls_certs_only(authorities.clone());
        }
        if let Some(identity) = identity {
            client = client.identity(identity.clone());
        }
        Ok(client)
    }
}

#[cfg(test)]
mod tests;
