//! Spans of time as people and programs write them: `500ms`, `2s`, `1min 30s`.

use std::time::Duration;

/// The longest that is accepted, a thousand years: more than anybody waits, and far from where sums of times overflow.
pub const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

/// The span that a text names; `None` when it names none, or one beyond [`LONGEST`].
#[must_use]
pub fn read(text: &str) -> Option<Duration> {
    let span = humantime::parse_duration(text.trim()).ok()?;
    (span <= LONGEST).then_some(span)
}

#[cfg(test)]
mod tests {
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
        fn what_is_shown_is_read_back(millis in 0u64..1_000_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(read(&humantime::format_duration(span).to_string()), Some(span));
        }
    }
}
