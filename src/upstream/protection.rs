//! What a target decides by what it has: which servers stay in it although the records no longer say so.

use std::collections::{BTreeMap, BTreeSet};

use super::server::Server;
use crate::model::Endpoint;

/// What of a desired state a target decides by what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// So many servers are left taking traffic at least, whatever else goes; 0 where nothing is protected.
    pub min_servers: usize,
    /// Servers that no record names, or that take traffic against theirs.
    pub spares: BTreeMap<Endpoint, Spare>,
    /// Addresses that belong to another service by now: these go, whatever is left.
    pub taken: BTreeSet<Endpoint>,
    /// Whether what stays is decided already, and what is about to be added counts as taken: for a plan that is only shown.
    pub hopeful: bool,
}

/// A server that no record names, or that takes traffic against its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spare {
    /// As it was.
    pub server: Server,
    /// What its record says of it, where it has one.
    pub recorded: Option<Server>,
    /// Why it left.
    pub reason: Reason,
    /// Whether the guard protects it; the others are candidates for `min_servers`.
    pub guarded: bool,
}

/// Why a server would take no traffic any more. The first ones are the best to protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It finishes what runs: its process lives.
    Draining,
    /// Its record stands, and is not taken any more.
    Deselected,
    /// Its record is gone without a withdrawal notice.
    Vanished,
    /// Its record says so.
    Down,
    /// It is gone after its notice, or nobody answers there.
    Gone,
}
