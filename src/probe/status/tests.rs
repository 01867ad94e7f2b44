use proptest::prelude::*;

use super::*;

#[test]
fn codes_ranges_and_lists_are_understood() {
    let codes: StatusRange = "200,301-308, 404".parse().unwrap();
    assert!(codes.contains(200) && codes.contains(308) && codes.contains(404));
    assert!(!codes.contains(201) && !codes.contains(300));
    assert_eq!(codes.to_string(), "200,301-308,404");
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "", "2xx", "99", "600", "399-200", "200-", "-", "200,,201", "+20", "1e2",
    ] {
        assert_eq!(
            text.parse::<StatusRange>(),
            Err(StatusRangeError),
            "{text:?}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_codes_come_back(text in any::<String>(), near in "[0-9, -]{0,24}", status: u16) {
        for text in [text, near] {
            if let Ok(codes) = text.parse::<StatusRange>() {
                let again: StatusRange = codes.to_string().parse().unwrap();
                prop_assert_eq!(again.contains(status), codes.contains(status));
                prop_assert!(!codes.contains(status) || (100..=599).contains(&status));
            }
        }
    }
}
