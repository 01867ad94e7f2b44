//! The API over HTTP: a change is a GET, its arguments are taken as they stand, its answers are text.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::lines;
use super::status::Status;
use crate::target::api::ApiSettings;
use crate::target::api::access::AccessError;
use crate::target::api::stepwise::{About, Refusal, Running, Verdict};
use crate::target::api::web;
use crate::target::api::web::{MAX_ANSWER, Request, Web};
use crate::target::{ApiUrl, Error, Layer, UpstreamName};
use crate::upstream::plan::{Peer, Setting};
use crate::util::sanitize::{printable, short};

/// As much of a query as is shown, in bytes.
const MAX_QUERY: usize = 200;

/// The text API of one nginx.
#[derive(Debug)]
pub struct ConfApi {
    url: ApiUrl,
    status: Option<ApiUrl>,
    web: Web,
    /// Whether the status module failed the last time, so that a failure is logged once and its end too.
    status_fails: AtomicBool,
}

/// The arguments of a request. nginx does not decode them: they are sent as they are, so nothing but names, addresses and
/// numbers may be given, none of which has a character that means anything in a query.
#[derive(Debug)]
pub(super) struct Query(String);

impl Query {
    /// About an upstream.
    pub(super) fn new(layer: Layer, upstream: &UpstreamName) -> Self {
        let query = Self(String::new());
        let query = match layer {
            Layer::Http => query,
            Layer::Stream => query.flag("stream"),
        };
        query.with("upstream", upstream)
    }

    /// Adds a server.
    pub(super) fn adding(layer: Layer, upstream: &UpstreamName) -> Self {
        Self::new(layer, upstream).flag("add")
    }

    /// Removes a server.
    pub(super) fn removing(layer: Layer, upstream: &UpstreamName) -> Self {
        Self::new(layer, upstream).flag("remove")
    }

    /// An argument without a value; the `=` is still written.
    pub(super) fn flag(self, name: &str) -> Self {
        self.with(name, "")
    }

    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        let gap = if self.0.is_empty() { "" } else { "&" };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{gap}{name}={value}");
        self
    }

    pub(super) fn with_setting(self, setting: Setting) -> Self {
        match setting {
            Setting::Backup => self.flag("backup"),
            // Shown as they are to be sent: NAME=VALUE.
            setting => match setting.to_string().split_once('=') {
                Some((name, value)) => self.with(name, value),
                None => self,
            },
        }
    }
}

impl ConfApi {
    /// The API that `settings` tell. Asks nothing yet. `status` is where `status;` is, if anywhere.
    ///
    /// # Errors
    ///
    /// When the login or the certificates do not go together with the URL, or the system's certificates cannot be loaded.
    pub fn new(settings: ApiSettings, status: Option<ApiUrl>) -> Result<Self, AccessError> {
        Ok(Self {
            url: settings.url.clone(),
            web: Web::new(settings)?,
            status,
            status_fails: AtomicBool::new(false),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &ApiUrl {
        &self.url
    }

    /// The servers of an upstream.
    pub(super) async fn servers(
        &self,
        query: Query,
        upstream: &UpstreamName,
    ) -> Result<Vec<Peer>, Error> {
        let request = self.request(query.flag("verbose"));
        let label = request.label.clone();
        let response = self.web.send(request).await?;
        if !response.status().is_success() {
            let (status, text) = self.refusal(&label, response).await?;
            return Err(error(label, status, text, upstream));
        }
        let body = self.web.body(&label, response, MAX_ANSWER).await?;
        lines::read(&body).map_err(|reason| Error::NotTheApi {
            request: label,
            reason,
        })
    }

    /// Changes something; gives what is shown as well.
    pub(super) async fn change(&self, query: Query) -> Result<(Verdict, Vec<Peer>), Error> {
        let names_a_server = query.0.contains("&id=");
        let request = self.request(query);
        let label = request.label.clone();
        let response = self.web.send(request).await?;
        if response.status().is_success() {
            // Removing is answered by 200 or, with nothing, by 204.
            let body = self.web.body(&label, response, MAX_ANSWER).await?;
            return Ok((Verdict::Done, lines::read(&body).unwrap_or_default()));
        }
        let (status, text) = self.refusal(&label, response).await?;
        verdict(label, status, text, names_a_server).map(|verdict| (verdict, Vec::new()))
    }

    /// What runs on the servers of an upstream, when the status module tells it.
    pub(super) async fn running(&self, layer: Layer, upstream: &UpstreamName) -> Option<Running> {
        let path = match layer {
            Layer::Http => &["upstreams", upstream.as_str()][..],
            Layer::Stream => &["stream", "upstreams", upstream.as_str()][..],
        };
        let status: Result<Status, Error> = self.ask_status(path).await?;
        let fails = status.is_err();
        let failed = self.status_fails.swap(fails, Ordering::Relaxed);
        match status {
            Ok(status) => {
                if failed {
                    info!(nginx = %self.url, "the status module tells running requests again");
                }
                Some(status.into())
            }
            Err(error) => {
                if !failed {
                    warn!(nginx = %self.url, %error, "the status module does not tell running requests: draining servers are given their whole time");
                }
                None
            }
        }
    }

    /// Which configuration it has, as the status module tells it.
    pub(super) async fn identity(&self) -> Result<serde_json::Value, Error> {
        match self.ask_status(&["load_timestamp"]).await {
            Some(Ok(told)) => Ok(told),
            Some(Err(_)) | None => {
                // Any answer means that it runs.
                let request = self.web.request(Method::GET, self.url.bare());
                self.web
                    .send(request)
                    .await
                    .map(|_| serde_json::Value::Null)
            }
        }
    }

    async fn ask_status<T: DeserializeOwned>(&self, path: &[&str]) -> Option<Result<T, Error>> {
        let url = self.status.as_ref()?.join(path);
        Some(self.read_json(self.web.request(Method::GET, url)).await)
    }

    async fn read_json<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let label = request.label.clone();
        let response = self.web.send(request).await?;
        if !response.status().is_success() {
            let (status, text) = self.refusal(&label, response).await?;
            return Err(answer(label, status, text));
        }
        let body = self.web.body(&label, response, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|problem| Error::NotTheApi {
            request: label,
            reason: short(format!("the answer cannot be read: {problem}")),
        })
    }

    fn request(&self, query: Query) -> Request {
        let url = self.url.with_query(&query.0);
        let mut request = self.web.request(Method::GET, url);
        request.label = format!("{}?{}", request.label, printable(query.0, MAX_QUERY));
        request
    }

    /// Status and first line of an answer that is no success.
    async fn refusal(&self, label: &str, response: Response) -> Result<(u16, String), Error> {
        let status = response.status().as_u16();
        let body = self.web.fault(label, response).await?;
        Ok((status, web::first_line(&body)))
    }
}

/// What an answer to a change that is no success means. There are no codes, only words.
fn verdict(
    request: String,
    status: u16,
    text: String,
    names_a_server: bool,
) -> Result<Verdict, Error> {
    if let Some(error) = web::kept_out(&request, status, &text) {
        return Err(error);
    }
    let is_gone = names_a_server && (text.contains("not found") || text.contains("does not exist"));
    match status {
        400 if text.contains("memory exhausted") => Ok(Verdict::Full(text)),
        // The upstream is gone, or the server: the next reading tells.
        404 => Ok(Verdict::Stale),
        400 if is_gone => Ok(Verdict::Stale),
        400 => Ok(Verdict::Refused(Refusal {
            about: about(&text),
            reason: text,
        })),
        _ => Err(answer(request, status, text)),
    }
}

/// What a refusal is about, when its words name a parameter.
fn about(text: &str) -> About {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || "_.:-".contains(c));
    let mut words = text.split(is_end);
    let names = [
        "max_conns",
        "max_fails",
        "fail_timeout",
        "slow_start",
        "backup",
    ];
    let named = words.find_map(|word| names.into_iter().find(|name| *name == word));
    named.map_or(About::Unknown, About::Parameter)
}

/// What an answer to a question that is no success means.
fn error(request: String, status: u16, text: String, upstream: &UpstreamName) -> Error {
    if let Some(error) = web::kept_out(&request, status, &text) {
        return error;
    }
    match status {
        400 if text.contains("static") => Error::NoZone(upstream.clone()),
        // nginx's own page names no upstream: then there is no such location, as likely as not.
        400 | 404 if text.contains("upstream") => Error::NoUpstream(upstream.clone()),
        404 => Error::NotTheApi {
            request,
            reason: format!("HTTP 404 {text}"),
        },
        _ => answer(request, status, text),
    }
}

fn answer(request: String, status: u16, text: String) -> Error {
    Error::Answer {
        request,
        status,
        text,
    }
}
