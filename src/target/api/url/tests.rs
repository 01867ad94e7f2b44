use proptest::prelude::*;

use super::*;

#[test]
fn an_api_url_is_shown_without_its_login() {
    let url: ApiUrl = "http://user:secret@127.0.0.1:8080/api/".parse().unwrap();
    assert_eq!(
        format!("{url} {url:?}"),
        "http://127.0.0.1:8080/api http://127.0.0.1:8080/api"
    );
    let error = "ftp://user:secret@host"
        .parse::<ApiUrl>()
        .unwrap_err()
        .to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn what_is_no_http_url_is_refused_with_an_example() {
    for text in [
        "",
        "127.0.0.1:8080/api",
        "ftp://a/",
        "http://",
        "http://a/?x",
        "http://a/#x",
        "http://a:99999/",
        "unix:/run/x",
    ] {
        let error = text.parse::<ApiUrl>().unwrap_err().to_string();
        assert!(
            error.contains("http://127.0.0.1:8080/api"),
            "{text}: {error}"
        );
    }
}

#[test]
fn names_cannot_leave_their_place_in_the_path() {
    let url: ApiUrl = "http://h/api".parse().unwrap();
    let path = |name: &str| {
        url.join(&["9", "http", "upstreams", name, "servers", ""])
            .path()
            .to_owned()
    };
    assert_eq!(path("web"), "/api/9/http/upstreams/web/servers/");
    assert_eq!(
        path("a%2f..%2fb"),
        "/api/9/http/upstreams/a%252f..%252fb/servers/"
    );
    let slashed: ApiUrl = "http://h/api/".parse().unwrap();
    assert_eq!(slashed.join(&["9"]).path(), "/api/9");
}

proptest! {
    #[test]
    fn arbitrary_text_is_a_url_that_comes_back_or_an_error_without_its_login(
        text in any::<String>(), near in "(https?|ftp)://(user:SECRET@)?[a-z0-9.:\\[\\]]{0,12}(/[!-~]{0,12})?"
    ) {
        for text in [text, near] {
            match text.parse::<ApiUrl>() {
                Ok(url) => {
                    let shown = url.to_string();
                    prop_assert!(shown.parse::<ApiUrl>().is_ok(), "{}", shown);
                    prop_assert!(url.join(&["9", "a/b"]).path().ends_with("/9/a%2Fb"));
                }
                Err(error) => {
                    let shown = error.to_string();
                    prop_assert!(shown.len() < 400 && !shown.contains("SECRET"), "{}", shown);
                }
            }
        }
    }
}
