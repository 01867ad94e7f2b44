//! What the DNS names of servers resolve to.
//!
//! nginx resolves names when it reads its configuration, and does not start when one fails. So each name is looked up here too:
//! one that fails is left out of the file, and new addresses lead to a reload. nginx may use another DNS than this process, so a name
//! is left out only when nginx's own check refuses it too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::text;
use crate::model::DnsName;
use crate::util::few::few;
use crate::util::sanitize::printable;

/// How long to wait for the first answer: a little longer than libc waits before it asks again.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long to wait for a name that failed before.
const GLANCE: Duration = Duration::from_millis(250);
/// How many addresses of a name are logged.
const SHOWN: usize = 10;
/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(1);
/// How soon names that fail are looked up again.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
/// How many names are looked up at once.
const CONCURRENCY: usize = 32;

type Answer = Result<BTreeSet<IpAddr>, String>;

/// The names of the servers of a file.
#[derive(Debug)]
pub(super) struct Names {
    known: BTreeMap<DnsName, Name>,
    /// The addresses in the file when this process started.
    written: BTreeMap<DnsName, BTreeSet<IpAddr>>,
    asking: JoinSet<(DnsName, Answer)>,
    permits: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Name {
    answer: Option<Answer>,
    /// The last known addresses.
    last: BTreeSet<IpAddr>,
    asking: bool,
    answered: Option<Instant>,
    /// Whether nginx takes the failing name; `None` when that is not known.
    taken: Option<bool>,
}

impl Name {
    fn take(&mut self, name: &DnsName, answer: Answer) {
        if let Ok(addresses) = &answer {
            if !self.last.is_empty() && self.last != *addresses {
                let name = name.as_str();
                let addresses = few(addresses, SHOWN);
                info!(name, %addresses, "resolves to other addresses");
            }
            self.last.clone_from(addresses);
        }
        if answer.is_ok() || self.fails().is_none() {
            self.taken = None;
        }
        self.answered = Some(Instant::now());
        self.answer = Some(answer);
    }

    fn fails(&self) -> Option<&str> {
        self.answer.as_ref()?.as_ref().err().map(String::as_str)
    }
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            known: BTreeMap::new(),
            written: BTreeMap::new(),
            asking: JoinSet::new(),
            permits: Arc::new(Semaphore::new(CONCURRENCY)),
        }
    }

    /// Reads the addresses that a former process wrote into the file.
    pub(super) fn read(&mut self, text: &str) {
        self.written.extend(text::names(text));
    }

    /// Looks up these names and forgets all others. Waits only a moment for names that failed before.
    pub(super) async fn look_up(&mut self, wanted: &BTreeSet<DnsName>) {
        self.known.retain(|name, _| wanted.contains(name));
        while let Some(Ok((name, answer))) = self.asking.try_join_next() {
            self.take(&name, answer);
        }
        let started = self.start(wanted);
        let begun = Instant::now();
        loop {
            let mut open = self.known.iter().filter(|(_, known)| known.asking);
            let until = match open.clone().any(|(_, known)| known.fails().is_none()) {
                true => begun + PATIENCE,
                false if open.any(|(name, _)| started.contains(name)) => begun + GLANCE,
                false => return,
            };
            match timeout_at(until, self.asking.join_next()).await {
                Ok(Some(Ok((name, answer)))) => self.take(&name, answer),
                _ => break,
            }
        }
        let late = self.known.iter_mut().filter(|(_, name)| name.asking);
        for (name, known) in late.filter(|(_, known)| known.fails().is_none()) {
            let within = crate::util::duration::show(PATIENCE);
            known.take(name, Err(format!("DNS gives no answer within {within}")));
        }
    }

    /// Starts the look-ups without a fresh answer, and returns their names.
    fn start(&mut self, wanted: &BTreeSet<DnsName>) -> BTreeSet<DnsName> {
        let mut started = BTreeSet::new();
        for name in wanted {
            let written = self.written.get(name);
            let known = self.known.entry(name.clone()).or_insert_with(|| Name {
                last: written.cloned().unwrap_or_default(),
                ..Name::default()
            });
            let is_fresh = known.answered.is_some_and(|at| at.elapsed() < FRESH);
            if !known.asking && !is_fresh {
                known.asking = true;
                started.insert(name.clone());
                self.asking.spawn(ask(name.clone(), self.permits.clone()));
            }
        }
        started
    }

    fn take(&mut self, name: &DnsName, answer: Answer) {
        if let Some(known) = self.known.get_mut(name) {
            known.asking = false;
            known.take(name, answer);
        }
    }

    /// The failing names that are not left out.
    pub(super) fn candidates(&self) -> Vec<DnsName> {
        let candidates = self.known.iter();
        let candidates =
            candidates.filter(|(_, name)| name.fails().is_some() && name.taken != Some(false));
        candidates.map(|(name, _)| name.clone()).collect()
    }

    /// Whether it is unknown for a failing name if nginx takes it.
    pub(super) fn any_untried(&self) -> bool {
        let mut names = self.known.values();
        names.any(|name| name.fails().is_some() && name.taken.is_none())
    }

    /// Notes whether nginx takes these failing names; `None` when that is not known.
    pub(super) fn judge(&mut self, candidates: &[DnsName], taken: Option<bool>) {
        for name in candidates {
            if let Some(known) = self.known.get_mut(name) {
                known.taken = taken;
            }
        }
    }

    /// Whether any name fails here.
    pub(super) fn any_fails(&self) -> bool {
        self.known.values().any(|name| name.fails().is_some())
    }

    /// Why servers of this name are left out; `None` when they are not.
    pub(super) fn left_out(&self, name: &DnsName) -> Option<&str> {
        let known = self.known.get(name)?;
        known.fails().filter(|_| known.taken == Some(false))
    }

    /// The last known addresses, also of a name that fails now.
    pub(super) fn last(&self, name: &DnsName) -> Option<&BTreeSet<IpAddr>> {
        let last = &self.known.get(name)?.last;
        Some(last).filter(|last| !last.is_empty())
    }
}

async fn ask(name: DnsName, permits: Arc<Semaphore>) -> (DnsName, Answer) {
    // The semaphore is never closed.
    let _permit = permits.acquire().await;
    let answer = match lookup_host((name.as_str(), 0)).await {
        Ok(addresses) => {
            let addresses: BTreeSet<_> = addresses.map(|address| address.ip()).collect();
            let found = Some(addresses).filter(|addresses| !addresses.is_empty());
            found.ok_or_else(|| "it has no address".to_owned())
        }
        Err(error) => {
            let reason = printable(error.to_string(), 200);
            let short = reason.strip_prefix("failed to lookup address information: ");
            Err(short.unwrap_or(&reason).to_owned())
        }
    };
    (name, answer)
}

#[cfg(test)]
mod tests;
