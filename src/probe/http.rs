//! HTTP and HTTPS probes.

use std::fmt;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Url};

use super::StatusRange;

/// How much of a body is read, bytes: enough for any health page, and no more from an endless one.
const MAX_BODY: usize = 64 << 10;

/// A request and what its answer must be like.
#[derive(Debug)]
pub struct HttpProbe {
    client: Client,
    url: Url,
    expect_status: StatusRange,
}

impl HttpProbe {
    /// A probe of `url`.
    ///
    /// # Errors
    /// Why the URL cannot be asked, in words.
    pub fn new(url: &str, expect_status: StatusRange) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{}:// is not http:// or https://", url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL has no host".to_owned());
        }
        let client = client(url.scheme() == "https").map_err(|error| causes(&error))?;
        Ok(Self {
            client,
            url,
            expect_status,
        })
    }

    /// One request; `Err` says why its answer is not as expected.
    pub(super) async fn attempt(&self) -> Result<(), String> {
        let request = Request::new(Method::GET, self.url.clone());
        let sent = self.client.execute(request).await;
        let mut answer = sent.map_err(|error| causes(&error))?;
        let status = answer.status().as_u16();
        if !self.expect_status.contains(status) {
            let expected = &self.expect_status;
            return Err(format!("HTTP {status}, expected {expected}"));
        }
        // A backend that breaks off in the middle of its health page does not work.
        let mut read = 0;
        while read < MAX_BODY {
            match answer.chunk().await {
                Ok(Some(chunk)) => read += chunk.len(),
                Ok(None) => break,
                Err(error) => return Err(format!("HTTP {status}, then {}", causes(&error))),
            }
        }
        Ok(())
    }
}

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

fn client(tls: bool) -> Result<Client, reqwest::Error> {
    crate::tls::install_provider();
    let builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .user_agent(concat!("sidekick/", env!("CARGO_PKG_VERSION")));
    if tls {
        return builder.build();
    }
    // The system's certificates are half a megabyte that a plain probe never looks at.
    builder.tls_certs_only([]).build()
}

/// The innermost causes of an error, which say what happened; the outer ones only say that something did.
fn causes(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    if std::ptr::addr_eq(deepest, std::ptr::from_ref(error)) {
        return error.to_string();
    }
    crate::printable::short(deepest.to_string())
}
