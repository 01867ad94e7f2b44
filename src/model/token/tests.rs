use proptest::prelude::*;

use super::*;

#[test]
fn tokens_are_printable_and_bounded() {
    for text in [
        "52c7248a14",
        "v1.2.3-rc1+build",
        "sha256:00ff",
        "feature/x",
        &"a".repeat(MAX_TOKEN),
    ] {
        assert_eq!(text.parse::<Version>().unwrap().as_str(), text);
    }
    for text in ["", "a b", "a\t", "\u{202e}", "a\u{85}", &"a".repeat(256)] {
        assert!(text.parse::<Version>().is_err(), "{text:?}");
    }
}

#[test]
fn fresh_nonces_differ_and_are_valid() {
    let (one, two) = (Nonce::fresh(), Nonce::fresh());
    assert_ne!(one, two);
    assert_eq!(one.as_str().parse::<Nonce>().unwrap(), one);
}

proptest! {
    #[test]
    fn arbitrary_text_is_a_token_or_a_short_printable_error(text in any::<String>(), near in "[!-~ ]{0,300}") {
        for text in [text, near] {
            match text.parse::<Version>() {
                Ok(version) => prop_assert!(version.as_str() == text && text.len() <= MAX_TOKEN),
                Err(error) => {
                    let shown = error.to_string();
                    prop_assert!(shown.len() < 300 && shown.is_ascii() && !shown.contains('\n'), "{}", shown);
                }
            }
        }
    }
}
