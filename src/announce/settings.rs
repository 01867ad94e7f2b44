//! The settings of an announcer, and how it may end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::handover::Handover;
use crate::announce::phase::OnFailure;
use crate::model::{Format, InstanceId, MetaPrefix, Prefix, Record};
use crate::probe::{self, Probe};
use crate::util::duration;

/// What to announce, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Service and instance.
    pub id: InstanceId,
    /// The record, without state, nonce and since, which the announcer sets.
    pub record: Record,
    /// The record's format.
    pub format: Format,
    /// When its container was started: an older record belongs to another run. `None` without a container.
    pub runs_since: Option<Timestamp>,
    /// The prefix of the records.
    pub prefix: Prefix,
    /// The prefix of sidekick's own keys, with the pushers' status.
    pub meta: MetaPrefix,
    /// All must pass. Without probes the record is kept unconditionally.
    pub probes: Vec<Probe>,
    /// How often to probe.
    pub pace: probe::Pace,
    /// Passes in a row until the backend counts as up.
    pub rise: u32,
    /// Failures in a row until it counts as down.
    pub fall: u32,
    /// What then happens to the record.
    pub on_failure: OnFailure,
    /// How long the record outlives a killed announcer.
    pub ttl: Duration,
    /// What must have happened before systemd gets READY=1.
    pub ready: Ready,
    /// How long leaving waits at most for the pushers.
    pub drain_timeout: Duration,
    /// How long it then waits for requests in flight.
    pub linger: Duration,
}

/// When the announcer counts as started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ready {
    /// etcd has confirmed the record.
    #[default]
    Announced,
    /// At least one live pusher routes the service, and all that do have applied the record and route this instance.
    Routed,
}

impl Ready {
    /// The value of `--ready`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Routed => "routed",
        }
    }
}

/// How the announcer ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was asked to stop, and left gracefully.
    Left,
    /// Its container did not run in time.
    NeverRan {
        /// Its state.
        why: String,
    },
    /// A newer announcer has the record.
    Deposed {
        /// A description of the announcer.
        by: Arc<str>,
    },
    /// The next image of the program continues from this.
    HandOver(Box<Handover>),
}

impl Settings {
    /// The longest time until a dead backend is known to be down; `None` without probes.
    #[must_use]
    pub fn detection_bound(&self) -> Option<Duration> {
        let rounds = self.pace.interval * self.fall;
        (!self.probes.is_empty()).then(|| rounds + self.pace.timeout)
    }

    /// The guaranteed bounds with these settings, as a message.
    #[must_use]
    pub fn bounds(&self) -> String {
        let ttl = duration::show(self.ttl);
        let killed = format!("the record outlives a killed announcer by at most {ttl}");
        match self.detection_bound() {
            Some(bound) => {
                let bound = duration::show(bound);
                format!("a dead backend is noticed within {bound}; {killed}")
            }
            None => format!("no probe: the record says nothing about the backend; {killed}"),
        }
    }
}
