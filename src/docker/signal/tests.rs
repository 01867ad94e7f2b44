use proptest::prelude::*;

use super::*;

#[test]
fn every_spelling_of_a_signal_has_its_number() {
    for (text, expected) in [
        ("15", TERM),
        ("TERM", TERM),
        ("SIGTERM", TERM),
        ("sigint", INT),
        ("KILL", KILL),
        ("SIGQUIT", 3),
        ("WINCH", 28),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("RTMIN", 34),
    ] {
        assert_eq!(number(text), Some(expected), "{text}");
    }
    for text in ["", "SIG", "0", "65", "NONE", "RTMIN+40", "RTMAX+1", "-1"] {
        assert_eq!(number(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_signal_or_one_of_linux(text in any::<String>(), near in "(SIG)?(RTMIN|RTMAX|[A-Z]{0,5})?[+-]?[0-9]{0,20}") {
        for text in [text, near] {
            prop_assert!(number(&text).is_none_or(|number| (1..=RTMAX).contains(&number)), "{}", text);
        }
    }
}
