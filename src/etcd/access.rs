//! How to get in: user, password and certificates, read from their files whenever a connection is made, so that what was
//! renewed counts from the next connection on.

use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Identity, TlsOptions};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::der;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user's name.
    pub name: String,
    /// How it proves that.
    pub password: Password,
}

/// A password, or where it stands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Password {
    /// The password itself.
    Text(String),
    /// The first line of this file.
    File(PathBuf),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("(a password)"),
            Self::File(file) => write!(f, "{}", file.display()),
        }
    }
}

impl Login {
    pub(super) fn password(&self) -> Result<String, String> {
        match &self.password {
            Password::Text(text) => Ok(text.clone()),
            Password::File(file) => read_password(file),
        }
    }
}

/// The files with certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// Authority that members are checked with; the system's when absent.
    pub ca: Option<PathBuf>,
    /// Certificate to show, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// What the files hold now.
    ///
    /// # Errors
    ///
    /// In words, when one cannot be read or holds something else.
    pub fn read(&self) -> Result<TlsOptions, String> {
        let mut tls = match &self.ca {
            Some(file) => TlsOptions::new()
                .ca_certificate(Certificate::from_pem(read_pem(file, CERTIFICATE)?)),
            None => TlsOptions::new().with_native_roots(),
        };
        if let Some((cert, key)) = &self.identity {
            let (cert, key) = (read_pem(cert, CERTIFICATE)?, read_pem(key, PRIVATE_KEY)?);
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        Ok(tls)
    }

    /// What is wrong with the certificate that is shown, where its times tell.
    pub(super) fn outdated(&self, now: Timestamp) -> Option<String> {
        let (cert, _) = self.identity.as_ref()?;
        let pem = std::fs::read_to_string(cert).ok()?;
        let (from, until) = der::validity(&der::first_certificate(&pem)?)?;
        let file = cert.display();
        if now > until {
            Some(format!("its own certificate {file} expired on {until}"))
        } else if now < from {
            Some(format!(
                "its own certificate {file} is not valid before {from}"
            ))
        } else {
            None
        }
    }
}

/// What a PEM file is to hold, as its first line calls it.
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// A file that holds PEM, of this kind among others.
pub(crate) fn read_pem(file: &Path, kind: &str) -> Result<Vec<u8>, String> {
    let bytes = read(file)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut begins = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN "));
    if begins.any(|label| label.trim_end_matches('-').ends_with(kind)) {
        Ok(bytes)
    } else {
        Err(format!("{}: holds no {kind} in PEM", file.display()))
    }
}

/// A password is a line.
pub(crate) fn read_password(file: &Path) -> Result<String, String> {
    let text = String::from_utf8(read(file)?);
    let text = text.map_err(|error| format!("{}: {}", file.display(), error.utf8_error()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}
