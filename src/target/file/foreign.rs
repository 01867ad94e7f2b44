//! A file that is not sidekick's own: refused, or taken over with `--adopt` when nothing is lost.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::servers::server;
use super::settings::Settings;
use super::syntax::statements;
use super::text::{Blocks, is_own};
use crate::target::{Error, UpstreamName};
use crate::util::sanitize::{printable, short};

/// How many upstreams are named in a message.
const NAMED: usize = 10;
/// How much of what is replaced is logged, bytes. The journal splits lines above 48 KiB.
const MAX_SHOWN: usize = 40_000;
/// How much of what it loses, bytes.
const MAX_LOST: usize = 1_000;

/// Checks whether a file with this text may be replaced. Returns the blocks of a file to take over, `None` for sidekick's own.
///
/// # Errors
///
/// When it is somebody else's, and `adopt` is not set or something would be lost.
pub(super) fn check(text: &str, settings: &Settings) -> Result<Option<Blocks>, Error> {
    if is_own(text) {
        return Ok(None);
    }
    let reason = match blocks(text) {
        Ok(blocks) if settings.adopt => return Ok(Some(blocks)),
        Ok(blocks) => format!(
            "it holds {}; `sidekick push --adopt` takes it over, or give sidekick a `file` of its own",
            named(&blocks)
        ),
        Err(reason) => {
            format!("{reason}, so --adopt cannot take it over; give sidekick a `file` of its own")
        }
    };
    Err(settings.file_error(format!(
        "has no mark of sidekick's, so it is left as it is: {reason}"
    )))
}

/// What a file holds, in words.
fn named(blocks: &Blocks) -> String {
    let names = blocks.keys().take(NAMED).map(|name| name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    match blocks.len() {
        0 => "only comments".to_owned(),
        1 => format!("upstream {names}"),
        count if count > NAMED => format!("upstreams {names}, {} more", count - NAMED),
        _ => format!("upstreams {names}"),
    }
}

/// The blocks word for word in one line, with `\n` for a line break: `printf '%b'` gives them back.
fn shown(blocks: &Blocks) -> String {
    let mut shown = String::new();
    for line in blocks.values().flat_map(|block| block.lines()) {
        let left = MAX_SHOWN.saturating_sub(shown.len());
        if left == 0 {
            break;
        }
        let separator = if shown.is_empty() { "" } else { "\\n" };
        shown = shown + separator + &printable(line, left);
    }
    shown
}

/// What stands in the blocks and is not taken over with the servers: directives, and parameters of servers. Both are empty when there
/// is nothing.
fn dropped<'a>(blocks: impl Iterator<Item = &'a String>) -> (String, String) {
    let (mut directives, mut parameters) = (BTreeSet::new(), BTreeSet::new());
    for statement in blocks.flat_map(|block| statements(block).unwrap_or_default()) {
        if let Some((_, given)) = server(&statement) {
            let names = given
                .iter()
                .map(|word| word.split('=').next().unwrap_or(word));
            parameters.extend(names.map(short));
        } else if statement.depth > 0 {
            directives.extend(statement.words.first().map(short));
        }
    }
    let words = |words: BTreeSet<String>| {
        printable(words.into_iter().collect::<Vec<_>>().join(", "), MAX_LOST)
    };
    (words(directives), words(parameters))
}

/// Logs that a file is taken over, or would be: that is `what`. Blocks that are not `routed` stay as they are.
pub(super) fn log(
    settings: &Settings,
    blocks: &Blocks,
    routed: impl Fn(&UpstreamName) -> bool,
    what: &str,
) {
    let (file, holds, text) = (settings.file.display(), named(blocks), shown(blocks));
    warn!(%file, %holds, %text, "this file is not sidekick's own; {what}");
    let replaced = blocks.iter().filter(|(name, _)| routed(name));
    let (directives, parameters) = dropped(replaced.map(|(_, block)| block));
    if !directives.is_empty() {
        warn!(%file, %directives, "directives of the blocks that are replaced: only a `template` can write them again");
    }
    if !parameters.is_empty() {
        warn!(%file, %parameters, "parameters of the servers that are replaced: only records and [[upstream]] can set them again");
    }
}

/// The `upstream` blocks of a text that holds nothing else.
pub(super) fn blocks(text: &str) -> Result<Blocks, String> {
    let found = statements(text).map_err(|reason| format!("it cannot be understood ({reason})"))?;
    let mut blocks = Blocks::new();
    let mut lines = BTreeMap::new();
    let (mut line, mut counted) = (1, 0);
    for statement in found.into_iter().filter(|statement| statement.depth == 0) {
        let start = statement.range.start;
        line += text[counted..start].matches('\n').count();
        counted = start;
        let name = match statement.words.as_slice() {
            [directive, name] if directive == "upstream" && statement.block => name.parse(),
            words => {
                let directive = words.first().map(short).unwrap_or_default();
                return Err(format!(
                    "it holds more than upstream blocks (line {line}: {directive})"
                ));
            }
        };
        let name: UpstreamName = name.map_err(|error| format!("in line {line}, {error}"))?;
        if let Some(first) = lines.insert(name.clone(), line) {
            return Err(format!(
                "it holds upstream {name} twice, in lines {first} and {line}, which nginx refuses too"
            ));
        }
        blocks.insert(name, format!("{}\n", &text[statement.range]));
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests;
