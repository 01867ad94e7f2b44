use proptest::prelude::*;

use super::*;

#[test]
fn a_tls_name_is_a_dns_name() {
    for text in ["web.example", "web", "a.b-c.example"] {
        assert_eq!(text.parse::<TlsName>().unwrap().as_str(), text);
    }
    for text in [
        "",
        "10.0.0.5",
        "::1",
        "*.example",
        "a b",
        "https://a",
        "a:80",
    ] {
        assert!(text.parse::<TlsName>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = text.parse::<TlsName>();
    }
}
