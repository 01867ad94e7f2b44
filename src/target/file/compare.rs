//! What is to be done to a file, as the steps of a plan.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::render::{self, Member, NOBODY};
use super::syntax::{Statement, statements};
use super::template::Template;
use super::{Settings, file_error, unrecorded};
use crate::model::Endpoint;
use crate::target::{Error, UpstreamName};
use crate::upstream::desired::Desired;
use crate::upstream::plan::{
    Activity, Drains, Peer, Plan, Step, Tuning, plan as difference, read_time, taking_traffic,
};
use crate::util::sanitize::short;

/// What is to be done to the block of one upstream, which is `found` in the file.
///
/// Servers are compared where they can be read, as from what is built in; any other difference is one step: the file is written
/// anew.
pub(super) fn plan(
    found: Option<String>,
    settings: &Settings,
    template: Option<&Arc<Template>>,
    name: &UpstreamName,
    desired: &Desired,
) -> Result<Plan, Error> {
    let member = Member {
        name,
        desired,
        without: &BTreeSet::new(),
    };
    let wanted = render::block(template, member);
    let wanted = wanted.map_err(|error| Error::Template(error.to_string()))?;
    let found = found.map(|block| render::without_names(&block));
    let directives = found.as_deref().map(unrecorded::of).unwrap_or_default();
    let wanted = unrecorded::keep(wanted, name, &directives, &desired.protection);
    let kept = unrecorded::kept(&wanted);
    let is_equal = found.as_ref() == Some(&wanted);
    if is_equal && kept.is_empty() {
        return Ok(Plan::default());
    }
    let peers = peers(&found.unwrap_or_default())
        .map_err(|reason| file_error(&settings.file, &format!("cannot be understood: {reason}")))?;
    let mut servers = desired.servers.clone();
    for server in servers.values_mut() {
        // Nothing that this nginx knows.
        server.parameters.slow_start = None;
    }
    let drains = Drains::new(Duration::ZERO);
    let mut plan = difference(&servers, &peers, &Activity::new(), &drains);
    // A draining server stays in the file, as `down`, as long as its record stands.
    plan.waiting.clear();
    let is_kept = |step: &mut Step| {
        let Step::Remove { id, .. } = step else {
            return false;
        };
        let peer = peers.iter().find(|peer| peer.id == *id);
        peer.is_some_and(|peer| kept.contains(&peer.server))
    };
    plan.withheld = plan.steps.extract_if(.., is_kept).collect();
    if plan.steps.is_empty() && !is_equal {
        let file = short(settings.file.as_os_str().as_encoded_bytes());
        plan.steps.push(Step::Write { file });
    }
    Ok(plan)
}

/// Whether any server of a block takes traffic, as far as can be read.
pub(super) fn takes_traffic(block: &str) -> bool {
    peers(block).map_or(true, |peers| peers.iter().any(|peer| !peer.down))
}

/// The servers of a block that take traffic, as far as can be read.
pub(super) fn serving(block: &str) -> BTreeSet<Endpoint> {
    peers(block).map_or_else(|_| BTreeSet::new(), |peers| taking_traffic(&peers))
}

/// The servers of a block as nginx is told them, as far as can be read. Untrusted.
pub(super) fn servers(block: &str) -> BTreeSet<String> {
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
pub(super) fn peers(block: &str) -> Result<Vec<Peer>, &'static str> {
    let statements = statements(block)?;
    let servers = statements.iter().filter_map(server);
    let servers = servers.filter(|(server, _)| *server != NOBODY);
    let peers = servers.zip(0..).map(|((server, parameters), id)| {
        let has = |name: &str| parameters.iter().any(|parameter| parameter == name);
        let value = |name: &str| {
            let mut values = parameters.iter();
            values.find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
        };
        let number = |name: &str, default| value(name).map_or(Some(default), |n| n.parse().ok());
        let fail_timeout = value("fail_timeout");
        let tuning = Tuning {
            max_conns: number("max_conns", 0),
            max_fails: number("max_fails", 1),
            fail_timeout: fail_timeout.map_or(Tuning::default().fail_timeout, read_time),
            ..Tuning::default()
        };
        Peer {
            id,
            server: server.clone(),
            weight: number("weight", 1).unwrap_or(1),
            down: has("down"),
            drain: false,
            backup: has("backup"),
            child: false,
            srv: false,
            tuning,
        }
    });
    Ok(peers.collect())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::model::State;
    use crate::target::Layer;
    use crate::target::file::render::{Blocks, compose};
    use crate::upstream::desired::{Parameters, Server, Servers};

    fn servers(list: &[(&str, State, bool)]) -> Servers {
        let server = |(address, state, backup): &(&str, State, bool)| {
            let parameters = Parameters {
                backup: *backup,
                ..Parameters::default()
            };
            let server = Server {
                weight: NonZeroU16::MIN,
                state: *state,
                parameters,
            };
            (address.parse().unwrap(), server)
        };
        list.iter().map(server).collect()
    }

    fn steps(text: &str, servers: &Servers) -> Vec<String> {
        let settings = Settings::new("/etc/nginx/a.conf", Layer::Http);
        let name = "website".parse().unwrap();
        let found = render::split(text).remove("website");
        let plan = plan(found, &settings, None, &name, &Desired::at(1, servers)).unwrap();
        assert!(plan.waiting.is_empty());
        plan.steps.iter().map(ToString::to_string).collect()
    }

    fn file(servers: &Servers) -> String {
        let name: UpstreamName = "website".parse().unwrap();
        let member = Member {
            name: &name,
            desired: &Desired::at(1, servers),
            without: &BTreeSet::new(),
        };
        let block = render::block(None, member).unwrap();
        compose(&Blocks::from([(name, block)]), Layer::Http, None)
    }

    #[test]
    fn a_file_written_here_is_equal_and_one_that_differs_tells_which_servers() {
        let before = servers(&[
            ("a:1", State::Up, false),
            ("b:1", State::Draining, false),
            ("c:1", State::Up, true),
            ("d:1", State::Up, false),
        ]);
        let text = file(&before);
        assert!(steps(&text, &before).is_empty());
        let after = servers(&[
            ("a:1", State::Down, false),
            ("b:1", State::Draining, false),
            ("c:1", State::Up, true),
            ("e:1", State::Up, false),
        ]);
        assert_eq!(
            steps(&text, &after),
            [
                "add e:1 weight=1",
                "change a:1 down=true",
                "remove d:1 (no record names it)"
            ]
        );
        assert!(steps(&file(&Servers::new()), &Servers::new()).is_empty());
    }

    #[test]
    fn a_block_takes_traffic_when_a_server_of_it_is_not_down() {
        for (block, takes) in [
            ("upstream a { server b:1 weight=2; server c:1 down; }", true),
            ("upstream a { server b:1 down; }", false),
            (
                "upstream a { server 127.0.0.1:1 down; # no server\n }",
                false,
            ),
            ("upstream a { server b:1 backup; }", true),
            ("upstream a { nobody can read this", true),
        ] {
            assert_eq!(takes_traffic(block), takes, "{block}");
        }
    }

    #[test]
    fn a_difference_that_is_no_server_is_one_step() {
        let same = servers(&[("a:1", State::Up, false)]);
        let text = file(&same).replace("weight=1", " weight=1  max_fails=9");
        assert_eq!(steps(&text, &same), ["write /etc/nginx/a.conf anew"]);
        assert_eq!(steps("", &Servers::new()), ["write /etc/nginx/a.conf anew"]);
    }
}
