//! A file against what is desired.

use std::num::NonZeroU16;

use super::*;
use crate::model::State;
use crate::target::Layer;
use crate::target::file::block::built_in;
use crate::target::file::text::{Blocks, compose, split};
use crate::upstream::server::{Parameters, Server, Servers};

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

fn name() -> UpstreamName {
    "website".parse().unwrap()
}

fn steps(text: &str, servers: &Servers) -> Vec<String> {
    let settings = Settings::new("/etc/nginx/a.conf", Layer::Http);
    let blocks = split(text);
    let found = blocks.get(&name()).map(String::as_str);
    let plan = plan(found, &settings, None, &name(), &Desired::at(1, servers)).unwrap();
    assert!(plan.waiting.is_empty());
    plan.steps.iter().map(ToString::to_string).collect()
}

fn file(servers: &Servers) -> String {
    let blocks = Blocks::from([(name(), built_in(&name(), servers))]);
    compose(&blocks, Layer::Http, None, 0)
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
fn a_difference_that_is_no_server_is_one_step() {
    let same = servers(&[("a:1", State::Up, false)]);
    let text = file(&same).replace("weight=1", " weight=1  max_fails=9");
    assert_eq!(steps(&text, &same), ["write /etc/nginx/a.conf anew"]);
    assert_eq!(steps("", &Servers::new()), ["write /etc/nginx/a.conf anew"]);
}
