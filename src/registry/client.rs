//! One connection to one member of the cluster at a time, rotating when it fails.
//!
//! etcd-client spreads calls over all endpoints and does not fail over, so each client here is
//! given a single endpoint, and [`Cluster::failed`] moves on to the next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient, LeaseClient, TlsOptions, WatchClient};
use tokio::time::timeout;

use super::Error;
use crate::backoff::Backoff;

/// How long one call to etcd may take before the next member is asked.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest message that is accepted, bytes: a page of a listing, or many changes at once.
const MAX_MESSAGE: usize = 64 << 20;
/// How long connecting to a member may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between HTTP/2 pings. etcd closes connections that ping more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long a ping may stay without an answer.
const PING_TIMEOUT: Duration = Duration::from_secs(4);

/// Where etcd is and how to get in. Every part is validated before.
#[derive(Clone, Default)]
pub struct Settings {
    /// At least one, as `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// Name and password.
    pub user: Option<(String, String)>,
    /// Certificates, when any endpoint is `https`.
    pub tls: Option<TlsOptions>,
    /// Whether a certificate is among them that is shown to etcd.
    pub shows_certificate: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

/// The etcd cluster. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    current: Mutex<Current>,
    /// Held while connecting, so that clones do not open a connection each.
    connecting: tokio::sync::Mutex<()>,
    /// How many watches have lost sight of etcd.
    blind: AtomicUsize,
}

#[derive(Debug, Default)]
struct Current {
    /// Index into the endpoints.
    member: usize,
    /// Counts the rotations.
    generation: u64,
    connection: Option<Connection>,
}

/// A connection to one member.
#[derive(Clone)]
pub struct Connection {
    client: Arc<Client>,
    endpoint: Arc<str>,
    /// Whether it speaks TLS and shows no certificate.
    anonymous: bool,
    /// Tells connections apart, so that a late complaint does not end a younger one.
    generation: u64,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// For reading and writing keys.
    #[must_use]
    pub fn kv(&self) -> KvClient {
        let kv = self.client.kv_client();
        kv.max_decoding_message_size(MAX_MESSAGE)
    }

    /// For watching keys.
    #[must_use]
    pub fn watches(&self) -> WatchClient {
        let watches = self.client.watch_client();
        watches.max_decoding_message_size(MAX_MESSAGE)
    }

    /// For granting, renewing and revoking leases.
    #[must_use]
    pub fn leases(&self) -> LeaseClient {
        self.client.lease_client()
    }

    /// Which member this is.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Runs one call with the usual time limit, [`CALL_TIMEOUT`].
    ///
    /// # Errors
    /// [`Error::Etcd`] with etcd's answer, or [`Error::Silent`] when none came in time.
    pub fn call<'a, T: 'a>(
        &'a self,
        call: impl Future<Output = Result<T, etcd_client::Error>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'a {
        // gRPC calls are futures of many kilobytes; boxed here once, they stay out of everybody's tasks.
        let call = Box::pin(call);
        async move {
            match timeout(CALL_TIMEOUT, call).await {
                Ok(answer) => answer.map_err(|source| self.error(source)),
                Err(_) => Err(Error::Silent {
                    endpoint: self.endpoint.to_string(),
                    after: CALL_TIMEOUT,
                }),
            }
        }
    }

    /// An error of this member.
    pub(crate) fn error(&self, source: etcd_client::Error) -> Error {
        Error::Etcd {
            endpoint: self.endpoint.to_string(),
            error: Box::new(source),
            anonymous: self.anonymous,
        }
    }

    /// An answer of this member that lacks a part.
    pub(crate) fn incomplete(&self, part: &'static str) -> Error {
        Error::Incomplete {
            endpoint: self.endpoint.to_string(),
            part,
        }
    }
}

impl Cluster {
    /// A cluster that is not connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // Agents of one host would otherwise all sit on the first member.
        let member = match settings.endpoints.len() {
            0 | 1 => 0,
            several => fastrand::usize(..several),
        };
        Self(Arc::new(Shared {
            settings,
            current: Mutex::new(Current {
                member,
                ..Current::default()
            }),
            connecting: tokio::sync::Mutex::new(()),
            blind: AtomicUsize::new(0),
        }))
    }

    /// One more watch has lost sight of etcd; whether it is the first.
    pub(super) fn lose_sight(&self) -> bool {
        self.0.blind.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// One of them has it in sight again, or looks no more; whether it was the last.
    pub(super) fn regain_sight(&self) -> bool {
        self.0.blind.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// The connection in use, or a new one.
    ///
    /// # Errors
    /// When the endpoint is malformed or, with a user, when the member does not authenticate.
    /// Without a user nothing is sent yet, so an unreachable member shows at the first call.
    pub async fn connection(&self) -> Result<Connection, Error> {
        let _connecting = self.0.connecting.lock().await;
        let (member, generation) = {
            let current = self.current();
            if let Some(connection) = &current.connection {
                return Ok(connection.clone());
            }
            (current.member, current.generation)
        };
        match self.connect(member, generation).await {
            Ok(connection) => {
                self.current().connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.rotate_from(generation);
                Err(error)
            }
        }
    }

    /// Hears that a call over `connection` failed with `error`. When another member may do better,
    /// the next [`connection`](Self::connection) is a new one to the next endpoint.
    pub fn failed(&self, connection: &Connection, error: &Error) {
        if error.is_about_the_connection() {
            self.rotate_from(connection.generation);
        }
    }

    /// Gets a new auth token after the old one ran out. Unary calls do this by themselves, streams
    /// do not.
    ///
    /// # Errors
    /// When the member cannot be reached or refuses the user.
    pub async fn refresh_token(&self, connection: &Connection) -> Result<(), Error> {
        connection.call(connection.client.refresh_token()).await
    }

    /// Pauses between attempts: none until every member was asked once, then jittered and growing.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace {
            members: self.0.settings.endpoints.len(),
            failures: 0,
            backoff: Backoff::default(),
        }
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn members(&self) -> usize {
        self.0.settings.endpoints.len()
    }

    async fn connect(&self, member: usize, generation: u64) -> Result<Connection, Error> {
        let settings = &self.0.settings;
        let endpoint: Arc<str> = settings
            .endpoints
            .get(member)
            .map_or("(none given)", String::as_str)
            .into();
        let anonymous = endpoint.starts_with("https://") && !settings.shows_certificate;
        let options = options(settings, &endpoint);
        let connecting = Box::pin(Client::connect([&*endpoint], Some(options)));
        match timeout(CONNECT_TIMEOUT + CALL_TIMEOUT, connecting).await {
            Ok(Ok(client)) => Ok(Connection {
                client: Arc::new(client),
                endpoint,
                anonymous,
                generation,
            }),
            Ok(Err(source)) => Err(Error::Etcd {
                endpoint: endpoint.to_string(),
                error: Box::new(source),
                anonymous,
            }),
            Err(_) => Err(Error::Silent {
                endpoint: endpoint.to_string(),
                after: CONNECT_TIMEOUT + CALL_TIMEOUT,
            }),
        }
    }

    fn rotate_from(&self, generation: u64) {
        let mut current = self.current();
        if current.generation == generation {
            current.member = (current.member + 1) % self.members().max(1);
            current.generation += 1;
            current.connection = None;
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        // Nothing panics while holding it; a poisoned value would still be whole.
        self.0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn options(settings: &Settings, endpoint: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some((name, password)) = &settings.user {
        options = options.with_user(name, password);
    }
    // etcd-client refuses TLS options beside a plain endpoint.
    if let (Some(tls), true) = (&settings.tls, endpoint.starts_with("https://")) {
        options = options.with_tls(tls.clone());
    }
    options
}

/// See [`Cluster::pace`].
#[derive(Debug)]
pub struct Pace {
    members: usize,
    failures: usize,
    backoff: Backoff,
}

impl Pace {
    /// The pause after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        self.failures += 1;
        if self.failures < self.members {
            Duration::ZERO
        } else {
            self.backoff.next_delay()
        }
    }

    /// Starts again: to be called after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }
}
