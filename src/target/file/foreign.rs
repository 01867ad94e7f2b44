//! A file that is not sidekick's own: refused, or taken over where that was asked for and loses nothing.

use std::path::Path;

use super::disk::Content;
use super::member::Member;
use super::render::{Blocks, is_own, token};
use super::site::Actor;
use super::syntax::{Statement, scan};
use super::{Error, Settings, file_error};
use crate::util::sanitize::short;

/// How many upstreams are named in a message.
const NAMED: usize = 10;

/// Checks whether a file with this text may be replaced. Gives back the blocks of a file that is to be taken over, `None` for
/// sidekick's own.
///
/// # Errors
///
/// When it is somebody else's, and `adopt` was not asked for or something would be lost.
pub(super) fn check(text: &str, settings: &Settings) -> Result<Option<Blocks>, Error> {
    if is_own(text) {
        return Ok(None);
    }
    let refuse = |reason: &str| {
        let reason = format!("has no mark of sidekick's, so it is left as it is: {reason}");
        Err(file_error(&settings.file, &reason))
    };
    match blocks(text) {
        Err(reason) => refuse(&format!(
            "{reason}, so --adopt cannot take it over; give sidekick a `file` of its own"
        )),
        Ok(blocks) if settings.adopt => Ok(Some(blocks)),
        Ok(blocks) => refuse(&format!(
            "it holds {}; `sidekick push --adopt` takes it over, or give sidekick a `file` of its own",
            named(&blocks)
        )),
    }
}

/// What a file holds, in words.
pub(super) fn named(blocks: &Blocks) -> String {
    let mut names: Vec<_> = blocks
        .keys()
        .take(NAMED)
        .map(|name| name.as_str())
        .collect();
    let more = format!("{} more", blocks.len().saturating_sub(NAMED));
    if blocks.len() > NAMED {
        names.push(&more);
    }
    match names.as_slice() {
        [] => "only comments".to_owned(),
        [one] => format!("upstream {one}"),
        several => format!("upstreams {}", several.join(", ")),
    }
}

/// What is replaced when a file is taken over, word for word, in one line.
pub(super) fn shown(blocks: &Blocks) -> String {
    let words = |block: &String| block.split_whitespace().collect::<Vec<_>>().join(" ");
    let blocks: Vec<_> = blocks.values().map(words).collect();
    crate::util::sanitize::printable(blocks.join(" "), 2_000)
}

/// The `upstream` blocks of a text that holds nothing else.
fn blocks(text: &str) -> Result<Blocks, String> {
    let found = scan(text).map_err(|reason| format!("it cannot be understood ({reason})"))?;
    let mut blocks = Blocks::new();
    for (statement, range) in found.iter().filter(|(statement, _)| statement.depth == 0) {
        let line = 1 + text[..range.start].matches('\n').count();
        let Some(name) = upstream(statement) else {
            let directive = short(statement.words[0].as_bytes());
            return Err(format!(
                "it holds more than upstream blocks (line {line}: {directive})"
            ));
        };
        let name = name
            .parse()
            .map_err(|error| format!("in line {line}, {error}"))?;
        blocks.insert(name, format!("{}\n", &text[range.clone()]));
    }
    Ok(blocks)
}

fn upstream(statement: &Statement) -> Option<&str> {
    match statement.words.as_slice() {
        [directive, name] if directive == "upstream" && statement.block => Some(name),
        _ => None,
    }
}

/// What is said when a file is taken over, or would be: that is `what`.
pub(super) fn told(file: &Path, blocks: &Blocks, what: &str) {
    let (file, holds, text) = (file.display(), named(blocks), shown(blocks));
    tracing::warn!(%file, %holds, %text, "this file is not sidekick's own; {what}");
}

impl Actor {
    /// Refuses a file that is somebody else's, or takes it over.
    pub(super) fn check_whose(&mut self, found: &Content) -> Result<(), Error> {
        self.listens |= token(&found.text).is_some();
        let Some(taken_over) = check(&found.text, &self.settings)? else {
            return Ok(());
        };
        let has = |member: &Member, block| member.good() == Some(block);
        let is_known = taken_over.iter().all(|(name, block)| {
            let member = self.members.get(name);
            let others = self.others.get(name);
            member.map_or(others == Some(block), |member| has(member, block))
        });
        if is_known && !taken_over.is_empty() {
            // Said before; it is tried again.
            return Ok(());
        }
        let what = "taking it over (--adopt)";
        told(&self.settings.file, &taken_over, what);
        for (name, block) in taken_over {
            match self.members.get_mut(&name) {
                Some(member) => member.adopt(block),
                None => drop(self.others.insert(name, block)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Layer;

    fn checked(text: &str, adopt: bool) -> Result<Option<Blocks>, String> {
        let mut settings = Settings::new("/etc/nginx/a.conf", Layer::Http);
        settings.adopt = adopt;
        check(text, &settings).map_err(|error| error.to_string())
    }

    const CONFD: &str =
        "# by confd\nupstream a {\n  server 10.0.0.5:80; # one\n}\n\nupstream b { server c; }\n";

    #[test]
    fn a_file_of_upstreams_alone_is_taken_over_when_that_is_asked_for() {
        let error = checked(CONFD, false).unwrap_err();
        assert!(
            error.contains("it holds upstreams a, b; `sidekick push --adopt`"),
            "{error}"
        );
        let blocks = checked(CONFD, true).unwrap().unwrap();
        let texts: Vec<_> = blocks.values().map(String::as_str).collect();
        let one = "upstream a {\n  server 10.0.0.5:80; # one\n}\n";
        assert_eq!(texts, [one, "upstream b { server c; }\n"]);
        assert!(shown(&blocks).starts_with("upstream a { server 10.0.0.5:80; # one } upstream b"));
        assert_eq!(checked("# sidekick: begin a\n", false), Ok(None));
        assert_eq!(checked("  \n", false), Ok(None));
    }

    #[test]
    fn what_would_be_lost_is_named_with_its_line() {
        for (text, reason) in [
            (
                "upstream a { server b; }\nserver { listen 80; }\n",
                "(line 2: server)",
            ),
            ("include x;", "(line 1: include)"),
            ("upstream a b { }", "(line 1: upstream)"),
            ("upstream a {", "cannot be understood (a { too many)"),
            ("upstream $a { }", "upstream name"),
        ] {
            for adopt in [false, true] {
                let error = checked(text, adopt).unwrap_err();
                assert!(
                    error.contains(reason) && error.contains("so --adopt cannot take it over"),
                    "{text}: {error}"
                );
            }
        }
    }
}
