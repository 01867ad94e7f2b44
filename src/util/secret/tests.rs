use proptest::prelude::*;

use super::*;

#[test]
fn a_secret_has_no_way_to_be_printed() {
    let secret = Secret::from("hunter2");
    assert_eq!(
        format!("{secret:?} {:?}", Some(&secret)),
        "Secret(...) Some(Secret(...))"
    );
    assert_eq!(secret.reveal(), "hunter2");
}

#[test]
fn a_url_is_shown_without_login_and_query() {
    for (text, shown) in [
        ("http://10.0.0.5:80/health", "http://10.0.0.5:80/health"),
        (
            "https://u:hunter2@10.0.0.5/health?token=hunter2",
            "https://10.0.0.5/health?...",
        ),
        ("https://u:hunter2@host:bad", "https://host:bad"),
        ("u:hunter2@host:bad", "host:bad"),
        ("/health?token=hunter2&x=/@", "/health?..."),
        ("/@me", "/@me"),
        ("https://h/#hunter2", "https://h/#..."),
        ("https://u:hunt@er2@h/", "https://h/"),
        ("", ""),
    ] {
        assert_eq!(url(text), shown, "{text}");
    }
    for text in [
        "https://u:hunter2@h/?hunter2",
        "http://h/#hunter2",
        "http://hunter2@h",
    ] {
        let shown = of_url(&Url::parse(text).unwrap());
        assert!(
            shown.starts_with("http") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

#[test]
fn a_message_quotes_nothing_but_what_may_be_shown() {
    let message = "the service name \"u:hunter2@h\" in \"a=h\" is none";
    assert_eq!(
        unquoted(message, "a=h"),
        "the service name \"...\" in \"a=h\" is none"
    );
    assert_eq!(unquoted("cut \"u:hunt", ""), "cut \"...");
}

#[test]
fn of_commands_and_headers_their_names_are_shown() {
    assert_eq!(
        probe("exec:curl -H 'Authorization: hunter2' x"),
        "exec:curl ..."
    );
    assert_eq!(probe("exec:/bin/true "), "exec:/bin/true");
    assert_eq!(
        header("Authorization: Bearer hunter2"),
        "Authorization: ..."
    );
    assert_eq!(header("hunter2"), "...");
    assert_eq!(header("Authorization Basic u:hunter2"), "...");
    assert!(is_credential("X-Api-Key: x") && !is_credential("Host: keyhole"));
    assert!(has_login("https://u:p@h/") && !has_login("https://h/@") && !has_login("exec:a@b"));
    for text in [
        "http://a,http://u:p@h",
        "x=http://u:p/w@h",
        "http://h/?a=1&token=x",
    ] {
        assert!(has_login(text), "{text}");
    }
    for text in ["http://h:80/a@b?full=1", "a@b", "u:p@h"] {
        assert!(!has_login(text), "{text}");
    }
}

proptest! {
    #[test]
    fn no_login_and_no_query_comes_through(
        before in "[a-z]{0,5}(://)?", host in "[a-z0-9.:]{0,12}", path in "(/[a-z]{0,5}){0,2}", query in "(\\?[a-zA-Z=?#]{0,8})?"
    ) {
        let shown = url(&format!("{before}user:SECRET@{host}{path}{query}"));
        prop_assert!(!shown.contains("SECRET"), "{}", shown);
        let shown = url(&format!("{before}{host}{path}?SECRET{query}"));
        prop_assert!(!shown.contains("SECRET"), "{}", shown);
    }
}
