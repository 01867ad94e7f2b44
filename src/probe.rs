//! Checks whether a backend works.
//!
//! Each attempt opens its own connection: a backend that serves old connections but accepts no
//! new one does not work for its clients either.

mod container_exec;
mod grpc;
mod healthcheck;
mod http;
mod status;
mod tls_name;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::model::Endpoint;
use crate::util::command::CommandLine;
use crate::util::duration;
use crate::util::explain::{Peer, explain};

pub use container_exec::ContainerExecProbe;
pub use grpc::GrpcProbe;
pub use healthcheck::ContainerProbe;
pub use http::{Authorities, HttpOptions, HttpProbe};
pub use status::{StatusRange, StatusRangeError};
pub use tls_name::{TlsName, TlsNameError};

/// One check.
#[derive(Debug, Clone)]
pub enum Probe {
    /// An HTTP or HTTPS request, and its expected answer.
    Http(Arc<HttpProbe>),
    /// A TCP connection that must be accepted.
    Tcp(Endpoint),
    /// A gRPC server that must report SERVING.
    Grpc(GrpcProbe),
    /// A command that must exit with 0.
    Exec(CommandLine),
    /// A command inside the container that must exit with 0.
    ContainerExec(ContainerExecProbe),
    /// The container's state: its HEALTHCHECK, or that it runs.
    Container(ContainerProbe),
}

/// Interval and timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Between the starts of two rounds, minus up to 10 % so that agents started together drift apart.
    pub interval: Duration,
    /// Timeout of one attempt.
    pub timeout: Duration,
    /// Delay before the first round.
    pub grace: Duration,
}

/// The result of one round over all probes of a backend: `Err` has the first failure.
pub type Verdict = Result<(), Failure>;

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{probe}: {reason}")]
pub struct Failure {
    /// Which probe.
    pub probe: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => http.fmt(f),
            Self::Tcp(endpoint) => write!(f, "tcp://{endpoint}"),
            Self::Grpc(grpc) => grpc.fmt(f),
            Self::Exec(command) => write!(f, "exec:{}", command.program()),
            Self::ContainerExec(exec) => exec.fmt(f),
            Self::Container(_) => f.write_str("docker:"),
        }
    }
}

impl Probe {
    /// One attempt, which takes at most `limit`.
    ///
    /// # Errors
    /// Why the backend fails.
    pub async fn attempt(&self, limit: Duration) -> Verdict {
        let asked = async {
            match self {
                Self::Http(http) => http.attempt().await,
                Self::Tcp(endpoint) => connect(endpoint).await,
                Self::Grpc(grpc) => Box::pin(grpc.attempt()).await,
                Self::Exec(command) => command.run().await,
                Self::ContainerExec(exec) => exec.attempt().await,
                Self::Container(container) => container.verdict(),
            }
        };
        let answer = timeout_at(Instant::now() + limit, asked).await;
        let answer = answer.unwrap_or_else(|_| {
            let limit = duration::typed(limit);
            Err(format!("no whole answer within {limit} (--timeout)"))
        });
        answer.map_err(|reason| Failure {
            probe: self.to_string(),
            reason,
        })
    }
}

async fn connect(endpoint: &Endpoint) -> Result<(), String> {
    let host = endpoint.host.to_string();
    let connected = TcpStream::connect((host.as_str(), endpoint.port.get())).await;
    connected
        .map(drop)
        .map_err(|error| explain(&error, Peer::plain(&endpoint.to_string())))
}

/// One round: all probes at once; all must pass.
///
/// # Errors
/// The first failure in the order of `probes`.
pub async fn round(probes: &[Probe], limit: Duration) -> Verdict {
    if let [only] = probes {
        return only.attempt(limit).await;
    }
    let mut attempts = JoinSet::new();
    for (place, probe) in probes.iter().cloned().enumerate() {
        attempts.spawn(async move { (place, probe.attempt(limit).await) });
    }
    let mut verdicts = attempts.join_all().await;
    verdicts.sort_by_key(|(place, _)| *place);
    verdicts.into_iter().try_for_each(|(_, verdict)| verdict)
}

/// Probes for ever, with a verdict each round, until dropped.
#[derive(Debug)]
pub struct ProbeTask {
    verdicts: mpsc::Receiver<Verdict>,
    task: JoinHandle<()>,
}

impl ProbeTask {
    /// Starts after the grace period of `pace`.
    #[must_use]
    pub fn start(probes: Vec<Probe>, pace: Pace) -> Self {
        let (sender, verdicts) = mpsc::channel(1);
        let task = tokio::spawn(run(probes, pace, sender));
        Self { verdicts, task }
    }

    /// Ends it, and waits until no part of it runs in this process.
    pub async fn end(mut self) {
        self.task.abort();
        // It was aborted, so the error is expected.
        let _ = (&mut self.task).await;
        // Tasks that it started end when the runtime next runs them.
        tokio::task::yield_now().await;
    }
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The next verdict; waits for ever without a task. Cancel safe.
pub async fn next_verdict(probe_task: &mut Option<ProbeTask>) -> Verdict {
    let verdict = match probe_task {
        Some(probe_task) => probe_task.verdicts.recv().await,
        None => None,
    };
    match verdict {
        Some(verdict) => verdict,
        None => std::future::pending().await,
    }
}

async fn run(probes: Vec<Probe>, pace: Pace, verdicts: mpsc::Sender<Verdict>) {
    let mut next = Instant::now() + pace.grace;
    loop {
        sleep_until(next).await;
        next = Instant::now() + jittered(pace.interval);
        let verdict = round(&probes, pace.timeout).await;
        if verdicts.send(verdict).await.is_err() {
            return;
        }
    }
}

/// Up to a tenth shorter, so that many announcers do not probe in step; never longer, because the documented time to
/// notice a failure counts whole intervals.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.1 * fastrand::f64())
}

#[cfg(test)]
mod tests;
