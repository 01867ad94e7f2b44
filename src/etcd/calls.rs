//! The calls that keep a key. Each may reach etcd twice, over two members, with the same effect as once: see
//! [`Cluster::hedged`].

use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetOptions, LeaseGrantOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
};

use super::Error;
use super::client::{Cluster, Connection};
use super::error::Right;
use super::keepalive::Keepalive;
use super::oneshot::is_by_hand;
use super::range::Range;
use super::watch::Entry;
use crate::util::duration::whole_seconds;

/// An answer, and the connection that it came over.
type Answer<T> = Result<(T, Connection), Error>;

/// A new lease: its id, and its granted length, which may be longer than requested.
pub(super) async fn grant(
    cluster: &Cluster,
    connection: &Connection,
    ttl: Duration,
) -> Answer<(i64, Duration)> {
    let id = fresh_id();
    let seconds = i64::try_from(whole_seconds(ttl)).unwrap_or(i64::MAX);
    let grant = move |connection: Connection| -> futures_util::future::BoxFuture<'static, _> {
        Box::pin(async move {
            let mut client = connection.leases();
            let options = LeaseGrantOptions::new().with_id(id);
            let granted = connection
                .call(async move { client.grant(seconds, Some(options)).await })
                .await;
            match granted {
                Ok(granted) => Ok(granted.ttl().max(1)),
                // The same call at another member granted it.
                Err(error) if error.is_lease_there() => Ok(seconds),
                Err(error) => Err(error),
            }
        })
    };
    let (seconds, connection) = cluster.hedged(connection, grant).await?;
    let ttl = Duration::from_secs(seconds.unsigned_abs());
    Ok(((id, ttl), connection))
}

/// An id that no other process has, and that is not in the range of commands.
fn fresh_id() -> i64 {
    loop {
        let id = fastrand::i64(1..i64::MAX);
        if !is_by_hand(id) {
            return id;
        }
    }
}

/// Renews the lease of a key from now on; returns the time until which etcd keeps it.
pub(super) async fn renew(
    cluster: &Cluster,
    connection: &Connection,
    key: &[u8],
    lease: i64,
    ttl: Duration,
) -> Answer<(Keepalive, tokio::time::Instant)> {
    let range = Range::Key(key.to_vec());
    cluster
        .hedged(connection, move |connection| {
            let range = range.clone();
            Box::pin(async move {
                let opened = Keepalive::open(&connection, lease, ttl).await;
                opened.map_err(|error| connection.about(error, Right::Write, &range))
            })
        })
        .await
}

/// The entry of the key.
pub(super) async fn get(
    cluster: &Cluster,
    connection: &Connection,
    key: &[u8],
) -> Answer<Option<Entry>> {
    let key = key.to_vec();
    cluster
        .hedged(connection, move |connection| {
            let key = key.clone();
            Box::pin(async move {
                let (mut client, range) = (connection.kv(), Range::Key(key.clone()));
                let answer = connection
                    .call(async move { client.get(key, Some(GetOptions::new())).await })
                    .await;
                // The caller is about to write it.
                let answer =
                    answer.map_err(|error| connection.about(error, Right::Write, &range))?;
                Ok(answer.kvs().first().map(Entry::from_kv))
            })
        })
        .await
}

/// The result of a write.
#[derive(Debug)]
pub(super) enum Written {
    /// Written; the new entry.
    Yes(Entry),
    /// The key had changed: this is its entry. Perhaps the same value, written over another member.
    Instead(Option<Entry>),
}

/// Writes `value` under `lease`, if the key has not changed since.
pub(super) async fn put(
    cluster: &Cluster,
    connection: &Connection,
    key: &[u8],
    value: &[u8],
    lease: i64,
    unless_changed_since: i64,
) -> Answer<Written> {
    let (key, value) = (key.to_vec(), value.to_vec());
    cluster
        .hedged(connection, move |connection| {
            let (key, value) = (key.clone(), value.clone());
            Box::pin(async move {
                let options = PutOptions::new().with_lease(lease);
                let unchanged =
                    Compare::mod_revision(&*key, CompareOp::Equal, unless_changed_since);
                let txn = Txn::new()
                    .when([unchanged])
                    .and_then([TxnOp::put(&*key, &*value, Some(options))])
                    .or_else([TxnOp::get(&*key, None)]);
                let mut client = connection.kv();
                let answer = connection.call(async move { client.txn(txn).await }).await;
                let range = Range::Key(key.clone());
                let answer =
                    answer.map_err(|error| connection.about(error, Right::Write, &range))?;
                if answer.succeeded() {
                    let header = answer.header();
                    let header = header.ok_or_else(|| connection.incomplete("a header"))?;
                    return Ok(Written::Yes(Entry {
                        key,
                        value,
                        mod_revision: header.revision(),
                        lease,
                    }));
                }
                match answer.op_responses().into_iter().next() {
                    Some(TxnOpResponse::Get(get)) => {
                        Ok(Written::Instead(get.kvs().first().map(Entry::from_kv)))
                    }
                    _ => Err(connection.incomplete("the current entry")),
                }
            })
        })
        .await
}

/// Deletes the key if it has not changed since; returns the revision: `None` if it has changed.
pub(super) async fn delete(
    cluster: &Cluster,
    connection: &Connection,
    key: &[u8],
    unless_changed_since: i64,
) -> Answer<Option<i64>> {
    let key = key.to_vec();
    cluster
        .hedged(connection, move |connection| {
            let key = key.clone();
            Box::pin(async move {
                let unchanged =
                    Compare::mod_revision(&*key, CompareOp::Equal, unless_changed_since);
                let txn = Txn::new()
                    .when([unchanged])
                    .and_then([TxnOp::delete(&*key, None)]);
                let mut client = connection.kv();
                let answer = connection.call(async move { client.txn(txn).await }).await;
                let answer = answer
                    .map_err(|error| connection.about(error, Right::Write, &Range::Key(key)))?;
                let header = answer.header();
                let header = header.ok_or_else(|| connection.incomplete("a header"))?;
                Ok(answer.succeeded().then(|| header.revision()))
            })
        })
        .await
}

/// Revokes a lease, which deletes its keys; returns the revision: `None` if the lease was gone already.
pub(super) async fn revoke(
    cluster: &Cluster,
    connection: &Connection,
    key: &[u8],
    lease: i64,
) -> Answer<Option<i64>> {
    let key = key.to_vec();
    cluster
        .hedged(connection, move |connection| {
            let key = key.clone();
            Box::pin(async move {
                let mut client = connection.leases();
                let revoked = connection
                    .call(async move { client.revoke(lease).await })
                    .await;
                match revoked {
                    Ok(mut answer) => Ok(answer.take_header().map(|header| header.revision())),
                    Err(error) if error.is_lease_not_found() => Ok(None),
                    Err(error) => Err(connection.about(error, Right::Write, &Range::Key(key))),
                }
            })
        })
        .await
}
