//! One connection to one member of the cluster at a time, rotating when it fails.
//!
//! etcd-client spreads calls over all endpoints and does not fail over, so each client here is
//! given a single endpoint, and [`Cluster::failed`] moves on to the next.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, sleep_until, timeout};

pub use connection::Connection;
pub use pace::Pace;
pub(in crate::etcd) use sight::Sight;

use super::Error;
use super::access::{Login, TlsFiles};
use super::member::Member;
use crate::util::backoff::Backoff;

/// Timeout of one call to etcd, after which the next member is asked.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one member may take before the same call is started at the next one, too.
const HEDGE: Duration = Duration::from_secs(1);
/// Then another member is asked this often, in turn and again: requests to a member without a leader may be lost.
const HEDGE_AGAIN: Duration = Duration::from_millis(250);
/// The largest accepted message, in bytes: a page of a listing, or many changes at once.
const MAX_MESSAGE: usize = 64 << 20;
/// Timeout of connecting to a member.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between HTTP/2 pings. etcd closes connections that ping more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Timeout of a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(4);

/// Address and login of etcd, already validated.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// At least one, as `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// The user, if any.
    pub user: Option<Login>,
    /// Certificates, if any endpoint is `https`.
    pub tls: Option<TlsFiles>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|login| &login.name))
            .field("tls", &self.tls)
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
    /// Locked while connecting, so that clones do not each open a connection.
    connecting: tokio::sync::Mutex<()>,
    /// Notified whenever another connection is in use.
    moved: watch::Sender<()>,
    sight: Sight,
}

#[derive(Debug, Default)]
struct Current {
    /// Index into the endpoints.
    member: usize,
    /// Counts the rotations.
    generation: u64,
    connection: Option<Connection>,
}

impl Cluster {
    /// A cluster that is not connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // Otherwise all agents of a host would use the first member.
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
            moved: watch::Sender::new(()),
            sight: Sight::default(),
        }))
    }

    /// Its address and login.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Changes whenever another connection is in use: users of an older one have reason to doubt it.
    pub(super) fn moved(&self) -> watch::Receiver<()> {
        self.0.moved.subscribe()
    }

    /// Which watches are connected.
    pub(super) fn sight(&self) -> &Sight {
        &self.0.sight
    }

    /// The number of the current connection, or of the next one.
    pub(super) fn generation(&self) -> u64 {
        self.current().generation
    }

    /// The current connection, or a new one.
    ///
    /// # Errors
    /// When the endpoint is malformed or, with a user, when the member does not authenticate.
    /// Without a user nothing is sent yet, so an unreachable member fails only at the first call.
    pub async fn connection(&self) -> Result<Connection, Error> {
        let _connecting = self.0.connecting.lock().await;
        let (member, generation) = {
            let current = self.current();
            if let Some(connection) = &current.connection {
                return Ok(connection.clone());
            }
            (current.member, current.generation)
        };
        let members = self.members();
        let connecting =
            self.race(|nth| Box::pin(self.connect(member + offset(nth, members), generation)));
        match connecting.await {
            Ok(connection) => {
                let mut current = self.current();
                current.member = connection.member.number;
                current.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.rotate_from(generation);
                Err(error)
            }
        }
    }

    /// Call this when a call over `connection` failed with `error`. If another member may do better,
    /// the next [`connection`](Self::connection) is a new one to the next endpoint.
    ///
    /// The same applies when the token or the password was refused: a new connection logs in again, with the files as
    /// they are.
    pub fn failed(&self, connection: &Connection, error: &Error) {
        if error.is_about_the_connection() || error.wants_a_new_login() {
            self.rotate_from(connection.generation);
        }
    }

    /// Makes a call that may be made twice: at the member of `first`, and after each second without an answer also at the
    /// next one, without cancelling the others. The first answer wins. Returns the connection that it came over, which is
    /// then the current one.
    ///
    /// # Errors
    /// etcd's own error, or the last member's if none succeeds.
    pub(super) async fn hedged<T>(
        &self,
        first: &Connection,
        call: impl Fn(Connection) -> BoxFuture<'static, Result<T, Error>> + Send + Sync,
    ) -> Result<(T, Connection), Error>
    where
        T: Send,
    {
        let call = &call;
        // One connection, and one login, for all calls to the same member.
        let connections: Vec<OnceCell<Connection>> =
            (0..self.members()).map(|_| OnceCell::new()).collect();
        let connections = &connections;
        let start = |nth: usize| -> BoxFuture<'_, Result<_, Error>> {
            if nth == 0 {
                let answer = call(first.clone());
                return Box::pin(async move { Ok((answer.await?, first.clone())) });
            }
            Box::pin(async move {
                let offset = offset(nth, self.members());
                let connecting = || self.connect(first.member.number + offset, first.generation);
                let connection = match connections.get(offset) {
                    Some(one) => one.get_or_try_init(connecting).await?.clone(),
                    None => connecting().await?,
                };
                Ok((call(connection.clone()).await?, connection))
            })
        };
        let (answer, connection) = self.race(start).await?;
        Ok((answer, self.prefer(first, connection)))
    }

    /// Starts a call at one member after the other until the first succeeds: at the next one after a second, or
    /// when all before it have failed. An error of etcd itself ends it at once.
    async fn race<'a, T>(
        &self,
        start: impl Fn(usize) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        let members = self.members().max(1);
        let most = if members > 1 { 3 * members } else { 1 };
        let mut running = FuturesUnordered::new();
        running.push(start(0));
        let mut started = 1;
        let mut next_at = Instant::now() + HEDGE;
        loop {
            let late = tokio::select! {
                biased;
                Some(answer) = running.next() => match answer {
                    Ok(answer) => return Ok(answer),
                    Err(error) if !error.is_about_the_connection() && !error.wants_a_new_login() => return Err(error),
                    Err(error) if running.is_empty() && started >= members => return Err(error),
                    // Another running attempt may succeed.
                    Err(_) if !running.is_empty() => continue,
                    Err(error) => {
                        tracing::debug!(%error, "asking the next member");
                        false
                    }
                },
                () = sleep_until(next_at), if started < most => true,
            };
            if late {
                tracing::debug!("no answer yet: asking the next member, too");
            }
            running.push(start(started));
            started += 1;
            next_at = Instant::now() + HEDGE_AGAIN;
        }
    }

    /// Makes `winner`, found in place of `first`, the current connection, unless there is a newer one already.
    fn prefer(&self, first: &Connection, winner: Connection) -> Connection {
        if winner.member.number == first.member.number {
            return winner;
        }
        let mut current = self.current();
        if current.generation != first.generation
            && let Some(younger) = &current.connection
        {
            return younger.clone();
        }
        current.generation += 1;
        let winner = Connection {
            generation: current.generation,
            ..winner
        };
        current.member = winner.member.number;
        current.connection = Some(winner.clone());
        self.0.moved.send_replace(());
        winner
    }

    /// Pauses between attempts: none until every member was asked once, then growing with jitter.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace {
            members: self.0.settings.endpoints.len(),
            failures: 0,
            backoff: Backoff::default(),
        }
    }

    /// The members' URLs.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.0.settings.endpoints
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn members(&self) -> usize {
        self.0.settings.endpoints.len()
    }

    /// A new connection to the member of this number, modulo the members. Reads the files now.
    async fn connect(&self, number: usize, generation: u64) -> Result<Connection, Error> {
        let settings = &self.0.settings;
        let number = number % self.members().max(1);
        let endpoint = settings.endpoints.get(number);
        let endpoint = endpoint.map_or("(none given)", String::as_str).to_owned();
        let secure = endpoint.starts_with("https://");
        let member = Member {
            number,
            user: settings.user.as_ref().map(|login| login.name.clone()),
            tls: settings.tls.clone().filter(|_| secure),
            heard: AtomicBool::new(false),
            endpoint,
        };
        let options = options(settings, &member).map_err(|why| Error::Access {
            endpoint: member.endpoint.clone(),
            why,
        })?;
        let connecting = Box::pin(Client::connect([&member.endpoint], Some(options)));
        match timeout(CONNECT_TIMEOUT + CALL_TIMEOUT, connecting).await {
            Ok(Ok(client)) => Ok(Connection {
                client: Arc::new(client),
                member: Arc::new(member),
                generation,
                limit: CALL_TIMEOUT,
            }),
            Ok(Err(source)) => Err(Error::of(&member, source)),
            Err(_) => Err(Error::Silent {
                endpoint: member.endpoint,
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
            self.0.moved.send_replace(());
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        // Nothing panics while holding it, and the value would still be complete.
        self.0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nth member to ask, counted from the first: all in turn, then all except the first again.
fn offset(nth: usize, members: usize) -> usize {
    match (nth, members) {
        (0, _) | (_, 0 | 1) => 0,
        _ => 1 + (nth - 1) % (members - 1),
    }
}

fn options(settings: &Settings, member: &Member) -> Result<ConnectOptions, String> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some(login) = &settings.user {
        options = options.with_user(&login.name, login.password()?);
    }
    // etcd-client refuses TLS options for a plain endpoint.
    if let Some(tls) = &member.tls {
        options = options.with_tls(tls.read()?);
    }
    Ok(options)
}

mod connection;
mod pace;
mod sight;

#[cfg(test)]
mod tests;
