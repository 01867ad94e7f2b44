//! The whole file: a block for each upstream, between two marks by which it is found again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};

use crate::model::{DnsName, Host};
use crate::target::{Layer, UpstreamName};

/// Begins the lines by which the blocks are found again.
pub(super) const MARK: &str = "# sidekick: ";
/// The first line of every file.
const HEADER: &str = "# Kept by sidekick: what is changed here by hand is put back.";
/// Begins the line with the addresses of a name. A changed line leads to a reload, and only then nginx resolves the name again.
const NAMED: &str = "# sidekick: name ";
/// Begins the last line of a file with a listener.
const TOKEN: &str = "# sidekick: token ";

/// The blocks by upstream.
pub(super) type Blocks = BTreeMap<UpstreamName, String>;

/// The whole file. With `proof` it ends with a listener there that answers what [`token`] gives for the text; another `edition` makes
/// another token.
pub(super) fn compose(
    blocks: &Blocks,
    layer: Layer,
    proof: Option<SocketAddr>,
    edition: u64,
) -> String {
    let mut text = format!("{HEADER}\n");
    for (name, block) in blocks {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{MARK}begin {name}\n{block}{MARK}end {name}\n");
    }
    let Some(address) = proof else {
        return text;
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let mut token = format!("{:016x}", hasher.finish());
    if edition > 0 {
        let _ = write!(token, ".{edition}");
    }
    let answer = match layer {
        Layer::Http => format!(
            "    access_log off;\n    location / {{\n        return 200 \"{token}\";\n    }}\n"
        ),
        Layer::Stream => format!("    return \"{token}\";\n"),
    };
    text + &format!(
        "\n# Tells sidekick that nginx has this file.\nserver {{\n    listen {address};\n{answer}}}\n{TOKEN}{token}\n"
    )
}

/// What the listener of a file answers.
pub(super) fn token(text: &str) -> Option<&str> {
    text.lines().last()?.strip_prefix(TOKEN)
}

/// The edition of a text that has a token.
pub(super) fn edition(text: &str) -> Option<u64> {
    token(text)?.split_once('.')?.1.parse().ok()
}

/// Whether a file may be replaced: it was composed here, or nothing stands in it.
pub(super) fn is_own(text: &str) -> bool {
    let mut lines = text.lines();
    text.trim().is_empty() || lines.any(|line| line == HEADER || line.starts_with(MARK))
}

/// The line with the addresses of a name.
pub(super) fn named(name: &DnsName, addresses: &BTreeSet<IpAddr>) -> String {
    let addresses: String = addresses.iter().map(|at| format!(" {at}")).collect();
    format!("{NAMED}{}{addresses}\n", name.as_str())
}

/// The addresses of names when the file was composed.
pub(super) fn names(text: &str) -> impl Iterator<Item = (DnsName, BTreeSet<IpAddr>)> {
    text.lines().filter_map(|line| {
        let mut words = line.strip_prefix(NAMED)?.split(' ');
        let Ok(Host::Dns(name)) = words.next()?.parse() else {
            return None;
        };
        Some((name, words.filter_map(|word| word.parse().ok()).collect()))
    })
}

/// A block without the lines with the addresses of names.
pub(super) fn without_names(block: &str) -> String {
    let lines = block.split_inclusive('\n');
    lines.filter(|line| !line.starts_with(NAMED)).collect()
}

/// The complete blocks of a file that was composed here.
pub(super) fn split(text: &str) -> Blocks {
    let mut blocks = Blocks::new();
    let mut open: Option<(&str, String)> = None;
    // Every byte of a block counts: a template may end its lines with a carriage return.
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches(['\r', '\n']);
        let mark = line.strip_prefix(MARK).unwrap_or_default();
        if let Some(name) = mark.strip_prefix("begin ") {
            open = Some((name, String::new()));
        } else if let Some(name) = mark.strip_prefix("end ") {
            let block = open.take().filter(|(begun, _)| *begun == name);
            blocks.extend(block.and_then(|(_, block)| Some((name.parse().ok()?, block))));
        } else if let Some((_, block)) = &mut open {
            block.push_str(whole);
        }
    }
    blocks
}

#[cfg(test)]
mod tests;
