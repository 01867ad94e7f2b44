use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::util::logged::Logged;

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_is_told_soon_after_the_minute_although_nothing_else_happens() {
    let logged = Logged::start();
    for _ in 0..9 {
        limited!(info, "fails", "a", "a fails");
        seconds(1).await;
    }
    assert_eq!(logged.lines().len(), 3);
    seconds(61).await;
    assert_eq!(logged.lines().len(), 4, "{:#?}", logged.lines());
    let last = logged.last();
    let told = "6 lines of the kind \"fails\" about a were left out since ";
    assert!(last.contains(told), "{last}");
    seconds(600).await;
    assert_eq!(logged.lines().len(), 4);
    limited!(info, "fails", "a", "a fails");
    assert!(
        logged.last().ends_with("a fails"),
        "told already: {}",
        logged.last()
    );
}

#[tokio::test(start_paused = true)]
async fn a_next_line_that_says_what_was_left_out_is_enough() {
    let logged = Logged::start();
    for _ in 0..66 {
        limited!(info, "fails", "a", "a fails");
        seconds(1).await;
    }
    assert_eq!(logged.lines().len(), 6, "{:#?}", logged.lines());
    assert_eq!(logged.count("(57 lines like this were left out)"), 1);
    seconds(600).await;
    assert_eq!(logged.lines().len(), 7, "those of the second minute");
    assert!(
        logged.last().contains("3 lines of the kind"),
        "{}",
        logged.last()
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_asked_about_many_times_counts_once_and_says_since_when_it_comes_late() {
    for _ in 0..3 {
        assert!(ask("lasts", "a", PER_KIND).is_ok());
    }
    let mut late = ask("lasts", "a", PER_KIND).unwrap_err();
    let since = late.since();
    for _ in 0..50 {
        assert_eq!(late.allows(), None);
        seconds(1).await;
    }
    seconds(10).await;
    let more = late.allows().unwrap();
    assert_eq!((more.left_out, more.since), (0, Some(since)));
    let told = more.to_string();
    assert!(
        told.starts_with(" (since ") && told.ends_with("Z)"),
        "{told}"
    );
    drop(late);
    assert_eq!(allows("lasts", "a").unwrap().left_out, 0, "it was told");
}

#[tokio::test(start_paused = true)]
async fn who_ends_tells_the_counts_before() {
    let logged = Logged::start();
    for _ in 0..5 {
        limited!(info, "ends", "a", "a ends");
    }
    tell_all();
    assert_eq!(logged.lines().len(), 4);
    assert!(logged.last().contains("2 lines"), "{}", logged.last());
    seconds(100).await;
    tell_all();
    assert_eq!(logged.lines().len(), 4);
}
