//! Servers of the file that no record can name, such as unix sockets. They stay until enough other servers take traffic: all of them,
//! as it is unknown which of them answer.

use super::servers::{peers, server};
use super::syntax::statements;
use crate::target::UpstreamName;
use crate::upstream::plan::is_short;
use crate::upstream::protection::Protection;

/// Ends the line of a server that stays.
const KEPT: &str = "# no record names it: kept, as too few others take traffic";

/// The directives of those in a block that take traffic, as far as it can be read.
pub(super) fn of(block: &str) -> Vec<String> {
    let (Ok(found), Ok(peers)) = (statements(block), peers(block)) else {
        return Vec::new();
    };
    let unnamed = |name: &str| {
        let mut peers = peers.iter();
        peers.any(|peer| peer.server == name && peer.serves() && peer.is_stranger())
    };
    let directives = found.into_iter().filter_map(|statement| {
        let (name, _) = server(&statement)?;
        unnamed(name).then(|| block[statement.range].to_owned())
    });
    directives.collect()
}

/// Adds the missing ones of `directives` to a block when too few of its servers take traffic. A block that cannot be read stays as it
/// is.
pub(super) fn keep(
    block: String,
    upstream: &UpstreamName,
    directives: &[String],
    protection: &Protection,
) -> String {
    let Ok(peers) = peers(&block) else {
        return block;
    };
    let lacks = |directive: &&String| {
        let found = statements(directive).unwrap_or_default();
        let name = found.first().and_then(|found| found.words.get(1));
        !peers.iter().any(|peer| Some(&peer.server) == name)
    };
    let lines = directives.iter().filter(lacks);
    let lines: String = lines
        .map(|directive| format!("    {directive} {KEPT}\n"))
        .collect();
    match end(&block, upstream) {
        Some(end) if !lines.is_empty() && is_short(&peers, protection) => {
            let (servers, rest) = block.split_at(end);
            // A comment on the same line must not swallow them.
            let line = if servers.ends_with('\n') { "" } else { "\n" };
            format!("{servers}{line}{lines}{rest}")
        }
        _ => block,
    }
}

/// The servers that [`keep`] has put into a block. Untrusted.
pub(super) fn kept(block: &str) -> Vec<String> {
    let lines = block
        .lines()
        .filter_map(|line| line.trim().strip_suffix(KEPT));
    let names = lines.filter_map(|line| line.split_whitespace().nth(1));
    names
        .map(|name| name.trim_end_matches(';').to_owned())
        .collect()
}

/// Where the servers of an upstream end in a text.
fn end(text: &str, upstream: &UpstreamName) -> Option<usize> {
    let found = statements(text).ok()?;
    let mut blocks = found.iter().filter(|statement| statement.block);
    let block = blocks.find(|block| block.words == ["upstream", upstream.as_str()])?;
    Some(block.range.end - 1)
}

#[cfg(test)]
mod tests;
