//! Login and certificates, read from their files for every connection, so that renewed files are used from the next
//! connection on.

use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Identity, TlsOptions};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::der;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: Password,
}

/// A password, or its file.
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

/// The certificate files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// Authority to check members with; by default, the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// The current contents of the files.
    ///
    /// # Errors
    ///
    /// When one cannot be read or has other contents.
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

    /// What is wrong with the client certificate's dates.
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

/// The label in the first line of a PEM section.
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Reads a PEM file that contains a section of this kind.
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

/// A password is one line.
pub(crate) fn read_password(file: &Path) -> Result<String, String> {
    let text = String::from_utf8(read(file)?);
    let text = text.map_err(|error| format!("{}: {}", file.display(), error.utf8_error()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}
