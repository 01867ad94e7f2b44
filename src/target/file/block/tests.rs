//! Blocks as they are built in.

use std::num::NonZeroU16;

use super::*;
use crate::upstream::server::Parameters;

fn server(weight: u16, state: State, parameters: Parameters) -> Server {
    Server {
        weight: NonZeroU16::new(weight).unwrap(),
        state,
        parameters,
    }
}

fn rendered(servers: &Servers) -> String {
    built_in(&"website".parse().unwrap(), servers)
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
    let backup = Parameters {
        backup: true,
        ..Parameters::default()
    };
    let servers = Servers::from([("a:1".parse().unwrap(), server(1, State::Up, backup))]);
    assert!(rendered(&servers).contains(nobody));
}
