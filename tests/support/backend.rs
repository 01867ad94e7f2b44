//! Backends as processes that can be killed: `examples/stories/lib/backend.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Answer, Ended, PATIENCE, Process, Signal, ports, request};

/// A running backend that answers its name.
#[derive(Debug)]
pub(crate) struct Backend {
    name: String,
    address: SocketAddr,
    delay: Duration,
    process: Process,
}

impl Backend {
    /// Starts one that answers at once.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_slow(name, Duration::ZERO).await
    }

    /// Starts one that answers after `delay`.
    pub(crate) async fn start_slow(name: &str, delay: Duration) -> Self {
        loop {
            let address = SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
            // Only a port that somebody else took meanwhile makes it fail.
            if let Some(process) = spawn(name, address, delay).await {
                let name = name.to_owned();
                return Self {
                    name,
                    address,
                    delay,
                    process,
                };
            }
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same program again on the same address, as after a deployment.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// Started again on the same address after `stop` or `kill`.
    pub(crate) async fn resume(&mut self) {
        self.process = spawn(&self.name, self.address, self.delay)
            .await
            .unwrap_or_else(|| panic!("{} was taken meanwhile", self.address));
    }

    /// Stopped as systemd stops a service; it dies at once, with what it was answering.
    pub(crate) async fn stop(&mut self) -> Ended {
        self.process.signal(Signal::TERM);
        self.process.end(PATIENCE).await
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// The process, to freeze it for instance.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// From now on `GET /health` answers `status`.
    pub(crate) async fn set_health(&self, status: u16) {
        let answer = self.ask("PUT", &format!("/health?status={status}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// How many requests it has answered, probes not counted.
    pub(crate) async fn count(&self) -> u64 {
        let answer = self.ask("GET", "/count").await;
        answer.body.trim().parse().expect("a number")
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        request(self.address, method, path, "")
            .await
            .unwrap_or_else(|error| panic!("backend {}: {error}", self.name))
    }
}

/// `None` when it ended instead of listening.
async fn spawn(name: &str, address: SocketAddr, delay: Duration) -> Option<Process> {
    let mut command = Command::new(program());
    command
        .args(["--name", name, "--listen", &address.to_string()])
        .args(["--delay", &format!("{}ms", delay.as_millis())]);
    let mut process = Process::start(format!("backend {name}"), &mut command);
    super::until(PATIENCE, format!("backend {name} to listen"), async || {
        process.exited().is_some() || process.owns_port(address.port())
    })
    .await;
    process.exited().is_none().then_some(process)
}

/// Cargo puts examples beside the binaries, in a folder of their own.
pub(crate) fn program() -> PathBuf {
    let sidekick = super::sidekick::program();
    let program = sidekick.with_file_name("examples").join("backend");
    assert!(
        program.exists(),
        "{} is missing: run `cargo build --example backend` (a plain `cargo test` does that by itself)",
        program.display()
    );
    program
}
