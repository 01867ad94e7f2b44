//! The file of an nginx, and its upstreams, as the pusher has them in hand.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::disk::Disk;
use super::entry::{Answer, Applied};
use super::process::Process;
use super::settings::Settings;
use super::template::Template;
use super::text::{self, Blocks};
use super::writer::{Request, Writer};
use super::{compare, foreign, round, servers};
use crate::etcd::client::Cluster;
use crate::model::{Endpoint, State};
use crate::target::{
    Driver, Error, Layer, OpenError, Outcome, Progress, Upstream, UpstreamName, restart_watch,
};
use crate::upstream::guard::Sight;
use crate::upstream::plan::{Drains, Plan};
use crate::upstream::state::Desired;

/// On the way out: how long a change of the file may take to be finished or taken back.
const LEAVE: Duration = Duration::from_secs(5);
/// How long one call of `converge` waits for the writer; whoever calls it may bring something newer then.
const TURN: Duration = Duration::from_millis(250);

/// One file of one nginx. Clones share it.
#[derive(Debug, Clone)]
pub struct FileTarget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    template: Option<Arc<Template>>,
    upstreams: BTreeSet<UpstreamName>,
    requests: mpsc::UnboundedSender<Request>,
    /// Does the work; started with the first request.
    writer: Mutex<Option<Writer>>,
    /// The started writer.
    work: Mutex<Option<JoinHandle<()>>>,
    leaving: watch::Sender<bool>,
}

impl FileTarget {
    /// The file of `settings`, with these upstreams. Reads the template, but opens and starts nothing else yet.
    ///
    /// # Errors
    ///
    /// When a setting or the template is wrong.
    pub fn new(
        settings: Settings,
        upstreams: impl IntoIterator<Item = UpstreamName>,
    ) -> Result<Self, OpenError> {
        settings.validate()?;
        let template = settings.template.as_deref().map(Template::read);
        let template = template.transpose().map_err(OpenError)?.map(Arc::new);
        let settings = Arc::new(settings);
        let upstreams: BTreeSet<_> = upstreams.into_iter().collect();
        let (requests, received) = mpsc::unbounded_channel();
        let leaving = watch::Sender::new(false);
        let names = upstreams.iter().cloned();
        let leave = leaving.subscribe();
        let writer = Writer::new(settings.clone(), template.clone(), received, names, leave);
        Ok(Self(Arc::new(Inner {
            settings,
            template,
            upstreams,
            requests,
            writer: Mutex::new(Some(writer)),
            work: Mutex::default(),
            leaving,
        })))
    }

    /// One of its upstreams; draining servers have `drain_timeout` to finish. `None` when it was not named to [`FileTarget::new`].
    ///
    /// The reload waits for all upstreams that change together, so none may wait for another one's convergence: no limit on how many
    /// converge at once.
    #[must_use]
    pub fn upstream(&self, name: &UpstreamName, drain_timeout: Duration) -> Option<FileUpstream> {
        self.0.upstreams.contains(name).then(|| FileUpstream {
            target: self.clone(),
            name: name.clone(),
            drains: Drains::new(drain_timeout),
            desired: None,
            answer: None,
            sight: Sight::default(),
            refused: BTreeSet::new(),
            taken: BTreeSet::new(),
        })
    }

    /// The blocks that stand in the file, and whether they would be taken over from somebody else.
    async fn found(&self) -> Result<(Blocks, bool), Error> {
        let settings = &self.0.settings;
        let found = Disk::new(self.0.settings.clone()).settled().await?;
        let text = found.map(|content| content.text).unwrap_or_default();
        Ok(match foreign::check(&text, settings)? {
            Some(blocks) => (blocks, true),
            None => (text::split(&text), false),
        })
    }

    /// Hands a request to the writer, which starts with the first. It ends when the last handle is gone, after its current round.
    fn ask(&self, upstream: UpstreamName, desired: Desired) -> oneshot::Receiver<Answer> {
        if let Some(writer) = lock(&self.0.writer).take() {
            *lock(&self.0.work) = Some(tokio::spawn(writer.run()));
        }
        let (reply, answer) = oneshot::channel();
        // Fails only after `leave`, or when the runtime shuts down.
        let _ = self.0.requests.send(Request {
            upstream,
            desired,
            reply,
        });
        answer
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One upstream in the file of a [`FileTarget`].
#[derive(Debug)]
pub struct FileUpstream {
    target: FileTarget,
    name: UpstreamName,
    drains: Drains,
    /// What was asked for last.
    desired: Option<Desired>,
    /// The answer to that, while it is still to come.
    answer: Option<oneshot::Receiver<Answer>>,
    /// Which servers the file was to have.
    sight: Sight,
    /// What nginx refuses, or may refuse.
    refused: BTreeSet<Endpoint>,
    /// The servers that take traffic in what nginx last took.
    taken: BTreeSet<Endpoint>,
}

impl FileUpstream {
    /// Requests what is desired, fitted to the file, unless the answer to the same request is still to come.
    fn ask(&mut self, desired: &Desired) -> &mut oneshot::Receiver<Answer> {
        let now = Instant::now();
        let fitted = desired.fit(&self.sight, &self.refused);
        let up = ups(&fitted).filter(|at| !self.refused.contains(at));
        let up = up.collect();
        self.sight.read(up, desired, now);
        self.drains.follow(&fitted, now);
        let fitted = fitted.into_owned();
        if self.desired.as_ref() != Some(&fitted) {
            self.answer = None;
            self.desired = Some(fitted.clone());
        }
        let ask = || self.target.ask(self.name.clone(), fitted);
        self.answer.get_or_insert_with(ask)
    }

    /// Remembers what nginx refuses. When it takes nothing of a change, any new server may be the cause, so none of them counts as a
    /// replacement.
    fn note(&mut self, answer: &Answer) {
        let all = self.desired.iter().flat_map(ups);
        match answer {
            Ok(applied) => {
                let refused = applied.refused.keys();
                let refused = refused.filter(|at| !applied.stand_ins.contains(at));
                self.refused = refused.cloned().collect();
                self.taken = all.filter(|at| !self.refused.contains(at)).collect();
            }
            Err(Error::Refused { .. } | Error::Unresolved(_) | Error::Template(_)) => {
                let new = all.filter(|endpoint| !self.taken.contains(endpoint));
                self.refused.extend(new);
            }
            Err(_) => {}
        }
    }

    fn progress(&self, applied: &Applied) -> Progress {
        let busy = applied.busy.iter();
        let waiting = busy.filter(|(at, count)| **count > 0 && !self.drains.is_over(at));
        let active = waiting.clone().map(|(_, count)| *count).max();
        match self.drains.before(waiting.map(|(endpoint, _)| endpoint)) {
            None => Progress::Converged,
            Some(confirmed) => Progress::Draining {
                active: active.unwrap_or_default(),
                confirmed,
            },
        }
    }
}

/// The servers that are to take traffic.
fn ups(desired: &Desired) -> impl Iterator<Item = Endpoint> {
    let servers = desired.servers.iter();
    let up = servers.filter(|(_, server)| server.state == State::Up);
    up.map(|(endpoint, _)| endpoint.clone())
}

#[async_trait]
impl Upstream for FileUpstream {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        let answer = match timeout(TURN, self.ask(desired)).await {
            Ok(Ok(answer)) => answer,
            // The writer is gone: the runtime shuts down.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return Ok(Outcome::new(Progress::Unfinished)),
        };
        self.answer = None;
        self.note(&answer);
        let applied = answer?;
        let refused = applied.refused.iter();
        let refused = refused.map(|(server, reason)| (format!("server {server}"), reason.clone()));
        Ok(Outcome {
            refused: refused.chain(applied.withheld.clone()).collect(),
            missing: applied.refused.clone(),
            serving: Some(self.taken.clone()),
            changed: applied.undone,
            ..Outcome::new(self.progress(&applied))
        })
    }

    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error> {
        let (blocks, _) = self.target.found().await?;
        let found = blocks.get(&self.name).map(String::as_str);
        self.taken = found.map(servers::serving).unwrap_or_default();
        self.sight.read(self.taken.clone(), desired, Instant::now());
        let target = &self.target.0;
        let template = target.template.as_ref();
        compare::plan(found, &target.settings, template, &self.name, desired)
    }
}

#[async_trait]
impl Driver for FileTarget {
    fn upstream(
        self: Arc<Self>,
        _: Layer,
        name: &UpstreamName,
        drain_timeout: Duration,
        _: &Cluster,
    ) -> Option<Box<dyn Upstream>> {
        Some(Box::new(Self::upstream(&self, name, drain_timeout)?))
    }

    /// Counts nothing without a pid file.
    async fn watch(self: Arc<Self>, period: Duration, restarts: watch::Sender<u64>, _: Cluster) {
        let Some(pid) = self.0.settings.pid.clone() else {
            return std::future::pending().await;
        };
        // This handle must not keep the writer alive.
        drop(self);
        let look = || std::future::ready(Ok(Process::master(&pid)));
        restart_watch::watch(pid.display(), look, period, restarts).await;
    }

    /// Ends all work on the file, for good. A change that nginx was not yet asked to load is taken back, so that no file stays that
    /// nobody has checked.
    async fn leave(&self) {
        self.0.leaving.send_replace(true);
        drop(lock(&self.0.writer).take());
        let work = lock(&self.0.work).take();
        if let Some(work) = work
            && timeout(LEAVE, work).await.is_err()
        {
            warn!(file = %self.0.settings.file.display(), "the change of the file does not come to an end");
        }
        // A former target of the same file may still be at it.
        let turn = round::turn(&self.0.settings.file);
        let _ = timeout(LEAVE, turn.lock()).await;
    }

    /// Logs what `adopt` would take over, when the file is not sidekick's own. Changes nothing. Each upstream reports by itself what
    /// hinders that.
    async fn log_adoption(&self) {
        if let Ok((blocks, true)) = self.found().await {
            let what = "--adopt would take it over, without --dry-run";
            let routed = |name: &UpstreamName| self.0.upstreams.contains(name);
            foreign::log(&self.0.settings, &blocks, routed, what);
        }
    }
}
