//! The URL of an API.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use crate::util::secret;

/// Why a text is not the URL of an API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not the URL of an nginx API, as in http://127.0.0.1:8080/api: {reason}")]
pub struct ApiUrlError {
    text: String,
    reason: String,
}

/// The URL of the API of one nginx: `http[s]://[USER:PASSWORD@]HOST[:PORT]/PATH`. Shown without the login.
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
    /// The URL as given.
    pub(crate) fn bare(&self) -> Url {
        self.0.clone()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it leads to another place on every machine.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
            Err(_) => {
                let name = host.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }

    /// Whether it has a login.
    pub(crate) fn has_login(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }

    pub(crate) fn ends_in_a_slash(&self) -> bool {
        self.0.path().ends_with('/')
    }

    /// With these segments appended, none of which can leave its place.
    pub(crate) fn join(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        // Only URLs that cannot have a path refuse this; http and https always have one.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// With this query, byte by byte: characters that a URL can contain are not escaped.
    pub(crate) fn with_query(&self, query: &str) -> Url {
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
mod tests;
