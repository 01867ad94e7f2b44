use super::*;

fn lose(sight: &Sight, first: bool, generation: u64, trouble: &str) -> bool {
    sight.lose(first, generation, trouble, "lost").is_some()
}

#[test]
fn an_outage_that_watches_notice_one_after_the_other_is_told_once() {
    let sight = Sight::default();
    assert!(!sight.regain(false), "nothing was told");
    for generation in [3, 8] {
        assert!(lose(&sight, true, generation, "cut"));
        assert!(sight.regain(true));
        assert!(!lose(&sight, true, generation, "cut"), "too late");
        assert!(!sight.regain(true));
    }
    assert!(!lose(&sight, true, 8, "cut"), "too late");
    assert!(lose(&sight, false, 9, "cut"), "cut again");
    assert!(sight.regain(true));
}

#[test]
fn each_kind_of_trouble_is_told_once_and_the_end_when_nobody_has_any() {
    let sight = Sight::default();
    assert!(lose(&sight, true, 1, "cut"));
    assert!(!lose(&sight, true, 2, "cut"));
    assert!(lose(&sight, false, 3, "refused"));
    assert!(!lose(&sight, false, 4, "refused"));
    assert!(!lose(&sight, false, 5, "cut"));
    assert!(!sight.regain(true));
    assert!(!sight.was_seen());
    assert!(sight.regain(true));
    assert!(sight.was_seen());
}

#[test]
fn a_watch_that_ends_takes_nothing_back_that_was_told() {
    let sight = Sight::default();
    assert!(lose(&sight, true, 1, "cut"));
    sight.forget();
    assert!(!lose(&sight, true, 2, "cut"));
    assert!(sight.regain(true));
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_the_limit_has_left_out_is_told_later_also_of_the_same_connection() {
    let sight = Sight::default();
    for generation in 1..=3 {
        assert!(lose(&sight, true, generation, "cut"));
        assert!(sight.regain(true));
    }
    assert!(!lose(&sight, true, 4, "cut"));
    assert!(!sight.regain(true), "nobody has heard of it");
    assert!(!lose(&sight, true, 4, "cut"), "too late");
    assert!(!sight.regain(true));
    assert!(!lose(&sight, true, 5, "cut"));
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    assert!(lose(&sight, false, 5, "cut"), "it lasts");
    assert!(!lose(&sight, false, 5, "cut"));
    assert!(sight.regain(true));
}
