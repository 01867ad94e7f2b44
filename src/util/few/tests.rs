use super::*;

#[test]
fn what_is_beyond_the_limit_is_counted() {
    assert_eq!(few([1, 2, 3], 3), "1, 2, 3");
    assert_eq!(few(1..=5, 2), "1, 2 and 3 more");
    assert_eq!(few([0; 0], 2), "");
}

#[test]
fn one_is_no_plural() {
    let counted = [0, 1, 2].map(|number| count(number, "line"));
    assert_eq!(counted, ["0 lines", "1 line", "2 lines"]);
}
