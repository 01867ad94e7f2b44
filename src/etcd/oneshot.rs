//! Single calls, for commands that do one thing and exit. The agents have tasks of their own for what must last.

use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Compare, CompareOp, DeleteOptions, LeaseGrantOptions,
    LeaseTimeToLiveOptions, PutOptions, Txn, TxnOp,
};
use tokio::time::{Instant, sleep, timeout};

use super::client::{Cluster, Connection};
use super::error::{Error, Right};
use super::range::Range;
use super::ttl;
use super::watch::{Entry, list_over};
use crate::util::duration::whole_seconds;

/// The lease of a written key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// None: the key stays until somebody deletes it.
    None,
    /// This one.
    Id(i64),
    /// The key's current lease.
    Same,
}

/// The state of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLeft {
    /// Its length after each renewal.
    pub granted: Duration,
    /// The remaining time, in whole seconds.
    pub left: Duration,
}

/// Retries until a member answers, `patience` is over, or etcd itself refuses. Every member is asked at least once, and
/// gets its share of that time; no call starts or continues after that. So it waits for an election, or for an etcd that
/// is just starting.
///
/// # Errors
///
/// The error of the last attempt.
pub async fn patiently<T>(
    cluster: &Cluster,
    patience: Duration,
    mut attempt: impl AsyncFnMut(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + patience;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut pace = cluster.pace();
    let mut members = u32::try_from(cluster.members()).unwrap_or(u32::MAX).max(1);
    let mut logins = 0;
    loop {
        let share = (left() / members).max(LEAST);
        let error = match connect(cluster, left().max(LEAST)).await {
            Ok(connection) => match attempt(&connection.within(share)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    cluster.failed(&connection, &error);
                    error
                }
            },
            Err(error) => error,
        };
        let asked_all = members == 1;
        members = (members - 1).max(1);
        let pause = pace.after_failure();
        let late = asked_all && left() <= pause;
        // Retry a refused token with a new one, once for every member.
        let again = match error.wants_a_new_login() {
            true => logins < cluster.members().max(1),
            false => !late && error.is_about_the_connection(),
        };
        logins += 1;
        if !again {
            return Err(error.after_all(patience));
        }
        tracing::debug!(%error, "trying again");
        sleep(pause).await;
    }
}

/// The shortest timeout of one call, however short the whole is.
const LEAST: Duration = Duration::from_millis(100);

/// The current connection, or a new one; with a user, a member must have answered for that.
async fn connect(cluster: &Cluster, limit: Duration) -> Result<Connection, Error> {
    let connecting = timeout(limit, cluster.connection());
    connecting.await.unwrap_or_else(|_| {
        Err(Error::Silent {
            endpoint: cluster.endpoints().join(", "),
            after: limit,
        })
    })
}

/// Lists the whole range, with its revision; retries as [`patiently`] does.
///
/// # Errors
///
/// As with [`patiently`].
pub async fn list(
    cluster: &Cluster,
    patience: Duration,
    range: &Range,
) -> Result<(i64, Vec<Entry>), Error> {
    patiently(cluster, patience, async |connection| {
        list_over(cluster, connection, range).await
    })
    .await
}

/// The entry of `key`.
pub(crate) async fn get(connection: &Connection, key: &str) -> Result<Option<Entry>, Error> {
    let (mut client, range) = (connection.kv(), Range::Key(key.into()));
    let answer = connection
        .call(async move { client.get(key, None).await })
        .await
        .map_err(|error| connection.about(error, Right::Read, &range))?;
    Ok(answer.kvs().first().map(Entry::from_kv))
}

/// As [`get`], before a write: a missing permission is reported as the one to write, which includes reading.
pub(crate) async fn get_to_write(
    connection: &Connection,
    key: &str,
) -> Result<Option<Entry>, Error> {
    let entry = get(connection, key).await;
    entry.map_err(Error::of_writing)
}

/// Writes `key` if it was last changed at revision `unless_changed_since` (0: if it does not exist). Returns the
/// revision of the write, or `None` if the key was changed in the meantime.
pub(crate) async fn put(
    connection: &Connection,
    key: &str,
    value: &[u8],
    lease: Lease,
    unless_changed_since: i64,
) -> Result<Option<i64>, Error> {
    let options = match lease {
        Lease::None => PutOptions::new(),
        Lease::Id(id) => PutOptions::new().with_lease(id),
        Lease::Same => PutOptions::new().with_ignore_lease(),
    };
    let put = TxnOp::put(key, value, Some(options));
    unless_changed(connection, key, put, unless_changed_since).await
}

/// Deletes `key`, under the same condition as [`put`].
pub(crate) async fn delete(
    connection: &Connection,
    key: &str,
    unless_changed_since: i64,
) -> Result<Option<i64>, Error> {
    let delete = TxnOp::delete(key, Some(DeleteOptions::new()));
    unless_changed(connection, key, delete, unless_changed_since).await
}

async fn unless_changed(
    connection: &Connection,
    key: &str,
    change: TxnOp,
    since: i64,
) -> Result<Option<i64>, Error> {
    let unchanged = Compare::mod_revision(key, CompareOp::Equal, since);
    let txn = Txn::new().when([unchanged]).and_then([change]);
    let mut client = connection.kv();
    let answer = connection
        .call(async move { client.txn(txn).await })
        .await
        .map_err(|error| connection.about(error, Right::Write, &Range::Key(key.into())))?;
    if !answer.succeeded() {
        return Ok(None);
    }
    let header = answer.header();
    let header = header.ok_or_else(|| connection.incomplete("a header"))?;
    Ok(Some(header.revision()))
}

/// Prefix of the ids of leases that no process renews. etcd's own ids are random.
const BY_HAND: i64 = 0x51de_ca00_0000_0000;
/// The bits of an id that mark such a lease.
const BY_HAND_MASK: i64 = 0x7fff_ff00_0000_0000;

/// A new lease that no process renews; `ttl` is rounded up to whole seconds.
pub(crate) async fn grant(connection: &Connection, ttl: Duration) -> Result<i64, Error> {
    let seconds = i64::try_from(whole_seconds(ttl)).unwrap_or(i64::MAX);
    let options =
        LeaseGrantOptions::new().with_id(BY_HAND | fastrand::i64(..) & !BY_HAND_MASK & i64::MAX);
    let mut client = connection.leases();
    let granted = connection
        .call(async move { client.grant(seconds, Some(options)).await })
        .await?;
    let lasts = Duration::from_secs(granted.ttl().unsigned_abs());
    if let Some(differs) = ttl::differs(ttl, lasts) {
        tracing::warn!("{differs}");
    }
    Ok(granted.id())
}

/// Whether the lease was granted to a command that has exited since: no process keeps its keys.
pub(crate) fn is_by_hand(lease: i64) -> bool {
    lease & BY_HAND_MASK == BY_HAND
}

/// Renews a lease once; `false` if it does not exist.
pub(crate) async fn renew(connection: &Connection, lease: i64) -> Result<bool, Error> {
    let mut client = connection.leases();
    let renewed = connection
        .call(async move { client.keep_alive(lease).await })
        .await;
    match renewed {
        Ok(_) => Ok(true),
        Err(error) if error.is_lease_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The state of a lease; `None` if it does not exist.
pub(crate) async fn time_left(
    connection: &Connection,
    lease: i64,
) -> Result<Option<TimeLeft>, Error> {
    let mut client = connection.leases();
    let options = LeaseTimeToLiveOptions::new();
    let answer = connection
        .call(async move { client.time_to_live(lease, Some(options)).await })
        .await?;
    let seconds = |seconds: i64| u64::try_from(seconds).ok().map(Duration::from_secs);
    let left = seconds(answer.ttl()).zip(seconds(answer.granted_ttl()));
    Ok(left.map(|(left, granted)| TimeLeft { granted, left }))
}

/// Whether any member has no space left: then etcd refuses all writes until somebody disarms the alarm.
pub(crate) async fn is_out_of_space(connection: &Connection) -> Result<bool, Error> {
    let mut client = connection.maintenance();
    let (action, kind) = (AlarmAction::Get, AlarmType::Nospace);
    let answer = connection
        .call(async move { client.alarm(action, kind, None).await })
        .await?;
    Ok(answer.alarms().iter().any(|it| it.alarm() == kind))
}

#[cfg(test)]
mod tests;
