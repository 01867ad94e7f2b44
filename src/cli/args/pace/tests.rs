use proptest::prelude::*;

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn said(interval: Option<u64>, timeout: Option<u64>) -> PaceArgs {
    PaceArgs {
        interval: interval.map(ms),
        timeout: timeout.map(ms),
    }
}

#[test]
fn a_default_fits_what_was_given() {
    for (interval, timeout, expected) in [
        (None, None, (2_000, 1_000)),
        (Some(200), None, (200, 200)),
        (Some(5_000), None, (5_000, 1_000)),
        (None, Some(500), (2_000, 500)),
        (None, Some(10_000), (10_000, 10_000)),
        (Some(3_000), Some(2_500), (3_000, 2_500)),
    ] {
        let expected = (ms(expected.0), ms(expected.1));
        let alone = said(interval, timeout);
        assert_eq!(alone.before(PaceArgs::default()), expected);
        // So it does to what a container says.
        assert_eq!(PaceArgs::default().before(alone), expected);
    }
}

#[test]
fn of_two_sources_the_weaker_is_fitted_to_the_stronger() {
    let container = said(Some(2_000), Some(1_500));
    assert_eq!(said(Some(200), None).before(container), (ms(200), ms(200)));
    assert_eq!(
        said(None, Some(9_000)).before(container),
        (ms(9_000), ms(9_000))
    );
    assert_eq!(
        said(None, Some(500)).before(container),
        (ms(2_000), ms(500))
    );
    assert_eq!(
        said(Some(500), Some(100)).before(container),
        (ms(500), ms(100))
    );
}

#[test]
fn only_within_one_source_can_values_contradict_each_other() {
    let wrong = said(Some(2_000), Some(3_000)).contradiction();
    assert_eq!(wrong, Some(("3s".to_owned(), "2s".to_owned())));
    for fine in [
        said(Some(2_000), Some(2_000)),
        said(None, Some(9_000)),
        said(Some(1), None),
    ] {
        assert_eq!(fine.contradiction(), None);
    }
}

proptest! {
    #[test]
    fn one_attempt_never_runs_into_the_next(
        interval in prop::option::of(1..10_000u64), timeout in prop::option::of(1..10_000u64),
        asked_interval in prop::option::of(1..10_000u64), asked_timeout in prop::option::of(1..10_000u64)
    ) {
        let (flags, container) = (said(interval, timeout), said(asked_interval, asked_timeout));
        let wrong = flags.contradiction().or(container.contradiction());
        let (interval, timeout) = flags.before(container);
        prop_assert!(wrong.is_some() || timeout <= interval);
        prop_assert!(flags.interval.is_none_or(|it| it == interval));
        prop_assert!(flags.timeout.is_none_or(|it| it == timeout));
    }
}
