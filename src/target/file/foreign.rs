//! A file that is not sidekick's own: refused, or taken over with `--adopt` when nothing is lost.

use tracing::warn;

use super::settings::Settings;
use super::syntax::statements;
use super::text::{Blocks, is_own};
use crate::target::Error;
use crate::util::sanitize::{printable, short};

/// How many upstreams are named in a message.
const NAMED: usize = 10;

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

/// The blocks word for word, in one line.
fn shown(blocks: &Blocks) -> String {
    let words = blocks.values().flat_map(|block| block.split_whitespace());
    printable(words.collect::<Vec<_>>().join(" "), 2_000)
}

/// Logs that a file is taken over, or would be: that is `what`.
pub(super) fn log(settings: &Settings, blocks: &Blocks, what: &str) {
    let (file, holds, text) = (settings.file.display(), named(blocks), shown(blocks));
    warn!(%file, %holds, %text, "this file is not sidekick's own; {what}");
}

/// The `upstream` blocks of a text that holds nothing else.
fn blocks(text: &str) -> Result<Blocks, String> {
    let found = statements(text).map_err(|reason| format!("it cannot be understood ({reason})"))?;
    let mut blocks = Blocks::new();
    for statement in found.into_iter().filter(|statement| statement.depth == 0) {
        let line = 1 + text[..statement.range.start].matches('\n').count();
        let name = match statement.words.as_slice() {
            [directive, name] if directive == "upstream" && statement.block => name.parse(),
            words => {
                let directive = words.first().map(short).unwrap_or_default();
                return Err(format!(
                    "it holds more than upstream blocks (line {line}: {directive})"
                ));
            }
        };
        let name = name.map_err(|error| format!("in line {line}, {error}"))?;
        blocks.insert(name, format!("{}\n", &text[statement.range]));
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests;
