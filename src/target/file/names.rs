//! What the DNS names of servers resolve to.
//!
//! nginx resolves a name when it reads its configuration, and starts with none that does not resolve. So each name is looked up
//! here too: one that fails is left out of the file, and one that has other addresses than before makes nginx read the file again.
//! nginx may ask another DNS than this process does, so a name is left out only when nginx's own check refuses it too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::render;
use crate::model::DnsName;
use crate::util::sanitize::printable;

/// How long a first answer is waited for: a little longer than libc waits before it asks again.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long it is waited for whether a name that did not resolve does again.
const GLANCE: Duration = Duration::from_millis(250);
/// For how long an answer counts.
const FRESH: Duration = Duration::from_secs(1);
/// When names that do not resolve are looked up again.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
/// How many names are looked up at once.
const CONCURRENCY: usize = 32;

type Answer = Result<BTreeSet<IpAddr>, String>;

/// The names of the servers of a file.
#[derive(Debug)]
pub(super) struct Names {
    known: BTreeMap<DnsName, Name>,
    /// What stood in the file when this process began.
    written: BTreeMap<DnsName, BTreeSet<IpAddr>>,
    answer: mpsc::UnboundedSender<(DnsName, Answer)>,
    answers: mpsc::UnboundedReceiver<(DnsName, Answer)>,
    permits: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Name {
    answer: Option<Answer>,
    /// The newest addresses, also when it does not resolve any more.
    last: BTreeSet<IpAddr>,
    asking: bool,
    answered: Option<Instant>,
    /// Whether nginx takes it although it does not resolve here; `None` when that was not tried.
    taken: Option<bool>,
}

impl Name {
    fn take(&mut self, name: &DnsName, answer: Answer) {
        self.answered = Some(Instant::now());
        match &answer {
            Ok(addresses) => {
                if !self.last.is_empty() && self.last != *addresses {
                    info!(
                        name = name.as_str(),
                        ?addresses,
                        "resolves to other addresses"
                    );
                }
                self.last.clone_from(addresses);
                self.taken = None;
            }
            Err(_) if matches!(self.answer, Some(Err(_))) => {}
            Err(_) => self.taken = None,
        }
        self.answer = Some(answer);
    }

    fn fails(&self) -> Option<&str> {
        self.answer.as_ref()?.as_ref().err().map(String::as_str)
    }
}

impl Names {
    pub(super) fn new() -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        Self {
            known: BTreeMap::new(),
            written: BTreeMap::new(),
            answer,
            answers,
            permits: Arc::new(Semaphore::new(CONCURRENCY)),
        }
    }

    /// Takes over what a former process wrote down in the file.
    pub(super) fn read(&mut self, text: &str) {
        self.written.extend(render::names(text));
    }

    /// Looks up these names, and forgets all others. Those that did not resolve before are waited for only a moment.
    pub(super) async fn look_up(&mut self, wanted: &BTreeSet<DnsName>) {
        self.known.retain(|name, _| wanted.contains(name));
        while let Ok((name, answer)) = self.answers.try_recv() {
            self.take(&name, answer);
        }
        let mut started = BTreeSet::new();
        for name in wanted {
            let written = &self.written;
            let known = self.known.entry(name.clone()).or_insert_with(|| Name {
                last: written.get(name).cloned().unwrap_or_default(),
                ..Name::default()
            });
            let is_fresh = |at: Instant| at.elapsed() < FRESH;
            if !known.asking && !known.answered.is_some_and(is_fresh) {
                known.asking = true;
                started.insert(name.clone());
                tokio::spawn(ask(name.clone(), self.permits.clone(), self.answer.clone()));
            }
        }
        let begun = Instant::now();
        loop {
            let mut open = self.known.iter().filter(|(_, known)| known.asking);
            let until = match open.clone().any(|(_, known)| known.fails().is_none()) {
                true => begun + PATIENCE,
                false if open.any(|(name, _)| started.contains(name)) => begun + GLANCE,
                false => return,
            };
            match timeout_at(until, self.answers.recv()).await {
                Ok(Some((name, answer))) => self.take(&name, answer),
                _ => break,
            }
        }
        let late = self.known.iter_mut().filter(|(_, name)| name.asking);
        for (name, known) in late.filter(|(_, known)| known.fails().is_none()) {
            let within = humantime::format_duration(PATIENCE);
            known.take(name, Err(format!("DNS gives no answer within {within}")));
        }
    }

    fn take(&mut self, name: &DnsName, answer: Answer) {
        if let Some(known) = self.known.get_mut(name) {
            known.asking = false;
            known.take(name, answer);
        }
    }

    /// The names that do not resolve here, and of which it is not known whether nginx takes them.
    pub(super) fn suspects(&self) -> Vec<DnsName> {
        let suspects = self.known.iter();
        let suspects = suspects.filter(|(_, name)| name.fails().is_some() && name.taken.is_none());
        suspects.map(|(name, _)| name.clone()).collect()
    }

    /// Whether nginx takes the suspects; `None` when that is not known.
    pub(super) fn judge(&mut self, suspects: &[DnsName], taken: Option<bool>) {
        for name in suspects {
            if let Some(known) = self.known.get_mut(name) {
                known.taken = taken;
            }
        }
    }

    /// nginx refuses something: those it took although they do not resolve here are suspects again. Whether there are any.
    pub(super) fn doubt(&mut self) -> bool {
        let mut any = false;
        for known in self
            .known
            .values_mut()
            .filter(|name| name.taken == Some(true))
        {
            known.taken = None;
            any = true;
        }
        any
    }

    /// Whether any name does not resolve here.
    pub(super) fn any_fails(&self) -> bool {
        self.known.values().any(|name| name.fails().is_some())
    }

    /// Why servers of this name are left out, if they are.
    pub(super) fn left_out(&self, name: &DnsName) -> Option<&str> {
        let known = self.known.get(name)?;
        known.fails().filter(|_| known.taken == Some(false))
    }

    /// The newest addresses that are known, also of a name that does not resolve any more.
    pub(super) fn last(&self, name: &DnsName) -> impl Iterator<Item = &IpAddr> {
        self.known.get(name).into_iter().flat_map(|name| &name.last)
    }
}

async fn ask(
    name: DnsName,
    permits: Arc<Semaphore>,
    tell: mpsc::UnboundedSender<(DnsName, Answer)>,
) {
    // Nobody closes it.
    let _permit = permits.acquire().await;
    let answer = match lookup_host((name.as_str(), 0)).await {
        Ok(addresses) => {
            let addresses: BTreeSet<_> = addresses.map(|address| address.ip()).collect();
            match addresses.is_empty() {
                true => Err("it has no address".to_owned()),
                false => Ok(addresses),
            }
        }
        Err(error) => {
            let reason = printable(error.to_string(), 200);
            let short = reason.strip_prefix("failed to lookup address information: ");
            Err(short.unwrap_or(&reason).to_owned())
        }
    };
    // Nobody hears only when the file is not looked after any more.
    let _ = tell.send((name, answer));
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::model::Host;

    fn name(text: &str) -> DnsName {
        match text.parse() {
            Ok(Host::Dns(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    fn addresses(list: &[&str]) -> BTreeSet<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// As if DNS had answered.
    fn told(names: &mut Names, text: &str, answer: Answer) {
        let known = names.known.entry(name(text)).or_default();
        known.take(&name(text), answer);
    }

    #[test]
    fn a_name_is_left_out_when_neither_this_process_nor_nginx_resolves_it() {
        let (mut names, web) = (Names::new(), name("web.example"));
        told(&mut names, "web.example", Ok(addresses(&["10.0.0.5"])));
        assert!(names.suspects().is_empty() && names.left_out(&web).is_none());
        told(&mut names, "web.example", Err("gone".to_owned()));
        assert_eq!(names.suspects(), from_ref(&web));
        assert_eq!(names.left_out(&web), None, "nginx was not asked yet");
        names.judge(from_ref(&web), Some(true));
        assert!(names.suspects().is_empty() && names.left_out(&web).is_none());
        assert!(names.doubt() && !names.doubt());
        names.judge(from_ref(&web), Some(false));
        assert_eq!(names.left_out(&web), Some("gone"));
        told(&mut names, "web.example", Err("still gone".to_owned()));
        assert_eq!(
            names.left_out(&web),
            Some("still gone"),
            "it is not tried again"
        );
        assert_eq!(names.last(&web).count(), 1, "what it was is remembered");
        told(&mut names, "web.example", Ok(addresses(&["10.0.0.6"])));
        assert!(names.left_out(&web).is_none() && !names.any_fails());
        told(&mut names, "web.example", Err("again".to_owned()));
        assert_eq!(names.suspects(), [web]);
    }

    /// This name never resolves, as RFC 6761 has it, and the other one always does.
    #[tokio::test]
    async fn names_are_looked_up_and_others_are_forgotten() {
        let (mut names, local) = (Names::new(), name("localhost"));
        names.read("# sidekick: name nowhere.invalid 10.0.0.9\n");
        let nowhere = name("nowhere.invalid");
        names
            .look_up(&[local.clone(), nowhere.clone()].into())
            .await;
        assert!(names.last(&local).all(IpAddr::is_loopback));
        assert_eq!(names.suspects(), from_ref(&nowhere));
        assert_eq!(names.last(&nowhere).count(), 1);
        names.look_up(&[local].into()).await;
        assert!(!names.any_fails());
    }
}
