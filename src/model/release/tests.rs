use proptest::prelude::*;

use super::*;

#[test]
fn a_release_is_one_line_of_json() {
    let release = Release {
        nonce: "n1".parse().unwrap(),
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    let text = r#"{"nonce":"n1","since":"2026-01-02T03:04:05Z"}"#;
    assert_eq!(release.encode(), text.as_bytes());
    assert_eq!(Release::decode(text.as_bytes()), Ok(release));
    for text in [
        "",
        "{}",
        r#"{"nonce":"n"}"#,
        r#"{"nonce":1,"since":"2026-01-02T03:04:05Z"}"#,
    ] {
        assert!(Release::decode(text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Release::decode(&bytes);
    }
}
