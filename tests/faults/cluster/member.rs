//! One member: how it is started, and where its data are.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::gate::Gate;
use crate::support::{Pki, Process, Proxy, Signal, copy_folder};

/// How long a token lasts, in seconds.
const TOKEN_TTL: &str = "5";

/// A member and the links to it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) client: SocketAddr,
    /// Where it listens to the other members.
    pub(super) peer: SocketAddr,
    /// To `peer`.
    pub(super) link: Proxy,
    /// To `link`: the address that other members know.
    pub(super) gate: Gate,
    /// With its data, and with what was saved of them.
    pub(super) folder: PathBuf,
    /// Whether it came to a cluster that was there, and did when it was saved.
    pub(super) joins: bool,
    saved_joins: bool,
    process: Option<Process>,
    /// What it said before the last start.
    said: Vec<String>,
}

/// What all members are told alike.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// `NAME=URL,…`
    pub(super) members: String,
    pub(super) token: String,
}

/// How many lines of a member a report has.
const LINES_SHOWN: usize = 12;

impl Member {
    pub(super) fn new(
        name: String,
        [client, peer]: [SocketAddr; 2],
        (link, gate): (Proxy, Gate),
        folder: PathBuf,
    ) -> Self {
        Self {
            name,
            client,
            peer,
            link,
            gate,
            folder,
            joins: false,
            saved_joins: false,
            process: None,
            said: Vec::new(),
        }
    }

    /// Starts it unless it runs.
    pub(super) fn spawn(&mut self, plan: &Plan, pki: &Pki) {
        if !self.runs() {
            self.kill();
            let mut command = self.command(plan, pki);
            self.process = Some(Process::start(format!("etcd {}", self.name), &mut command));
        }
    }

    fn command(&self, plan: &Plan, pki: &Pki) -> Command {
        let client = format!("https://{}", self.client);
        let state = if self.joins { "existing" } else { "new" };
        let (cert, key) = pki.pair("server");
        let mut command = Command::new("etcd");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("ETCD_")) {
                command.env_remove(name);
            }
        }
        command
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &format!("http://{}", self.peer)])
            .args(["--initial-advertise-peer-urls", &self.peer_url()])
            .args(["--initial-cluster", &plan.members])
            .args(["--initial-cluster-token", &plan.token])
            .args(["--initial-cluster-state", state])
            // A member that was just started may be replaced too.
            .arg("--strict-reconfig-check=false")
            .args(["--auth-token", "simple", "--auth-token-ttl", TOKEN_TTL])
            .args(["--bcrypt-cost", "4", "--client-cert-auth"])
            .arg("--trusted-ca-file")
            .arg(pki.ca())
            .arg("--cert-file")
            .arg(cert)
            .arg("--key-file")
            .arg(key)
            .args(["--logger", "zap", "--log-outputs", "stderr"])
            .args(["--log-level", "warn"]);
        command
    }

    /// The address that other members know.
    pub(super) fn peer_url(&self) -> String {
        format!("http://{}", self.gate.address())
    }

    /// True while it has not ended.
    pub(super) fn runs(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| process.exited().is_none())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
            self.said = process.lines();
        }
    }

    /// A signal, unless it was killed.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Its data are gone.
    pub(super) fn forget(&self) {
        remove(&self.data());
    }

    /// Its data are kept aside. It must not run.
    pub(super) fn save(&mut self) {
        remove(&self.saved());
        copy_folder(&self.data(), &self.saved());
        self.saved_joins = self.joins;
    }

    /// Its data are as they were saved. It must not run.
    pub(super) fn restore(&mut self) {
        self.forget();
        copy_folder(&self.saved(), &self.data());
        self.joins = self.saved_joins;
    }

    /// What it said last.
    pub(super) fn report(&self) -> String {
        let lines = self.process.as_ref().map(Process::lines);
        let state = if lines.is_some() { "started" } else { "killed" };
        let lines = [self.said.clone(), lines.unwrap_or_default()].concat();
        let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        format!("{} ({state}): {}", self.name, last.join("\n    "))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn saved(&self) -> PathBuf {
        self.folder.join("saved")
    }
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("our own folder");
    }
}
