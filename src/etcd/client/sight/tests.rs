use super::*;

#[test]
fn an_outage_that_watches_notice_one_after_the_other_is_told_once() {
    let sight = Sight::default();
    assert!(!sight.regain(false), "nothing was told");
    for generation in [3, 8] {
        assert!(sight.lose(true, generation, "cut"));
        assert!(sight.regain(true));
        assert!(!sight.lose(true, generation, "cut"), "too late");
        assert!(!sight.regain(true));
    }
    assert!(!sight.lose(true, 8, "cut"), "too late");
    assert!(sight.lose(false, 9, "cut"), "cut again");
    assert!(sight.regain(true));
}

#[test]
fn each_kind_of_trouble_is_told_once_and_the_end_when_nobody_has_any() {
    let sight = Sight::default();
    assert!(sight.lose(true, 1, "cut"));
    assert!(!sight.lose(true, 2, "cut"));
    assert!(sight.lose(false, 3, "refused"));
    assert!(!sight.lose(false, 4, "refused"));
    assert!(!sight.lose(false, 5, "cut"));
    assert!(!sight.regain(true));
    assert!(!sight.was_seen());
    assert!(sight.regain(true));
    assert!(sight.was_seen());
}

#[test]
fn a_watch_that_ends_takes_nothing_back_that_was_told() {
    let sight = Sight::default();
    assert!(sight.lose(true, 1, "cut"));
    sight.forget();
    assert!(!sight.lose(true, 2, "cut"));
    assert!(sight.regain(true));
}
