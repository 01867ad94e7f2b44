use std::num::NonZeroU16;

use super::*;
use crate::model::State;
use crate::upstream::plan::{Cause, Tuning};
use crate::upstream::protection::{Reason, Spare};
use crate::upstream::server::{Parameters, Server};

fn peer(id: u64, server: &str, down: bool) -> Peer {
    Peer {
        id,
        server: server.to_owned(),
        weight: 1,
        down,
        drain: false,
        backup: false,
        child: false,
        srv: false,
        tuning: Tuning::default(),
    }
}

fn remove(id: u64, server: &str) -> Step {
    Step::Remove {
        id,
        server: server.to_owned(),
        endpoint: server.parse().ok(),
        cause: Cause::NoRecord,
    }
}

/// The ids of the servers that go, of these that are all to go.
fn gone(min_servers: usize, taken: &[&str], actual: &[Peer]) -> Vec<u64> {
    let mut steps: Vec<_> = actual
        .iter()
        .map(|peer| remove(peer.id, &peer.server))
        .collect();
    let protection = Protection {
        min_servers,
        taken: taken.iter().map(|at| at.parse().unwrap()).collect(),
        ..Protection::default()
    };
    let all = steps.len();
    let withheld = withhold(&mut steps, actual, &protection);
    assert_eq!(steps.len() + withheld.len(), all);
    steps.iter().filter_map(ends).collect()
}

#[test]
fn no_removal_leaves_fewer_than_min_servers_as_last_read() {
    let three = [
        peer(0, "10.0.0.1:80", false),
        peer(1, "10.0.0.2:80", true),
        peer(2, "10.0.0.3:80", false),
    ];
    assert_eq!(gone(0, &[], &three), [0, 1, 2]);
    assert_eq!(gone(1, &[], &three), [0, 1]);
    assert_eq!(
        gone(2, &[], &three),
        [1],
        "one that is down counts for nothing"
    );
    assert_eq!(gone(5, &[], &three), [1]);
}

#[test]
fn one_of_two_with_the_same_address_is_no_loss_and_one_of_another_service_none_to_keep() {
    let twice = [peer(0, "10.0.0.1:80", false), peer(1, "10.0.0.1:80", false)];
    assert_eq!(gone(1, &[], &twice), [0]);
    assert_eq!(gone(1, &["10.0.0.1:80"], &twice), [0, 1]);
}

#[test]
fn what_no_record_can_name_and_backups_are_never_the_last_to_go() {
    let backup = |id, server| Peer {
        backup: true,
        ..peer(id, server, false)
    };
    let unix = || peer(0, "unix:/x.sock", false);
    assert_eq!(gone(1, &[], &[unix()]), [0; 0]);
    assert_eq!(gone(1, &[], &[peer(0, "unix:/x.sock", true)]), [0]);
    let two = [unix(), peer(1, "unix:/y.sock", false)];
    assert_eq!(
        gone(1, &[], &two),
        [0; 0],
        "either may be the one that answers"
    );
    let mixed = [unix(), peer(1, "10.0.0.1:80", false)];
    assert_eq!(gone(1, &[], &mixed), [1], "the guard holds it no more");
    let mixed = [unix(), backup(1, "10.0.0.1:80")];
    assert_eq!(gone(1, &[], &mixed), [1], "the backup gets no request");
    let backups = [backup(0, "10.0.0.1:80"), backup(1, "10.0.0.2:80")];
    assert_eq!(gone(1, &[], &backups), [0]);
    assert_eq!(gone(1, &["10.0.0.2:80"], &backups), [0, 1]);
}

#[test]
fn a_server_whose_place_backups_take_may_go() {
    let backup = |id, server| Peer {
        backup: true,
        ..peer(id, server, false)
    };
    let actual = [
        peer(0, "unix:/x.sock", false),
        backup(1, "10.0.0.1:80"),
        backup(2, "10.0.0.2:80"),
    ];
    let mut steps = vec![remove(0, "unix:/x.sock")];
    let protection = Protection {
        min_servers: 2,
        ..Protection::default()
    };
    assert_eq!(withhold(&mut steps, &actual, &protection), []);
    let kept = Spare {
        server: Server {
            weight: NonZeroU16::MIN,
            state: State::Up,
            parameters: Parameters::default(),
        },
        recorded: None,
        reason: Reason::Vanished,
        guarded: true,
    };
    let spares = ["10.0.0.1:80", "10.0.0.2:80"].map(|at| (at.parse().unwrap(), kept));
    let with_spare = Protection {
        spares: spares.into(),
        ..protection.clone()
    };
    let mut steps = vec![remove(0, "unix:/x.sock")];
    let withheld = withhold(&mut steps, &actual, &with_spare);
    assert_eq!(
        withheld.len(),
        1,
        "backups that are only kept replace nobody"
    );
    // Two that become backups, one after the other.
    let twice = [
        peer(0, "10.0.0.1:80", false),
        peer(1, "10.0.0.2:80", false),
        backup(2, "10.0.0.1:80"),
        backup(3, "10.0.0.2:80"),
    ];
    let mut steps = vec![remove(0, "10.0.0.1:80"), remove(1, "10.0.0.2:80")];
    assert_eq!(withhold(&mut steps, &twice, &protection), []);
}

#[test]
fn what_is_about_to_be_added_counts_only_for_a_plan_that_nobody_follows() {
    let actual = [peer(0, "unix:/x.sock", false)];
    let add = Step::Add {
        endpoint: "10.0.0.1:80".parse().unwrap(),
        weight: NonZeroU16::MIN,
        down: false,
        parameters: Default::default(),
    };
    for hopeful in [false, true] {
        let mut steps = vec![add.clone(), remove(0, "unix:/x.sock")];
        let protection = Protection {
            min_servers: 1,
            hopeful,
            ..Protection::default()
        };
        let withheld = withhold(&mut steps, &actual, &protection);
        assert_eq!(
            (withheld.len(), steps.len()),
            if hopeful { (0, 2) } else { (1, 1) }
        );
    }
}

#[test]
fn additions_are_no_loss() {
    let mut steps = vec![Step::Add {
        endpoint: "10.0.0.1:80".parse().unwrap(),
        weight: NonZeroU16::MIN,
        down: false,
        parameters: Default::default(),
    }];
    let protection = Protection {
        min_servers: 3,
        ..Protection::default()
    };
    assert_eq!(withhold(&mut steps, &[], &protection), []);
    assert_eq!(steps.len(), 1);
}
