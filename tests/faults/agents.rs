//! The agents under test, each behind links of its own to the members of etcd.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::Clock;
use super::cluster::Cluster;
use super::net::Net;
use super::places::{AGENTS, agent_name};
use crate::support::{Command, Ended, Link, PATIENCE, Process, Proxy, Sidekick, Signal};

/// An announcer or a pusher.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: String,
    subcommand: &'static str,
    args: Vec<String>,
    /// To each member of etcd.
    pub(crate) links: [Proxy; 3],
    /// Its own, where that can be wrong.
    clock: Option<Clock>,
    pub(crate) running: Option<Sidekick>,
    /// What its former run said last.
    former: Vec<String>,
}

/// Lines of a former run that are kept.
const KEPT: usize = 60;

/// Within which an agent leaves, whatever is broken: --drain-timeout, and what it gives etcd to confirm.
const LEAVES: Duration = Duration::from_secs(20);

/// Links to all members.
async fn links_to(cluster: &Cluster, net: &Net) -> [Proxy; 3] {
    let [first, second, third] = [0, 1, 2].map(|member| cluster.address(member));
    net.make(async move {
        [
            Proxy::to(first).await,
            Proxy::to(second).await,
            Proxy::to(third).await,
        ]
    })
    .await
}

/// Arguments by which to reach etcd over these links.
fn access(cluster: &Cluster, endpoints: &[String]) -> Vec<String> {
    let mut args = vec!["--endpoints".to_owned(), endpoints.join(",")];
    args.extend(cluster.pki().flags());
    args.extend(["--user", "agent", "--password-file"].map(str::to_owned));
    args.push(cluster.password_file().display().to_string());
    args
}

/// `sidekick SUBCOMMAND` of somebody at a terminal, over a link that nothing disturbs.
pub(crate) fn by_hand(cluster: &Cluster, subcommand: &str) -> Command {
    let endpoints = [0, 1, 2].map(|member| format!("https://{}", cluster.address(member)));
    Command::new(subcommand).args(access(cluster, &endpoints))
}

impl Agent {
    /// Not started yet. One whose clock can jump runs under faketime.
    pub(crate) async fn new(
        number: usize,
        (cluster, net): (&Cluster, &Net),
        subcommand: &'static str,
        mut args: Vec<String>,
        clock: Option<Clock>,
    ) -> Self {
        assert!(number < AGENTS, "no such agent");
        let links = links_to(cluster, net).await;
        let endpoints =
            [0, 1, 2].map(|member: usize| format!("https://{}", links[member].address()));
        args.extend(access(cluster, &endpoints));
        Self {
            name: agent_name(number),
            subcommand,
            args,
            links,
            clock,
            running: None,
            former: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new(self.subcommand)
            .named(&self.name)
            .args(&self.args)
            .notify();
        if let Some(clock) = &self.clock {
            command = clock.started_with(command);
        }
        self.keep_lines();
        self.running = Some(command.start());
    }

    /// What its former run, if it had one, and this one said last.
    pub(crate) fn log(&self) -> Vec<String> {
        let lines = self
            .running
            .as_ref()
            .map(|running| running.process().lines());
        let former = self.former.iter().cloned();
        former.chain(lines.unwrap_or_default()).collect()
    }

    fn keep_lines(&mut self) {
        if let Some(running) = &self.running {
            let lines = running.process().lines();
            self.former = lines[lines.len().saturating_sub(KEPT)..].to_vec();
        }
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            running.kill();
        }
    }

    /// Asks it to leave and waits for that; `None` when it does not.
    pub(crate) async fn leave(&mut self) -> Option<Ended> {
        self.running.as_ref()?.terminate();
        let ended = self.ends().await;
        self.keep_lines();
        self.running = None;
        ended
    }

    async fn ends(&mut self) -> Option<Ended> {
        let running = self.running.as_mut()?;
        let deadline = Instant::now() + LEAVES;
        while running.runs() {
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // between two looks
        }
        Some(running.end(PATIENCE).await)
    }

    /// # Panics
    /// When it was not started.
    pub(crate) fn process(&self) -> &Process {
        self.running.as_ref().expect("it was started").process()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended by itself is found by the monitor.
        let _ = crate::support::send(self.process().pid(), signal);
    }

    /// Whether it has said READY=1.
    pub(crate) fn is_ready(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| {
            running
                .notifications()
                .iter()
                .any(|message| message.starts_with("READY=1"))
        })
    }

    /// Whether it has just said READY=1, and has no doubt of being routed: that would stand behind the revision.
    pub(crate) fn says_routed(&self) -> bool {
        let status = self.status();
        let has_no_doubt = status.ends_with(|last: char| last.is_ascii_digit());
        self.is_ready() && status.starts_with("STATUS=up") && has_no_doubt
    }

    /// What it last said of itself.
    pub(crate) fn status(&self) -> String {
        let notifications = self.running.as_ref().map(Sidekick::notifications);
        let notifications = notifications.unwrap_or_default();
        let mut said = notifications.into_iter().rev();
        said.find(|message| message.starts_with("STATUS="))
            .unwrap_or_default()
    }

    /// All its links to etcd.
    pub(crate) fn set_links(&self, link: Link) {
        for proxy in &self.links {
            proxy.set(link);
        }
    }

    /// Makes its clock differ by so much.
    pub(crate) fn shift_clock(&self, by: &str) {
        if let Some(clock) = &self.clock {
            clock.shift(by);
        }
    }
}

/// How often the monitor looks at all of them.
pub(crate) const LOOKED_AT_EVERY: Duration = Duration::from_millis(500);
