use proptest::prelude::*;

use super::*;

#[test]
fn plain_text_is_shown_as_it_is() {
    assert_eq!(short("website/nginx1 [::1]:80"), "website/nginx1 [::1]:80");
}

#[test]
fn control_bytes_and_backslashes_are_escaped() {
    assert_eq!(short(b"a\x1b[31m\\\n\xff"), "a\\x1b[31m\\\\\\x0a\\xff");
}

#[test]
fn long_text_is_cut_and_says_so() {
    assert_eq!(printable("aaaaaa", 4), "aaaa...");
    assert_eq!(printable("aaa\n", 4), "aaa...");
}

proptest! {
    #[test]
    fn whatever_comes_in_comes_out_as_short_printable_ascii(bytes: Vec<u8>) {
        let shown = printable(&bytes, 20);
        prop_assert!(shown.len() <= 23);
        prop_assert!(shown.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    }
}
