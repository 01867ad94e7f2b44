use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

#[test]
fn spans_are_read_up_to_a_thousand_years() {
    assert_eq!(read("1min 30s"), Some(Duration::from_secs(90)));
    assert_eq!(read(" 500ms\n"), Some(Duration::from_millis(500)));
    for text in [
        "",
        "5",
        "s",
        "-1s",
        "1s 2",
        "2000y",
        "500000000000y",
        "infinity",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn spans_are_said_in_one_figure_and_values_shown_as_they_are_typed() {
    let third = Duration::from_secs(5) / 3;
    for (span, shown) in [
        (Duration::from_millis(200), "200ms"),
        (Duration::from_secs(90), "1m 30s"),
        (third, "1.7 s"),
        (third * 10, "17 s"),
        (Duration::from_micros(1), "0 ms"),
    ] {
        assert_eq!(typed(span), shown);
    }
    for (millis, said) in [
        (999, "999 ms"),
        (1_234, "1.2 s"),
        (1_800, "1.8 s"),
        (2_030, "2 s"),
        (9_960, "10 s"),
        (125_400, "2 min 5 s"),
        (3_600_000, "1 h"),
        (180_061_000, "2 d 2 h 1 min 1 s"),
    ] {
        assert_eq!(show(Duration::from_millis(millis)), said);
    }
}

#[test]
fn the_longest_span_can_be_reckoned_with() {
    let _ = Instant::now() + LONGEST + LONGEST;
    let _ = LONGEST * 1_000 + LONGEST;
    let _ = LONGEST.mul_f64(1.1);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_is_bounded(
        text in any::<String>(), span in "[0-9]{1,25} ?(ns|us|ms|s|m|h|d|w|y)( [0-9]{1,3}s)?"
    ) {
        for text in [text, span] {
            prop_assert!(read(&text).is_none_or(|span| span <= LONGEST));
        }
    }

    #[test]
    fn what_is_typed_is_read_back(millis in 0u64..1_000_000_000_000) {
        let span = Duration::from_millis(millis);
        prop_assert_eq!(read(&typed(span)), Some(span));
        prop_assert!(!show(span).is_empty());
    }
}
