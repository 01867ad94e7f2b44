//! Renews one lease over one connection.

use std::time::Duration;

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Error;
use super::client::{CALL_TIMEOUT, Connection};
use super::error::LEASE_NOT_FOUND;

/// An open stream of renewals.
#[derive(Debug)]
pub(super) struct Keepalive {
    connection: Connection,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    ttl: Duration,
    beat: Beat,
}

/// The next step.
#[derive(Debug, Clone, Copy)]
enum Beat {
    /// Send a renewal then.
    Due(Instant),
    /// A renewal was sent then and is not answered yet.
    Sent(Instant),
}

impl Keepalive {
    /// Opens the stream, which renews at once; returns the time until which etcd now keeps the lease.
    ///
    /// # Errors
    /// Among others, that the lease does not exist: see [`Error::is_lease_not_found`].
    pub(super) async fn open(
        connection: &Connection,
        lease: i64,
        ttl: Duration,
    ) -> Result<(Self, Instant), Error> {
        let sent = Instant::now();
        let mut client = connection.leases();
        let (keeper, answers) = connection
            .call(async move { client.keep_alive(lease).await })
            .await?;
        let keepalive = Self {
            connection: connection.clone(),
            keeper,
            answers,
            ttl,
            beat: Beat::Due(sent + ttl / 3),
        };
        Ok((keepalive, sent + ttl))
    }

    /// Whether it runs over this connection.
    pub(super) fn is_over(&self, connection: &Connection) -> bool {
        self.connection.is(connection)
    }

    /// The lease.
    pub(super) fn lease(&self) -> i64 {
        self.keeper.id()
    }

    /// Sends the next renewal when it is due and waits for its answer; returns the time until which
    /// etcd now keeps the lease. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Instant, Error> {
        loop {
            match self.beat {
                Beat::Due(at) => {
                    sleep_until(at).await;
                    // Taken before sending: a slow etcd must not make the lease look longer than it is.
                    self.beat = Beat::Sent(Instant::now());
                    let sending = self.keeper.keep_alive().await;
                    sending.map_err(|source| self.connection.error(source))?;
                }
                Beat::Sent(at) => {
                    let remaining = self.answer(at).await?;
                    self.beat = Beat::Due(at + self.ttl / 3);
                    return Ok(at + remaining);
                }
            }
        }
    }

    async fn answer(&mut self, sent: Instant) -> Result<Duration, Error> {
        let limit = CALL_TIMEOUT.min(self.ttl / 3);
        let Ok(answer) = timeout_at(sent + limit, self.answers.message()).await else {
            return Err(Error::Silent {
                endpoint: self.connection.endpoint().to_owned(),
                after: limit,
            });
        };
        let answer = answer
            .map_err(|source| self.connection.error(source))?
            .ok_or_else(|| {
                self.connection
                    .incomplete("the rest of the keepalive stream")
            })?;
        // etcd answers for a lease that is gone with no time left, again and again, not with an error.
        match u64::try_from(answer.ttl()) {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            _ => Err(self
                .connection
                .error(etcd_client::Error::LeaseKeepAliveError(
                    LEASE_NOT_FOUND.to_owned(),
                ))),
        }
    }
}
