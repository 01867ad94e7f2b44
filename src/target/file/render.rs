//! What stands in the file: a block for each upstream, and how it is found again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::template::{RenderError, Template};
use crate::model::{DnsName, Endpoint, Host, State};
use crate::target::{Layer, UpstreamName};
use crate::upstream::desired::{Desired, Server};

/// Begins the lines by which the blocks are found again.
pub(super) const MARK: &str = "# sidekick: ";
/// The first line of every file.
const HEADER: &str = "# Kept by sidekick: what is changed here by hand is put back.";
/// Begins the line that says what a name was resolved to: nginx resolves it only when it reads the file.
const NAMED: &str = "# sidekick: name ";
/// A server that takes nothing: nginx accepts no upstream without one, and answers 502 where there is no other.
pub(super) const NOBODY: &str = "127.0.0.1:1";

/// One upstream, to be rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) name: &'a UpstreamName,
    pub(super) desired: &'a Desired,
    /// The servers to leave out.
    pub(super) without: &'a BTreeSet<Endpoint>,
}

impl<'a> Member<'a> {
    /// Its servers, but for those to leave out.
    pub(super) fn servers(self) -> impl Iterator<Item = (&'a Endpoint, &'a Server)> {
        let servers = self.desired.servers.iter();
        servers.filter(move |(endpoint, _)| !self.without.contains(*endpoint))
    }
}

/// Renders a block: by the user's template, or as built in.
///
/// # Errors
///
/// What is wrong, in words, when the template fails.
pub(super) fn block(
    template: Option<&Arc<Template>>,
    member: Member<'_>,
) -> Result<String, RenderError> {
    let mut text = match template {
        Some(template) => template.render(member)?,
        None => built_in(member),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn built_in(member: Member<'_>) -> String {
    let mut text = format!("upstream {} {{\n", member.name);
    for (endpoint, server) in member.servers() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    server {endpoint}{};", parameters(*server));
    }
    // Backups alone are no upstream either.
    if member.servers().all(|(_, server)| server.parameters.backup) {
        text.push_str(&nobody());
    }
    text.push_str("}\n");
    text
}

/// An upstream without servers.
pub(super) fn empty(name: &UpstreamName) -> String {
    format!("upstream {name} {{\n{}}}\n", nobody())
}

fn nobody() -> String {
    format!("    server {NOBODY} down; # no server\n")
}

/// What open-source nginx knows: `slow_start`, `drain` and `route` it refuses.
fn parameters(server: Server) -> String {
    let mut text = format!(" weight={}", server.weight);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, " {name}={value}");
        }
    };
    let parameters = server.parameters;
    add(
        "max_conns",
        parameters.max_conns.map(|count| count.to_string()),
    );
    add(
        "max_fails",
        parameters.max_fails.map(|count| count.to_string()),
    );
    add("fail_timeout", parameters.fail_timeout.map(nginx_time));
    if parameters.backup {
        text.push_str(" backup");
    }
    if server.state != State::Up {
        text.push_str(" down");
    }
    text
}

/// A time as nginx takes it here: whole seconds, and not less than asked for.
pub(super) fn nginx_time(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    format!("{seconds}s")
}

/// The blocks by upstream.
pub(super) type Blocks = BTreeMap<UpstreamName, String>;

/// The whole file.
///
/// With `proof` it ends with a listener there that answers what [`token`] gives for the text.
pub(super) fn compose(
    blocks: &Blocks,
    layer: Layer,
    proof: Option<std::net::SocketAddr>,
) -> String {
    let mut text = format!("{HEADER}\n");
    for (name, block) in blocks {
        let _ = write!(text, "\n{MARK}begin {name}\n{block}{MARK}end {name}\n");
    }
    if let Some(address) = proof {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let token = hasher.finish();
        let answer = match layer {
            Layer::Http => format!(
                "    access_log off;\n    location / {{\n        return 200 \"{token:016x}\";\n    }}\n"
            ),
            Layer::Stream => format!("    return \"{token:016x}\";\n"),
        };
        let _ = write!(
            text,
            "\n# Tells sidekick that nginx has this file.\nserver {{\n    listen {address};\n{answer}}}\n{TOKEN}{token:016x}\n"
        );
    }
    text
}

/// Begins the last line of a file with a listener.
const TOKEN: &str = "# sidekick: token ";

/// What the listener of a file answers.
pub(super) fn token(text: &str) -> Option<&str> {
    text.lines().last()?.strip_prefix(TOKEN)
}

/// Whether a file may be replaced: it was composed here, or nothing stands in it.
pub(super) fn is_own(text: &str) -> bool {
    let mut lines = text.lines();
    text.trim().is_empty() || lines.any(|line| line == HEADER || line.starts_with(MARK))
}

/// The line that says what a name was resolved to.
pub(super) fn named<'a>(name: &DnsName, addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    let mut line = format!("{NAMED}{}", name.as_str());
    for address in addresses {
        let _ = write!(line, " {address}");
    }
    line.push('\n');
    line
}

/// What names were resolved to when a file was composed.
pub(super) fn names(text: &str) -> impl Iterator<Item = (DnsName, BTreeSet<IpAddr>)> {
    text.lines().filter_map(|line| {
        let mut words = line.strip_prefix(NAMED)?.split(' ');
        let Ok(Host::Dns(name)) = words.next()?.parse() else {
            return None;
        };
        Some((name, words.filter_map(|word| word.parse().ok()).collect()))
    })
}

/// A block without the lines that say what names were resolved to.
pub(super) fn without_names(block: &str) -> String {
    let lines = block.split_inclusive('\n');
    lines.filter(|line| !line.starts_with(NAMED)).collect()
}

/// The blocks of a file that was composed here, or what is left of them.
pub(super) fn split(text: &str) -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines() {
        let mark = line.strip_prefix(MARK).unwrap_or_default();
        if let Some(name) = mark.strip_prefix("begin ") {
            open = Some((name, String::new()));
        } else if let Some(name) = mark.strip_prefix("end ") {
            if let Some((begun, block)) = open.take()
                && begun == name
            {
                blocks.insert(name.to_owned(), block);
            }
        } else if let Some((_, block)) = &mut open {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::upstream::desired::{Parameters, Servers};

    fn name(text: &str) -> UpstreamName {
        text.parse().unwrap()
    }

    fn server(weight: u16, state: State, parameters: Parameters) -> Server {
        Server {
            weight: NonZeroU16::new(weight).unwrap(),
            state,
            parameters,
        }
    }

    fn rendered(servers: &Servers) -> String {
        let desired = Desired::at(1, servers);
        let member = Member {
            name: &name("website"),
            desired: &desired,
            without: &BTreeSet::new(),
        };
        block(None, member).unwrap()
    }

    #[test]
    fn a_server_is_told_what_open_source_nginx_knows() {
        let parameters = Parameters {
            max_conns: Some(100),
            max_fails: Some(0),
            fail_timeout: Some(Duration::from_millis(1_500)),
            slow_start: Some(Duration::from_secs(30)),
            backup: true,
        };
        let servers = Servers::from([
            (
                "10.0.0.5:80".parse().unwrap(),
                server(1, State::Up, Parameters::default()),
            ),
            (
                "[::1]:80".parse().unwrap(),
                server(5, State::Draining, Parameters::default()),
            ),
            (
                "web:80".parse().unwrap(),
                server(2, State::Down, parameters),
            ),
        ]);
        assert_eq!(
            rendered(&servers),
            "upstream website {
    server 10.0.0.5:80 weight=1;
    server [::1]:80 weight=5 down;
    server web:80 weight=2 max_conns=100 max_fails=0 fail_timeout=2s backup down;
}
"
        );
    }

    #[test]
    fn an_upstream_has_a_server_even_when_there_is_none() {
        let nobody = "    server 127.0.0.1:1 down; # no server\n";
        assert!(rendered(&Servers::new()).contains(nobody));
        assert_eq!(rendered(&Servers::new()), empty(&name("website")));
        let backup = Parameters {
            backup: true,
            ..Parameters::default()
        };
        let servers = Servers::from([("a:1".parse().unwrap(), server(1, State::Up, backup))]);
        assert!(rendered(&servers).contains(nobody));
    }

    #[test]
    fn blocks_are_found_again_and_what_is_cut_off_is_not() {
        let blocks = Blocks::from([
            (name("a"), "upstream a {\n}\n".to_owned()),
            (name("b"), "# b\n".to_owned()),
        ]);
        for proof in [None, Some("127.0.0.1:9000".parse().unwrap())] {
            let text = compose(&blocks, Layer::Http, proof);
            let found = split(&text);
            assert_eq!(found.len(), 2);
            assert!(
                blocks
                    .iter()
                    .all(|(name, block)| &found[name.as_str()] == block)
            );
            assert_eq!(token(&text).is_some(), proof.is_some());
            let cut = text.split_once("# sidekick: end b").unwrap().0;
            assert_eq!(split(cut).into_keys().collect::<Vec<_>>(), ["a"]);
        }
    }

    #[test]
    fn what_names_were_resolved_to_is_found_again() {
        let addresses: BTreeSet<IpAddr> = ["10.0.0.5", "::1"].map(|a| a.parse().unwrap()).into();
        let Host::Dns(web) = "web.example".parse().unwrap() else {
            panic!("it is a name")
        };
        let line = named(&web, &addresses);
        assert_eq!(line, "# sidekick: name web.example 10.0.0.5 ::1\n");
        let blocks = Blocks::from([(name("a"), format!("{line}upstream a {{\n}}\n"))]);
        let text = compose(&blocks, Layer::Http, None);
        assert_eq!(names(&text).collect::<Vec<_>>(), [(web, addresses)]);
        let block = split(&text).remove("a").unwrap();
        assert_eq!(without_names(&block), "upstream a {\n}\n");
    }

    #[test]
    fn a_file_is_ours_by_its_marks_or_when_it_is_empty() {
        for own in ["", " \n", &compose(&Blocks::new(), Layer::Http, None)] {
            assert!(is_own(own), "{own}");
        }
        for foreign in ["# by hand\n", "upstream a { server b; }\n"] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }

    #[test]
    fn another_content_has_another_token() {
        let proof = Some("127.0.0.1:9000".parse().unwrap());
        let token = |block: &str| {
            let blocks = Blocks::from([(name("a"), block.to_owned())]);
            let text = compose(&blocks, Layer::Stream, proof);
            token(&text).unwrap().to_owned()
        };
        assert_ne!(token("# 1\n"), token("# 2\n"));
        assert_eq!(token("# 1\n"), token("# 1\n"));
    }
}
