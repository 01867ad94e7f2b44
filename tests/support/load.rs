//! Clients that never stop asking, and count every answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::task::JoinHandle;

use super::http::{self, Connection};

/// A request that takes longer counts as failed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Counted so far: good answers by their text (the backend's name), failures by their reason.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Report {
    /// How many requests were answered with 200.
    pub(crate) fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// How many were not.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Prints its row of the table of `tests/losses.sh`.
    pub(crate) fn tell(&self, what: &str) {
        let (failed, all) = (self.failed(), self.failed() + self.answered());
        eprintln!("| {what} | {all} | {failed} |");
    }

    /// How many this backend answered.
    pub(crate) fn answers_of(&self, backend: &str) -> u64 {
        self.answers.get(backend).copied().unwrap_or_default()
    }
}

/// POST requests, `clients` at a time, until stopped.
#[derive(Debug)]
pub(crate) struct Load {
    report: Arc<Mutex<Report>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts asking `address` (which does not repeat a POST for us, nor do we).
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        let report = Arc::<Mutex<Report>>::default();
        let stop = Arc::<AtomicBool>::default();
        let clients = (0..clients)
            .map(|_| {
                let (report, stop) = (Arc::clone(&report), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut connection = None;
                    while !stop.load(Ordering::Relaxed) {
                        let outcome = ask(&mut connection, address).await;
                        report.lock().expect("no client panics").count(outcome);
                    }
                })
            })
            .collect();
        Self {
            report,
            stop,
            clients,
        }
    }

    /// What has been counted so far.
    pub(crate) fn report(&self) -> Report {
        self.report.lock().expect("no client panics").clone()
    }

    /// Lets every client finish its last request, then gives the final count.
    pub(crate) async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no client panics");
        }
        Arc::into_inner(self.report)
            .expect("all clients are gone")
            .into_inner()
            .expect("no client panicked")
    }
}

impl Report {
    fn count(&mut self, outcome: Result<String, String>) {
        let (counts, what) = match outcome {
            Ok(answer) => (&mut self.answers, answer),
            Err(reason) => (&mut self.failures, reason),
        };
        *counts.entry(what).or_default() += 1;
    }
}

/// One POST on the connection at hand, or on a new one; a connection that failed is not used again.
async fn ask(open: &mut Option<Connection>, address: SocketAddr) -> Result<String, String> {
    // nginx closes a client's connection after `keepalive_requests` of them, and says so beforehand.
    let mut connection = match reusable(open.take()).await {
        Some(connection) => connection,
        None => http::connect(address).await?,
    };
    let exchange = http::exchange(&mut connection, "POST", "/", Bytes::from_static(b"order=1"));
    let answer = tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| format!("no answer in {TIMEOUT:?}"))??;
    *open = Some(connection);
    match answer.status {
        200 => Ok(answer.body.trim().to_owned()),
        status => Err(format!("status {status}")),
    }
}

/// A connection whose server has not closed it.
async fn reusable(connection: Option<Connection>) -> Option<Connection> {
    let mut connection = connection?;
    connection.ready().await.ok()?;
    Some(connection)
}
