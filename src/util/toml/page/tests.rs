use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_place_is_found_as_by_counting(text in "[a\u{e4}\u{1F600}\n]{0,700}", at in 0usize..1500) {
        let before: Vec<char> = text.char_indices().filter(|(start, _)| *start < at).map(|(_, c)| c).collect();
        let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        prop_assert_eq!(Place::of(&text, at), Place { line, column });
    }
}
