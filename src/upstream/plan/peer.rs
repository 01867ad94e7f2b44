//! The servers of an upstream, as they were read.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use super::step::{Change, Id};
use crate::model::{Endpoint, State};
use crate::upstream::server::{Parameters, Server};

/// One server of an upstream, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: Id,
    /// Its address in the target's spelling. Untrusted.
    pub server: String,
    /// Its share of the traffic.
    pub weight: u64,
    /// Whether it takes no traffic.
    pub down: bool,
    /// Whether it drains.
    pub drain: bool,
    /// Whether it is used only when no other server is left.
    pub backup: bool,
    /// Whether it was resolved from another server's name, and comes and goes with that one.
    pub child: bool,
    /// Whether its addresses come from DNS service records.
    pub srv: bool,
    /// Its parameters.
    pub tuning: Tuning,
}

/// The parameters of a server besides address and weight, as they were read. `None` could not be read, and so differs
/// from every desired value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How many connections it may have at once; 0 for no limit.
    pub max_conns: Option<u64>,
    /// How many failures make it unavailable.
    pub max_fails: Option<u64>,
    /// The time in which they are counted.
    pub fail_timeout: Option<Duration>,
    /// How long it takes to get its whole share after recovery.
    pub slow_start: Option<Duration>,
}

impl Default for Tuning {
    /// nginx's defaults, for values that it does not report.
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
    /// What to set for it to be `wanted`. A backup cannot be changed.
    fn change_to(&self, wanted: &Parameters) -> Parameters {
        let number = |is: Option<u64>, wanted: Option<u32>| {
            wanted.filter(|&wanted| is != Some(u64::from(wanted)))
        };
        // nginx has no times below a millisecond.
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
    /// Its address, if a record can name it; `None` for unix sockets and service records.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        if self.srv {
            return None;
        }
        normalise(&self.server)
    }

    /// Whether it gets no new requests.
    pub(super) fn is_quiesced(&self) -> bool {
        self.drain || self.down
    }

    /// Whether it takes traffic itself.
    pub(crate) fn serves(&self) -> bool {
        !self.child && !self.is_quiesced()
    }

    /// What identifies it: its canonical address, if a record can name it.
    pub(super) fn name(&self) -> String {
        let endpoint = self.endpoint();
        endpoint.map_or_else(|| self.server.clone(), |at| at.to_string())
    }

    /// Whether no record can name it: unix sockets, service records.
    pub(crate) fn is_stranger(&self) -> bool {
        self.endpoint().is_none()
    }

    /// Its address and weight, if it takes traffic and a record can name it.
    pub(super) fn serving(&self) -> Option<Serving> {
        let endpoint = self.endpoint().filter(|_| self.serves())?;
        let weight = u16::try_from(self.weight).unwrap_or(u16::MAX);
        Some(Serving {
            endpoint,
            weight: NonZeroU16::new(weight).unwrap_or(NonZeroU16::MIN),
            backup: self.backup,
        })
    }

    /// What to set for it to be like `server`.
    pub(super) fn change_to(&self, server: Server) -> Change {
        let down = server.state == State::Down;
        Change {
            weight: (self.weight != u64::from(server.weight.get())).then_some(server.weight),
            down: (self.down != down).then_some(down),
            // A server that is down takes no traffic anyway; the flag is cleared when it comes up.
            drain: (self.drain && !down).then_some(false),
            parameters: self.tuning.change_to(&server.parameters),
        }
    }
}

/// Parses an address in nginx's spelling: without a port it is port 80.
fn normalise(server: &str) -> Option<Endpoint> {
    let with_port = |_| format!("{server}:80").parse();
    server.parse().or_else(with_port).ok()
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
