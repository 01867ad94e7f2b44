//! Addresses.

use super::*;

#[test]
fn only_this_machine_is_asked() {
    for text in [
        "127.0.0.1:9181",
        "http://127.0.0.1:9181",
        "http://[::1]:9181/",
    ] {
        assert!(text.parse::<Proof>().is_ok(), "{text}");
    }
    for text in [
        "",
        "9181",
        "10.0.0.1:9181",
        "127.0.0.1:0",
        "localhost:1",
        "127.0.0.1",
    ] {
        assert!(text.parse::<Proof>().is_err(), "{text}");
    }
}
