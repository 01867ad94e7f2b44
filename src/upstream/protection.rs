//! The part of the desired state that depends on what a target has: which servers stay without a record.

use std::collections::{BTreeMap, BTreeSet};

use super::server::Server;
use crate::model::Endpoint;

/// The part of a desired state that each target decides by the servers that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// Least number of servers left taking traffic; 0 to protect none.
    pub min_servers: usize,
    /// Servers that no record names, or that take traffic against their record.
    pub spares: BTreeMap<Endpoint, Spare>,
    /// Addresses that belong to another service now: these servers always go.
    pub taken: BTreeSet<Endpoint>,
    /// Whether the choice is final, and servers about to be added count as taken: for a plan that is only shown.
    pub hopeful: bool,
}

/// A server that no record names, or that takes traffic against its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spare {
    /// The server as it was.
    pub server: Server,
    /// What its record says, if it has one.
    pub recorded: Option<Server>,
    /// Why it left.
    pub reason: Reason,
    /// Whether the guard protects it; the others are candidates for `min_servers`.
    pub guarded: bool,
}

/// Why a server would take no traffic any more. The first ones are protected first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It drains: its process lives.
    Draining,
    /// It has a record, which the upstream does not take any more.
    Deselected,
    /// Its record is gone without a withdrawal notice.
    Vanished,
    /// Its record is down.
    Down,
    /// It left after its notice, or is dead.
    Gone,
}
