//! The upstream API over HTTP: requests, bounded answers, and what its errors mean.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, Method, Response, Url};
use serde::de::DeserializeOwned;

use super::url::ApiUrl;
use super::wire::{Fault, Identity, ServerObject, ServerSettings, StatusObject};
use crate::http;
use crate::plan::{Id, Peer};
use crate::printable::short;
use crate::upstream::{Error, UpstreamName};

/// The versions whose upstream management is the same. Version 1 cannot add a server that drains and is older than
/// any nginx that still runs.
const VERSIONS: std::ops::RangeInclusive<u64> = 2..=9;
const VERSIONS_TEXT: &str = "2 to 9";
/// The largest list or state that is read, in bytes: some 20,000 servers.
const MAX_ANSWER: usize = 32 << 20;
/// As much of an error as is read, in bytes.
const MAX_FAULT: usize = 64 << 10;

/// The API of one nginx. Keeps connections alive and remembers the version.
#[derive(Debug)]
pub struct Api {
    url: ApiUrl,
    client: Client,
    timeout: Duration,
    version: Mutex<Option<u64>>,
}

/// What became of a request to change something.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Done.
    Done,
    /// This one server cannot be so; the others can.
    Refused(String),
    /// There is no room for another server.
    Full(String),
    /// The server is there already: to be read again.
    Exists(String),
    /// The server is not there any more: to be read again.
    Stale,
}

impl Api {
    /// The API at `url`; no request may take longer than `timeout`. Asks nothing yet.
    ///
    /// # Errors
    ///
    /// For https, when the system's certificates cannot be loaded.
    pub fn new(url: ApiUrl, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = http::client(url.is_https());
        Ok(Self {
            url,
            client: client.timeout(timeout).build()?,
            timeout,
            version: Mutex::new(None),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &ApiUrl {
        &self.url
    }

    /// Which nginx it is.
    pub(super) async fn identity(&self) -> Result<Identity, Error> {
        let request = self.versioned(Method::GET, &["nginx"]).await?;
        self.read(request).await
    }

    /// The servers of an upstream.
    pub(super) async fn servers(&self, upstream: &UpstreamName) -> Result<Vec<Peer>, Error> {
        let request = self
            .request(Method::GET, upstream, &["servers", ""])
            .await?;
        let objects: Vec<ServerObject> = self.read(request).await?;
        Ok(objects.into_iter().map(Peer::from).collect())
    }

    /// The state of an upstream.
    pub(super) async fn status(&self, upstream: &UpstreamName) -> Result<StatusObject, Error> {
        let request = self.request(Method::GET, upstream, &[""]).await?;
        self.read(request).await
    }

    /// Adds a server.
    pub(super) async fn add(
        &self,
        upstream: &UpstreamName,
        settings: &ServerSettings,
    ) -> Result<Verdict, Error> {
        let mut request = self
            .request(Method::POST, upstream, &["servers", ""])
            .await?;
        request.builder = request.builder.json(settings);
        self.change(request).await
    }

    /// Changes a server.
    pub(super) async fn patch(
        &self,
        upstream: &UpstreamName,
        id: Id,
        settings: &ServerSettings,
    ) -> Result<Verdict, Error> {
        let id = id.to_string();
        let mut request = self
            .request(Method::PATCH, upstream, &["servers", &id])
            .await?;
        request.builder = request.builder.json(settings);
        self.change(request).await
    }

    /// Removes a server.
    pub(super) async fn remove(&self, upstream: &UpstreamName, id: Id) -> Result<Verdict, Error> {
        let id = id.to_string();
        let request = self
            .request(Method::DELETE, upstream, &["servers", &id])
            .await?;
        self.change(request).await
    }

    /// To be called when the version turns out wrong: the next request asks for it. Says whether one was known.
    pub(super) fn forget_version(&self) -> bool {
        self.known_version().take().is_some()
    }

    fn known_version(&self) -> MutexGuard<'_, Option<u64>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request about an upstream: `path` is what stands behind its name.
    async fn request(
        &self,
        method: Method,
        upstream: &UpstreamName,
        path: &[&str],
    ) -> Result<Request, Error> {
        let path = [&["http", "upstreams", upstream.as_str()], path].concat();
        let mut request = self.versioned(method, &path).await?;
        request.upstream = Some(upstream.clone());
        Ok(request)
    }

    /// A request whose path begins with the version.
    async fn versioned(&self, method: Method, path: &[&str]) -> Result<Request, Error> {
        let known = *self.known_version();
        let version = match known {
            Some(version) => version,
            None => self.negotiate().await?,
        };
        let version = version.to_string();
        let segments = [&[version.as_str()], path].concat();
        Ok(self.request_to(method, self.url.join(&segments)))
    }

    fn request_to(&self, method: Method, url: Url) -> Request {
        Request {
            label: format!("{method} {}", short(url.path())),
            builder: self.client.request(method, url),
            upstream: None,
        }
    }

    /// Asks for the versions, and takes the newest that is known here.
    async fn negotiate(&self) -> Result<u64, Error> {
        let asked = self.offered(self.url.bare()).await;
        let offered = match asked {
            // Where the location ends in a slash, only the URL with it is the API's.
            Err(Error::NotTheApi { .. }) if !self.url.ends_in_a_slash() => {
                self.offered(self.url.join(&[""])).await?
            }
            asked => asked?,
        };
        let common = offered
            .iter()
            .copied()
            .filter(|version| VERSIONS.contains(version));
        let Some(version) = common.max() else {
            return Err(Error::NoCommonVersion {
                offered: short(format!("{offered:?}")),
                known: VERSIONS_TEXT,
            });
        };
        *self.known_version() = Some(version);
        Ok(version)
    }

    async fn offered(&self, url: Url) -> Result<Vec<u64>, Error> {
        let request = self.request_to(Method::GET, url);
        let label = request.label.clone();
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let body = self.body(&label, response, MAX_FAULT).await?;
        let not_the_api = |reason: String| Error::NotTheApi {
            request: label.clone(),
            reason,
        };
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|_| not_the_api("the answer is not a list of API versions".to_owned())),
            401 | 403 => Err(Error::Denied {
                request: label,
                status,
            }),
            500.. => Err(answer(label, status, &Fault::read(&body))),
            _ => Err(not_the_api(format!("HTTP {status}"))),
        }
    }

    async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let (label, upstream) = (request.label.clone(), request.upstream.clone());
        let response = self.send(request).await?;
        let status = response.status();
        if !status.is_success() {
            let fault = self.fault(&label, response).await?;
            return Err(error(label, status.as_u16(), &fault, upstream));
        }
        let body = self.body(&label, response, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|problem| Error::NotTheApi {
            request: label,
            reason: short(format!("the answer cannot be read: {problem}")),
        })
    }

    async fn change(&self, request: Request) -> Result<Verdict, Error> {
        let (label, upstream) = (request.label.clone(), request.upstream.clone());
        let response = self.send(request).await?;
        let status = response.status();
        if status.is_success() {
            // Read to its end, so that the connection can be used again.
            self.body(&label, response, MAX_ANSWER).await?;
            return Ok(Verdict::Done);
        }
        let fault = self.fault(&label, response).await?;
        let said = || format!("{}: {}", fault.code, fault.text);
        match (status.as_u16(), fault.code.as_str()) {
            (400, "UpstreamOutOfMemory") => Ok(Verdict::Full(said())),
            (404, "UpstreamServerNotFound") => Ok(Verdict::Stale),
            (409, _) => Ok(Verdict::Exists(said())),
            (400, code) if !matches!(code, "" | "UpstreamStatic") => Ok(Verdict::Refused(said())),
            (status, _) => Err(error(label, status, &fault, upstream)),
        }
    }

    async fn send(&self, request: Request) -> Result<Response, Error> {
        let sent = request.builder.send().await;
        sent.map_err(|error| self.transport_error(&error))
    }

    async fn fault(&self, label: &str, response: Response) -> Result<Fault, Error> {
        match self.body(label, response, MAX_FAULT).await {
            Ok(body) => Ok(Fault::read(&body)),
            // The status says enough.
            Err(Error::TooLarge { .. }) => Ok(Fault::default()),
            Err(error) => Err(error),
        }
    }

    async fn body(&self, label: &str, response: Response, limit: usize) -> Result<Vec<u8>, Error> {
        let read = http::read(response, limit).await;
        let body = read.map_err(|error| self.transport_error(&error))?;
        body.ok_or_else(|| Error::TooLarge {
            request: label.to_owned(),
            limit,
        })
    }

    fn transport_error(&self, error: &reqwest::Error) -> Error {
        if http::is_refused(error) {
            Error::NotRunning
        } else if error.is_timeout() {
            Error::Silent(self.timeout)
        } else if error.is_connect() {
            Error::Unreachable(http::cause(error))
        } else {
            Error::Broken(http::cause(error))
        }
    }
}

/// A request that has not been sent, and what to call it.
struct Request {
    label: String,
    builder: reqwest::RequestBuilder,
    /// The upstream that it is about.
    upstream: Option<UpstreamName>,
}

/// What an answer that is no success means for the whole upstream.
fn error(request: String, status: u16, fault: &Fault, upstream: Option<UpstreamName>) -> Error {
    match (status, fault.code.as_str(), upstream) {
        (400, "UpstreamStatic", Some(upstream)) => Error::NoZone(upstream),
        (404, "UpstreamNotFound", Some(upstream)) => Error::NoUpstream(upstream),
        (401 | 403, ..) => Error::Denied { request, status },
        (405, ..) => Error::ReadOnly,
        // A version or a path that is not (any more) there; nginx's own 404 comes without a code.
        (404, ..) => Error::NotTheApi {
            request,
            reason: format!("HTTP 404 {}", fault.text),
        },
        _ => answer(request, status, fault),
    }
}

fn answer(request: String, status: u16, fault: &Fault) -> Error {
    let said = [fault.code.as_str(), fault.text.as_str()];
    let said: Vec<_> = said.into_iter().filter(|part| !part.is_empty()).collect();
    Error::Answer {
        request,
        status,
        text: said.join(": "),
    }
}
