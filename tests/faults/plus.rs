//! A stand-in for NGINX Plus that serves its upstream API from this process, well or not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use model::{Model, Reply};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

mod model;
#[cfg(test)]
mod tests;

/// How it treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As NGINX Plus does.
    Well,
    /// 500 to everything, with nginx's page or an error of the API; nothing is done.
    Fails500,
    /// 200 with another page while nothing is done, or with half of the JSON of what was done.
    Garbage,
    /// The connection is reset, every second time after the request was done.
    Resets,
    /// No answer. What still waits when that is over is done then.
    Silent,
    /// 200 with JSON of another shape; nothing is done.
    Wrong,
    /// Half of this time before it is done, and half before the answer.
    Slow(Duration),
}

/// One NGINX Plus, until it is dropped.
#[derive(Debug)]
pub(crate) struct Plus {
    address: SocketAddr,
    nginx: Nginx,
    task: AbortHandle,
}

/// What all its connections share.
#[derive(Debug, Clone)]
struct Nginx {
    model: Arc<Mutex<Model>>,
    mood: watch::Sender<Mood>,
    /// How often it was started.
    starts: watch::Sender<u64>,
    /// How many requests came, and how many were spoilt in which way.
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

const REQUEST: &str = "request";

/// What makes hyper give a connection up, which is a reset here.
#[derive(Debug, thiserror::Error)]
#[error("reset on purpose")]
struct Reset;

impl Plus {
    /// With these upstreams, all empty, in its http block.
    pub(crate) async fn start(upstreams: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let nginx = Nginx {
            model: Arc::new(Mutex::new(Model::new(upstreams, address))),
            mood: watch::Sender::new(Mood::Well),
            starts: watch::Sender::new(0),
            counts: Arc::default(),
        };
        let task = tokio::spawn(listen(listener, nginx.clone())).abort_handle();
        Self {
            address,
            nginx,
            task,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `--nginx`.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// How it treats requests from now on.
    pub(crate) fn set(&self, mood: Mood) {
        self.nginx.mood.send_replace(mood);
    }

    /// Another process: its servers are gone, and all connections reset.
    pub(crate) fn restart(&self) {
        self.nginx.model().restart();
        self.nginx.starts.send_modify(|starts| *starts += 1);
    }

    /// The same with its configuration read again: servers stay, as with a state file.
    pub(crate) fn reload(&self) {
        self.nginx.model().reload();
    }

    /// How many requests it has had.
    pub(crate) fn asked(&self) -> u64 {
        self.nginx.asked()
    }

    /// Addresses in the upstream that take new requests, in the order in which they came.
    ///
    /// # Panics
    /// When there is no such upstream.
    pub(crate) fn routed(&self, upstream: &str) -> Vec<String> {
        self.nginx.model().routed(upstream)
    }
}

impl Drop for Plus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, nginx: Nginx) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, nginx.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, until its end or a restart.
async fn serve(stream: TcpStream, nginx: Nginx) {
    // Closed by this side only where a reset is wanted.
    let _ = (stream.set_nodelay(true), stream.set_zero_linger());
    let mut starts = nginx.starts.subscribe();
    let answer = |request| nginx.answer(request);
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::select! {
        _ = connection => {}
        _ = starts.changed() => {}
    }
}

impl Nginx {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().expect("nobody panics with it")
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
        let done = || {
            self.model()
                .answer(head.method.as_str(), head.uri.path(), &body)
        };
        self.count(REQUEST);
        let mood = *self.mood.borrow();
        let reply = match mood {
            Mood::Well => done(),
            Mood::Fails500 if self.turn("500") => Reply::html(500, "500 Internal Server Error"),
            Mood::Fails500 => Reply::error(500, "InternalError", "something went wrong"),
            Mood::Garbage if self.turn("garbage") => Reply::html(200, "Please log in"),
            Mood::Garbage => done().cut(),
            Mood::Resets => {
                if self.turn("reset") {
                    done();
                }
                return Err(Reset);
            }
            Mood::Silent => {
                let mut moods = self.mood.subscribe();
                let over = moods.wait_for(|mood| *mood != Mood::Silent).await;
                over.map_err(|_| Reset)?;
                done()
            }
            Mood::Wrong => Reply::json(200, &serde_json::json!({"peers": 7, "servers": "none"})),
            Mood::Slow(time) => {
                // The delay itself is what is wanted here.
                sleep(time / 2).await;
                let reply = done();
                sleep(time / 2).await; // half of what the mood takes
                reply
            }
        };
        let answer = Response::builder()
            .status(reply.status)
            .header("content-type", reply.content_type)
            .header("server", "nginx/1.29.3");
        let body = Full::new(Bytes::from(reply.body));
        Ok(answer.body(body).expect("our own headers"))
    }

    /// True every second time.
    fn turn(&self, kind: &'static str) -> bool {
        self.count(kind) % 2 == 1
    }

    fn count(&self, kind: &'static str) -> u64 {
        let mut counts = self.counts.lock().expect("nobody panics with it");
        let count = counts.entry(kind).or_default();
        *count += 1;
        *count
    }

    /// How many requests came so far.
    fn asked(&self) -> u64 {
        let counts = self.counts.lock().expect("nobody panics with it");
        counts.get(REQUEST).copied().unwrap_or_default()
    }
}
