//! Where the daemon listens.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::{env, fmt, io};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::printable::short;
use crate::secret;

/// Where Docker listens unless told otherwise.
const DOCKER: &str = "/var/run/docker.sock";
/// Where root's Podman does.
const PODMAN: &str = "/run/podman/podman.sock";

/// Why a text names no daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A scheme that is not spoken here.
    #[error("\"{0}\": expected unix:///PATH or tcp://HOST:PORT")]
    Scheme(String),
    /// Nothing behind the scheme.
    #[error("\"{0}\" names no absolute path")]
    Path(String),
    /// A login, which cannot be used and is not shown.
    #[error("a login does not belong in it: tcp://HOST:PORT")]
    Login,
    /// No host and port behind the scheme.
    #[error("\"{0}\" names no HOST:PORT")]
    HostPort(String),
}

/// One place where a daemon may listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `HOST:PORT`, in the clear.
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

/// A daemon: the one address that was named, or the first that is there. Clones agree on which.
#[derive(Debug, Clone)]
pub struct Daemon {
    candidates: Arc<[Address]>,
    /// The one that answered first. It stays: another daemon has other containers, and would say of ours that
    /// it does not exist.
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

    /// The usual places: Docker's socket, then those of root's and the user's Podman.
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

    /// Opens a connection to the first address at which something listens; the error is about the first that is
    /// there, or the very first when none is.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut failure: Option<io::Error> = None;
        for (at, address) in self.candidates().iter().enumerate() {
            match open(address).await {
                Ok(stream) => {
                    self.chosen.get_or_init(|| at);
                    return Ok(stream);
                }
                // A socket that is there but refuses is a daemon that starts or has died: not a reason to
                // take another one.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// `HOST:PORT`, where it is reached over a network.
    pub(super) fn remote(&self) -> Option<&str> {
        match self.candidates().first() {
            Some(Address::Tcp(address)) => Some(address),
            _ => None,
        }
    }

    /// What goes into the `Host` header.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_as_docker_host_has_them() {
        for (text, shown) in [
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("/run/docker.sock", "unix:///run/docker.sock"),
            ("tcp://10.0.0.5:2375", "tcp://10.0.0.5:2375"),
            ("tcp://[::1]:2375/", "tcp://[::1]:2375"),
            ("http://dock:2375", "tcp://dock:2375"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for text in [
            "",
            "unix://",
            "unix://run/x",
            "/",
            "docker.sock",
            "tcp://host",
            "tcp://host:0",
            "tcp://host:x",
            "tcp://me:secret@host:2375",
            "ssh://me@host",
            "https://host:2376",
            "fd://",
            "npipe:////./pipe/x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn docker_comes_before_podman_and_root_before_the_user() {
        let daemon = Daemon::first_of(usual_places(Some(Path::new("/run/user/7"))));
        assert_eq!(
            daemon.to_string(),
            "unix:///var/run/docker.sock or unix:///run/podman/podman.sock \
             or unix:///run/user/7/podman/podman.sock"
        );
        assert_eq!(usual_places(None).len(), 2);
    }

    #[tokio::test]
    async fn a_daemon_that_answered_once_is_not_exchanged_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let places = ["docker", "podman"].map(place).map(Address::Unix);
        let daemon = Daemon::first_of(places.to_vec());
        let error = daemon.connect().await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);

        let podman = tokio::net::UnixListener::bind(place("podman")).unwrap();
        daemon.connect().await.unwrap();
        let _docker = tokio::net::UnixListener::bind(place("docker")).unwrap();
        assert_eq!(daemon.clone().to_string(), places[1].to_string());
        daemon.connect().await.unwrap();

        drop(podman);
        let error = daemon.connect().await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_addresses_come_back(
            text in any::<String>(), near in "(unix://|tcp://|http://)?/?[a-z0-9.:/]{0,30}"
        ) {
            for text in [text, near] {
                match text.parse::<Address>() {
                    Ok(address) => prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address)),
                    Err(error) => prop_assert!(error.to_string().len() < 250),
                }
            }
        }
    }
}
