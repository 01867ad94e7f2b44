//! Calls of the tests as `root`: to any member that answers, and never without an end.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions,
    GetResponse, Identity, PutOptions, TlsOptions, Txn, TxnOp,
};
use futures_util::future::{join_all, select_ok};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::support::{PATIENCE, Pki, until};

/// The user who may do everything, and the name in the certificate that lets the tests in as him.
pub(super) const ROOT: &str = "root";

/// Within this a member has answered a read, or counts as one that does not.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(1);

/// How long a write is tried again.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(3);

/// How long a change of users, members or alarms is tried again.
const ADMIN_LIMIT: Duration = Duration::from_secs(5);

/// A key that each write of the tests changes too: an older write that a frozen member still has finds that it comes too late.
const FENCE: &str = "/faults/fence";

/// A connection to each member.
pub(super) struct Calls {
    clients: Vec<Client>,
    /// One write at a time.
    turn: Mutex<()>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

/// A write.
pub(super) enum Write<'a> {
    Put(&'a str, &'a [u8]),
    Delete(&'a str),
}

impl Calls {
    /// With the certificate of [`ROOT`], which no password or token goes with, so that nothing of that expires.
    pub(super) async fn to(addresses: impl Iterator<Item = SocketAddr>, pki: &Pki) -> Self {
        pki.issue(ROOT, "IP:127.0.0.1", "491231");
        let read = |path| std::fs::read(path).expect("our own file");
        let (cert, key) = pki.pair(ROOT);
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read(pki.ca())))
            .identity(Identity::from_pem(read(cert), read(key)));
        let options = ConnectOptions::new()
            .with_connect_timeout(READ_LIMIT)
            .with_timeout(WRITE_LIMIT)
            .with_tls(tls);
        let mut clients = Vec::new();
        for address in addresses {
            let endpoint = format!("https://{address}");
            let client = Client::connect([endpoint], Some(options.clone())).await;
            clients.push(client.expect("it connects with the first call"));
        }
        Self {
            clients,
            turn: Mutex::new(()),
        }
    }

    /// The connection to one member.
    pub(super) fn to_member(&self, member: usize) -> Client {
        self.clients[member].clone()
    }

    /// What each member answers within [`READ_LIMIT`].
    pub(super) async fn each<T>(
        &self,
        call: impl AsyncFn(Client) -> Result<T, Error>,
    ) -> Vec<Option<T>> {
        let calls = self.clients.iter().map(|client| async {
            let answer = timeout(READ_LIMIT, call(client.clone())).await;
            answer.ok()?.ok()
        });
        join_all(calls).await
    }

    /// Which members answer with a leader's consent.
    pub(super) async fn answering(&self) -> Vec<bool> {
        let answers = self.each(async |mut client| client.get(FENCE, None).await);
        answers.await.iter().map(Option::is_some).collect()
    }

    /// Waits for [`ADMIN_LIMIT`] until all members but this one answer; tells whether they do.
    pub(super) async fn others_answer(&self, member: usize) -> bool {
        let all = async || {
            let mut answering = self.answering().await;
            answering[member] = true;
            let all = answering.iter().all(|answers| *answers);
            all.then_some(()).ok_or_else(|| format!("{answering:?}"))
        };
        within(ADMIN_LIMIT, all).await.is_some()
    }

    /// The first answer to a linearizable read, and whose it is.
    pub(super) async fn first(
        &self,
        key: &str,
        options: &GetOptions,
    ) -> Result<(usize, GetResponse), String> {
        let calls = self.clients.iter().enumerate().map(|(member, client)| {
            let mut client = client.clone();
            Box::pin(async move {
                let answer = client.get(key, Some(options.clone())).await?;
                Ok::<_, Error>((member, answer))
            })
        });
        match timeout(READ_LIMIT, select_ok(calls)).await {
            Ok(Ok((first, _))) => Ok(first),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// A linearizable read, by whichever member answers; `None` when none does within [`READ_LIMIT`].
    pub(super) async fn read(&self, key: &str, options: GetOptions) -> Option<GetResponse> {
        let read = within(READ_LIMIT, async || self.first(key, &options).await);
        read.await.map(|(_, answer)| answer)
    }

    /// Done and confirmed within [`WRITE_LIMIT`]. When not confirmed, it may be done until the next write is.
    pub(super) async fn write(&self, write: Write<'_>) -> bool {
        let nonce = format!("{:016x}", fastrand::u64(..));
        let all = async {
            let _turn = self.turn.lock().await;
            within(WRITE_LIMIT, async || self.try_write(&write, &nonce).await).await
        };
        timeout(WRITE_LIMIT, all).await.ok().flatten() == Some(true)
    }

    /// `Ok(false)` when it will not help to try again, which is when there is no space.
    async fn try_write(&self, write: &Write<'_>, nonce: &str) -> Result<bool, String> {
        let (member, seen) = self.first(FENCE, &GetOptions::new()).await?;
        let fence = seen.kvs().first();
        if fence.is_some_and(|fence| fence.value() == nonce.as_bytes()) {
            return Ok(true);
        }
        let revision = fence.map_or(0, etcd_client::KeyValue::mod_revision);
        let operations = match write {
            Write::Put(key, value) => {
                let put = PutOptions::new();
                vec![
                    TxnOp::put(*key, *value, Some(put)),
                    TxnOp::put(FENCE, nonce, None),
                ]
            }
            // Not the fence: etcd without space takes deletes alone.
            Write::Delete(key) => vec![TxnOp::delete(*key, Some(DeleteOptions::new()))],
        };
        let unchanged = Compare::mod_revision(FENCE, CompareOp::Equal, revision);
        let txn = Txn::new().when([unchanged]).and_then(operations);
        let mut client = self.to_member(member);
        match timeout(READ_LIMIT, client.txn(txn)).await {
            Ok(Ok(answer)) if answer.succeeded() => Ok(true),
            Ok(Ok(_)) => Err("another write came between".to_owned()),
            Ok(Err(error)) if says(&error, &["database space exceeded"]) => Ok(false),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// A call to a member that answers, again until it is done; an error that contains one of `settled` says that it
    /// has been. `None` when that was not confirmed within [`ADMIN_LIMIT`].
    pub(super) async fn admin(
        &self,
        settled: &[&str],
        call: impl AsyncFn(Client) -> Result<(), Error>,
    ) -> bool {
        let attempt = async || {
            let (member, _) = self.first(FENCE, &GetOptions::new()).await?;
            match timeout(2 * READ_LIMIT, call(self.to_member(member))).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) if says(&error, settled) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer".to_owned()),
            }
        };
        within(ADMIN_LIMIT, attempt).await.is_some()
    }
}

/// Tries again until it is done, for so long.
pub(super) async fn within<T>(
    limit: Duration,
    attempt: impl AsyncFnMut() -> Result<T, String>,
) -> Option<T> {
    timeout(limit, until(PATIENCE, "etcd to answer", attempt))
        .await
        .ok()
}

fn says(error: &Error, texts: &[&str]) -> bool {
    let error = error.to_string();
    texts.iter().any(|text| error.contains(text))
}
