//! Any number of bad ones among many.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn exactly_the_bad_ones_are_refused_in_few_trials(count in 0_usize..200, bad in prop::collection::btree_set(0_usize..200, 0..5)) {
        let bad: BTreeSet<_> = bad.into_iter().filter(|thing| *thing < count).collect();
        let mut bisect = Bisect::new(0..count);
        let mut trials = 0;
        while let Some(trial) = bisect.trial() {
            trials += 1;
            if trial.iter().any(|thing| bad.contains(thing)) {
                bisect.refuse("bad".to_owned());
            } else {
                bisect.accept();
            }
        }
        let Bisect { accepted, refused, .. } = bisect;
        let refused: BTreeSet<_> = refused.into_iter().map(|(thing, _)| thing).collect();
        prop_assert_eq!(accepted.len() + refused.len(), count);
        prop_assert_eq!(refused, bad.clone());
        prop_assert!(trials <= 1 + bad.len() * 2 * 8);
    }
}
