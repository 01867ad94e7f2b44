use super::*;

fn steps(count: usize) -> Vec<Step> {
    let add = |host: usize| Step::Add {
        endpoint: format!("10.0.0.{host}:80").parse().unwrap(),
        weight: std::num::NonZeroU16::MIN,
        down: false,
        parameters: Default::default(),
    };
    (0..count).map(add).collect()
}

fn broken() -> Error {
    Error::Broken("reset".to_owned())
}

#[test]
fn as_long_as_less_is_left_each_time_it_goes_on() {
    let mut rounds = Rounds::default();
    for left in (1..100).rev() {
        assert_eq!(rounds.planned(&steps(left)), Ok(()));
        assert_eq!(rounds.failed(broken()), Ok(()));
    }
}

#[test]
fn a_target_that_does_nothing_of_what_it_accepts_is_given_up() {
    let mut rounds = Rounds::default();
    let results: Vec<_> = (0..5).map(|_| rounds.planned(&steps(1))).collect();
    assert!(results[..4].iter().all(Result::is_ok));
    let step = "add 10.0.0.0:80 weight=1".to_owned();
    assert_eq!(results[4], Err(Error::NotConverged(step)));
}

#[test]
fn a_target_that_always_breaks_off_ends_with_its_error() {
    let mut rounds = Rounds::default();
    let results: Vec<_> = (0..4).map(|_| rounds.failed(broken())).collect();
    assert_eq!(results, [Ok(()), Ok(()), Ok(()), Err(broken())]);
    let mut rounds = Rounds::default();
    let mut both = || {
        rounds
            .planned(&steps(1))
            .and_then(|()| rounds.failed(broken()))
    };
    assert_eq!([both(), both(), both()], [Ok(()), Ok(()), Err(broken())]);
}
