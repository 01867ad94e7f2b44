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
    seconds(12).await;
    assert_eq!((logged.lines().len(), logged.count("a is down")), (7, 3));
    // Of "up", the fourth and the fifth.
    let last = logged.last();
    assert!(
        last.contains("a is up (since ") && last.contains("(2 lines like this were left out)"),
        "{last}"
    );
    seconds(200).await;
    // Of "down", which nothing else says.
    assert_eq!(logged.lines().len(), 8, "{:#?}", logged.lines());
    assert!(logged.last().contains("2 lines of the kind \"down\""));
    assert!(with_states(|states| states.late.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_over_is_not_told_later() {
    let logged = Logged::start();
    flap().await;
    forget("a");
    seconds(100).await;
    assert_eq!(logged.count("a is"), 6);
    flap().await;
    tell("gone", "a", "a is gone".to_owned());
    seconds(100).await;
    assert_eq!((logged.count("a is"), logged.count("a is gone")), (13, 1));
    assert!(with_states(|states| states.late.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn of_many_states_that_last_each_is_told_in_the_end_and_the_oldest_first() {
    let logged = Logged::start();
    for number in 10..60 {
        warn("fails", &number.to_string(), format!("{number} fails"));
        seconds(1).await;
    }
    assert_eq!(logged.lines().len(), 20);
    sleep(Duration::from_millis(500)).await;
    for number in 60..90 {
        warn("fails", &number.to_string(), format!("{number} fails"));
        seconds(1).await;
    }
    assert_eq!(logged.lines().len(), 40, "{:#?}", logged.lines());
    assert!(
        logged.last().contains("49 fails (since "),
        "{}",
        logged.last()
    );
    seconds(200).await;
    let each = (10..90).map(|number| logged.count(&format!("{number} fails")));
    assert!(
        each.into_iter().all(|lines| lines == 1),
        "{:#?}",
        logged.lines()
    );
    assert_eq!(logged.lines().len(), 80, "nothing was left out");
}

#[tokio::test(start_paused = true)]
async fn who_ends_tells_the_last_states_and_the_counts_before() {
    let logged = Logged::start();
    flap().await;
    tell_all();
    assert_eq!(logged.lines().len(), 9, "{:#?}", logged.lines());
    let lines = logged.lines();
    assert!(lines[6].contains("a is down (since "), "{}", lines[6]);
    assert!(
        lines[7].contains("2 lines of the kind \"up\""),
        "{}",
        lines[7]
    );
    assert!(
        lines[8].contains("1 line of the kind \"down\""),
        "{}",
        lines[8]
    );
    seconds(200).await;
    assert_eq!(logged.lines().len(), 9);
}
