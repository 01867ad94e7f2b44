//! HTTP and HTTPS probes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use regex_lite::Regex;
use reqwest::header::{HOST, HeaderMap, HeaderName};
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url};

use super::StatusRange;
use super::tls_name::{Elsewhere, TlsName};
use crate::util::explain::{Options, Peer, Received};
use crate::util::sanitize::short;
use crate::util::secret;

/// How much of a body is read, in bytes: enough for any health page, and a limit for an endless one.
const MAX_BODY: usize = 64 << 10;
/// How much of an error page is read, in bytes.
const MAX_HINT: usize = 4 << 10;

/// The options that help when TLS fails.
const OPTIONS: Options = Options {
    authority: Some("--probe-cacert"),
    name: Some("--probe-tls-name"),
    certificate: None,
};

/// The request, and the expected answer.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The request's method.
    pub method: Method,
    /// Headers to send.
    pub headers: HeaderMap,
    /// Status codes that pass.
    pub expect_status: StatusRange,
    /// A pattern for the first 64 KiB of the body.
    pub expect_body: Option<Regex>,
    /// Headers that the answer must have, with patterns for their values.
    pub expect_headers: Vec<(HeaderName, Regex)>,
    /// Accepts any certificate.
    pub insecure: bool,
    /// Server name for TLS and its certificate; by default, the URL's host.
    pub tls_name: Option<TlsName>,
    /// The only trusted authorities; by default, the system's.
    pub authorities: Authorities,
}

/// Certificates of authorities.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Vec<Certificate>);

impl Authorities {
    /// Reads PEM.
    ///
    /// # Errors
    /// When a certificate in it is invalid.
    pub fn from_pem(pem: &[u8]) -> Result<Self, reqwest::Error> {
        Certificate::from_pem_bundle(pem).map(Self)
    }
}

impl Default for HttpOptions {
    /// GET, and a status from 200 to 399.
    fn default() -> Self {
        Self {
            method: Method::GET,
            headers: HeaderMap::new(),
            expect_status: StatusRange::default(),
            expect_body: None,
            expect_headers: Vec::new(),
            insecure: false,
            tls_name: None,
            authorities: Authorities::default(),
        }
    }
}

/// A request and its expected answer. Shown without login and query.
pub struct HttpProbe {
    client: Client,
    /// The URL as given.
    url: Url,
    /// The URL for TLS and the client: with the TLS name as its host, if given.
    target: Url,
    options: HttpOptions,
    /// Whether the backend has ever answered: then it speaks the right protocol.
    has_answered: AtomicBool,
}

impl HttpProbe {
    /// A probe of `url`.
    ///
    /// # Errors
    /// Why the URL cannot be probed.
    pub fn new(url: &str, options: HttpOptions) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{}:// is not http:// or https://", url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL has no host".to_owned());
        }
        let client = client(&url, &options).map_err(|error| crate::util::http::cause(&error))?;
        let mut target = url.clone();
        if let (Some(name), "https") = (&options.tls_name, url.scheme()) {
            let set = target.set_host(Some(name.as_str()));
            set.map_err(|error| format!("--probe-tls-name: {error}"))?;
        }
        Ok(Self {
            client,
            url,
            target,
            options,
            has_answered: AtomicBool::new(false),
        })
    }

    /// One request; `Err` says why the answer is not as expected.
    pub(super) async fn attempt(&self) -> Result<(), String> {
        let (method, url) = (self.options.method.clone(), self.target.clone());
        // A login in the URL becomes basic authentication here.
        let mut request = self.client.request(method, url);
        if self.target != self.url {
            let port = self.url.port().map(|port| format!(":{port}"));
            let host = self.url.host_str().unwrap_or_default();
            request = request.header(HOST, format!("{host}{}", port.unwrap_or_default()));
        }
        let sent = request.headers(self.options.headers.clone()).send().await;
        let received = match self.has_answered.load(Relaxed) {
            true => Received::Earlier,
            false => Received::Nothing,
        };
        let answer = sent.map_err(|error| self.failure(&error, received))?;
        if !self.wants_tls(&answer) {
            self.has_answered.store(true, Relaxed);
        }
        match self.check_head(&answer) {
            Ok(()) => self.check_body(answer).await,
            Err(_) if self.wants_tls(&answer) && names_https(answer).await => {
                let place = crate::util::http::place(&self.url);
                Err(format!(
                    "{place} speaks TLS: the probe must begin with https://"
                ))
            }
            Err(reason) => Err(reason),
        }
    }

    /// Whether this may be the answer of nginx or a Go program to plain HTTP on a TLS port.
    fn wants_tls(&self, answer: &Response) -> bool {
        self.url.scheme() == "http" && answer.status() == StatusCode::BAD_REQUEST
    }

    fn failure(&self, error: &reqwest::Error, received: Received) -> String {
        let peer = Peer {
            place: &crate::util::http::place(&self.url),
            tls: self.url.scheme() == "https",
            received,
            options: OPTIONS,
        };
        crate::util::http::failure(error, peer)
    }

    fn check_head(&self, answer: &Response) -> Result<(), String> {
        let HttpOptions {
            expect_status,
            expect_headers,
            ..
        } = &self.options;
        let status = answer.status().as_u16();
        if !expect_status.contains(status) {
            return Err(format!("HTTP {status}, expected {expect_status}"));
        }
        for (name, pattern) in expect_headers {
            let values = answer.headers().get_all(name).iter();
            let mut texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
            if !texts.any(|text| pattern.is_match(&text)) {
                let pattern = short(pattern.as_str());
                return Err(format!(
                    "HTTP {status}, but no header {name} matches {pattern:?}"
                ));
            }
        }
        Ok(())
    }

    /// A backend that breaks off in the middle of its health page fails.
    async fn check_body(&self, mut answer: Response) -> Result<(), String> {
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        let mut read = 0;
        while read < MAX_BODY {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let room = MAX_BODY - read;
                    read += chunk.len();
                    if self.options.expect_body.is_some() {
                        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let cause = self.failure(&error, Received::Part);
                    return Err(format!("HTTP {status}, then {cause}"));
                }
            }
        }
        match &self.options.expect_body {
            Some(pattern) if !pattern.is_match(&String::from_utf8_lossy(&body)) => {
                let (pattern, body) = (short(pattern.as_str()), short(&body));
                Err(format!(
                    "HTTP {status}, but the body does not match {pattern:?}: {body}"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&secret::of_url(&self.url))
    }
}

impl fmt::Debug for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether the page says that it was plain HTTP on a TLS port.
async fn names_https(answer: Response) -> bool {
    let body = crate::util::http::read(answer, MAX_HINT).await;
    let body = body.ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    text.contains("HTTPS port") || text.contains("HTTPS server")
}

fn client(url: &Url, options: &HttpOptions) -> Result<Client, reqwest::Error> {
    let own_authorities = !options.authorities.0.is_empty();
    // The system's certificates take half a megabyte: load them only where they are used.
    let system = url.scheme() == "https" && !own_authorities && !options.insecure;
    let mut builder = crate::util::http::client(system).pool_max_idle_per_host(0);
    if own_authorities {
        builder = builder.tls_certs_only(options.authorities.0.clone());
    }
    if options.insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if options.tls_name.is_some() && url.scheme() == "https" {
        let host = url.host_str().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        builder = builder.dns_resolver(Arc::new(Elsewhere(host)));
    }
    builder.build()
}

#[cfg(test)]
mod tests;
