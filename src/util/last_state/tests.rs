use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::util::logged::Logged;

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

/// Five times, of which three are logged.
async fn flap() {
    for _ in 0..5 {
        tell("up", "a", "a is up".to_owned());
        seconds(1).await;
        tell("down", "a", "a is down".to_owned());
        seconds(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_of_many_states_is_told_when_the_minute_is_over() {
    let logged = Logged::start();
    flap().await;
    assert_eq!(logged.lines().len(), 6);
    tell("up", "a", "a is up".to_owned());
    seconds(40).await;
    assert_eq!(logged.lines().len(), 6);
    seconds(20).await;
    assert_eq!((logged.lines().len(), logged.count("a is down")), (7, 3));
    // Of "up", the fourth and the fifth.
    let last = logged.last();
    assert!(
        last.contains("a is up (2 lines like this were left out)"),
        "{last}"
    );
    seconds(200).await;
    assert_eq!(logged.lines().len(), 7);
    assert!(with_late(|late| late.0.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_over_is_not_told_later() {
    let logged = Logged::start();
    flap().await;
    forget("a");
    seconds(100).await;
    assert_eq!(logged.lines().len(), 6);
    flap().await;
    tell("gone", "a", "a is gone".to_owned());
    seconds(100).await;
    assert!(logged.last().contains("a is gone"), "{}", logged.last());
    assert!(with_late(|late| late.0.is_empty()));
}
