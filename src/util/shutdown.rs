//! Requests to stop: one for a graceful shutdown, two for a forced one.

use std::io::IsTerminal as _;

use nix::sys::signal::{SigSet, Signal as Kind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The default reason of a forced shutdown.
const ASKED_AGAIN: &str = "asked again to stop: not waiting any longer";

/// The request so far.
#[derive(Debug, Default)]
struct Asked {
    times: u32,
    /// Why the shutdown is forced.
    why: Option<String>,
}

/// Receives requests to stop. Clones receive the same ones.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Asked>);

/// Makes requests to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Asked>);

/// A pair that only the [`Stopper`] triggers.
#[must_use]
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(Asked::default());
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Requests a graceful shutdown, and the second time a forced one.
    pub fn stop(&self) {
        let more = |asked: &mut Asked| asked.times = asked.times.saturating_add(1);
        self.0.send_modify(more);
    }

    /// Requests a forced shutdown, without any waiting, for this reason.
    pub fn force(&self, why: impl Into<String>) {
        let why = why.into();
        self.0.send_modify(|asked| {
            asked.times = asked.times.saturating_add(2);
            asked.why.get_or_insert(why);
        });
    }

    /// Waits until no receiver is left. Cancel safe.
    pub async fn abandoned(&self) {
        self.0.closed().await;
    }
}

impl Stop {
    /// Waits for the first request. Cancel safe.
    pub async fn leave(&mut self) {
        self.asked(1).await;
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.borrow().times > 0
    }

    /// Why the shutdown is forced.
    #[must_use]
    pub fn why_forced(&self) -> String {
        let asked = self.0.borrow();
        asked.why.as_deref().unwrap_or(ASKED_AGAIN).to_owned()
    }

    /// Waits for the second request. Cancel safe.
    pub async fn forced(&mut self) {
        self.asked(2).await;
    }

    async fn asked(&mut self, times: u32) {
        if self.0.wait_for(|asked| asked.times >= times).await.is_err() {
            // No request can come any more.
            std::future::pending().await
        }
    }
}

/// The signals that an agent handles.
fn handled() -> SigSet {
    [Kind::SIGHUP, Kind::SIGTERM, Kind::SIGINT]
        .into_iter()
        .collect()
}

/// Blocks the agent's signals in this thread: until its handlers stand, and while one image of the program
/// hands over to the next. The kernel keeps those that arrive.
pub fn block_signals() {
    // Fails only for a request that the kernel does not know.
    let _ = handled().thread_block();
}

/// Unblocks them, and receives those that arrived. A child inherits blocked signals: call this before starting
/// one.
pub fn unblock_signals() {
    let _ = handled().thread_unblock();
}

/// Handles SIGHUP, which then no longer ends the process.
///
/// # Errors
/// When the handler cannot be installed.
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Stops on SIGTERM and SIGINT; calls `told` for each, to notify the service manager.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signals(told: fn()) -> std::io::Result<Stop> {
    listen(told, None)
}

/// As [`on_signals`], for an agent, which reloads on SIGHUP but stops when its terminal was closed.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn of_agent(told: fn()) -> std::io::Result<Stop> {
    let on_terminal = std::io::stderr().is_terminal();
    listen(told, on_terminal.then(hangups).transpose()?)
}

fn listen(told: fn(), mut of_terminal: Option<Signal>) -> std::io::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stopper, stop) = channel();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = lost(&mut of_terminal) => "the terminal was closed",
            };
            tracing::info!("{name}: stopping");
            told();
            stopper.stop();
        }
    });
    Ok(stop)
}

/// Waits for a SIGHUP after which standard error is no longer a terminal.
async fn lost(of_terminal: &mut Option<Signal>) {
    while let Some(hangups) = of_terminal {
        if hangups.recv().await.is_some() && !std::io::stderr().is_terminal() {
            *of_terminal = None;
            return;
        }
    }
    std::future::pending().await
}
