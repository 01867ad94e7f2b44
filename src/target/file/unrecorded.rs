//! Servers of the file that no record can name, such as unix sockets. All of them stay until enough others take traffic, as nothing
//! tells which of them answers.

use super::compare::{peers, server};
use super::syntax::scan;
use crate::target::UpstreamName;
use crate::upstream::guard::Protection;
use crate::upstream::plan::{is_short, withheld_for};
use crate::util::sanitize::short;

/// Ends the line of one that stays.
const KEPT: &str = "# no record names it: kept, as too few others take traffic";

/// The directives of those in a block that take traffic, as far as it can be read.
pub(super) fn of(block: &str) -> Vec<String> {
    let (Ok(found), Ok(peers)) = (scan(block), peers(block)) else {
        return Vec::new();
    };
    let unnamed = |name: &str| {
        let mut peers = peers.iter();
        peers.any(|peer| peer.server == name && peer.serves() && peer.is_stranger())
    };
    let directives = found.iter().filter_map(|(statement, range)| {
        let (name, _) = server(statement)?;
        unnamed(name).then(|| block[range.clone()].to_owned())
    });
    directives.collect()
}

/// A block with those of `directives` that it lacks, when too few other servers of it take traffic. What cannot be read is left as it
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
    if !is_short(&peers, protection) {
        return block;
    }
    let lacks = |directive: &&String| {
        let mut found = scan(directive).unwrap_or_default().into_iter();
        let name = found
            .next()
            .and_then(|(found, _)| found.words.into_iter().nth(1));
        !peers.iter().any(|peer| Some(&peer.server) == name.as_ref())
    };
    let lines = directives.iter().filter(lacks);
    let lines: String = lines
        .map(|directive| format!("    {directive} {KEPT}\n"))
        .collect();
    match end(&block, upstream) {
        Some(end) if !lines.is_empty() => {
            let (servers, rest) = block.split_at(end);
            // Whatever stands before in the same line must not swallow what comes.
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
    let names = lines.filter_map(|line| {
        Some(
            line.split_whitespace()
                .nth(1)?
                .trim_end_matches(';')
                .to_owned(),
        )
    });
    names.collect()
}

/// What is not done to one that stays, and why.
pub(super) fn withheld(server: &str, floor: usize) -> (String, String) {
    (
        format!("remove {} (no record names it)", short(server)),
        withheld_for(floor),
    )
}

/// Where the servers of an upstream end in a text.
fn end(text: &str, upstream: &UpstreamName) -> Option<usize> {
    let found = scan(text).ok()?;
    let block = found.iter().find(|(statement, _)| {
        let words = statement.words.iter().map(String::as_str);
        statement.block && words.eq(["upstream", upstream.as_str()])
    });
    block.map(|(_, range)| range.end - 1)
}

#[cfg(test)]
mod tests;
