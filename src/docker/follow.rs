//! Follows one container through its life.
//!
//! The daemon's events only say that something changed; the container is inspected after each of them, when the stream of
//! events begins, and on a slow period in case one was missed. The end of the container's process is seen without the
//! daemon, if it is on this machine. Requests to the daemon are retried for ever.

mod look;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use look::look;

use super::client::{Client, Error};
use super::container::{Container, ContainerName};
use super::daemon::Daemon;
use super::events::Event;
use super::process;
use super::state::Life;
use crate::util::backoff;
use crate::util::backoff::Backoff;
use crate::util::last_state;
use crate::util::log_limit::PER_KIND;
use crate::util::sanitize::short;
use crate::util::troubles::Troubles;

pub use super::state::{State, Why};

/// The states of a container as they change.
pub type States = watch::Receiver<State>;

/// The period of inspections without an event.
pub const PERIOD: Duration = Duration::from_secs(30);

/// A stream of events that lasted this long was healthy: when it ends, the next one is opened soon.
const SOUND: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to reach the daemon. Shorter than for etcd: the daemon is usually on this
/// machine, and until it answers a paused or restarted container is not noticed.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The container to follow.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its daemon.
    pub daemon: Daemon,
    /// Its id, or its name, which may later belong to another container.
    pub container: ContainerName,
    /// The period of inspections without an event, ±10 % so that agents drift apart. Usually
    /// [`PERIOD`].
    pub period: Duration,
}

/// The owner's end. Dropping it stops the follower.
#[derive(Debug)]
pub struct Follower {
    states: watch::Receiver<State>,
    task: JoinHandle<()>,
}

/// Starts to follow a container. Never gives up on the daemon.
#[must_use]
pub fn follow(settings: Settings) -> Follower {
    let life = Life::new(Instant::now());
    let (sender, states) = watch::channel(life.state().clone());
    let task = Task {
        settings,
        life,
        states: sender,
        newest_event: None,
        troubles: Troubles::default(),
        process: None,
        stopping: None,
    };
    let task = tokio::spawn(task.run());
    Follower { states, task }
}

impl Follower {
    /// The states, from [`State::Unknown`] on. A container that is renamed, recreated under its name, restarted with another
    /// port or otherwise visibly changed gets a new state.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    settings: Settings,
    life: Life,
    states: watch::Sender<State>,
    /// The time of the newest event, by the daemon's clock.
    newest_event: Option<i64>,
    /// That the daemon cannot be asked.
    troubles: Troubles,
    /// The run whose process it watches.
    process: Option<Process>,
    /// The run for which Podman is asked to report `stopping`.
    stopping: Option<Process>,
}

/// A run of the container and the end of its process, or that it is stopping.
struct Process {
    run: Arc<Container>,
    /// `None` after it was reported.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What to do next while listening.
enum Next {
    Event(Event),
    Look,
    ProcessEnd,
    Answer(Answer),
    Ended(Option<Error>),
}

/// Why listening ended.
enum End {
    /// It follows another container now, and must subscribe to its events.
    OtherContainer,
    /// The stream of events has ended; why, if known.
    Stream(Option<Error>),
    /// The daemon could not be asked.
    Daemon(Error),
}

/// The daemon's answer: the container, or none.
type Answer = Result<Option<Arc<Container>>, Error>;

/// The pending request.
type Question = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new(backoff::MIN, MAX_PAUSE);
        loop {
            let started = Instant::now();
            match self.session().await {
                End::OtherContainer => continue,
                End::Stream(reason) => {
                    let reason = reason.map_or("no reason given".to_owned(), |e| e.to_string());
                    debug!("the daemon ended its events ({reason}); asking for them again");
                }
                End::Daemon(error) => self.failed(&error),
            }
            if started.elapsed() >= SOUND {
                backoff.reset();
            }
            self.meanwhile(sleep(backoff.next_delay())).await;
        }
    }

    /// From connecting to the daemon to losing it.
    async fn session(&mut self) -> End {
        let connecting = Client::connect(self.settings.daemon.clone());
        let client = match self.meanwhile(connecting).await {
            Ok(client) => client,
            Err(error) => return End::Daemon(error),
        };
        // Inspect first, to know which events to subscribe to.
        let question = self.question(&client);
        match self.meanwhile(question).await {
            Ok(answer) => self.answered(answer),
            Err(error) => return End::Daemon(error),
        }
        let names = self.names();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let since = self.newest_event.map(|at| at.saturating_add(1));
        let events = pin!(client.events(&names, since));
        self.listen(&client, events, &names).await
    }

    async fn listen(
        &mut self,
        client: &Client,
        mut events: Pin<&mut impl Stream<Item = Result<Event, Error>>>,
        names: &[&str],
    ) -> End {
        let mut question: Option<Question> = None;
        let mut next_look = self.next_look();
        let mut listening = false;
        self.stopping = None;
        loop {
            self.watch_stopping(client);
            // Handle events first: one may overtake the answer to an earlier request.
            let next = tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => Next::Event(event),
                    Some(Err(error)) => Next::Ended(Some(error)),
                    None => Next::Ended(None),
                },
                () = process_end(&mut self.process) => Next::ProcessEnd,
                () = process_end(&mut self.stopping) => {
                    self.stopping = None;
                    Next::Look
                }
                () = client.listening() => {
                    listening = true;
                    Next::Look
                }
                answer = answer(&mut question) => Next::Answer(answer),
                // A call that hangs times out; a new one would only take longer.
                () = sleep_until(next_look), if question.is_none() => Next::Look,
            };
            match next {
                Next::Event(event) => {
                    self.newest_event = self.newest_event.max(Some(event.at));
                    let id = self.life.held().map(|held| &*held.id);
                    if !event.concerns(id, self.settings.container.as_str()) {
                        continue;
                    }
                    debug!("{event:?}");
                    self.life.on_event(&event, Instant::now());
                    self.publish();
                    // The answer to a request from before the event does not include it.
                    question = Some(self.question(client));
                }
                Next::Look => question = Some(self.question(client)),
                Next::ProcessEnd => self.process_ended(),
                Next::Answer(answer) => {
                    question = None;
                    match answer {
                        Ok(answer) => self.answered(answer),
                        Err(error) => return End::Daemon(error),
                    }
                    if self.names().iter().any(|name| !names.contains(&&**name)) {
                        return End::OtherContainer;
                    }
                }
                Next::Ended(Some(silent @ Error::Silent { .. })) => return End::Daemon(silent),
                Next::Ended(reason) => {
                    if !listening {
                        // The daemon may have refused the start time.
                        self.newest_event = None;
                    }
                    return End::Stream(reason);
                }
            }
            next_look = self.next_look();
        }
    }

    /// Waits for something else, while watching the container's process.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return done,
                () = process_end(&mut self.process) => self.process_ended(),
            }
        }
    }

    fn process_ended(&mut self) {
        if let Some(process) = &mut self.process {
            process.end = None;
            self.life.on_process_end(&process.run);
            self.publish();
        }
    }

    /// Watches the process of the current run.
    fn watch_process(&mut self) {
        let Some(run) = self.life.held() else { return };
        let watched = self.process.as_ref();
        if watched.is_some_and(|process| process.run.same_run(run) && process.run.pid == run.pid) {
            return;
        }
        self.process = run.pid.map(|pid| {
            let (run, id) = (run.clone(), run.id.clone());
            let end = Box::pin(async move { process::ended(pid, &id).await });
            let end: Pin<Box<dyn Future<Output = ()> + Send>> = end;
            Process {
                run,
                end: Some(end),
            }
        });
    }

    /// Asks Podman to report when the current run is stopping; Docker has an event for that.
    fn watch_stopping(&mut self, client: &Client) {
        let State::Running(run) = self.life.state() else {
            self.stopping = None;
            return;
        };
        if self
            .stopping
            .as_ref()
            .is_some_and(|it| it.run.same_run(run))
        {
            return;
        }
        let (client, id) = (client.clone(), run.id.clone());
        self.stopping = Some(Process {
            run: run.clone(),
            end: Some(Box::pin(async move { client.stopping(&id).await })),
        });
    }

    fn question(&self, client: &Client) -> Question {
        let held = self.life.held().cloned();
        Box::pin(look(client.clone(), self.settings.container.clone(), held))
    }

    /// The names in events: the given name, and the id, because the container may be renamed.
    fn names(&self) -> Vec<Box<str>> {
        let mut names = vec![self.settings.container.as_str().into()];
        names.extend(self.life.held().map(|held| held.id.clone()));
        names
    }

    fn next_look(&self) -> Instant {
        let period = self.settings.period.mul_f64(0.9 + 0.2 * fastrand::f64());
        let regular = Instant::now() + period;
        let stopping_until = self.life.stopping_until();
        stopping_until.map_or(regular, |until| regular.min(until.max(Instant::now())))
    }

    fn answered(&mut self, answer: Option<Arc<Container>>) {
        if self.troubles.end() {
            info!("{} answers again", self.settings.daemon);
        }
        self.life.on_answer(answer, Instant::now());
        self.watch_process();
        self.publish();
    }

    fn failed(&mut self, error: &Error) {
        let name = self.settings.container.as_str();
        if let Some(more) = self.troubles.tell(name, "cannot ask", PER_KIND) {
            warn!("cannot ask for container {name}: {error}; trying again until it works{more}");
        }
        self.life.on_failure(&error.to_string(), Instant::now());
        self.publish();
    }

    fn publish(&self) {
        let state = self.life.state();
        let changed = |published: &mut State| {
            let changed = published != state;
            if changed {
                published.clone_from(state);
            }
            changed
        };
        if self.states.send_if_modified(changed) {
            let name = self.settings.container.as_str();
            let held = self.life.held();
            let short_id = held.map_or("no id", |held| held.short_id());
            let renamed = held.filter(|held| held.name != name && !held.id.starts_with(name));
            // However often it was started before under its own name.
            let (kind, now) = renamed.map_or(("runs", String::new()), |held| {
                ("renamed", format!(", called {} now", short(&held.name)))
            });
            let told = format!("container {name} ({short_id}{now}) {state}");
            // The follower logs the rest.
            match state {
                State::Running(_) => last_state::tell(kind, name, told),
                _ => debug!("{told}"),
            }
        }
    }
}

/// The end of the watched process; never resolves without one.
async fn process_end(process: &mut Option<Process>) {
    match process {
        Some(Process { end: Some(end), .. }) => end.await,
        _ => std::future::pending().await,
    }
}

/// The answer to the pending call; never resolves without one.
async fn answer(question: &mut Option<Question>) -> Answer {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
