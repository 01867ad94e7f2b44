//! The driver for open-source nginx: a file with its `upstream {}` blocks, and a reload.
//!
//! One [`Site`] stands for one file of one nginx. It renders a block for each upstream, and when anything differs from what is
//! there it writes the file beside, renames it, has nginx check it, reloads nginx, and looks whether the running nginx really has
//! it. What nginx does not take is put back, and only the upstreams, or the servers, that it does not take are left out. An
//! upstream that has servers is never replaced by an empty one because of that.
//!
//! ```text
//! ConfFile (one an upstream) ─► site (one a file): gather ─► render ─► disk ─► check ─► reload ─► proof
//!          ▲                      │
//!          └────── verdict ───────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::{Driver, Error, Layer, Outcome, Progress, Upstream, UpstreamName};
use crate::etcd::client::Cluster;
use crate::model::{Endpoint, State};
use crate::upstream::desired::{Desired, Servers};
use crate::upstream::guard::Sight;
use crate::upstream::plan::{Drains, Plan};
use crate::util::command::CommandLine;
use crate::util::sanitize::short;

mod attempt;
mod blame;
mod budget;
mod compare;
mod disk;
mod foreign;
mod member;
mod names;
mod process;
mod proof;
mod render;
mod resolved;
mod seen;
mod settings;
mod sift;
mod site;
mod syntax;
mod template;
mod unrecorded;

use disk::Disk;
use process::Process;
pub use proof::{Proof, ProofError};
use site::Actor;
pub use template::{Template, TemplateError};

/// How long lies between two reloads where nothing else is said.
pub const MIN_RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// How long a command may take, and nginx to take the file over after a reload, where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Where nginx writes its process id where nothing else is said.
pub const PID: &str = "/run/nginx.pid";
/// How long it is waited on the way out for a change of the file to be finished or taken back.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a convergence goes on before it asks whether something newer is desired.
const TURN: Duration = Duration::from_millis(250);

/// Which file of which nginx, and how nginx is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file. Nothing else may write it. nginx has to `include` it, in `http {}` or in `stream {}`.
    pub file: PathBuf,
    /// In which of the two.
    pub layer: Layer,
    /// The file of the template that renders an upstream's block; as built in where there is none.
    pub template: Option<PathBuf>,
    /// Exits 0 when nginx would take its configuration; `nginx -t` where nothing else is said. Without it only the reload shows
    /// that.
    pub check: Option<CommandLine>,
    /// Tells nginx to read its configuration again; `nginx -s reload` where nothing else is said.
    pub reload: CommandLine,
    /// The shortest time between two reloads.
    pub min_reload_interval: Duration,
    /// How long a command may take, and nginx to take the file over after a reload.
    pub timeout: Duration,
    /// Where nginx writes its process id. Its workers show whether it has taken the file, and which requests still run with
    /// the one before.
    pub pid: Option<PathBuf>,
    /// Where nginx is asked whether it has the file. Surer than its workers, and the only way where they cannot be seen, as in a
    /// container.
    pub proof: Option<Proof>,
    /// Whether a file that is not sidekick's own is taken over when it holds `upstream` blocks only. What is no file of sidekick's
    /// is left alone otherwise.
    pub adopt: bool,
}

/// Why settings cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The path does not begin at the root.
    #[error("the file \"{0}\" is not an absolute path")]
    Relative(String),
    /// The path has no name at its end.
    #[error("the file \"{0}\" has no name")]
    NoName(String),
    /// Nothing would show whether nginx has the file.
    #[error(
        "neither a pid file nor a proof address is set: nothing would show that the running nginx has the file"
    )]
    NoProof,
    /// Something takes no time.
    #[error("the time a command may take is 0")]
    NoTime,
    /// The template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl Settings {
    /// Everything but the file as it is where nothing else is said.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, layer: Layer) -> Self {
        Self {
            file: file.into(),
            layer,
            template: None,
            check: Some(CommandLine::new("nginx", &["-t"])),
            reload: CommandLine::new("nginx", &["-s", "reload"]),
            min_reload_interval: MIN_RELOAD_INTERVAL,
            timeout: TIMEOUT,
            pid: Some(PID.into()),
            proof: None,
            adopt: false,
        }
    }

    fn validate(&self) -> Result<(), SettingsError> {
        let shown = || short(self.file.as_os_str().as_encoded_bytes());
        if !self.file.is_absolute() {
            return Err(SettingsError::Relative(shown()));
        }
        if self.file.file_name().is_none() {
            return Err(SettingsError::NoName(shown()));
        }
        if self.pid.is_none() && self.proof.is_none() {
            return Err(SettingsError::NoProof);
        }
        if self.timeout.is_zero() {
            return Err(SettingsError::NoTime);
        }
        Ok(())
    }
}

/// One file of one nginx. Clones stand for the same.
#[derive(Debug, Clone)]
pub struct Site(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    template: Option<Arc<Template>>,
    verdicts: BTreeMap<UpstreamName, watch::Receiver<Verdict>>,
    asking: mpsc::UnboundedSender<Asked>,
    /// How many questions there were.
    count: AtomicU64,
    /// Does the work; taken by the first that has some.
    actor: Mutex<Option<Actor>>,
    /// The work.
    work: Mutex<Option<JoinHandle<()>>>,
    leaving: watch::Sender<bool>,
}

/// What an upstream should be, handed over.
#[derive(Debug)]
struct Asked {
    upstream: UpstreamName,
    number: u64,
    /// `None` when it is the same as before.
    desired: Option<Desired>,
}

/// What became of it.
#[derive(Debug, Clone)]
struct Verdict {
    /// Up to which number this answers.
    number: u64,
    result: Result<Applied, Error>,
}

/// The running nginx has it.
#[derive(Debug, Clone, Default)]
struct Applied {
    /// By draining server, how many workers may still send requests there.
    busy: BTreeMap<Endpoint, u64>,
    /// The servers that are left out, with the reasons.
    refused: BTreeMap<Endpoint, String>,
    /// Those of them that take traffic all the same, by the addresses that their names had.
    stand_ins: BTreeSet<Endpoint>,
    /// The steps that are left out as too few servers would take traffic, with the reasons.
    withheld: BTreeMap<String, String>,
    /// Whether somebody else had changed it in the file.
    undone: bool,
}

impl Site {
    /// The file of `settings`, with these upstreams. Reads the template, but opens and starts nothing else yet.
    ///
    /// # Errors
    ///
    /// When the settings cannot be.
    pub fn new(
        settings: Settings,
        upstreams: impl IntoIterator<Item = UpstreamName>,
    ) -> Result<Self, SettingsError> {
        settings.validate()?;
        let template = settings.template.as_deref().map(Template::read);
        let template = template.transpose()?.map(Arc::new);
        let settings = Arc::new(settings);
        let (asking, asked) = mpsc::unbounded_channel();
        let mut verdicts = BTreeMap::new();
        let mut tellers = BTreeMap::new();
        for upstream in upstreams {
            let nothing = Verdict {
                number: 0,
                result: Ok(Applied::default()),
            };
            let (teller, verdict) = watch::channel(nothing);
            verdicts.insert(upstream.clone(), verdict);
            tellers.insert(upstream, teller);
        }
        let leaving = watch::Sender::new(false);
        let actor = Actor::new(
            settings.clone(),
            template.clone(),
            asked,
            tellers,
            leaving.subscribe(),
        );
        Ok(Self(Arc::new(Inner {
            settings,
            template,
            verdicts,
            asking,
            count: AtomicU64::new(0),
            actor: Mutex::new(Some(actor)),
            work: Mutex::default(),
            leaving,
        })))
    }

    /// Which file of which nginx.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// One of its upstreams; draining servers have `drain_timeout` to finish. `None` when it was not named to [`Site::new`].
    ///
    /// The reload waits for all upstreams that change together, so none may wait for another one's convergence: no limit on how many
    /// converge at once.
    #[must_use]
    pub fn upstream(&self, name: &UpstreamName, drain_timeout: Duration) -> Option<ConfFile> {
        let verdict = self.0.verdicts.get(name)?.clone();
        Some(ConfFile {
            site: self.clone(),
            name: name.clone(),
            verdict,
            drains: Drains::new(drain_timeout),
            asked: 0,
            desired: None,
            sight: Sight::default(),
            refused: BTreeSet::new(),
            taken: BTreeSet::new(),
        })
    }

    /// Starts the actor with the first work. It ends when nobody can ask any more, after what it is at.
    fn ask(&self, asked: Asked) {
        if let Some(actor) = lock(&self.0.actor).take() {
            *lock(&self.0.work) = Some(tokio::spawn(actor.run()));
        }
        // The actor lives as long as this end does, or the runtime is about to go.
        let _ = self.0.asking.send(asked);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One upstream in the file of a [`Site`].
#[derive(Debug)]
pub struct ConfFile {
    site: Site,
    name: UpstreamName,
    verdict: watch::Receiver<Verdict>,
    drains: Drains,
    /// The number of what was asked last.
    asked: u64,
    desired: Option<Desired>,
    /// What the file has been told to have.
    sight: Sight,
    /// What nginx was seen to refuse, or may refuse.
    refused: BTreeSet<Endpoint>,
    /// What nginx last took as taking traffic.
    taken: BTreeSet<Endpoint>,
}

impl ConfFile {
    /// Hands over what is desired as it fits the file, unless the answer to just that is still to come.
    fn ask(&mut self, desired: &Desired) {
        let now = Instant::now();
        let fitted = desired.fit(&self.sight, &self.refused);
        let mut up = ups(&fitted.servers);
        up.retain(|endpoint| !self.refused.contains(endpoint));
        self.sight.read(up, desired, now);
        self.drains.follow(&fitted, now);
        self.hand_over(&fitted);
    }

    fn hand_over(&mut self, desired: &Desired) {
        let same = self.desired.as_ref() == Some(desired);
        if same && self.verdict.borrow().number < self.asked {
            return;
        }
        self.asked = 1 + self.site.0.count.fetch_add(1, Ordering::Relaxed);
        if !same {
            self.desired = Some(desired.clone());
        }
        self.site.ask(Asked {
            upstream: self.name.clone(),
            number: self.asked,
            desired: (!same).then(|| desired.clone()),
        });
    }

    /// Takes note of what nginx refuses. Where nothing of a change is taken, whatever is new may be why: others must stay for that.
    fn note(&mut self, result: &Result<Applied, Error>) {
        let desired = self.desired.iter();
        let all = desired.flat_map(|desired| ups(&desired.servers));
        match result {
            Ok(applied) => {
                let refused = applied.refused.keys().cloned();
                let refused = refused.filter(|at| !applied.stand_ins.contains(at));
                self.refused = refused.collect();
                self.taken = all.filter(|at| !self.refused.contains(at)).collect();
            }
            Err(Error::Refused { .. } | Error::Unresolved(_) | Error::Template(_)) => {
                let new = all.filter(|endpoint| !self.taken.contains(endpoint));
                self.refused.extend(new);
            }
            Err(_) => {}
        }
    }

    /// This block was found in the file.
    fn find(&mut self, block: Option<&String>, desired: &Desired) {
        self.taken = block
            .map(|block| compare::serving(block))
            .unwrap_or_default();
        self.sight.read(self.taken.clone(), desired, Instant::now());
    }

    fn progress(&self, applied: &Applied) -> Progress {
        let waiting = applied
            .busy
            .iter()
            .filter(|(endpoint, count)| **count > 0 && !self.drains.is_over(endpoint));
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

fn ups(servers: &Servers) -> BTreeSet<Endpoint> {
    let up = servers
        .iter()
        .filter(|(_, server)| server.state == State::Up);
    up.map(|(endpoint, _)| endpoint.clone()).collect()
}

#[async_trait]
impl Upstream for ConfFile {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        self.ask(desired);
        let number = self.asked;
        let told = async {
            let told = self.verdict.wait_for(|verdict| verdict.number >= number);
            told.await.map(|verdict| verdict.result.clone())
        };
        let result = match timeout(TURN, told).await {
            Ok(Ok(result)) => result,
            // Nobody tells any more: the runtime is about to go.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => {
                return Ok(Outcome::new(Progress::Unfinished));
            }
        };
        self.note(&result);
        let applied = result?;
        let refused = applied.refused.iter();
        let refused = refused.map(|(server, reason)| (format!("server {server}"), reason.clone()));
        let withheld = applied.withheld.clone();
        Ok(Outcome {
            refused: refused.chain(withheld).collect(),
            missing: applied.refused.clone(),
            serving: Some(self.taken.clone()),
            changed: applied.undone,
            ..Outcome::new(self.progress(&applied))
        })
    }

    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error> {
        let site = self.site.clone();
        let (settings, template) = (site.settings(), site.0.template.as_ref());
        let found = Disk::new(&settings.file).read().await;
        let found = found.map_err(|reason| file_error(&settings.file, &reason))?;
        let text = found.map(|content| content.text).unwrap_or_default();
        let Some(taken_over) = foreign::check(&text, settings)? else {
            let found = render::split(&text).remove(self.name.as_str());
            self.find(found.as_ref(), desired);
            return compare::plan(found, settings, template, &self.name, desired);
        };
        let found = taken_over.get(&self.name).cloned();
        self.find(found.as_ref(), desired);
        compare::plan(found, settings, template, &self.name, desired)
    }
}

/// Something about the file itself.
fn file_error(file: &Path, reason: &str) -> Error {
    Error::File {
        file: short(file.as_os_str().as_encoded_bytes()),
        reason: reason.to_owned(),
    }
}

#[async_trait]
impl Driver for Site {
    fn upstream(
        self: Arc<Self>,
        _: Layer,
        name: &UpstreamName,
        drain_timeout: Duration,
        _: &Cluster,
    ) -> Option<Box<dyn Upstream>> {
        Some(Box::new(Self::upstream(&self, name, drain_timeout)?))
    }

    /// Without a pid file nothing can be seen, and nothing is counted.
    async fn watch(self: Arc<Self>, period: Duration, restarts: watch::Sender<u64>, _: Cluster) {
        let Some(pid) = self.settings().pid.clone() else {
            return std::future::pending().await;
        };
        // The watch alone must not keep the actor from ending.
        drop(self);
        let mut last = None;
        loop {
            let seen = Process::master(&pid);
            if last.is_some_and(|last| last != seen) {
                debug!(pid = %pid.display(), ?seen, "another nginx than before");
                restarts.send_modify(|count| *count = count.wrapping_add(1));
            }
            last = Some(seen);
            sleep(period).await;
        }
    }

    /// Ends all work on the file, for good. A change that nginx has not been told of yet is taken back, so that no file stays that
    /// nobody has checked.
    async fn leave(&self) {
        self.0.leaving.send_replace(true);
        drop(lock(&self.0.actor).take());
        let work = lock(&self.0.work).take();
        if let Some(work) = work
            && timeout(LEAVE, work).await.is_err()
        {
            warn!(file = %self.settings().file.display(), "the change of the file does not come to an end");
        }
        // A former site of the same file may still be at it.
        let turn = site::turn(&self.settings().file);
        let _ = timeout(LEAVE, turn.lock()).await;
    }

    /// Says what would be taken over (`adopt`), where the file is not sidekick's own. Changes nothing; what hinders that is told
    /// by each upstream.
    async fn tell_adoption(&self) {
        let settings = &*self.0.settings;
        let found = Disk::new(&settings.file).read().await;
        if let Ok(Some(content)) = found
            && let Ok(Some(taken_over)) = foreign::check(&content.text, settings)
        {
            foreign::told(
                &settings.file,
                &taken_over,
                "--adopt would take it over, without --dry-run",
            );
        }
    }
}
