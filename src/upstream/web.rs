//! Requests to the API of a target: signed, with bounded answers, and with errors that say what happened.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, Url};

use super::access::{Access, AccessError, Login};
use super::{ApiUrl, Error};
use crate::explain::{Heard, Options, Peer};
use crate::http;
use crate::printable::short;

/// The largest list or state that is read, in bytes: some 20,000 servers.
pub(super) const MAX_ANSWER: usize = 32 << 20;
/// As much of an error as is read, in bytes.
pub(super) const MAX_FAULT: usize = 64 << 10;

/// Speaks HTTP with one target, over connections that are kept.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    login: Login,
    timeout: Duration,
    /// `HOST:PORT` of the target.
    place: String,
    tls: bool,
    shows_certificate: bool,
}

/// A request that has not been sent, and what to call it.
pub(super) struct Request {
    pub(super) label: String,
    pub(super) builder: RequestBuilder,
}

impl Web {
    /// For the target at `url`. No request may take longer than `timeout`.
    pub(super) fn new(
        url: &ApiUrl,
        timeout: Duration,
        access: Access,
    ) -> Result<Self, AccessError> {
        let shows_certificate = access.tls.shows_certificate();
        let client = access.client(url.is_https())?.timeout(timeout).build();
        if url.has_login() && !access.login.is_none() {
            return Err(AccessError::TwoLogins);
        }
        Ok(Self {
            client: client.map_err(|error| AccessError::Tls(http::cause(&error)))?,
            login: access.login,
            timeout,
            place: http::place(&url.bare()),
            tls: url.is_https(),
            shows_certificate,
        })
    }

    /// A request, called by its method and path in errors.
    pub(super) fn request(&self, method: Method, url: Url) -> Request {
        Request {
            label: format!("{method} {}", short(url.path())),
            builder: self.login.sign(self.client.request(method, url)),
        }
    }

    pub(super) async fn send(&self, request: Request) -> Result<Response, Error> {
        let sent = request.builder.send().await;
        sent.map_err(|error| self.error(&error, Heard::Earlier))
    }

    /// The body of an answer, of at most `limit` bytes.
    pub(super) async fn body(
        &self,
        label: &str,
        response: Response,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let read = http::read(response, limit).await;
        let body = read.map_err(|error| self.error(&error, Heard::Part))?;
        body.ok_or_else(|| Error::TooLarge {
            request: label.to_owned(),
            limit,
        })
    }

    /// The body of an answer that is no success; empty when it is too long, as the status says enough.
    pub(super) async fn fault(&self, label: &str, response: Response) -> Result<Vec<u8>, Error> {
        match self.body(label, response, MAX_FAULT).await {
            Err(Error::TooLarge { .. }) => Ok(Vec::new()),
            read => read,
        }
    }

    fn error(&self, error: &reqwest::Error, heard: Heard) -> Error {
        let reason = |heard| {
            let peer = Peer {
                place: &self.place,
                tls: self.tls,
                heard,
                options: Options {
                    authority: Some("`cacert`"),
                    name: None,
                    certificate: (!self.shows_certificate).then_some("`cert` and `key`"),
                },
            };
            http::failure(error, peer)
        };
        if http::is_refused(error) {
            Error::NotRunning
        } else if error.is_timeout() {
            Error::Silent(self.timeout)
        } else if error.is_connect() {
            // Nothing but the handshake was tried.
            Error::Unreachable(reason(Heard::Nothing))
        } else {
            Error::Broken(reason(heard))
        }
    }
}

/// What the statuses mean by which nginx itself keeps somebody out, whatever it serves; `text` is the first line of the answer.
pub(super) fn kept_out(request: &str, status: u16, text: &str) -> Option<Error> {
    let request = request.to_owned();
    match status {
        401 | 403 => Some(Error::Denied { request, status }),
        // What `ssl_verify_client` says to a certificate that is missing or not the right one.
        400 if text.contains("SSL certificate") => Some(Error::Certificate {
            request,
            text: text.to_owned(),
        }),
        _ => None,
    }
}

/// The first words of a page, without its markup, printable and short.
pub(super) fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..1024).unwrap_or(body));
    let mut inside = false;
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            other if !inside => plain.push(other),
            _ => {}
        }
    }
    let line = plain.lines().map(str::trim).find(|line| !line.is_empty());
    short(line.unwrap_or_default())
}
