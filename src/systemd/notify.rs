//! Notifications for systemd (`Type=notify`). Without systemd they do nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// How often systemd is notified while the process waits.
const BEAT: Duration = Duration::from_secs(10);

/// Whether this process has ever reported that it is up: only then does systemd wait for the end of a reload, and a
/// READY=1 at the end of an earlier one would be wrong.
static UP: AtomicBool = AtomicBool::new(false);

/// Whether this process has reported that it is up.
#[must_use]
pub fn is_up() -> bool {
    UP.load(Ordering::Relaxed)
}

/// The former image of this process has reported that the service is up.
pub fn was_up() {
    UP.store(true, Ordering::Relaxed);
}

/// The service is up.
pub fn ready() {
    UP.store(true, Ordering::Relaxed);
    send(&[NotifyState::Ready]);
}

/// The settings are being read again (`Type=notify-reload`).
pub fn reloading() {
    if !is_up() {
        return;
    }
    // systemd accepts only a timestamp later than its signal.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

/// The new settings apply, or were refused. Also feeds the watchdog, which many reloads
/// would keep waiting.
pub fn reloaded() {
    if is_up() {
        send(&[NotifyState::Ready, NotifyState::Watchdog]);
    }
}

/// The service is stopping.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// The current step takes up to `time`: extends the unit's timeout.
pub fn extend_timeout(time: Duration) {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(micros)]);
}

/// While this value exists, tells systemd that the process waits on purpose and is not stuck.
///
/// Its task runs on the runtime's own thread: a process that hangs sends nothing.
#[derive(Debug)]
pub struct Waiting(JoinHandle<()>);

impl Waiting {
    /// For a wait without an end, when nothing else runs: keeps the watchdog and the start timeout from ending the
    /// unit.
    #[must_use]
    pub fn idly() -> Self {
        Self::start(true, true)
    }

    /// For a wait before the service is up, while its parts run and feed the watchdog themselves: keeps the start timeout
    /// from ending the unit.
    #[must_use]
    pub fn to_be_up() -> Self {
        Self::start(false, true)
    }

    /// For a limited wait while stopping: keeps the watchdog from ending the unit.
    #[must_use]
    pub fn to_leave() -> Self {
        Self::start(true, false)
    }

    fn start(feeds: bool, starts: bool) -> Self {
        let watchdog = Watchdog::of_unit().filter(|_| feeds);
        let period = watchdog.as_ref().map_or(BEAT, |it| it.limit() / 3);
        let period = period.clamp(Duration::from_millis(10), BEAT);
        Self(tokio::spawn(async move {
            loop {
                if watchdog.is_some() {
                    send(&[NotifyState::Watchdog]);
                }
                // Once it is up, there is no start timeout, and the message would extend another one.
                if starts && !is_up() {
                    extend_timeout(3 * BEAT);
                }
                tokio::time::sleep(period).await;
            }
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&text.replace('\n', " "))]);
}

/// Feeds systemd's watchdog, only after progress of every part: an agent that is alive but does
/// nothing must be restarted.
#[derive(Debug)]
pub struct Watchdog {
    /// The longest time without feeding before the unit is killed.
    limit: Duration,
    progress: Progress,
}

/// The parts that have made progress since the last feeding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    probed: bool,
    renewed: bool,
}

impl Watchdog {
    /// The watchdog of this unit, if it has one (`WatchdogSec=`).
    #[must_use]
    pub fn of_unit() -> Option<Self> {
        let var = |name| std::env::var(name).ok();
        let (limit, pid) = (var("WATCHDOG_USEC"), var("WATCHDOG_PID"));
        watchdog_limit(limit.as_deref(), pid.as_deref(), std::process::id()).map(|limit| Self {
            limit,
            progress: Progress::default(),
        })
    }

    /// How often it must be fed.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The probe has a verdict.
    pub fn probed(&mut self) {
        self.progress.probed = true;
        self.feed();
    }

    /// The lease was renewed, or an attempt has ended.
    pub fn renewed(&mut self) {
        self.progress.renewed = true;
        self.feed();
    }

    fn feed(&mut self) {
        if self.progress.take_if_whole() {
            send(&[NotifyState::Watchdog]);
        }
    }
}

/// The limit in `WATCHDOG_USEC` and `WATCHDOG_PID` for the process `own`, as in `sd_watchdog_enabled`: `None` for an
/// invalid time or another process.
fn watchdog_limit(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let limit = Duration::from_micros(usec?.parse().ok()?);
    let for_us = pid.is_none_or(|pid| pid.parse() == Ok(own));
    (for_us && !limit.is_zero() && limit <= crate::util::duration::LONGEST).then_some(limit)
}

impl Progress {
    /// Starts again when every part has made progress.
    fn take_if_whole(&mut self) -> bool {
        let whole = self.probed && self.renewed;
        if whole {
            *self = Self::default();
        }
        whole
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}

#[cfg(test)]
mod tests;
