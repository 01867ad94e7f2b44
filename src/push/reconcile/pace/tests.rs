use super::*;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn outcome(progress: Progress) -> Result<Outcome, Error> {
    Ok(Outcome::new(progress))
}

#[test]
fn a_pacing_that_cannot_be_is_refused() {
    let error = Pacing::default().with_debounce(ms(51)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "51ms is longer than 50ms, the most that a change may be held back"
    );
    let error = Pacing::default().with_resync(Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "0s is shorter than 1s");
    let pacing = Pacing::default().with_debounce(Duration::ZERO).unwrap();
    assert_eq!(pacing.with_resync(ms(1000)).unwrap().resync(), ms(1000));
}

#[test]
fn a_change_waits_for_quiet_but_not_for_ever() {
    let pace = Pace::new(Pacing::default());
    let first = Instant::now();
    assert_eq!(pace.quiet_at(first, first), first + ms(5));
    assert_eq!(pace.quiet_at(first, first + ms(30)), first + ms(35));
    assert_eq!(pace.quiet_at(first, first + ms(48)), first + ms(50));
}

#[test]
fn drains_are_polled_ever_more_slowly_and_from_the_start_the_next_time() {
    let mut pace = Pace::new(Pacing::default());
    let now = Instant::now();
    let mut poll = || match pace.after(
        &outcome(Progress::Draining {
            active: 1,
            confirmed: 0,
        }),
        now,
    ) {
        Next::ChangeOr(at) => at - now,
        next => panic!("{next:?}"),
    };
    let polls: Vec<_> = (0..8).map(|_| poll()).collect();
    assert_eq!(polls[..2], [ms(10), ms(15)]);
    assert_eq!(polls[7], ms(100));
    assert_eq!(
        pace.after(&outcome(Progress::Converged), now),
        Next::ChangeOr(now + ms(30_000))
    );
    assert_eq!(
        pace.after(
            &outcome(Progress::Draining {
                active: 1,
                confirmed: 0
            }),
            now
        ),
        Next::ChangeOr(now + ms(10))
    );
}

#[test]
fn failures_are_retried_ever_more_slowly() {
    let mut pace = Pace::new(Pacing::default());
    let now = Instant::now();
    let mut retry = || match pace.after(&Err(Error::ReadOnly), now) {
        Next::At(at) => at - now,
        next => panic!("{next:?}"),
    };
    let first = retry();
    assert!(first >= ms(100) && first <= ms(200), "{first:?}");
    let last = (0..20).map(|_| retry()).last().unwrap();
    assert!(last >= ms(2_500) && last <= ms(5_000), "{last:?}");
    // What takes long to fail is no better for it.
    pace.after(&outcome(Progress::Unfinished), now);
    let Next::At(at) = pace.after(&Err(Error::ReadOnly), now) else {
        panic!("no retry");
    };
    assert!(at - now >= ms(2_500));
}
