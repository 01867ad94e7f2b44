use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::util::log_limit::PER_KIND;

fn tell(troubles: &mut Troubles) -> Option<More> {
    troubles.tell("cut", "kind", PER_KIND)
}

#[tokio::test(start_paused = true)]
async fn what_the_limit_has_left_out_is_told_when_it_allows_and_its_end_only_then() {
    let mut troubles = Troubles::default();
    for _ in 0..3 {
        assert!(tell(&mut troubles).is_some());
        assert_eq!(tell(&mut troubles), None, "told");
        assert!(troubles.end());
    }
    assert_eq!(tell(&mut troubles), None);
    assert!(!troubles.end(), "nobody has heard of it");
    for _ in 0..50 {
        assert_eq!(tell(&mut troubles), None);
        advance(Duration::from_secs(1)).await;
    }
    assert!(!troubles.is_empty());
    advance(Duration::from_secs(10)).await;
    // The fourth was left out; the fifth, which was asked about fifty times, was not.
    assert_eq!(tell(&mut troubles).map(|more| more.left_out), Some(1));
    assert_eq!(tell(&mut troubles), None);
    assert!(troubles.end());
    assert!(!troubles.end());
}

#[tokio::test(start_paused = true)]
async fn the_first_trouble_that_is_told_says_when_the_first_of_all_began() {
    let mut troubles = Troubles::default();
    for _ in 0..3 {
        assert!(tell(&mut troubles).is_some());
        troubles.end();
    }
    let began = tokio::time::Instant::now();
    assert_eq!(tell(&mut troubles), None);
    advance(Duration::from_secs(20)).await;
    let more = troubles.tell("refused", "kind", PER_KIND).unwrap();
    assert_eq!(more.since, Some(began));
    advance(Duration::from_secs(60)).await;
    let more = tell(&mut troubles).unwrap();
    assert_eq!(more.since, Some(began), "its own beginning");
    assert_eq!(
        troubles.tell("silent", "kind", PER_KIND).unwrap().since,
        None
    );
}
