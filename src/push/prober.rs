//! Whether the servers that the guard keeps are there at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::record::Endpoint;

/// Between two attempts at one server, about.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a server may take to accept a connection.
const TIMEOUT: Duration = Duration::from_secs(1);
/// After so many attempts in a row without an answer nobody is there.
const ATTEMPTS: u32 = 3;
/// How many servers are asked at once.
const CONCURRENCY: usize = 64;

/// Probes servers until nobody wants to know any more.
#[derive(Debug)]
pub(super) struct Prober {
    tasks: BTreeMap<Endpoint, Probe>,
    permits: Arc<Semaphore>,
    dead: mpsc::UnboundedSender<Endpoint>,
}

#[derive(Debug)]
struct Probe(AbortHandle);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Somebody accepts connections.
    Accepted,
    /// The host says that nobody does.
    Refused,
    /// Nobody says anything, or nothing that tells.
    Nothing,
}

impl Prober {
    /// Probes nothing yet; those that turn out to be dead are told to the receiver, each once.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Endpoint>) {
        let (dead, told) = mpsc::unbounded_channel();
        let prober = Self {
            tasks: BTreeMap::new(),
            permits: Arc::new(Semaphore::new(CONCURRENCY)),
            dead,
        };
        (prober, told)
    }

    /// From now on these are probed and no others.
    pub(super) fn watch(&mut self, suspects: &BTreeSet<Endpoint>) {
        self.tasks.retain(|endpoint, _| suspects.contains(endpoint));
        for endpoint in suspects {
            if !self.tasks.contains_key(endpoint) {
                let probing = probe(endpoint.clone(), self.permits.clone(), self.dead.clone());
                let task = Probe(tokio::spawn(probing).abort_handle());
                self.tasks.insert(endpoint.clone(), task);
            }
        }
    }
}

/// Ends when nobody is there.
async fn probe(endpoint: Endpoint, permits: Arc<Semaphore>, dead: mpsc::UnboundedSender<Endpoint>) {
    let mut unanswered = 0;
    loop {
        let answer = {
            // Closed is the semaphore never.
            let _permit = permits.acquire().await;
            ask(&endpoint).await
        };
        unanswered = match answer {
            Answer::Accepted => 0,
            Answer::Nothing => unanswered + 1,
            Answer::Refused => ATTEMPTS,
        };
        if unanswered >= ATTEMPTS {
            // Nobody listens only when the whole is about to end.
            let _ = dead.send(endpoint);
            return;
        }
        // Jittered, so that not all are asked at one moment.
        sleep(PERIOD.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

async fn ask(endpoint: &Endpoint) -> Answer {
    let host = endpoint.host.to_string();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(TIMEOUT, TcpStream::connect((host, endpoint.port.get()))).await {
        Ok(Ok(_)) => Answer::Accepted,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Answer::Refused,
        Ok(Err(_)) | Err(_) => Answer::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn listening(address: &str) -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind(address).await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        (listener, endpoint)
    }

    #[tokio::test]
    async fn who_refuses_is_dead_and_who_accepts_is_not() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (listener, endpoint) = listening(address).await;
            assert_eq!(ask(&endpoint).await, Answer::Accepted);
            drop(listener);
            assert_eq!(ask(&endpoint).await, Answer::Refused);
        }
    }

    #[tokio::test]
    async fn only_the_dead_are_told_and_each_once() {
        let (_listener, living) = listening("127.0.0.1:0").await;
        let (gone, dead) = listening("127.0.0.1:0").await;
        drop(gone);
        let (mut prober, mut told) = Prober::new();
        let suspects = [living.clone(), dead.clone()].into();
        prober.watch(&suspects);
        assert_eq!(told.recv().await, Some(dead));
        prober.watch(&suspects);
        prober.watch(&[living].into());
        prober.watch(&BTreeSet::new());
        assert!(prober.tasks.is_empty());
        assert!(told.try_recv().is_err());
    }

    /// The name never resolves, as RFC 6761 has it.
    #[tokio::test]
    async fn who_does_not_answer_gets_some_attempts() {
        let endpoint: Endpoint = "nowhere.invalid:80".parse().unwrap();
        assert_eq!(ask(&endpoint).await, Answer::Nothing);
        let (mut prober, mut told) = Prober::new();
        let started = tokio::time::Instant::now();
        prober.watch(&[endpoint.clone()].into());
        assert_eq!(told.recv().await, Some(endpoint));
        assert!(started.elapsed() >= PERIOD, "{:?}", started.elapsed());
    }
}
