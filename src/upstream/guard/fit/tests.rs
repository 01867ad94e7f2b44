use std::num::NonZeroU16;

use super::*;
use crate::model::Host;
use crate::upstream::protection::{Reason, Spare};
use crate::upstream::server::Server;
use crate::upstream::server::{Parameters, Servers};

fn at(number: u8) -> Endpoint {
    format!("10.0.0.{number}:80").parse().unwrap()
}

fn server(state: State) -> Server {
    Server {
        weight: NonZeroU16::MIN,
        state,
        parameters: Parameters::default(),
    }
}

fn spare(reason: Reason) -> Spare {
    Spare {
        server: server(State::Up),
        recorded: None,
        reason,
        guarded: reason == Reason::Vanished,
    }
}

/// Records by number, and spares.
fn desired(min_servers: usize, records: &[u8], spares: &[(u8, Reason)]) -> Desired {
    let mut servers = Servers::new();
    let numbers = records
        .iter()
        .chain(spares.iter().map(|(number, _)| number));
    servers.extend(numbers.map(|number| (at(*number), server(State::Up))));
    let spares = spares.iter();
    Desired {
        protection: Protection {
            min_servers,
            spares: spares
                .map(|(number, reason)| (at(*number), spare(*reason)))
                .collect(),
            ..Protection::default()
        },
        ..Desired::at(1, &servers)
    }
}

struct Stage {
    sight: Sight,
    desired: Desired,
    now: Instant,
}

impl Stage {
    fn new(desired: Desired) -> Self {
        let (sight, now) = (Sight::default(), Instant::now());
        Self {
            sight,
            desired,
            now,
        }
    }

    /// What should take traffic after these were seen to do.
    fn read(&mut self, serving: &[u8]) -> Vec<u8> {
        self.read_refusing(serving, &[])
    }

    fn read_refusing(&mut self, serving: &[u8], refused: &[u8]) -> Vec<u8> {
        let serving = serving.iter().map(|number| at(*number)).collect();
        self.sight.read(serving, &self.desired, self.now);
        let refused = refused.iter().map(|number| at(*number)).collect();
        let fitted = self.desired.fit(&self.sight, &refused);
        let ups = fitted.servers.iter();
        let ups = ups.filter(|(_, server)| server.state == State::Up);
        ups.map(|(at, _)| match at.host {
            Host::Ip(std::net::IpAddr::V4(ip)) => ip.octets()[3],
            _ => 0,
        })
        .collect()
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

use Reason::{Draining, Gone, Vanished};

#[test]
fn a_protected_server_that_somebody_took_out_is_not_added_back() {
    let mut stage = Stage::new(desired(1, &[9], &[(1, Vanished), (2, Vanished)]));
    assert_eq!(stage.read(&[1, 2, 9]), [1, 2, 9]);
    assert_eq!(stage.read(&[1, 9]), [1, 9]);
    stage.wait(60);
    assert_eq!(stage.read(&[1, 9]), [1, 9]);
    stage.sight.forget(stage.now);
    assert_eq!(
        stage.read(&[9]),
        [1, 9],
        "the restart took only what was there"
    );
}

#[test]
fn what_nginx_lost_by_a_restart_is_added_back_also_when_that_is_seen_late() {
    let mut stage = Stage::new(desired(1, &[9], &[(1, Vanished), (2, Vanished)]));
    stage.read(&[1, 2, 9]);
    assert_eq!(stage.read(&[]), [9], "for all that is known here");
    stage.wait(2);
    assert_eq!(stage.read(&[9]), [9]);
    stage.sight.forget(stage.now);
    assert_eq!(stage.read(&[9]), [1, 2, 9]);
    assert_eq!(stage.read(&[1, 9]), [1, 2, 9], "until it is there");
    assert_eq!(stage.read(&[1, 2, 9]), [1, 2, 9]);
    assert_eq!(stage.read(&[1, 9]), [1, 9], "taken out since");
}

#[test]
fn min_servers_takes_what_the_target_has_before_what_it_lacks() {
    let mut stage = Stage::new(desired(1, &[], &[(1, Draining), (2, Gone)]));
    assert_eq!(stage.read(&[2]), [2]);
    assert_eq!(stage.read(&[1, 2]), [1]);
    assert_eq!(stage.read(&[]), [1], "and adds some where none is left");
    let mut stage = Stage::new(desired(1, &[], &[(1, Vanished), (2, Vanished)]));
    assert_eq!(
        stage.read(&[]),
        [1],
        "the guard adds no more than min_servers does"
    );
}

#[test]
fn a_backup_that_the_guard_holds_replaces_no_server_that_is_none() {
    let mut stage = Stage::new(desired(1, &[], &[(1, Draining), (2, Vanished)]));
    assert_eq!(stage.read(&[1, 2]), [2]);
    let spares = &mut stage.desired.protection.spares;
    spares.get_mut(&at(2)).unwrap().server.parameters.backup = true;
    assert_eq!(stage.read(&[1, 2]), [1, 2]);
    stage.desired.protection.spares.remove(&at(1));
    stage.desired.servers.remove(&at(1));
    assert_eq!(stage.read(&[2]), [2]);
}

#[test]
fn records_that_the_target_refuses_are_nothing_to_rely_on() {
    let mut stage = Stage::new(desired(1, &[9], &[(1, Draining)]));
    assert_eq!(stage.read_refusing(&[1], &[]), [9]);
    assert_eq!(stage.read_refusing(&[1], &[9]), [1, 9]);
}

#[test]
fn a_server_that_stays_against_its_record_is_as_its_record_says_where_it_is_not_needed() {
    let mut stage = Stage::new(desired(1, &[], &[(1, Draining), (2, Draining)]));
    for spare in stage.desired.protection.spares.values_mut() {
        spare.recorded = Some(server(State::Draining));
    }
    assert_eq!(stage.read(&[2]), [2]);
    let fitted = stage.desired.fit(&stage.sight, &BTreeSet::new());
    assert_eq!(fitted.servers[&at(1)].state, State::Draining);
}
