//! Where an API is.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::secret;

/// Why a text is no API URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not the URL of an nginx API, as in http://127.0.0.1:8080/api: {reason}")]
pub struct ApiUrlError {
    text: String,
    reason: String,
}

/// Where the API of one nginx is: `http[s]://[USER:PASSWORD@]HOST[:PORT]/PATH`. Shown without the login.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiUrl(Url);

impl FromStr for ApiUrl {
    type Err = ApiUrlError;

    fn from_str(text: &str) -> Result<Self, ApiUrlError> {
        let error = |reason: &str| ApiUrlError {
            text: secret::url(text),
            reason: reason.to_owned(),
        };
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Err(error("it does not begin with http:// or https://"));
        }
        let url = Url::parse(text).map_err(|problem| error(&problem.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(error("it has a ? or #"));
        }
        Ok(Self(url))
    }
}

impl ApiUrl {
    /// As it was given.
    pub(super) fn bare(&self) -> Url {
        self.0.clone()
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, IPv6 addresses in brackets.
    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether there is a login in it.
    pub(super) fn has_login(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }

    pub(super) fn ends_in_a_slash(&self) -> bool {
        self.0.path().ends_with('/')
    }

    /// With these segments behind it, none of which can leave its place.
    pub(super) fn join(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        // Only URLs that cannot have a path refuse this; http and https always have one.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// With this query behind it, byte by byte: nothing in it is escaped that a URL can hold.
    pub(super) fn with_query(&self, query: &str) -> Url {
        let mut url = self.0.clone();
        url.set_query(Some(query));
        url
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        // As above: these cannot fail for http and https.
        let _ = (url.set_username(""), url.set_password(None));
        f.pad(url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
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
}
