use fastrand::Rng;

use super::{duration, least, question};
use crate::fault::Fault;

#[test]
fn an_hour_has_a_thousand_faults() {
    assert_eq!([1, 5, 59].map(least), [6, 30, 354]);
    assert_eq!([60, 90, 120].map(least), [1_000, 1_000, 2_000]);
}

#[test]
fn a_seed_draws_the_same_faults_every_time() {
    let draw = |seed| {
        let mut rng = Rng::with_seed(seed);
        let mut one = || {
            let first = Fault::draw(&mut rng);
            let second = Fault::draw_beside(&mut rng, &first);
            let lasts = duration(&mut rng, &first);
            let asked = question(&mut rng, &first, &second);
            (first, second, lasts, asked)
        };
        (0..500).map(|_| one()).collect::<Vec<_>>()
    };
    assert_eq!(draw(11), draw(11));
    assert_ne!(draw(11), draw(12));
}
