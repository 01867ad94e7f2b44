//! Servers of the file that no record can name, such as unix sockets: they go like all that no record names, but are never the last.

use super::compare::peers;
use super::syntax::scan;
use crate::target::UpstreamName;
use crate::upstream::desired::Protection;
use crate::upstream::plan::{Peer, missing};
use crate::util::sanitize::short;

/// Ends the line of one that stays.
const KEPT: &str = "# no record names it: kept, as too few others take traffic";

/// A server that takes traffic and that no record can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stranger {
    /// As nginx is told. Untrusted.
    server: String,
    /// The whole directive, as it was found.
    directive: String,
    backup: bool,
}

impl Stranger {
    /// What is not done to one that stays.
    pub(super) fn removal(&self) -> String {
        format!("remove {} (no record names it)", short(&self.server))
    }

    /// Whether it is this server of a block.
    pub(super) fn is(&self, peer: &Peer) -> bool {
        self.server == peer.server
    }
}

/// The strangers of a block, as far as it can be read; backups last.
pub(super) fn of(block: &str) -> Vec<Stranger> {
    let (Ok(found), Ok(peers)) = (scan(block), peers(block)) else {
        return Vec::new();
    };
    let strange = peers
        .iter()
        .filter(|peer| peer.serves() && peer.is_stranger());
    let strangers = strange.filter_map(|peer| {
        let (_, range) = found.iter().find(|(statement, _)| {
            let words = statement.words.iter().map(String::as_str);
            statement.depth == 1 && words.take(2).eq(["server", peer.server.as_str()])
        })?;
        Some(Stranger {
            server: peer.server.clone(),
            directive: block[range.clone()].to_owned(),
            backup: peer.backup,
        })
    });
    let mut strangers: Vec<_> = strangers.collect();
    strangers.sort_by_key(|stranger| stranger.backup);
    strangers
}

/// A block with as many of the strangers as it needs for enough servers to take traffic. What cannot be read is left as it is.
pub(super) fn keep(
    block: String,
    upstream: &UpstreamName,
    strangers: &[Stranger],
    protection: &Protection,
) -> String {
    let Ok(peers) = peers(&block) else {
        return block;
    };
    let (missing, backups) = missing(&peers, protection);
    let lacks = |stranger: &&Stranger| !peers.iter().any(|peer| stranger.is(peer));
    let mut lines: Vec<_> = strangers.iter().filter(lacks).collect();
    // Backups stand last.
    match lines.first() {
        Some(first) if first.backup => lines.truncate(backups),
        _ => {
            lines.retain(|stranger| !stranger.backup);
            lines.truncate(missing);
        }
    }
    let lines: String = lines
        .iter()
        .map(|stranger| format!("    {} {KEPT}\n", stranger.directive))
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

/// Those of the strangers that [`keep`] has put into a block.
pub(super) fn kept<'a>(block: &str, strangers: &'a [Stranger]) -> Vec<&'a Stranger> {
    let lines: Vec<_> = block
        .lines()
        .filter_map(|line| line.trim().strip_suffix(KEPT))
        .collect();
    let is_kept = |stranger: &&Stranger| {
        let last = stranger.directive.lines().last().unwrap_or_default();
        lines.iter().any(|line| line.trim() == last.trim())
    };
    strangers.iter().filter(is_kept).collect()
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
mod tests {
    use super::*;

    fn kept_in(block: &str, found: &str, floor: usize) -> String {
        let strangers = of(found);
        let protection = Protection {
            floor,
            ..Protection::default()
        };
        let web = "web".parse().unwrap();
        let block = keep(block.to_owned(), &web, &strangers, &protection);
        let named: Vec<_> = kept(&block, &strangers)
            .into_iter()
            .map(Stranger::removal)
            .collect();
        assert_eq!(named.len(), block.matches(KEPT).count(), "{block}");
        block.replace(KEPT, "#")
    }

    const EMPTY: &str = "upstream web {\n    server 127.0.0.1:1 down; # no server\n}\n";

    #[test]
    fn strangers_stay_as_they_were_where_too_few_others_take_traffic() {
        let found = "upstream web { server unix:/x.sock weight=2; server 10.0.0.1:80; server unix:/y.sock down; }\n";
        let with = "upstream web {
    server 127.0.0.1:1 down; # no server
    server unix:/x.sock weight=2; #
}
";
        assert_eq!(kept_in(EMPTY, found, 1), with);
        assert_eq!(kept_in(EMPTY, with, 1), with, "found again");
        assert_eq!(kept_in(EMPTY, found, 0), EMPTY);
        let one = "upstream web {\n    server 10.0.0.2:80;\n}\n";
        assert_eq!(kept_in(one, found, 1), one);
        let both =
            "upstream web {\n    server 10.0.0.2:80;\n    server unix:/x.sock weight=2; #\n}\n";
        assert_eq!(kept_in(one, found, 2), both);
    }

    #[test]
    fn a_users_template_gets_them_too_and_keeps_what_it_says_itself() {
        let found = "upstream web { server unix:/x.sock; }\n";
        let terse = "# mine\nupstream web { least_conn; server b:1 down; }\nserver { listen 1; }\n";
        let with = "# mine\nupstream web { least_conn; server b:1 down; \n    server unix:/x.sock; #\n}\nserver { listen 1; }\n";
        assert_eq!(kept_in(terse, found, 1), with);
        let own = "upstream web { server unix:/x.sock; }\n";
        assert_eq!(kept_in(own, found, 2), own);
    }

    #[test]
    fn a_server_that_only_backs_up_strangers_goes_before_them() {
        let found = "upstream web { server unix:/b.sock backup; server unix:/x.sock; }\n";
        let block = kept_in(EMPTY, found, 1);
        assert!(
            block.contains("/x.sock") && !block.contains("/b.sock"),
            "{block}"
        );
        let found = "upstream web { server unix:/b.sock backup; }\n";
        assert!(kept_in(EMPTY, found, 1).contains("/b.sock backup"));
    }
}
