use proptest::prelude::*;

use super::*;

fn hold() -> Hold {
    Hold {
        reason: "disk full, see T-17".to_owned(),
        until: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        by: Some("eve@ops1".to_owned()),
        nonce: Some("n1".parse().unwrap()),
    }
}

#[test]
fn a_hold_is_one_line_of_json_in_the_contracts_order() {
    let text = String::from_utf8(hold().encode()).unwrap();
    assert_eq!(
        text,
        r#"{"reason":"disk full, see T-17","until":"2026-01-02T03:04:05Z","by":"eve@ops1","nonce":"n1"}"#
    );
}

#[test]
fn a_hold_written_by_hand_needs_a_reason_only() {
    let read = Hold::decode(br#" {"reason":"disk", "ticket":7, "by":null} "#).unwrap();
    let expected = Hold {
        reason: "disk".to_owned(),
        until: None,
        by: None,
        nonce: None,
    };
    assert_eq!(read, expected);
}

#[test]
fn what_is_no_hold_is_refused_with_a_reason() {
    for (text, named) in [
        ("", "JSON"),
        ("disk full", "JSON"),
        ("[]", "object"),
        ("{}", "\"reason\" is missing"),
        (r#"{"reason":7}"#, "\"reason\""),
        (r#"{"reason":"x","until":"tomorrow"}"#, "\"until\""),
        (r#"{"reason":"x","until":7}"#, "\"until\""),
        (r#"{"reason":"x","by":["eve"]}"#, "\"by\""),
        (r#"{"reason":"x","nonce":"a b"}"#, "\"nonce\""),
    ] {
        let reason = Hold::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(reason.contains(named), "{text}: {reason}");
    }
    let large = format!(r#"{{"reason":"{}"}}"#, "x".repeat(codec::MAX_VALUE));
    let reason = Hold::decode(large.as_bytes()).unwrap_err();
    assert!(matches!(reason, Reason::TooLarge(_)), "{reason}");
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        reason: String,
        until in proptest::option::of(0_i64..4_000_000_000),
        by: Option<String>,
    ) {
        let until = until.map(|second| Timestamp::from_second(second).unwrap());
        let hold = Hold { reason, until, by, nonce: None };
        let value = hold.encode();
        prop_assert!(!value.contains(&b'\n'));
        prop_assert_eq!(Hold::decode(&value).unwrap(), hold);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Hold::decode(&bytes);
    }
}
