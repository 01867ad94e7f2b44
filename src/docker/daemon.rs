//! The daemon's socket.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::{env, fmt, io};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::util::sanitize::short;
use crate::util::secret;

/// Docker's default socket.
const DOCKER: &str = "/var/run/docker.sock";
/// The default socket of root's Podman.
const PODMAN: &str = "/run/podman/podman.sock";

/// Why a text is not the address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// An unknown scheme.
    #[error("\"{0}\": expected unix:///PATH or tcp://HOST:PORT")]
    Scheme(String),
    /// Nothing after the scheme.
    #[error("\"{0}\" names no absolute path")]
    Path(String),
    /// A login, which is not supported and not shown.
    #[error("a login does not belong in it: tcp://HOST:PORT")]
    Login,
    /// No host and port after the scheme.
    #[error("\"{0}\" names no HOST:PORT")]
    HostPort(String),
}

/// One address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `HOST:PORT`, without TLS.
    Tcp(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(address) = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("http://"))
        {
            let address = address.trim_end_matches('/');
            if address.contains('@') {
                return Err(AddressError::Login);
            }
            let port = address.rsplit_once(':').map(|(_, port)| port.parse());
            return match port {
                Some(Ok(1..=u16::MAX)) => Ok(Self::Tcp(address.to_owned())),
                _ => Err(AddressError::HostPort(short(text))),
            };
        }
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.contains("://") {
            Err(AddressError::Scheme(secret::url(text)))
        } else if path.starts_with('/') && path.len() > 1 {
            Ok(Self::Unix(path.into()))
        } else {
            Err(AddressError::Path(short(text)))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// A daemon: at a given address, or at the first default one that exists. Clones use the same one.
#[derive(Debug, Clone)]
pub struct Daemon {
    candidates: Arc<[Address]>,
    /// The address that answered first. It stays: another daemon has other containers, and would report that
    /// ours does not exist.
    chosen: Arc<OnceLock<usize>>,
}

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Daemon {
    /// The daemon at this address.
    #[must_use]
    pub fn at(address: Address) -> Self {
        Self::first_of(vec![address])
    }

    /// The default addresses: Docker's socket, then those of root's and the user's Podman.
    #[must_use]
    pub fn local() -> Self {
        let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::first_of(usual_places(runtime_dir.as_deref()))
    }

    fn first_of(candidates: Vec<Address>) -> Self {
        Self {
            candidates: candidates.into(),
            chosen: Arc::default(),
        }
    }

    fn candidates(&self) -> &[Address] {
        let chosen = self.chosen.get().and_then(|at| self.candidates.get(*at));
        chosen.map_or(&self.candidates, std::slice::from_ref)
    }

    /// Connects to the first address at which something listens; the error is about the first one that exists,
    /// or the very first.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut failure: Option<io::Error> = None;
        for (at, address) in self.candidates().iter().enumerate() {
            match open(address).await {
                Ok(stream) => {
                    self.chosen.get_or_init(|| at);
                    return Ok(stream);
                }
                // A socket that refuses belongs to a daemon that starts or has died: no reason to
                // use another one.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// `HOST:PORT`, if it is reached over a network.
    pub(super) fn remote(&self) -> Option<&str> {
        match self.candidates().first() {
            Some(Address::Tcp(address)) => Some(address),
            _ => None,
        }
    }

    /// The `Host` header.
    pub(super) fn host(&self) -> &str {
        self.remote().unwrap_or("localhost")
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.candidates().iter().enumerate() {
            let or = if at == 0 { "" } else { " or " };
            write!(f, "{or}{address}")?;
        }
        Ok(())
    }
}

fn usual_places(runtime_dir: Option<&Path>) -> Vec<Address> {
    let own = runtime_dir.map(|folder| folder.join("podman/podman.sock"));
    let paths = [Some(DOCKER.into()), Some(PODMAN.into()), own];
    paths.into_iter().flatten().map(Address::Unix).collect()
}

async fn open(address: &Address) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}

#[cfg(test)]
mod tests;
