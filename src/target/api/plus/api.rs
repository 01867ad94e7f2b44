//! The upstream API over HTTP: requests, bounded answers, and what its errors mean.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use super::wire::{Fault, Identity, ServerObject, ServerSettings, StatusObject};
use crate::target::api::ApiSettings;
use crate::target::api::access::AccessError;
use crate::target::api::stepwise::{About, Refusal, Verdict};
use crate::target::api::url::ApiUrl;
use crate::target::api::web;
use crate::target::api::web::{MAX_ANSWER, MAX_FAULT, Web};
use crate::target::{Error, Layer, UpstreamName};
use crate::upstream::plan::{Id, Peer};
use crate::util::few::few;
use crate::util::sanitize::short;

/// The versions with the same upstream management. Version 1 cannot add a draining server and is older than
/// any nginx that still runs.
const VERSIONS: std::ops::RangeInclusive<u64> = 2..=9;
const VERSIONS_TEXT: &str = "2 to 9";

/// The API of one nginx. Keeps connections alive and remembers the version.
#[derive(Debug)]
pub struct Api {
    url: ApiUrl,
    web: Web,
    version: Mutex<Option<u64>>,
}

/// An upstream by its block and name.
type Name<'a> = (Layer, &'a UpstreamName);

impl Api {
    /// The API of `settings`. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// When the login or the certificates do not match the URL, or the system's certificates cannot be loaded.
    pub fn new(settings: ApiSettings) -> Result<Self, AccessError> {
        Ok(Self {
            url: settings.url.clone(),
            web: Web::new(settings)?,
            version: Mutex::new(None),
        })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &ApiUrl {
        &self.url
    }

    /// The identity of the nginx.
    pub(super) async fn identity(&self) -> Result<Identity, Error> {
        let request = self.versioned(Method::GET, &["nginx"]).await?;
        self.read(request).await
    }

    /// The servers of an upstream.
    pub(super) async fn servers(&self, upstream: Name<'_>) -> Result<Vec<Peer>, Error> {
        let request = self
            .request(Method::GET, upstream, &["servers", ""])
            .await?;
        let objects: Vec<ServerObject> = self.read(request).await?;
        Ok(objects.into_iter().map(Peer::from).collect())
    }

    /// One server of an upstream.
    pub(super) async fn server(&self, upstream: Name<'_>, id: Id) -> Result<Peer, Error> {
        let id = id.to_string();
        let request = self
            .request(Method::GET, upstream, &["servers", &id])
            .await?;
        let object: ServerObject = self.read(request).await?;
        Ok(object.into())
    }

    /// The state of an upstream.
    pub(super) async fn status(&self, upstream: Name<'_>) -> Result<StatusObject, Error> {
        let request = self.request(Method::GET, upstream, &[""]).await?;
        self.read(request).await
    }

    /// Adds a server.
    pub(super) async fn add(
        &self,
        upstream: Name<'_>,
        settings: &ServerSettings,
    ) -> Result<Verdict, Error> {
        let mut request = self
            .request(Method::POST, upstream, &["servers", ""])
            .await?;
        request.inner.builder = request.inner.builder.json(settings);
        self.change(request).await
    }

    /// Changes a server.
    pub(super) async fn patch(
        &self,
        upstream: Name<'_>,
        id: Id,
        settings: &ServerSettings,
    ) -> Result<Verdict, Error> {
        let id = id.to_string();
        let mut request = self
            .request(Method::PATCH, upstream, &["servers", &id])
            .await?;
        request.inner.builder = request.inner.builder.json(settings);
        self.change(request).await
    }

    /// Removes a server.
    pub(super) async fn remove(&self, upstream: Name<'_>, id: Id) -> Result<Verdict, Error> {
        let id = id.to_string();
        let request = self
            .request(Method::DELETE, upstream, &["servers", &id])
            .await?;
        self.change(request).await
    }

    /// Call this when the version turns out wrong: the next request asks for it again. `true` if one was known.
    pub(super) fn forget_version(&self) -> bool {
        self.known_version().take().is_some()
    }

    fn known_version(&self) -> MutexGuard<'_, Option<u64>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request about an upstream: `path` follows its name.
    async fn request(
        &self,
        method: Method,
        upstream: Name<'_>,
        path: &[&str],
    ) -> Result<Request, Error> {
        let (layer, name) = upstream;
        let layer_segment = match layer {
            Layer::Http => "http",
            Layer::Stream => "stream",
        };
        let path = [&[layer_segment, "upstreams", name.as_str()], path].concat();
        let mut request = self.versioned(method, &path).await?;
        request.upstream = Some((layer, name.clone()));
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
            inner: self.web.request(method, url),
            upstream: None,
        }
    }

    /// Asks for the versions, and uses the newest supported one.
    async fn negotiate(&self) -> Result<u64, Error> {
        let asked = self.offered(self.url.bare()).await;
        let offered = match asked {
            // If the location ends in a slash, only the URL with it is the API's.
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
                offered: few(&offered, 20),
                known: VERSIONS_TEXT,
            });
        };
        *self.known_version() = Some(version);
        Ok(version)
    }

    async fn offered(&self, url: Url) -> Result<Vec<u64>, Error> {
        let request = self.request_to(Method::GET, url);
        let label = request.inner.label.clone();
        let response = self.web.send(request.inner).await?;
        let status = response.status().as_u16();
        let body = self.web.body(&label, response, MAX_FAULT).await?;
        let not_the_api = |reason: String| Error::NotTheApi {
            request: label.clone(),
            reason,
        };
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|_| not_the_api("the answer is not a list of API versions".to_owned())),
            500.. => Err(answer(label, status, &Fault::read(&body))),
            _ => match web::kept_out(&label, status, &Fault::read(&body).text) {
                Some(error) => Err(error),
                None => Err(not_the_api(format!("HTTP {status}"))),
            },
        }
    }

    async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let (label, upstream) = (request.inner.label.clone(), request.upstream.clone());
        let response = self.web.send(request.inner).await?;
        let status = response.status();
        if !status.is_success() {
            let fault = Fault::read(&self.web.fault(&label, response).await?);
            return Err(error(label, status.as_u16(), &fault, upstream));
        }
        let body = self.web.body(&label, response, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|problem| Error::NotTheApi {
            request: label,
            reason: short(format!("the answer cannot be read: {problem}")),
        })
    }

    async fn change(&self, request: Request) -> Result<Verdict, Error> {
        let (label, upstream) = (request.inner.label.clone(), request.upstream.clone());
        let response = self.web.send(request.inner).await?;
        let status = response.status();
        if status.is_success() {
            // Read it to its end, so that the connection can be used again.
            self.web.body(&label, response, MAX_ANSWER).await?;
            return Ok(Verdict::Done);
        }
        let fault = Fault::read(&self.web.fault(&label, response).await?);
        let said = || format!("{}: {}", fault.code, fault.text);
        match (status.as_u16(), fault.code.as_str()) {
            (400, "UpstreamOutOfMemory") => Ok(Verdict::Full(said())),
            (404, "UpstreamServerNotFound") => Ok(Verdict::Stale),
            (409, _) => Ok(Verdict::Exists(said())),
            (400, code) if !matches!(code, "" | "UpstreamStatic") => {
                Ok(Verdict::Refused(Refusal {
                    reason: said(),
                    about: about(&fault),
                }))
            }
            (status, _) => Err(error(label, status, &fault, upstream)),
        }
    }
}

/// A request before it is sent.
struct Request {
    inner: web::Request,
    /// The upstream that it is about.
    upstream: Option<(Layer, UpstreamName)>,
}

/// The subject of a refusal, by its code; only if the code says nothing, the text may name a parameter.
fn about(fault: &Fault) -> About {
    match fault.code.as_str() {
        "UpstreamNoBackup" => About::Parameter("backup"),
        "UpstreamBadMaxConns" => About::Parameter("max_conns"),
        "UpstreamBadMaxFails" => About::Parameter("max_fails"),
        "UpstreamBadFailTimeout" => About::Parameter("fail_timeout"),
        "UpstreamBadSlowStart" => About::Parameter("slow_start"),
        "UpstreamBadAddress"
        | "UpstreamBadWeight"
        | "UpstreamBadServerId"
        | "UpstreamConfNoResolver"
        | "UpstreamServerImmutable"
        | "UpstreamServerWeightImmutable"
        | "BodyReadError" => About::Server,
        _ => {
            let names = [
                "max_conns",
                "max_fails",
                "fail_timeout",
                "slow_start",
                "backup",
            ];
            let named = names
                .into_iter()
                .find(|name| fault.text.contains(&format!("\"{name}\"")));
            named.map_or(About::Unknown, About::Parameter)
        }
    }
}

/// The meaning of an error answer for the whole upstream.
fn error(
    request: String,
    status: u16,
    fault: &Fault,
    upstream: Option<(Layer, UpstreamName)>,
) -> Error {
    if let Some(error) = web::kept_out(&request, status, &fault.text) {
        return error;
    }
    match (status, fault.code.as_str(), upstream) {
        (400, "UpstreamStatic", Some((_, upstream))) => Error::NoZone(upstream),
        (404, "UpstreamNotFound", Some((_, upstream))) => Error::NoUpstream(upstream),
        (404, "PathNotFound" | "StreamNotConfigured", Some((Layer::Stream, _))) => Error::NoStream,
        (405, ..) => Error::ReadOnly,
        // The version or the path does not exist any more; nginx's own 404 has no code.
        (404, ..) => Error::NotTheApi {
            request,
            reason: format!("HTTP 404 {}", fault.text).trim_end().to_owned(),
        },
        _ => answer(request, status, fault),
    }
}

fn answer(request: String, status: u16, fault: &Fault) -> Error {
    let number = status.to_string();
    // nginx's own pages begin with the status, which the message already has.
    let text = fault.text.strip_prefix(&number).unwrap_or(&fault.text);
    let said = [fault.code.as_str(), text.trim_start()];
    let said: Vec<_> = said.into_iter().filter(|part| !part.is_empty()).collect();
    let text = match said.is_empty() {
        true => "without a word".to_owned(),
        false => said.join(": "),
    };
    Error::Answer {
        request,
        status,
        text,
    }
}
