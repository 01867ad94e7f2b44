//! What has to be done to an upstream: the difference between desired and actual, as ordered steps.
//!
//! Pure. Applying a plan and reading back gives the next plan; the upstream is as desired when no step is left
//! and nothing is [waited](Plan::waiting) for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use crate::model::{Endpoint, State};
use crate::upstream::desired::{Parameters, Server, Servers};
use crate::util::sanitize::short;

mod backups;
mod drain;
mod least;
mod setting;

pub use backups::without_backups;
pub use drain::Drains;
pub use least::{is_short, withheld_for, withhold};
pub use setting::{Setting, read_time, write_time};

/// What nginx calls a server within its upstream. Valid until nginx reloads: never kept from one reading to the next.
pub type Id = u64;

/// One server of an upstream, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: Id,
    /// Its address as the target spells it. Untrusted.
    pub server: String,
    /// Its share of the traffic.
    pub weight: u64,
    /// Whether it takes no traffic.
    pub down: bool,
    /// Whether it only finishes what runs.
    pub drain: bool,
    /// Whether it is used only when no other server is left.
    pub backup: bool,
    /// Whether it was resolved from another server's name, and comes and goes with that one.
    pub child: bool,
    /// Whether its addresses come from DNS service records.
    pub srv: bool,
    /// What else it is told.
    pub tuning: Tuning,
}

/// What a server is told besides its address and weight, as it was read. `None` is what cannot be read, and so is different from
/// whatever is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How many connections it may have at once; 0 for no limit.
    pub max_conns: Option<u64>,
    /// How many failures make it unavailable.
    pub max_fails: Option<u64>,
    /// Within which time they are counted.
    pub fail_timeout: Option<Duration>,
    /// How long it takes to get its whole share after it has recovered.
    pub slow_start: Option<Duration>,
}

impl Default for Tuning {
    /// nginx's own values, which hold where it does not tell any.
    fn default() -> Self {
        Self {
            max_conns: Some(0),
            max_fails: Some(1),
            fail_timeout: Some(Duration::from_secs(10)),
            slow_start: Some(Duration::ZERO),
        }
    }
}

impl Tuning {
    /// What must be set for it to be as `wanted` says. Being a backup cannot be set.
    fn change_to(&self, wanted: &Parameters) -> Parameters {
        let number = |is: Option<u64>, wanted: Option<u32>| {
            wanted.filter(|&wanted| is != Some(u64::from(wanted)))
        };
        // nginx knows no less than a millisecond.
        let time = |is: Option<Duration>, wanted: Option<Duration>| {
            wanted.filter(|wanted| is.map(|is| is.as_millis()) != Some(wanted.as_millis()))
        };
        Parameters {
            max_conns: number(self.max_conns, wanted.max_conns),
            max_fails: number(self.max_fails, wanted.max_fails),
            fail_timeout: time(self.fail_timeout, wanted.fail_timeout),
            slow_start: time(self.slow_start, wanted.slow_start),
            backup: false,
        }
    }
}

impl Peer {
    /// The address by which it can be one of ours; `None` for a stranger: unix sockets, service records.
    fn endpoint(&self) -> Option<Endpoint> {
        if self.srv {
            return None;
        }
        normalise(&self.server)
    }

    /// Whether it gets no new requests.
    fn is_quiesced(&self) -> bool {
        self.drain || self.down
    }

    /// Whether it takes traffic, by itself.
    pub(crate) fn serves(&self) -> bool {
        !self.child && !self.is_quiesced()
    }

    /// By what it is told from others: its address as ours are spelled, where it can be one of ours.
    fn name(&self) -> String {
        let endpoint = self.endpoint();
        endpoint.map_or_else(|| self.server.clone(), |at| at.to_string())
    }

    /// Whether no record can name it: unix sockets, service records.
    pub(crate) fn is_stranger(&self) -> bool {
        self.endpoint().is_none()
    }

    /// It as one that takes traffic, when it does and can be one of ours.
    fn serving(&self) -> Option<Serving> {
        let endpoint = self.endpoint().filter(|_| self.serves())?;
        let weight = u16::try_from(self.weight).unwrap_or(u16::MAX);
        Some(Serving {
            endpoint,
            weight: NonZeroU16::new(weight).unwrap_or(NonZeroU16::MIN),
            backup: self.backup,
        })
    }

    /// What must be set for it to be as `server` says.
    fn change_to(&self, server: Server) -> Change {
        let down = server.state == State::Down;
        Change {
            weight: (self.weight != u64::from(server.weight.get())).then_some(server.weight),
            down: (self.down != down).then_some(down),
            // What is down takes no traffic either way; the flag is taken back when it comes up.
            drain: (self.drain && !down).then_some(false),
            parameters: self.tuning.change_to(&server.parameters),
        }
    }
}

/// Reads an address as nginx spells them: without a port it is port 80.
fn normalise(server: &str) -> Option<Endpoint> {
    let with_port = |_| format!("{server}:80").parse();
    server.parse().or_else(with_port).ok()
}

/// What a step sets. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// The share of the traffic.
    pub weight: Option<NonZeroU16>,
    /// Whether it takes no traffic.
    pub down: Option<bool>,
    /// Whether it only finishes what runs.
    pub drain: Option<bool>,
    /// What else. Never whether it is a backup: nginx cannot change that.
    pub parameters: Parameters,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            self.weight.map(|weight| format!("weight={weight}")),
            self.down.map(|down| format!("down={down}")),
            self.drain.map(|drain| format!("drain={drain}")),
        ];
        let settings = Setting::of(&self.parameters).map(|setting| setting.to_string());
        let said: Vec<_> = flags.into_iter().flatten().chain(settings).collect();
        f.write_str(&said.join(" "))
    }
}

/// Why a server is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No record names it.
    NoRecord,
    /// It has finished what ran.
    Drained,
    /// It did not finish in time.
    TimedOut,
    /// The upstream has it twice.
    Surplus,
    /// Another one with its address has taken its place as a backup server, or as one that is none.
    Replaced,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRecord => "no record names it",
            Self::Drained => "drained",
            Self::TimedOut => "the drain timeout is over",
            Self::Surplus => "it is there twice",
            Self::Replaced => "another one has taken its place",
        })
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add a server.
    Add {
        /// Its address.
        endpoint: Endpoint,
        /// Its share of the traffic.
        weight: NonZeroU16,
        /// Whether it takes no traffic for now.
        down: bool,
        /// What else it is told.
        parameters: Parameters,
    },
    /// Change a server.
    Change {
        /// Its id.
        id: Id,
        /// Its address.
        endpoint: Endpoint,
        /// What to set.
        change: Change,
    },
    /// Let a server finish what runs.
    Drain {
        /// Its id.
        id: Id,
        /// Its address.
        endpoint: Endpoint,
    },
    /// Remove a server.
    Remove {
        /// Its id.
        id: Id,
        /// Its address, printable.
        server: String,
        /// Its address, where it is one that ours can have.
        endpoint: Option<Endpoint>,
        /// Why.
        cause: Cause,
    },
    /// Write a file anew: something in it differs that is no server.
    Write {
        /// The file, printable.
        file: String,
    },
}

impl Step {
    /// The address, or the file, that the step is about, printable.
    #[must_use]
    pub fn server(&self) -> String {
        match self {
            Self::Add { endpoint, .. }
            | Self::Change { endpoint, .. }
            | Self::Drain { endpoint, .. } => endpoint.to_string(),
            Self::Remove { server, .. } => server.clone(),
            Self::Write { file } => file.clone(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add {
                endpoint,
                weight,
                down,
                parameters,
            } => {
                let down = if *down { " down=true" } else { "" };
                write!(f, "add {endpoint} weight={weight}{down}")?;
                Setting::of(parameters).try_for_each(|setting| write!(f, " {setting}"))
            }
            Self::Change {
                endpoint, change, ..
            } => write!(f, "change {endpoint} {change}"),
            Self::Drain { endpoint, .. } => write!(f, "drain {endpoint}"),
            Self::Remove { server, cause, .. } => write!(f, "remove {server} ({cause})"),
            Self::Write { file } => write!(f, "write {file} anew"),
        }
    }
}

/// How many requests run on each server, by id, where that is known.
pub type Activity = BTreeMap<Id, u64>;

/// What has to be done, and what has to be waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps: add, then change, then drain, then remove, so that a swap never passes through an empty upstream.
    pub steps: Vec<Step>,
    /// The servers that are draining, with the requests that run on them where that is known.
    pub waiting: Vec<(Endpoint, Option<u64>)>,
    /// The servers that take traffic and would take none any more, as far as records can name them.
    pub leaving: Vec<Serving>,
    /// The steps that are left out, as too few servers would take traffic.
    pub withheld: Vec<Step>,
}

/// A server that takes traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Its address.
    pub endpoint: Endpoint,
    /// Its share of the traffic.
    pub weight: NonZeroU16,
    /// Whether it is used only when no other server is left.
    pub backup: bool,
}

/// The servers that take traffic, as they were read.
#[must_use]
pub fn taking_traffic(actual: &[Peer]) -> BTreeSet<Endpoint> {
    let serving = actual.iter().filter_map(Peer::serving);
    serving.map(|serving| serving.endpoint).collect()
}

/// Compares what an upstream is with what it should be.
///
/// - A server that is up or down in `desired` is added when it is missing and changed when it differs.
/// - A draining one is not added; where it is there, it is drained, and removed when `activity` says that nothing runs on
///   it or when `drains` says that its time is over.
/// - Everything else goes at once. nginx does not cut requests that run on a removed server.
/// - Of two servers with one address one stays. Children of a resolved name are left alone: they go with their parent.
/// - What becomes a backup server, or is none any more, is added as the other kind first; the old one goes when the new one is there.
#[must_use]
pub fn plan(desired: &Servers, actual: &[Peer], activity: &Activity, drains: &Drains) -> Plan {
    let mut sorted = Sorted::default();
    let mut present: BTreeMap<Endpoint, Vec<&Peer>> = BTreeMap::new();
    for peer in actual.iter().filter(|peer| !peer.child) {
        match peer.endpoint() {
            Some(endpoint) if desired.contains_key(&endpoint) => {
                present.entry(endpoint).or_default().push(peer)
            }
            _ => sorted.remove(peer, Cause::NoRecord),
        }
    }
    for (endpoint, server) in desired {
        let peers = present.remove(endpoint).unwrap_or_default();
        match server.state {
            State::Draining => sorted.drain(endpoint, &peers, activity, drains),
            State::Up | State::Down => {
                let same_kind = |peer: &&Peer| peer.backup == server.parameters.backup;
                let (peers, others) = peers.into_iter().partition(same_kind);
                sorted.keep(endpoint, *server, peers, others);
            }
        }
    }
    let stays = |serving: &Serving| {
        let server = desired.get(&serving.endpoint);
        server.is_some_and(|server| server.state == State::Up)
    };
    let leaving = actual.iter().filter_map(Peer::serving);
    let leaving = leaving.filter(|serving| !stays(serving)).collect();
    Plan {
        leaving,
        ..sorted.into_plan()
    }
}

/// The steps by kind.
#[derive(Default)]
struct Sorted {
    adds: Vec<Step>,
    changes: Vec<Step>,
    /// Apart from the others: what takes a server out of service follows what brings one in.
    changes_to_down: Vec<Step>,
    drains: Vec<Step>,
    removals: Vec<Step>,
    waiting: Vec<(Endpoint, Option<u64>)>,
}

impl Sorted {
    fn remove(&mut self, peer: &Peer, cause: Cause) {
        self.removals.push(Step::Remove {
            id: peer.id,
            server: short(&peer.server),
            endpoint: peer.endpoint(),
            cause,
        });
    }

    /// `others` have the address, but are of the other kind: backup servers, or none.
    fn keep(&mut self, endpoint: &Endpoint, server: Server, peers: Vec<&Peer>, others: Vec<&Peer>) {
        let endpoint = endpoint.clone();
        // The one that needs the least doing stays, so that the choice is the same when it is made again.
        let kept = peers
            .iter()
            .min_by_key(|peer| (peer.change_to(server) != Change::default(), peer.id));
        let Some(kept) = kept else {
            let (weight, down) = (server.weight, server.state == State::Down);
            self.adds.push(Step::Add {
                endpoint,
                weight,
                down,
                parameters: server.parameters,
            });
            // Whatever is there already stays until this one is.
            return;
        };
        let (id, change) = (kept.id, kept.change_to(server));
        if change != Change::default() {
            let changes = match change.down {
                Some(true) => &mut self.changes_to_down,
                _ => &mut self.changes,
            };
            changes.push(Step::Change {
                id,
                endpoint,
                change,
            });
        }
        for surplus in peers.iter().filter(|peer| peer.id != id) {
            self.remove(surplus, Cause::Surplus);
        }
        for replaced in others {
            self.remove(replaced, Cause::Replaced);
        }
    }

    fn drain(
        &mut self,
        endpoint: &Endpoint,
        peers: &[&Peer],
        activity: &Activity,
        drains: &Drains,
    ) {
        for peer in peers {
            let (id, active) = (peer.id, activity.get(&peer.id).copied());
            if !peer.is_quiesced() {
                let endpoint = endpoint.clone();
                self.drains.push(Step::Drain { id, endpoint });
            } else if active == Some(0) {
                self.remove(peer, Cause::Drained);
            } else if drains.is_over(endpoint) {
                self.remove(peer, Cause::TimedOut);
            } else {
                self.waiting.push((endpoint.clone(), active));
            }
        }
    }

    fn into_plan(self) -> Plan {
        let steps = [
            self.adds,
            self.changes,
            self.changes_to_down,
            self.drains,
            self.removals,
        ];
        Plan {
            steps: steps.into_iter().flatten().collect(),
            waiting: self.waiting,
            leaving: Vec::new(),
            withheld: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
