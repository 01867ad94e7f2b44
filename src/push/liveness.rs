//! Whether the protected servers are alive.
//!
//! A server that refuses is dead. A silent server counts as dead only if another one on the same route answers: a load balancer
//! that reaches no server has lost its own network, and drops none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::model::Endpoint;

/// About the time between two attempts at one server.
const PERIOD: Duration = Duration::from_secs(1);
/// Timeout of a connection to a server.
const TIMEOUT: Duration = Duration::from_secs(1);
/// After this many attempts in a row without an answer a server is dead.
const ATTEMPTS: u32 = 3;
/// How many servers are probed at once.
const CONCURRENCY: usize = 64;
/// How many other servers are probed, to know whether this host reaches any.
const WITNESSES: usize = 16;

/// Probes servers until it is dropped.
#[derive(Debug)]
pub(super) struct Liveness {
    candidates: BTreeMap<Endpoint, Probe>,
    witnesses: BTreeMap<Endpoint, Probe>,
    shared: Shared,
    dead: mpsc::UnboundedSender<Endpoint>,
}

#[derive(Debug)]
struct Probe(AbortHandle);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Clone)]
struct Shared {
    permits: Arc<Semaphore>,
    /// When any server last answered, by route.
    answered: Arc<Mutex<BTreeMap<Way, Instant>>>,
}

/// The route to a server, as far as this host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// It does not leave this host.
    Inside,
    /// It starts at this address of the host.
    From(IpAddr),
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The server accepts connections.
    Accepted,
    /// The host refuses the connection.
    Refused,
    /// There is no answer.
    Silence,
    /// Nothing was sent: no name, no network or no resources here. That says nothing about the server.
    Unasked,
}

impl Liveness {
    /// Probes nothing yet; sends each dead server to the receiver, once.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Endpoint>) {
        let (dead, told) = mpsc::unbounded_channel();
        let liveness = Self {
            candidates: BTreeMap::new(),
            witnesses: BTreeMap::new(),
            shared: Shared {
                permits: Arc::new(Semaphore::new(CONCURRENCY)),
                answered: Arc::default(),
            },
            dead,
        };
        (liveness, told)
    }

    /// Probes only these servers from now on; while there are any, also some of the `others`, whose answers show that the
    /// network works.
    pub(super) fn watch(&mut self, candidates: &BTreeSet<Endpoint>, others: &BTreeSet<Endpoint>) {
        self.candidates
            .retain(|endpoint, _| candidates.contains(endpoint));
        for endpoint in candidates {
            if !self.candidates.contains_key(endpoint) {
                let (shared, dead) = (self.shared.clone(), self.dead.clone());
                let probing = probe(endpoint.clone(), shared, dead);
                let task = Probe(tokio::spawn(probing).abort_handle());
                self.candidates.insert(endpoint.clone(), task);
            }
        }
        let wanted = match candidates.is_empty() {
            true => BTreeSet::new(),
            false => some(others.difference(candidates)),
        };
        self.witnesses
            .retain(|endpoint, _| wanted.contains(endpoint));
        for endpoint in wanted {
            if !self.witnesses.contains_key(endpoint) {
                let asking = witness(endpoint.clone(), self.shared.clone());
                let task = Probe(tokio::spawn(asking).abort_handle());
                self.witnesses.insert(endpoint.clone(), task);
            }
        }
    }
}

/// Some of them, spread evenly.
fn some<'a>(all: impl Iterator<Item = &'a Endpoint>) -> BTreeSet<&'a Endpoint> {
    let all: Vec<_> = all.collect();
    let step = all.len().div_ceil(WITNESSES).max(1);
    all.into_iter().step_by(step).collect()
}

impl Shared {
    async fn ask(&self, endpoint: &Endpoint) -> (Answer, Option<Way>) {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let (answer, way) = ask(endpoint).await;
        if let (Answer::Accepted | Answer::Refused, Some(way)) = (answer, way) {
            self.answered().insert(way, Instant::now());
        }
        (answer, way)
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, BTreeMap<Way, Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any server on this route has answered since.
    fn has_answered(&self, way: Way, since: Instant) -> bool {
        self.answered().get(&way).is_some_and(|at| *at >= since)
    }
}

/// Ends when the server is dead.
async fn probe(endpoint: Endpoint, shared: Shared, dead: mpsc::UnboundedSender<Endpoint>) {
    let mut silence: Option<(Instant, u32)> = None;
    loop {
        let asked = Instant::now();
        let (answer, way) = shared.ask(&endpoint).await;
        silence = match answer {
            Answer::Accepted | Answer::Unasked => None,
            Answer::Refused => break,
            Answer::Silence => {
                let (since, attempts) = silence.unwrap_or((asked, 0));
                Some((since, attempts + 1))
            }
        };
        if let (Some((since, ATTEMPTS..)), Some(way)) = (silence, way)
            && shared.has_answered(way, since)
        {
            break;
        }
        pause().await;
    }
    // The receiver is gone only when the process ends.
    let _ = dead.send(endpoint);
}

/// Probes for ever: only an answer counts.
async fn witness(endpoint: Endpoint, shared: Shared) {
    loop {
        shared.ask(&endpoint).await;
        pause().await;
    }
}

/// With jitter, so that not all are probed at one moment.
async fn pause() {
    sleep(PERIOD.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
}

/// Tries every address of the server, until one accepts.
async fn ask(endpoint: &Endpoint) -> (Answer, Option<Way>) {
    let host = endpoint.host.to_string();
    let resolved = timeout(TIMEOUT, lookup_host((host, endpoint.port.get()))).await;
    let Ok(Ok(addresses)) = resolved else {
        return (Answer::Unasked, None);
    };
    let mut told = (Answer::Unasked, None);
    for address in addresses {
        let answer = match timeout(TIMEOUT, TcpStream::connect(address)).await {
            Ok(connected) => Answer::from(connected.map(drop)),
            Err(_) => Answer::Silence,
        };
        let way = way(address);
        match (answer, told.0) {
            (Answer::Accepted, _) => return (answer, way),
            // A server that answers at one of several addresses is not dead.
            (Answer::Silence, _) | (_, Answer::Unasked) => told = (answer, way),
            _ => {}
        }
    }
    told
}

impl From<io::Result<()>> for Answer {
    fn from(connected: io::Result<()>) -> Self {
        match connected.map_err(|error| error.kind()) {
            Ok(()) => Self::Accepted,
            Err(io::ErrorKind::ConnectionRefused) => Self::Refused,
            // The answer is the last router's, or this host's, when no host has the address.
            Err(io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable) => Self::Silence,
            Err(_) => Self::Unasked,
        }
    }
}

/// The route to an address; `None` without one. Sends nothing: a datagram socket only looks up the route.
fn way(address: SocketAddr) -> Option<Way> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(address).ok()?;
    let from = socket.local_addr().ok()?.ip();
    Some(match from == address.ip() || from.is_loopback() {
        true => Way::Inside,
        false => Way::From(from),
    })
}

#[cfg(test)]
mod tests;
