//! Logins and certificates for the APIs of targets. No secret appears in a log or on a command line.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity, RequestBuilder};

use crate::target::files::{Unreadable, read};
use crate::util::http;
use crate::util::secret::Secret;

/// Why a login or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// An invalid secret.
    #[error("{}: {reason}", file.display())]
    Secret {
        /// Its source.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An invalid user name.
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
    /// Certificates for a URL without TLS.
    #[error("certificates are given, but the URL is http://")]
    PlainUrl,
    /// Two logins.
    #[error("the URL has a login, and another one is given")]
    TwoLogins,
    /// The certificates do not match, or the system's cannot be loaded.
    #[error("no https: {0}")]
    Tls(String),
}

/// The login and certificates of one target. Secrets and certificates stay in their files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The login.
    pub login: Login,
    /// The CA certificates for the API, a PEM file; `None` for the system's.
    pub cacert: Option<PathBuf>,
    /// The client certificate and its key, as PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// None.
    #[default]
    Nobody,
    /// A user with a password, for nginx's `auth_basic`.
    Basic {
        /// The name.
        user: String,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// A token, as in `Authorization: Bearer TOKEN`.
    Bearer {
        /// The file with the token.
        file: PathBuf,
    },
}

impl Credentials {
    /// The files.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let login = match &self.login {
            Login::Nobody => None,
            Login::Basic { password_file, .. } => Some(password_file),
            Login::Bearer { file } => Some(file),
        };
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        let all = login.into_iter().chain(&self.cacert).chain(identity);
        all.map(PathBuf::as_path).collect()
    }

    /// Reads the files.
    pub(crate) fn read(&self) -> Result<Access, AccessError> {
        let identity = self.identity.as_ref();
        Ok(Access {
            signature: Signature::read(&self.login)?,
            authorities: self.cacert.as_deref().map(authorities).transpose()?,
            identity: identity.map(|(cert, key)| own(cert, key)).transpose()?,
        })
    }
}

/// Whether a name is a valid user name.
pub(crate) fn check_user(name: &str) -> Result<(), AccessError> {
    match name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
        true => Err(AccessError::User),
        false => Ok(()),
    }
}

/// The contents of the files.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) signature: Signature,
    authorities: Option<Vec<Certificate>>,
    identity: Option<Identity>,
}

/// The login of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signature {
    Nobody,
    Basic { user: String, password: Secret },
    Bearer(Secret),
}

impl Signature {
    fn read(login: &Login) -> Result<Self, AccessError> {
        Ok(match login {
            Login::Nobody => Self::Nobody,
            Login::Basic {
                user,
                password_file,
            } => {
                check_user(user)?;
                let (user, password) = (user.clone(), secret(password_file)?);
                Self::Basic { user, password }
            }
            Login::Bearer { file } => {
                let token = secret(file)?;
                if !token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(AccessError::Secret {
                        file: file.clone(),
                        reason: "a token has no characters other than printable ASCII without spaces",
                    });
                }
                Self::Bearer(token)
            }
        })
    }

    /// Adds it to a request.
    pub(crate) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nobody => request,
            Self::Basic { user, password } => request.basic_auth(user, Some(password.reveal())),
            Self::Bearer(token) => request.bearer_auth(token.reveal()),
        }
    }
}

impl Access {
    /// Whether there is a client certificate.
    pub(crate) fn shows_certificate(&self) -> bool {
        self.identity.is_some()
    }

    /// A client for a target, with https or without.
    pub(crate) fn client(&self, https: bool) -> Result<ClientBuilder, AccessError> {
        if !https && (self.authorities.is_some() || self.identity.is_some()) {
            return Err(AccessError::PlainUrl);
        }
        // Do not even load the system's certificates if others are given.
        let mut client = http::client(https && self.authorities.is_none());
        if let Some(authorities) = &self.authorities {
            client = client.tls_certs_only(authorities.clone());
        }
        if let Some(identity) = &self.identity {
            client = client.identity(identity.clone());
        }
        Ok(client)
    }
}

/// One line of text, without the line break at its end.
fn secret(file: &Path) -> Result<Secret, AccessError> {
    let wrong = |reason| AccessError::Secret {
        file: file.to_owned(),
        reason,
    };
    let text = String::from_utf8(read(file)?).map_err(|_| wrong("it is not text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err(wrong("it is empty"))
    } else if text.chars().any(char::is_control) {
        Err(wrong("it has a line break or another control character"))
    } else {
        Ok(text.into())
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

/// The client certificate with its key.
fn own(cert: &Path, key: &Path) -> Result<Identity, AccessError> {
    let mut pem = read(cert)?;
    pem.push(b'\n');
    pem.extend(read(key)?);
    Identity::from_pem(&pem).map_err(|error| AccessError::Pem {
        file: cert.to_owned(),
        reason: format!("with key {}: {}", key.display(), http::cause(&error)),
    })
}

#[cfg(test)]
mod tests;
