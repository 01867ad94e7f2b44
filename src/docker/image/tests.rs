use proptest::prelude::*;

use super::*;

#[test]
fn references_are_taken_apart() {
    let digest = "sha256:0123456789abcdef";
    for (text, base, tag, has_digest) in [
        ("redis", "redis", None, false),
        ("gliderlabs/foobar", "foobar", None, false),
        ("shop/web:1.2", "web", Some("1.2"), false),
        ("registry:5000/team/web", "web", None, false),
        ("registry:5000/team/web:v1", "web", Some("v1"), false),
        ("docker.io/web@sha256:0123456789abcdef", "web", None, true),
        ("web:7@sha256:0123456789abcdef", "web", Some("7"), true),
        ("", "", None, false),
    ] {
        let digest = has_digest.then_some(digest);
        assert_eq!(Reference::of(text), Reference { base, tag, digest });
    }
}

#[test]
fn a_short_digest_is_as_daemons_show_it() {
    assert_eq!(short_digest("sha256:0123456789abcdef"), "0123456789ab");
    assert_eq!(short_digest("0123"), "0123");
    assert_eq!(short_digest(""), "");
}

proptest! {
    #[test]
    fn the_parts_of_any_text_are_parts_of_it(text in any::<String>(), near in "[a-z0-9:/@]{0,40}") {
        for text in [text, near] {
            let Reference { base, tag, digest } = Reference::of(&text);
            for part in [Some(base), tag, digest].into_iter().flatten() {
                prop_assert!(text.contains(part));
                prop_assert!(short_digest(part).len() <= part.len());
            }
        }
    }
}
