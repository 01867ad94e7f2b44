//! What systemd is told (`Type=notify`). Without systemd nothing is told and nothing fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// Whether this process has ever said that it is up: only then does systemd wait for the end of a reload, and a READY=1
/// at the end of an earlier one would be untrue.
static UP: AtomicBool = AtomicBool::new(false);

/// The service is up.
pub fn ready() {
    UP.store(true, Ordering::Relaxed);
    send(&[NotifyState::Ready]);
}

/// The settings are being read again (`Type=notify-reload`).
pub fn reloading() {
    if !UP.load(Ordering::Relaxed) {
        return;
    }
    // systemd takes for an answer only what is younger than its own signal.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

/// The settings that were read are in force, or refused.
pub fn reloaded() {
    if UP.load(Ordering::Relaxed) {
        send(&[NotifyState::Ready]);
    }
}

/// The service is on its way out.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// What goes on now takes up to `time`: the timeout of the unit for it is to be no shorter.
pub fn extend_timeout(time: Duration) {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(micros)]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&text.replace('\n', " "))]);
}

/// Feeds systemd's watchdog, and only after real progress of every part: an agent that is alive but does
/// nothing must be restarted.
#[derive(Debug)]
pub struct Watchdog {
    /// Fed at least so often, or the unit is killed.
    limit: Duration,
    progress: Progress,
}

/// Which parts have done something since the last feeding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    probed: bool,
    renewed: bool,
}

impl Watchdog {
    /// The watchdog of this unit, if it has one (`WatchdogSec=`).
    #[must_use]
    pub fn of_unit() -> Option<Self> {
        sd_notify::watchdog_enabled().map(|limit| Self {
            limit,
            progress: Progress::default(),
        })
    }

    /// How often it must be fed.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The probe has come to a verdict.
    pub fn probed(&mut self) {
        self.progress.probed = true;
        self.feed();
    }

    /// The lease was renewed, or an attempt at it has ended.
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

impl Progress {
    /// Starts again when every part has done something.
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
        tracing::debug!(%error, "systemd could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_alone_does_not_feed_the_watchdog() {
        let mut progress = Progress::default();
        for _ in 0..10 {
            progress.probed = true;
            assert!(!progress.take_if_whole());
        }
        progress.renewed = true;
        assert!(progress.take_if_whole());
        progress.renewed = true;
        assert!(!progress.take_if_whole());
    }
}
