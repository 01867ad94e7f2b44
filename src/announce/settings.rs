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
    /// Which instance of which service.
    pub id: InstanceId,
    /// What is known of it; state, nonce and since are filled in by the announcer.
    pub record: Record,
    /// How the record is written.
    pub format: Format,
    /// When its container was started: a record from before is of another run. `None` without a container.
    pub runs_since: Option<Timestamp>,
    /// Where records lie.
    pub prefix: Prefix,
    /// Where pushers tell what they have applied.
    pub meta: MetaPrefix,
    /// All must pass. Without any the record is kept unconditionally.
    pub probes: Vec<Probe>,
    /// How often they are asked.
    pub pace: probe::Pace,
    /// Passes in a row until the backend counts as up.
    pub rise: u32,
    /// Failures in a row until it counts as down.
    pub fall: u32,
    /// What happens to the record then.
    pub on_failure: OnFailure,
    /// How long the record outlives a killed announcer.
    pub ttl: Duration,
    /// What must have happened before systemd gets READY=1.
    pub ready: Ready,
    /// How long leaving waits for the pushers at most.
    pub drain_timeout: Duration,
    /// How much longer it waits after they have let go.
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
    /// As options spell it.
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
    /// It was asked to and left in good order.
    Left,
    /// Its container did not run in time.
    NeverRan {
        /// How it is instead, in words.
        why: String,
    },
    /// A newer announcer has the record.
    Deposed {
        /// Who, in words.
        by: Arc<str>,
    },
    /// The next image of the program goes on with this.
    HandOver(Box<Handover>),
}

impl Settings {
    /// How long it takes at most until a backend that dies is known to be down; `None` without probes.
    #[must_use]
    pub fn detection_bound(&self) -> Option<Duration> {
        let rounds = self.pace.interval * self.fall;
        (!self.probes.is_empty()).then(|| rounds + self.pace.timeout)
    }

    /// The bounds that these settings promise, in words.
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
