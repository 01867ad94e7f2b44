use proptest::prelude::*;

use super::*;

fn changes(gate: &mut Gate, verdicts: &str) -> Vec<(usize, Health)> {
    let verdicts = verdicts.chars().map(|c| c == '+').enumerate();
    verdicts
        .filter_map(|(at, passed)| gate.observe(passed).map(|health| (at, health)))
        .collect()
}

#[test]
fn it_starts_down_and_opens_after_rise_passes_in_a_row() {
    let mut gate = Gate::new(2, 3);
    assert_eq!(gate.health(), Health::Down);
    assert_eq!(changes(&mut gate, "+-++"), [(3, Health::Up)]);
}

#[test]
fn a_backend_that_is_presumed_up_is_down_after_one_failure_and_up_after_one_pass() {
    let mut gate = Gate::new(2, 3);
    gate.presume_up();
    assert_eq!(changes(&mut gate, "-"), [(0, Health::Down)]);
    gate.presume_up();
    assert_eq!(changes(&mut gate, "+---"), [(3, Health::Down)]);
}

#[test]
fn health_outlasts_other_thresholds() {
    let mut gate = Gate::new(1, 3);
    assert_eq!(changes(&mut gate, "+--"), [(0, Health::Up)]);
    gate.tune(2, 5);
    assert_eq!((gate.health(), gate.progress()), (Health::Up, (2, 5)));
    gate.tune(2, 1);
    assert_eq!(
        changes(&mut gate, "-++"),
        [(0, Health::Down), (2, Health::Up)]
    );
    let mut unasked = Gate::new(2, 1);
    unasked.assume_up();
    assert_eq!(changes(&mut unasked, "+-"), [(1, Health::Down)]);
}

#[test]
fn one_pass_forgives_earlier_failures() {
    let mut gate = Gate::new(1, 3);
    assert_eq!(
        changes(&mut gate, "+--+--+---"),
        [(0, Health::Up), (9, Health::Down)]
    );
}

proptest! {
    #[test]
    fn health_changes_exactly_after_enough_equal_verdicts(
        rise in 1u32..5, fall in 1u32..5, verdicts in prop::collection::vec(any::<bool>(), 0..200)
    ) {
        let mut gate = Gate::new(rise, fall);
        for (at, passed) in verdicts.iter().enumerate() {
            let before = gate.health();
            let threshold = if before == Health::Up { fall } else { rise } as usize;
            let flipped = gate.observe(*passed).is_some();
            let row = verdicts[..=at].iter().rev().take_while(|v| *v == passed).count();
            prop_assert_eq!(before != gate.health(), flipped);
            prop_assert!(!flipped || row >= threshold);
            let speaks_against = *passed != (before == Health::Up);
            prop_assert!(flipped || !speaks_against || row % threshold != 0 || row < threshold);
        }
    }
}
