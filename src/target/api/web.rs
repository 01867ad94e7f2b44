//! Requests to the API of a target: with a login, a limit for the answers, and clear errors.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use tracing::{info, warn};

use super::access::{Access, AccessError, Signature};
use super::settings::ApiSettings;
use crate::target::Error;
use crate::target::files::fingerprint;
use crate::util::explain::{Options, Peer, Received};
use crate::util::http;
use crate::util::log_limit;
use crate::util::sanitize::short;

/// The largest list or state that is read, in bytes: some 20,000 servers.
pub(crate) const MAX_ANSWER: usize = 32 << 20;
/// How much of an error is read, in bytes.
pub(crate) const MAX_FAULT: usize = 64 << 10;

/// Sends HTTP requests to one target, over connections that are kept.
#[derive(Debug)]
pub(crate) struct Web {
    way: Mutex<Way>,
    settings: ApiSettings,
    /// The fingerprint of the files as they were read last.
    files: Mutex<u64>,
    /// `HOST:PORT` of the target.
    place: String,
}

/// Login and certificates, as last read.
#[derive(Debug, Clone)]
struct Way {
    client: Client,
    signature: Signature,
    shows_certificate: bool,
}

impl Way {
    fn new(https: bool, timeout: Duration, access: Access) -> Result<Self, AccessError> {
        let client = access.client(https)?.timeout(timeout).build();
        Ok(Self {
            client: client.map_err(|error| AccessError::Tls(http::cause(&error)))?,
            shows_certificate: access.shows_certificate(),
            signature: access.signature,
        })
    }

    /// The same request with another login.
    fn sign_anew(&self, mut request: reqwest::Request) -> reqwest::Request {
        let signed = self
            .signature
            .sign(self.client.request(Method::GET, request.url().clone()));
        let signed = signed.build().ok();
        let login = signed.and_then(|signed| signed.headers().get(AUTHORIZATION).cloned());
        if let Some(login) = login {
            request.headers_mut().insert(AUTHORIZATION, login);
        }
        request
    }
}

/// A request before it is sent, with its name in messages.
pub(crate) struct Request {
    pub(crate) label: String,
    pub(crate) builder: RequestBuilder,
}

impl Web {
    /// For the target of `settings`. Reads the files.
    pub(crate) fn new(settings: ApiSettings) -> Result<Self, AccessError> {
        let (url, timeout) = (&settings.url, settings.timeout);
        let files = fingerprint(&settings.credentials.files())?;
        let access = settings.credentials.read()?;
        let two = url.has_login() && access.signature != Signature::Nobody;
        let way = Way::new(url.is_https(), timeout, access)?;
        if two {
            return Err(AccessError::TwoLogins);
        }
        Ok(Self {
            way: Mutex::new(way),
            files: Mutex::new(files),
            place: http::place(&url.bare()),
            settings,
        })
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        // Nothing panics while holding it, and the value would still be complete.
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request; errors name its method and path.
    pub(crate) fn request(&self, method: Method, url: Url) -> Request {
        let way = self.way();
        Request {
            label: format!("{method} {}", short(url.path())),
            builder: way.signature.sign(way.client.request(method, url)),
        }
    }

    /// Sends a request; retries once if the target denies access and the login or certificates have changed since.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, Error> {
        let earlier = |error: reqwest::Error| self.error(&error, Received::Earlier);
        let (client, request) = request.builder.build_split();
        let request = request.map_err(earlier)?;
        let again = request.try_clone();
        let sent = client.execute(request).await;
        if !is_kept_out(&sent) {
            return sent.map_err(earlier);
        }
        match (self.renew(), again) {
            (Some(way), Some(again)) => {
                let request = way.sign_anew(again);
                way.client.execute(request).await.map_err(earlier)
            }
            _ => sent.map_err(earlier),
        }
    }

    /// Login and certificates, if the files have changed since they were read.
    fn changed_way(&self) -> Result<Option<Way>, AccessError> {
        let settings = &self.settings;
        let now = fingerprint(&settings.credentials.files())?;
        // Nothing panics while holding it.
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return Ok(None);
        }
        let access = settings.credentials.read()?;
        *known = now;
        Way::new(settings.url.is_https(), settings.timeout, access).map(Some)
    }

    /// Uses new login and certificates, if they have changed.
    fn renew(&self) -> Option<Way> {
        let way = self.changed_way().transpose()?;
        match way {
            Ok(way) => {
                info!(target = %self.place, "the login and the certificates were read again");
                *self.way() = way.clone();
                Some(way)
            }
            Err(error) => {
                if let Some(more) = log_limit::allows("login unreadable", &self.place) {
                    let target = &self.place;
                    warn!(%target, %error, "a changed login or certificate cannot be used: what was read last is used{more}");
                }
                None
            }
        }
    }

    /// The body of an answer, of at most `limit` bytes.
    pub(crate) async fn body(
        &self,
        label: &str,
        response: Response,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let read = http::read(response, limit).await;
        let body = read.map_err(|error| self.error(&error, Received::Part))?;
        body.ok_or_else(|| Error::TooLarge {
            request: label.to_owned(),
            limit,
        })
    }

    /// The body of an error answer; empty if it is too long, as the status is enough.
    pub(crate) async fn fault(&self, label: &str, response: Response) -> Result<Vec<u8>, Error> {
        match self.body(label, response, MAX_FAULT).await {
            Err(Error::TooLarge { .. }) => Ok(Vec::new()),
            read => read,
        }
    }

    fn error(&self, error: &reqwest::Error, received: Received) -> Error {
        let reason = |received| {
            let peer = Peer {
                place: &self.place,
                tls: self.settings.url.is_https(),
                received,
                options: Options {
                    authority: Some("`cacert`"),
                    name: None,
                    certificate: (!self.way().shows_certificate).then_some("`cert` and `key`"),
                },
            };
            http::failure(error, peer)
        };
        if http::is_refused(error) {
            Error::NotRunning
        } else if error.is_timeout() {
            Error::Silent(self.settings.timeout)
        } else if error.is_connect() {
            // Only the handshake was tried.
            Error::Unreachable(reason(Received::Nothing))
        } else {
            Error::Broken(reason(received))
        }
    }
}

/// Whether the target denies access, or may do so: another login or certificate may help. The request had no effect.
fn is_kept_out(sent: &reqwest::Result<Response>) -> bool {
    match sent {
        Ok(response) => matches!(response.status().as_u16(), 400 | 401 | 403),
        Err(error) => error.is_connect() && !http::is_refused(error),
    }
}

/// The meaning of the statuses with which nginx itself denies access; `text` is the first line of the answer.
pub(crate) fn kept_out(request: &str, status: u16, text: &str) -> Option<Error> {
    let request = request.to_owned();
    match status {
        401 | 403 => Some(Error::Denied { request, status }),
        // The answer of `ssl_verify_client` to a missing or wrong certificate.
        400 if text.contains("SSL certificate") => Some(Error::Certificate {
            request,
            text: text.to_owned(),
        }),
        _ => None,
    }
}

/// The first words of a page, without its markup, printable and short.
pub(crate) fn first_line(body: &[u8]) -> String {
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
