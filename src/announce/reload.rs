//! New settings for an agent that runs: SIGHUP has them read again.
//!
//! They are taken over whole or not at all. The record is rewritten in place: the same nonce, the same lease, no gap.
//! What names the record or leads to etcd stays as it was at the start; who wants it otherwise restarts the agent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::{Agent, Settings};
use crate::announce::phase::Phase;
use crate::docker::follow::States;
use crate::docker::host::Surroundings;
use crate::docker::{Container, Daemon};
use crate::model::Endpoint;
use crate::systemd::notify;

/// Hears SIGHUP, which from then on does not end the process any more.
#[derive(Debug)]
pub struct Hangups {
    signal: Signal,
    /// One was heard and not answered yet.
    open: bool,
}

impl Hangups {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the signal cannot be taken over from the system.
    pub fn listen() -> io::Result<Self> {
        let signal = signal(SignalKind::hangup())?;
        let open = false;
        Ok(Self { signal, open })
    }

    /// Waits for one, and tells systemd that it was heard; the same one again until it is [`answered`](Self::answered). Cancel
    /// safe.
    pub(super) async fn heard(&mut self) {
        if self.open {
            return;
        }
        if self.signal.recv().await.is_none() {
            std::future::pending().await
        }
        self.open = true;
        info!("SIGHUP: reading the settings again");
        notify::reloading();
    }

    /// What was read is in force, or refused.
    pub(super) fn answered(&mut self) {
        self.open = false;
        notify::reloaded();
    }
}

/// Which settings are meant.
#[derive(Debug, Clone, Copy)]
pub enum Reading<'a> {
    /// Those that were read last and were right.
    Last,
    /// Those that stand in the files now.
    Again {
        /// The address that is announced, and stays whatever they say.
        at: Option<&'a Endpoint>,
    },
}

/// One run of a container.
#[derive(Debug, Clone)]
pub struct Run {
    /// What is known of it.
    pub container: Arc<Container>,
    /// Its states, for probes.
    pub states: States,
    /// Who knows it, for probes too.
    pub daemon: Daemon,
    /// What is known of the host that it runs on.
    pub host: Arc<Surroundings>,
}

/// Everything that is wrong with settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Each in words.
    pub said: Vec<String>,
    /// Whether nothing is wrong with what was given: the surroundings lack something that may come by itself.
    pub passing: bool,
}

impl From<Vec<String>> for Mistakes {
    fn from(said: Vec<String>) -> Self {
        let passing = false;
        Self { said, passing }
    }
}

/// Where settings come from. For a container of which no run is known there are none, only mistakes.
pub type Origin<'a> = &'a dyn Fn(Reading<'_>, Option<&Run>) -> Result<Option<Settings>, Mistakes>;

/// Settings that are being read.
pub(super) type Rereading<'a> = Pin<Box<dyn Future<Output = Result<Settings, Mistakes>> + 'a>>;

/// The agent's end: hears SIGHUP and reads.
pub(super) struct Reload<'a> {
    hangups: &'a mut Hangups,
    reread: &'a dyn Fn() -> Rereading<'a>,
    reading: Option<Rereading<'a>>,
}

impl<'a> Reload<'a> {
    pub(super) fn new(hangups: &'a mut Hangups, reread: &'a dyn Fn() -> Rereading<'a>) -> Self {
        Self {
            hangups,
            reread,
            reading: None,
        }
    }

    /// Waits for SIGHUP and gives what was read then. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Settings, Mistakes> {
        self.hangups.heard().await;
        let reading = self.reading.get_or_insert_with(self.reread);
        let read = reading.await;
        self.reading = None;
        read
    }

    pub(super) fn answered(&mut self) {
        self.hangups.answered();
    }
}

/// Says why settings that were read again are not taken over.
pub(super) fn refuse(mistakes: &Mistakes) -> String {
    let said = mistakes.said.join("; ");
    error!("the settings stay as they were, what was read again is wrong: {said}");
    said
}

/// What becomes of new settings.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// What is other than before.
    changed: Vec<&'static str>,
    /// What stays as it was, and what it was to be.
    ignored: Vec<String>,
}

impl Settings {
    /// Takes over what may change.
    fn take_over(&mut self, new: Self) -> Change {
        let ignored = self.fixed_differences(&new);
        let mut changed = Vec::new();
        let mut take = |name, differs: bool| {
            if differs {
                changed.push(name);
            }
        };
        let (mine, other) = (&mut self.record, new.record);
        take("version", mine.version != other.version);
        take("weight", mine.weight != other.weight);
        take("tags", mine.tags != other.tags);
        take("meta", mine.meta != other.meta);
        take("probes", self.probes != new.probes);
        take("interval", self.pace.interval != new.pace.interval);
        take("timeout", self.pace.timeout != new.pace.timeout);
        take("rise", self.rise != new.rise);
        take("fall", self.fall != new.fall);
        take("on-failure", self.on_failure != new.on_failure);
        take("drain-timeout", self.drain_timeout != new.drain_timeout);
        take("linger", self.linger != new.linger);
        mine.version = other.version;
        mine.weight = other.weight;
        mine.tags = other.tags;
        mine.meta = other.meta;
        // Equal ones stay: they know which of their commands still runs.
        if self.probes != new.probes {
            self.probes = new.probes;
        }
        self.pace = new.pace;
        self.rise = new.rise;
        self.fall = new.fall;
        self.on_failure = new.on_failure;
        self.drain_timeout = new.drain_timeout;
        self.linger = new.linger;
        Change { changed, ignored }
    }

    /// What may not change and differs.
    fn fixed_differences(&self, new: &Self) -> Vec<String> {
        let (record, other) = (&self.record, &new.record);
        let ttl = crate::util::duration::show(new.ttl);
        let differences = [
            (self.id != new.id, format!("SERVICE/INSTANCE {}", new.id)),
            (
                record.endpoint != other.endpoint,
                format!("HOST:PORT {}", other.endpoint),
            ),
            (
                record.protocol != other.protocol,
                format!("--protocol {}", other.protocol),
            ),
            (
                self.format != new.format,
                format!("--format {}", new.format),
            ),
            (
                self.prefix != new.prefix,
                format!("--prefix {}", new.prefix),
            ),
            (self.meta != new.meta, format!("--meta-prefix {}", new.meta)),
            (self.ttl != new.ttl, format!("--ttl {ttl}")),
            (
                self.ready != new.ready,
                format!("--ready {}", new.ready.as_str()),
            ),
        ];
        let differing = differences.into_iter().filter(|(differs, _)| *differs);
        differing.map(|(_, named)| named).collect()
    }
}

impl Agent {
    /// Takes over what was read again, unless it is wrong.
    pub(super) fn reloaded(&mut self, read: Result<Settings, Mistakes>) {
        // Whoever reloads looks at the status then.
        self.told_status.clear();
        match read {
            Ok(new) => {
                self.refused = None;
                self.adopt(new);
            }
            Err(mistakes) => self.refused = Some(refuse(&mistakes)),
        }
    }

    fn adopt(&mut self, new: Settings) {
        let was_probed = !self.settings.probes.is_empty();
        let Change { changed, ignored } = self.settings.take_over(new);
        if !ignored.is_empty() {
            warn!(
                "cannot change while running, and stays as it was until a restart: {}",
                ignored.join(", ")
            );
        }
        if changed.is_empty() {
            info!("nothing has changed");
            return;
        }
        info!("changed: {}", changed.join(", "));
        info!("{}", self.settings.bounds());
        self.gate.tune(self.settings.rise, self.settings.fall);
        let asks_otherwise = |name: &&str| ["probes", "interval", "timeout"].contains(name);
        if changed.iter().any(asks_otherwise) {
            self.probe_anew(changed.contains(&"probes"), was_probed);
        }
        self.check_watchdog();
        // In place: only where the value differs is anything written.
        self.enter(self.phase);
    }

    /// The health stays as it is until the new probes have come to a verdict.
    fn probe_anew(&mut self, others: bool, was_probed: bool) {
        if others {
            self.gate.forget();
            self.reason = None;
        }
        if was_probed && self.settings.probes.is_empty() {
            self.gate.assume_up();
            self.phase = Phase::Serving;
        }
        let first_verdict_is_due = self.phase != Phase::Starting;
        self.start_probing(first_verdict_is_due);
    }
}

#[cfg(test)]
mod tests;
