//! The flags that say when an announcer counts as started, and how it stops.

use std::time::Duration;

use crate::announce::Ready;
use crate::cli::args::mistakes::Mistakes;
use crate::etcd::client::CALL_TIMEOUT;
use crate::systemd::stop_timeout::StopTimeout;
use crate::util::duration;

/// When the announcer counts as started, and how it stops.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Start and stop")]
#[group(skip)]
pub(crate) struct Flags {
    /// When the service counts as started for systemd: announced (etcd has the record) or routed (every load
    /// balancer sends it traffic).
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "announced",
        env = "SIDEKICK_READY"
    )]
    pub(crate) ready: String,
    /// How long stopping waits at most for every load balancer to let go.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        env = "SIDEKICK_DRAIN_TIMEOUT"
    )]
    pub(crate) drain_timeout: String,
    /// How long stopping then waits for requests in flight.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        env = "SIDEKICK_LINGER"
    )]
    pub(crate) linger: String,
}

impl Flags {
    /// Warns when stopping may take longer than systemd waits. Wrong durations are reported elsewhere.
    pub(crate) fn check_stop_timeout(&self, mistakes: &mut Mistakes, limit: Option<&StopTimeout>) {
        let times = duration::read(&self.drain_timeout).zip(duration::read(&self.linger));
        if let (Some(limit), Some((drain_timeout, linger))) = (limit, times)
            && let Err(too_short) = limit.check(drain_timeout, linger, 2 * CALL_TIMEOUT)
        {
            mistakes.add(too_short.to_string());
        }
    }

    /// When the service counts as started for systemd.
    pub(crate) fn ready(&self, mistakes: &mut Mistakes) -> Option<Ready> {
        match self.ready.as_str() {
            "announced" => Some(Ready::Announced),
            "routed" => Some(Ready::Routed),
            other => {
                mistakes.add(format!("--ready {other:?}: expected announced or routed"));
                None
            }
        }
    }
}

/// The longest time between two signs of progress, and how long leaving takes.
pub(crate) struct Timing {
    pub(crate) slowest: Duration,
    pub(crate) leaving: Duration,
}
