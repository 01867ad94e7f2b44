use std::num::NonZeroU16;

use super::*;
use crate::model::State;
use crate::upstream::server::{Parameters, Server};

fn desired(revision: i64) -> Arc<Desired> {
    Arc::new(Desired::at(
        revision,
        &crate::upstream::server::Servers::new(),
    ))
}

/// So many servers.
fn of(count: u8) -> Arc<Desired> {
    let server = |number| {
        let endpoint = format!("10.0.0.{number}:80").parse().unwrap();
        let server = Server {
            weight: NonZeroU16::MIN,
            state: State::Up,
            parameters: Parameters::default(),
        };
        (endpoint, server)
    };
    Arc::new(Desired::at(1, &(0..count).map(server).collect()))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_change_that_is_undone_again_and_again_is_a_contest_until_it_is_quiet() {
    let (mut contest, wanted, start) = (Contest::default(), desired(1), Instant::now());
    assert_eq!(contest.note(&wanted, 0, true, start), None);
    let mut note = |after, changed| contest.note(&wanted, 0, changed, start + seconds(after));
    assert_eq!(note(30, true), None);
    assert_eq!(note(60, true), None);
    assert_eq!(note(70, false), None);
    assert_eq!(note(90, true), Some((3, seconds(60))));
    assert_eq!(note(120, false), Some((3, seconds(90))));
    assert_eq!(note(200, false), None, "nobody undoes it any more");
}

#[test]
fn what_is_undone_for_a_moment_only_is_paused_and_accuses_nobody() {
    let (mut contest, wanted, start) = (Contest::default(), desired(1), Instant::now());
    for number in 0..9 {
        let now = start + Duration::from_millis(100 * number);
        assert_eq!(contest.note(&wanted, 0, true, now), None);
    }
    assert!(contest.pause().is_some());
    let later = contest.note(&wanted, 0, true, start + Duration::from_millis(1100));
    assert_eq!(later, Some((9, seconds(1))));
}

#[test]
fn what_is_undone_once_after_each_change_accuses_nobody() {
    let (mut contest, start) = (Contest::default(), Instant::now());
    for number in 0..20 {
        let (wanted, now) = (of(number % 2), start + seconds(5 * u64::from(number)));
        assert_eq!(contest.note(&wanted, 0, true, now), None);
        assert_eq!(contest.note(&wanted, 0, true, now + seconds(2)), None);
    }
    assert_eq!(contest.pause(), None);
}

#[test]
fn what_is_undone_again_and_again_while_records_come_and_go_is_a_contest() {
    let (mut contest, start) = (Contest::default(), Instant::now());
    let mut told = Vec::new();
    for number in 0..10 {
        let (wanted, now) = (of(number % 2), start + seconds(10 * u64::from(number)));
        assert_eq!(contest.note(&wanted, 0, true, now).is_some(), number > 1);
        contest.note(&wanted, 0, true, now + seconds(3));
        told.extend(contest.note(&wanted, 0, true, now + seconds(6)));
    }
    // The first state is nobody's news: it was undone twice.
    assert_eq!(told[0], (3, seconds(13)));
    assert_eq!(told.last().map(|(undone, _)| *undone), Some(11));
    assert!(contest.pause() > Some(seconds(30)));
}

#[test]
fn the_longer_a_contest_lasts_the_longer_is_the_pause_between_two_repairs() {
    let (mut contest, wanted, now) = (Contest::default(), desired(1), Instant::now());
    let mut pauses = Vec::new();
    for _ in 0..40 {
        contest.note(&wanted, 0, true, now);
        pauses.extend(contest.pause().map(|pause| pause.as_secs()));
    }
    assert_eq!(pauses[..7], [1, 2, 4, 8, 16, 32, 60]);
    assert_eq!((pauses.len(), pauses[36]), (37, 60));
    contest.note(&wanted, 0, false, now + seconds(999));
    assert_eq!(contest.pause(), None);
}

#[test]
fn what_is_wanted_anew_or_lost_in_a_restart_is_no_contest() {
    let (mut contest, now) = (Contest::default(), Instant::now());
    for restarts in 0..9 {
        assert_eq!(contest.note(&desired(1), restarts, true, now), None);
    }
    let mut contest = Contest::default();
    for _ in 0..9 {
        assert_eq!(contest.note(&desired(1), 0, false, now), None);
    }
}
