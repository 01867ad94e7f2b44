use proptest::prelude::*;

use super::*;

#[test]
fn what_is_written_is_read_again() {
    let handover = Handover {
        served: true,
        run: Some("c1 2026-01-02T03:04:05Z".to_owned()),
        ..Handover::default()
    };
    assert_eq!(Handover::read(&*handover.encode()), Ok(handover));
}

#[test]
fn another_version_is_refused_with_both_numbers_whatever_else_it_says() {
    let why = Handover::read(&br#"{"version":7,"later":true}"#[..]).unwrap_err();
    assert!(
        why.contains("version 7") && why.contains("version 1"),
        "{why}"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(bytes: Vec<u8>) {
        prop_assert!(Handover::read(&*bytes).is_err());
    }
}
