use proptest::prelude::*;

use super::*;
use crate::docker::fixtures::read;

fn at(seconds: u64) -> Instant {
    // One zero for the whole test.
    use std::sync::OnceLock;
    static ZERO: OnceLock<Instant> = OnceLock::new();
    *ZERO.get_or_init(Instant::now) + Duration::from_secs(seconds)
}

/// A container that runs and was started at this second.
fn running(started: i64) -> Container {
    let mut container = read("docker", "published");
    container.started_at = Some(jiff::Timestamp::from_second(started).unwrap());
    container
}

fn with(status: Status) -> Container {
    Container {
        status,
        ..running(100)
    }
}

fn life_of(container: Container) -> Life {
    let mut life = Life::new(at(0));
    life.on_answer(Some(container.into()), at(0));
    life
}

fn event(action: Action, second: i64) -> Event {
    Event {
        action,
        id: running(100).id.into(),
        name: None,
        at: second * 1_000_000_000,
    }
}

fn signalled(number: u8) -> Action {
    let number = Some(number);
    Action::Signalled { number }
}

#[test]
fn nothing_is_known_before_the_first_answer() {
    let mut life = Life::new(at(0));
    life.on_event(&event(Action::Died { code: 1 }, 200), at(1));
    assert!(matches!(
        life.state(),
        State::Unknown {
            error: None,
            last: None,
            ..
        }
    ));
    life.on_failure("no socket", at(2));
    let State::Unknown { since, error, last } = life.state() else {
        panic!("{life:?}")
    };
    assert_eq!((*since, error.as_deref()), (at(0), Some("no socket")));
    assert_eq!(*last, None);
}

#[test]
fn every_answer_has_its_state() {
    let exited = |code, out_of_memory| Status::Exited {
        code,
        out_of_memory,
    };
    for (status, why) in [
        (Status::Created, Why::NeverStarted),
        (exited(0, false), Why::Exited { code: 0 }),
        (exited(137, true), Why::OutOfMemory),
        (Status::Restarting { code: 3 }, Why::Restarting { code: 3 }),
        (Status::Removing, Why::Removed),
        (Status::Dead, Why::Dead),
    ] {
        assert_eq!(*life_of(with(status)).state(), State::Gone(why));
    }
    let states = [Status::Running, Status::Paused, Status::Stopping];
    let [runs, paused, stopping] = states.map(|status| life_of(with(status)).state().clone());
    assert!(matches!(runs, State::Running(_)));
    assert!(matches!(paused, State::Paused(_)));
    assert!(matches!(stopping, State::Stopping(_)));
    let mut life = Life::new(at(0));
    life.on_answer(None, at(0));
    assert_eq!(*life.state(), State::Gone(Why::Removed));
}

#[test]
fn a_stop_signal_counts_at_once_and_while_the_container_still_runs() {
    let mut life = life_of(running(100));
    life.on_event(&event(signalled(15), 200), at(1));
    assert!(matches!(life.state(), State::Stopping(_)));
    life.on_answer(Some(running(100).into()), at(2));
    assert!(matches!(life.state(), State::Stopping(_)));
    life.on_event(&event(Action::Died { code: 0 }, 203), at(3));
    assert_eq!(*life.state(), State::Gone(Why::Exited { code: 0 }));
}

#[test]
fn signals_that_mean_something_else_change_nothing() {
    let mut life = life_of(running(100));
    for number in [1, 3, 10, 12, 28] {
        life.on_event(&event(signalled(number), 200), at(1));
    }
    let number = None;
    life.on_event(&event(Action::Signalled { number }, 200), at(1));
    assert!(matches!(life.state(), State::Running(_)));

    // nginx's image has it as its stop signal.
    let mut nginx = life_of(Container {
        stop_signal: 3,
        ..running(100)
    });
    nginx.on_event(&event(signalled(3), 200), at(1));
    assert!(matches!(nginx.state(), State::Stopping(_)));
}

#[test]
fn who_survives_the_signal_for_long_enough_runs_again() {
    let mut life = life_of(running(100));
    life.on_event(&event(signalled(15), 200), at(1));
    // A second signal does not prolong it.
    life.on_event(&event(signalled(15), 201), at(5));
    assert_eq!(life.stopping_until(), Some(at(1 + 10 + 30)));
    life.on_answer(Some(running(100).into()), at(40));
    assert!(matches!(life.state(), State::Stopping(_)));
    life.on_answer(Some(running(100).into()), at(41));
    assert!(matches!(life.state(), State::Running(_)));
    assert_eq!(life.stopping_until(), None);
}

#[test]
fn a_restart_ends_the_stopping() {
    let mut life = life_of(running(100));
    life.on_event(&event(signalled(15), 200), at(1));
    life.on_answer(Some(running(205).into()), at(2));
    assert!(matches!(life.state(), State::Running(_)));
}

#[test]
fn events_of_an_earlier_run_or_another_container_change_nothing() {
    let mut life = life_of(running(100));
    life.on_event(&event(Action::Died { code: 0 }, 99), at(1));
    life.on_event(&event(signalled(15), 99), at(1));
    let other = Event {
        id: "another".to_owned(),
        ..event(Action::Died { code: 0 }, 200)
    };
    life.on_event(&other, at(1));
    assert!(matches!(life.state(), State::Running(_)));
}

#[test]
fn an_answer_corrects_an_event() {
    let mut life = life_of(running(100));
    life.on_event(&event(Action::Died { code: 137 }, 200), at(1));
    life.on_answer(Some(running(201).into()), at(2));
    assert!(matches!(life.state(), State::Running(container) if *container.name == *"web1"));
}

#[test]
fn a_daemon_that_cannot_be_asked_makes_only_a_running_container_unknown() {
    let mut life = life_of(running(100));
    life.on_failure("gone", at(5));
    life.on_failure("still gone", at(9));
    let State::Unknown { since, error, last } = life.state() else {
        panic!("{life:?}")
    };
    assert_eq!((*since, error.as_deref()), (at(5), Some("still gone")));
    assert_eq!(**last.as_ref().unwrap(), running(100));
    life.on_answer(Some(running(100).into()), at(10));
    assert!(matches!(life.state(), State::Running(_)));

    for status in [Status::Paused, Status::Stopping, Status::Dead] {
        let mut life = life_of(with(status));
        let before = life.state().clone();
        life.on_failure("gone", at(5));
        assert_eq!(*life.state(), before);
    }
}

#[test]
fn a_stop_signal_is_heard_while_the_state_is_unknown() {
    let mut life = life_of(running(100));
    life.on_failure("gone", at(5));
    life.on_event(&event(signalled(15), 200), at(6));
    assert!(matches!(life.state(), State::Stopping(_)));
}

#[test]
fn a_process_that_was_seen_to_end_is_believed_over_a_daemon_that_has_not_noticed() {
    let mut life = life_of(running(100));
    life.on_process_end(&running(100).into());
    assert_eq!(*life.state(), State::Gone(Why::Ended));
    life.on_answer(Some(running(100).into()), at(1));
    life.on_failure("gone", at(2));
    assert_eq!(*life.state(), State::Gone(Why::Ended));
    let code = 137;
    let exited = with(Status::Exited {
        code,
        out_of_memory: false,
    });
    life.on_answer(Some(exited.into()), at(3));
    assert_eq!(*life.state(), State::Gone(Why::Exited { code }));
    life.on_answer(Some(running(104).into()), at(4));
    assert!(matches!(life.state(), State::Running(_)));
    // It is late news about the run before.
    life.on_process_end(&running(100).into());
    assert!(matches!(life.state(), State::Running(_)));
}

/// Something that a life may hear.
#[derive(Debug, Clone)]
enum Heard {
    Event { action: Action, second: i64 },
    Answer { status: Status, started: i64 },
    Nothing,
    ProcessEnd { started: i64 },
    Failure,
}

fn heard() -> impl Strategy<Value = Heard> {
    let code = any::<i64>();
    let action = prop_oneof![
        code.prop_map(|code| Action::Died { code }),
        any::<Option<u8>>().prop_map(|number| Action::Signalled { number }),
        Just(Action::Other),
    ];
    let status = prop_oneof![
        Just(Status::Created),
        Just(Status::Running),
        Just(Status::Paused),
        Just(Status::Stopping),
        Just(Status::Removing),
        Just(Status::Dead),
        code.prop_map(|code| Status::Restarting { code }),
        (code, any::<bool>()).prop_map(|(code, out_of_memory)| Status::Exited {
            code,
            out_of_memory
        }),
    ];
    let started = 0i64..3;
    prop_oneof![
        (action, -1i64..5).prop_map(|(action, second)| Heard::Event { action, second }),
        (status, started.clone()).prop_map(|(status, started)| Heard::Answer { status, started }),
        Just(Heard::Nothing),
        started.prop_map(|started| Heard::ProcessEnd { started }),
        Just(Heard::Failure),
    ]
}

proptest! {
    #[test]
    fn whatever_is_heard_an_answer_has_the_last_word(before in prop::collection::vec(heard(), 0..20)) {
        let mut life = Life::new(at(0));
        for (second, heard) in (1..).zip(before) {
            let now = at(second);
            match heard {
                Heard::Event { action, second } => life.on_event(&event(action, second), now),
                Heard::Answer { status, started } => {
                    let container = Container { status, ..running(started) };
                    life.on_answer(Some(container.into()), now);
                }
                Heard::Nothing => life.on_answer(None, now),
                Heard::ProcessEnd { started } => life.on_process_end(&running(started).into()),
                Heard::Failure => life.on_failure("no answer", now),
            }
            let _ = (life.state().to_string(), life.stopping_until());
        }
        // A run that nobody has heard of before.
        let new = Arc::new(running(10));
        life.on_answer(Some(new.clone()), at(100));
        prop_assert_eq!(life.state(), &State::Running(new));
        life.on_answer(None, at(101));
        prop_assert_eq!(life.state(), &State::Gone(Why::Removed));
    }
}
