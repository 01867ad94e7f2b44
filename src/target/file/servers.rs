//! The servers of an `upstream` block that stands in the file.

use std::collections::BTreeSet;

use super::block::NOBODY;
use super::syntax::{Statement, statements};
use crate::model::Endpoint;
use crate::upstream::plan::{Peer, Tuning, read_time, taking_traffic};

/// Whether any server of a block takes traffic, as far as can be read.
pub(super) fn takes_traffic(block: &str) -> bool {
    peers(block).map_or(true, |peers| peers.iter().any(|peer| !peer.down))
}

/// The servers of a block that take traffic and that a record can name, as far as can be read.
pub(super) fn serving(block: &str) -> BTreeSet<Endpoint> {
    peers(block).map_or_else(|_| BTreeSet::new(), |peers| taking_traffic(&peers))
}

/// The servers of a block as the file has them, as far as they can be read. Untrusted.
pub(super) fn names(block: &str) -> BTreeSet<String> {
    let peers = peers(block).unwrap_or_default();
    peers.into_iter().map(|peer| peer.server).collect()
}

/// The server and its parameters, when a directive of an upstream's block is one.
pub(super) fn server(statement: &Statement) -> Option<(&String, &[String])> {
    let (directive, rest) = statement.words.split_first()?;
    let is_server = directive == "server" && statement.depth == 1 && !statement.block;
    rest.split_first().filter(|_| is_server)
}

/// The servers of a block.
///
/// # Errors
///
/// What hinders reading it.
pub(super) fn peers(block: &str) -> Result<Vec<Peer>, &'static str> {
    let statements = statements(block)?;
    let servers = statements.iter().filter_map(server);
    let servers = servers.filter(|(server, _)| *server != NOBODY);
    let peers = servers
        .zip(0..)
        .map(|((server, parameters), id)| peer(id, server, parameters));
    Ok(peers.collect())
}

fn peer(id: u64, server: &str, parameters: &[String]) -> Peer {
    let has = |name: &str| parameters.iter().any(|parameter| parameter == name);
    let value = |name: &str| {
        let mut values = parameters.iter();
        values.find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
    };
    let number = |name: &str, default| value(name).map_or(Some(default), |n| n.parse().ok());
    let default = Tuning::default();
    Peer {
        id,
        server: server.to_owned(),
        weight: number("weight", 1).unwrap_or(1),
        down: has("down"),
        drain: false,
        backup: has("backup"),
        child: false,
        srv: false,
        tuning: Tuning {
            max_conns: number("max_conns", 0),
            max_fails: number("max_fails", 1),
            fail_timeout: value("fail_timeout").map_or(default.fail_timeout, read_time),
            ..default
        },
    }
}

#[cfg(test)]
mod tests;
