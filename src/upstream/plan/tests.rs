use std::time::Duration;

use proptest::collection;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::upstream::server::Parameters;
use crate::upstream::state::Desired;

const TIMEOUT: Duration = Duration::from_secs(10);

fn peer(id: Id, server: &str) -> Peer {
    Peer {
        id,
        server: server.to_owned(),
        weight: 1,
        down: false,
        drain: false,
        backup: false,
        child: false,
        srv: false,
        tuning: Tuning::default(),
    }
}

fn servers(wanted: &[(&str, State, u16)]) -> Servers {
    let server = |(endpoint, state, weight): &(&str, State, u16)| {
        let weight = (*weight).try_into().unwrap();
        (
            endpoint.parse().unwrap(),
            Server {
                weight,
                state: *state,
                parameters: Parameters::default(),
            },
        )
    };
    wanted.iter().map(server).collect()
}

/// Plans at `elapsed` after the drains were first seen.
fn plan_at(elapsed: Duration, wanted: &Servers, actual: &[Peer], activity: &[(Id, u64)]) -> Plan {
    let mut drains = Drains::new(TIMEOUT);
    let start = Instant::now();
    drains.follow(&Desired::at(1, wanted), start);
    drains.follow(&Desired::at(1, wanted), start + elapsed);
    plan(wanted, actual, &activity.iter().copied().collect(), &drains)
}

fn steps(wanted: &[(&str, State, u16)], actual: &[Peer]) -> Vec<String> {
    let plan = plan_at(Duration::ZERO, &servers(wanted), actual, &[]);
    plan.steps.iter().map(Step::to_string).collect()
}

#[test]
fn what_is_as_it_should_be_needs_no_step() {
    let down = Peer {
        down: true,
        ..peer(3, "10.0.0.3:80")
    };
    let wanted = [
        ("10.0.0.1:80", State::Up, 1),
        ("10.0.0.3:80", State::Down, 1),
    ];
    assert!(steps(&wanted, &[peer(1, "10.0.0.1:80"), down]).is_empty());
    assert!(steps(&[], &[]).is_empty());
}

#[test]
fn steps_come_in_the_order_add_change_drain_remove() {
    let wanted = [
        ("10.0.0.1:80", State::Draining, 1),
        ("10.0.0.2:80", State::Up, 5),
        ("10.0.0.3:80", State::Up, 1),
        ("10.0.0.4:80", State::Down, 2),
    ];
    let actual = [
        peer(1, "10.0.0.9:80"),
        peer(2, "10.0.0.1:80"),
        peer(3, "10.0.0.2:80"),
    ];
    let expected = [
        "add 10.0.0.3:80 weight=1",
        "add 10.0.0.4:80 weight=2 down=true",
        "change 10.0.0.2:80 weight=5",
        "drain 10.0.0.1:80",
        "remove 10.0.0.9:80 (no record names it)",
    ];
    assert_eq!(steps(&wanted, &actual), expected);
}

fn with(parameters: Parameters) -> Servers {
    let mut wanted = servers(&[("10.0.0.1:80", State::Up, 1)]);
    for server in wanted.values_mut() {
        server.parameters = parameters;
    }
    wanted
}

fn steps_for(wanted: &Servers, actual: &[Peer]) -> Vec<String> {
    let plan = plan_at(Duration::ZERO, wanted, actual, &[]);
    plan.steps.iter().map(Step::to_string).collect()
}

#[test]
fn parameters_are_set_where_they_are_managed_and_differ() {
    let all = with(Parameters {
        max_conns: Some(5),
        max_fails: Some(1),
        fail_timeout: Some(Duration::from_secs(90)),
        slow_start: Some(Duration::from_millis(500)),
        backup: false,
    });
    let set = "max_conns=5 fail_timeout=90s slow_start=500ms";
    assert_eq!(
        steps_for(&all, &[peer(1, "10.0.0.1:80")]),
        [format!("change 10.0.0.1:80 {set}")],
        "max_fails=1 is nginx's own value"
    );
    assert_eq!(
        steps_for(&all, &[]),
        ["add 10.0.0.1:80 weight=1 max_conns=5 max_fails=1 fail_timeout=90s slow_start=500ms"]
    );
    let unreadable = Peer {
        tuning: Tuning {
            fail_timeout: None,
            ..Tuning::default()
        },
        ..peer(1, "10.0.0.1:80")
    };
    let fail_timeout = Some(Duration::from_secs(10));
    let managed = with(Parameters {
        fail_timeout,
        ..Parameters::default()
    });
    assert_eq!(
        steps_for(&managed, std::slice::from_ref(&unreadable)),
        ["change 10.0.0.1:80 fail_timeout=10s"]
    );
    assert_eq!(
        steps_for(&with(Parameters::default()), &[unreadable]),
        [""; 0]
    );
}

#[test]
fn a_server_that_becomes_a_backup_is_replaced_once_the_backup_is_there() {
    let wanted = with(Parameters {
        backup: true,
        ..Parameters::default()
    });
    let primary = peer(1, "10.0.0.1:80");
    assert_eq!(
        steps_for(&wanted, std::slice::from_ref(&primary)),
        ["add 10.0.0.1:80 weight=1 backup=true"]
    );
    let backup = Peer {
        backup: true,
        ..peer(2, "10.0.0.1:80")
    };
    assert_eq!(
        steps_for(&wanted, &[primary, backup]),
        ["remove 10.0.0.1:80 (another one has taken its place)"]
    );
}

#[test]
fn addresses_are_compared_by_meaning_not_by_spelling() {
    let wanted = [
        ("10.0.0.1:80", State::Up, 1),
        ("[2001:db8::5]:80", State::Up, 1),
        ("[2001:db8::6]:81", State::Up, 1),
        ("web.example:80", State::Up, 1),
    ];
    let actual = [
        peer(1, "10.0.0.1"),
        peer(2, "[2001:DB8:0:0:0:0:0:5]"),
        peer(3, "[2001:db8:0::6]:81"),
        peer(4, "Web.Example"),
    ];
    assert!(steps(&wanted, &actual).is_empty());
}

#[test]
fn strangers_go_and_children_stay() {
    let actual = [
        peer(1, "unix:/run/x"),
        Peer {
            backup: true,
            ..peer(2, "10.0.0.2:80")
        },
        Peer {
            srv: true,
            ..peer(3, "web.example")
        },
        Peer {
            child: true,
            ..peer(4, "10.0.0.7:80")
        },
        peer(5, "\u{1b}[2J"),
    ];
    let expected = [
        "add 10.0.0.1:80 weight=1",
        "remove unix:/run/x (no record names it)",
        "remove 10.0.0.2:80 (no record names it)",
        "remove web.example (no record names it)",
        "remove \\x1b[2J (no record names it)",
    ];
    assert_eq!(steps(&[("10.0.0.1:80", State::Up, 1)], &actual), expected);
}

#[test]
fn of_two_with_one_address_the_one_that_needs_no_change_stays() {
    let actual = [
        Peer {
            weight: 7,
            ..peer(1, "10.0.0.1:80")
        },
        peer(2, "10.0.0.1"),
        peer(3, "10.0.0.1:80"),
    ];
    let wanted = servers(&[("10.0.0.1:80", State::Up, 1)]);
    let plan = plan_at(Duration::ZERO, &wanted, &actual, &[]);
    let removed: Vec<_> = plan
        .steps
        .iter()
        .map(|step| match step {
            Step::Remove {
                id,
                cause: Cause::Surplus,
                ..
            } => *id,
            step => panic!("{step}"),
        })
        .collect();
    assert_eq!(removed, [1, 3]);
}

#[test]
fn a_server_that_comes_back_is_taken_out_of_draining() {
    let draining = Peer {
        drain: true,
        ..peer(1, "10.0.0.1:80")
    };
    assert_eq!(
        steps(
            &[("10.0.0.1:80", State::Up, 1)],
            std::slice::from_ref(&draining)
        ),
        ["change 10.0.0.1:80 drain=false"]
    );
    assert_eq!(
        steps(&[("10.0.0.1:80", State::Down, 1)], &[draining]),
        ["change 10.0.0.1:80 down=true"]
    );
    let down = Peer {
        down: true,
        weight: 3,
        ..peer(1, "10.0.0.1:80")
    };
    assert_eq!(
        steps(&[("10.0.0.1:80", State::Up, 1)], &[down]),
        ["change 10.0.0.1:80 weight=1 down=false"]
    );
}

#[test]
fn a_draining_server_is_not_added() {
    assert!(steps(&[("10.0.0.1:80", State::Draining, 1)], &[]).is_empty());
}

#[test]
fn a_draining_server_is_removed_when_nothing_runs_on_it() {
    let wanted = servers(&[("10.0.0.1:80", State::Draining, 1)]);
    let actual = [Peer {
        drain: true,
        ..peer(4, "10.0.0.1:80")
    }];
    let shown = |activity: &[(Id, u64)]| {
        let plan = plan_at(Duration::ZERO, &wanted, &actual, activity);
        let waiting: Vec<_> = plan.waiting.iter().map(|(_, active)| *active).collect();
        (
            plan.steps.iter().map(Step::to_string).collect::<Vec<_>>(),
            waiting,
        )
    };
    assert_eq!(shown(&[]), (vec![], vec![None]));
    assert_eq!(shown(&[(4, 2)]), (vec![], vec![Some(2)]));
    assert_eq!(
        shown(&[(4, 0)]),
        (vec!["remove 10.0.0.1:80 (drained)".to_owned()], vec![])
    );
    assert_eq!(
        shown(&[(5, 0)]),
        (vec![], vec![None]),
        "somebody else's zero says nothing"
    );
}

#[test]
fn a_draining_server_is_removed_when_its_time_is_over() {
    let wanted = servers(&[("10.0.0.1:80", State::Draining, 1)]);
    let actual = [Peer {
        drain: true,
        ..peer(4, "10.0.0.1:80")
    }];
    let before = plan_at(
        TIMEOUT - Duration::from_millis(1),
        &wanted,
        &actual,
        &[(4, 1)],
    );
    assert!(before.steps.is_empty());
    let after = plan_at(TIMEOUT, &wanted, &actual, &[(4, 1)]);
    assert_eq!(
        after.steps[0].to_string(),
        "remove 10.0.0.1:80 (the drain timeout is over)"
    );
}

#[test]
fn a_server_that_is_down_drains_without_being_touched() {
    let wanted = servers(&[("10.0.0.1:80", State::Draining, 1)]);
    let actual = [Peer {
        down: true,
        ..peer(4, "10.0.0.1:80")
    }];
    let plan = plan_at(Duration::ZERO, &wanted, &actual, &[(4, 1)]);
    assert!(plan.steps.is_empty() && plan.waiting.len() == 1);
}

#[test]
fn a_drain_clock_starts_again_when_the_server_came_back_in_between() {
    let draining = servers(&[("10.0.0.1:80", State::Draining, 1)]);
    let endpoint: Endpoint = "10.0.0.1:80".parse().unwrap();
    let start = Instant::now();
    let mut drains = Drains::new(TIMEOUT);
    drains.follow(&Desired::at(1, &draining), start);
    drains.cut(&endpoint);
    assert_eq!(drains.was_cut().count(), 1);
    drains.follow(&Desired::at(1, &draining), start + TIMEOUT);
    assert!(drains.is_over(&endpoint));
    drains.follow(
        &Desired::at(1, &servers(&[("10.0.0.1:80", State::Up, 1)])),
        start + TIMEOUT,
    );
    assert!(!drains.is_over(&endpoint) && drains.was_cut().count() == 0);
    drains.follow(&Desired::at(1, &draining), start + TIMEOUT);
    assert!(!drains.is_over(&endpoint));
}

#[test]
fn a_drain_leaves_confirmed_what_came_before_it() {
    let (one, two) = (
        ("10.0.0.1:80", State::Draining, 1),
        ("10.0.0.2:80", State::Draining, 1),
    );
    let [a, b] = [one.0, two.0].map(|endpoint| endpoint.parse::<Endpoint>().unwrap());
    let now = Instant::now();
    let mut drains = Drains::new(TIMEOUT);
    drains.follow(&Desired::at(7, &servers(&[])), now);
    drains.follow(&Desired::at(9, &servers(&[one])), now);
    drains.follow(&Desired::at(12, &servers(&[one, two])), now);
    assert_eq!(drains.before([&a, &b]), Some(7));
    assert_eq!(
        drains.before([&b]),
        Some(9),
        "the first is done, the second is not"
    );
    assert_eq!(drains.before([]), None);
    drains.follow(&Desired::at(3, &servers(&[two])), now);
    assert_eq!(drains.before([&b]), Some(0), "a restored etcd counts anew");
}

/// The least that a server of the API does with a step.
fn apply(step: &Step, actual: &mut Vec<Peer>, next: &mut Id) {
    match step {
        Step::Add {
            endpoint,
            weight,
            down,
            parameters,
        } => {
            *next += 1;
            let weight = weight.get().into();
            let mut peer = Peer {
                weight,
                down: *down,
                backup: parameters.backup,
                ..peer(*next, &endpoint.to_string())
            };
            tune(&mut peer, parameters);
            actual.push(peer);
        }
        Step::Change { id, change, .. } => {
            let peer = actual.iter_mut().find(|peer| peer.id == *id).unwrap();
            peer.weight = change
                .weight
                .map_or(peer.weight, |weight| weight.get().into());
            peer.down = change.down.unwrap_or(peer.down);
            peer.drain = change.drain.unwrap_or(peer.drain);
            tune(peer, &change.parameters);
        }
        Step::Drain { id, .. } => {
            actual.iter_mut().find(|peer| peer.id == *id).unwrap().drain = true
        }
        Step::Remove { id, .. } => {
            let at = actual.iter().position(|peer| peer.id == *id).unwrap();
            actual.remove(at);
        }
        Step::Write { .. } => panic!("an API has no file"),
    }
}

fn tune(peer: &mut Peer, parameters: &Parameters) {
    let tuning = &mut peer.tuning;
    tuning.max_conns = parameters.max_conns.map(u64::from).or(tuning.max_conns);
    tuning.max_fails = parameters.max_fails.map(u64::from).or(tuning.max_fails);
    tuning.fail_timeout = parameters.fail_timeout.or(tuning.fail_timeout);
    tuning.slow_start = parameters.slow_start.or(tuning.slow_start);
}

fn some_parameters() -> impl Strategy<Value = Parameters> {
    let number = || proptest::option::of(0..3_u32);
    let time = || proptest::option::of((0..3_u64).prop_map(Duration::from_secs));
    let all = (number(), number(), time(), time(), any::<bool>());
    all.prop_map(
        |(max_conns, max_fails, fail_timeout, slow_start, backup)| Parameters {
            max_conns,
            max_fails,
            fail_timeout,
            slow_start,
            backup,
        },
    )
}

fn some_servers() -> impl Strategy<Value = Servers> {
    let state = prop_oneof![Just(State::Up), Just(State::Draining), Just(State::Down)];
    let server = (state, 1..4_u16, some_parameters());
    let server = server.prop_map(|(state, weight, parameters)| Server {
        state,
        weight: weight.try_into().unwrap(),
        parameters,
    });
    let endpoint = (0..6_u8).prop_map(|host| format!("10.0.0.{host}:80").parse().unwrap());
    collection::btree_map(endpoint, server, 0..6)
}

fn some_peers() -> impl Strategy<Value = Vec<Peer>> {
    let server = prop_oneof![
        4 => (0..6_u8).prop_map(|host| format!("10.0.0.{host}:80")),
        1 => (0..6_u8).prop_map(|host| format!("10.0.0.{host}")),
        1 => any::<String>(),
    ];
    let flags = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.3),
    );
    let number = || proptest::option::of(0..3_u64);
    let time = || proptest::option::of((0..3_u64).prop_map(Duration::from_secs));
    let tuning = (number(), number(), time(), time()).prop_map(
        |(max_conns, max_fails, fail_timeout, slow_start)| Tuning {
            max_conns,
            max_fails,
            fail_timeout,
            slow_start,
        },
    );
    let peer = (server, 0..4_u64, flags, tuning).prop_map(
        |(server, weight, (down, drain, backup), tuning)| Peer {
            weight,
            down,
            drain,
            backup,
            tuning,
            ..peer(0, &server)
        },
    );
    collection::vec(peer, 0..10).prop_map(|mut peers| {
        for (id, peer) in (100..).zip(&mut peers) {
            peer.id = id;
        }
        peers
    })
}

proptest! {
    /// Two rounds at most: one that sets everything and begins the drains, one that removes what is idle or replaced.
    #[test]
    fn a_plan_carried_out_leads_to_the_desired_state(wanted in some_servers(), mut actual in some_peers()) {
        let mut next = 1000;
        let drains = Drains::new(TIMEOUT);
        for _ in 0..2 {
            let idle: Activity = actual.iter().map(|peer| (peer.id, 0)).collect();
            for step in plan(&wanted, &actual, &idle, &drains).steps {
                apply(&step, &mut actual, &mut next);
            }
        }
        let settled = plan(&wanted, &actual, &Activity::new(), &drains);
        prop_assert_eq!(settled, Plan::default());
        let up = |state: State| wanted.values().filter(|server| server.state == state).count();
        prop_assert_eq!(actual.iter().filter(|peer| !peer.is_quiesced()).count(), up(State::Up));
        prop_assert_eq!(actual.len(), up(State::Up) + up(State::Down));
        for peer in &actual {
            let server = wanted[&peer.endpoint().unwrap()];
            prop_assert_eq!(peer.change_to(server), Change::default());
            prop_assert_eq!(peer.backup, server.parameters.backup);
        }
    }

    /// What is not managed stays as it was found.
    #[test]
    fn a_plan_never_touches_a_parameter_that_is_not_managed(wanted in some_servers(), actual in some_peers()) {
        for step in plan(&wanted, &actual, &Activity::new(), &Drains::new(TIMEOUT)).steps {
            if let Step::Change { endpoint, change, .. } = step {
                let managed: Vec<_> = Setting::of(&wanted[&endpoint].parameters).collect();
                prop_assert!(Setting::of(&change.parameters).all(|set| managed.contains(&set)));
            }
        }
    }

    /// A server that becomes a backup, or is none any more, is there at every step as the one or the other.
    #[test]
    fn a_change_of_kind_never_takes_a_server_away_in_between(wanted in some_servers()) {
        let mut actual = Vec::new();
        let mut next = 0;
        let other_kind: Servers = wanted.iter().map(|(endpoint, server)| {
            let mut server = *server;
            server.parameters.backup = !server.parameters.backup;
            (endpoint.clone(), server)
        }).collect();
        for (wanted, count) in [(&other_kind, 1), (&wanted, 2)] {
            for _ in 0..count {
                for step in plan(wanted, &actual, &Activity::new(), &Drains::new(TIMEOUT)).steps {
                    let there = |actual: &[Peer]| actual.iter().map(Peer::endpoint).collect::<std::collections::BTreeSet<_>>();
                    let before = there(&actual);
                    apply(&step, &mut actual, &mut next);
                    prop_assert!(there(&actual).is_superset(&before), "after {}", step);
                }
            }
        }
        prop_assert!(actual.iter().all(|peer| peer.backup == wanted[&peer.endpoint().unwrap()].parameters.backup));
    }

    /// At every step of a swap there is a server to send requests to, when there was one before and will be one after.
    #[test]
    fn no_step_leaves_an_upstream_without_a_server_in_between(wanted in some_servers(), mut actual in some_peers()) {
        let serving = |actual: &[Peer]| actual.iter().any(|peer| !peer.is_quiesced() && peer.endpoint().is_some());
        let will_serve = wanted.values().any(|server| server.state == State::Up);
        if !serving(&actual) || !will_serve {
            return Ok(());
        }
        let mut next = 1000;
        for _ in 0..2 {
            for step in plan(&wanted, &actual, &Activity::new(), &Drains::new(TIMEOUT)).steps {
                apply(&step, &mut actual, &mut next);
                prop_assert!(serving(&actual), "after {}", step);
            }
        }
    }
}
