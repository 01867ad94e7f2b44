use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn pauses_stay_within_their_bounds_for_ever(min in 0u64..10_000, max in 0u64..20_000) {
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
        let mut backoff = Backoff::new(min, max);
        for _ in 0..200 {
            let delay = backoff.next_delay();
            prop_assert!(delay >= min.min(max) && delay <= max);
        }
    }
}

#[test]
fn pauses_grow_and_start_again_after_a_success() {
    let mut backoff = Backoff::default();
    let first = backoff.next_delay();
    for _ in 0..10 {
        backoff.next_delay();
    }
    assert!(backoff.next_delay() >= MAX / 2);
    backoff.reset();
    assert!(first <= 2 * MIN && backoff.next_delay() <= 2 * MIN);
}
