//! The HTTP under the fake targets of the tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query, byte by byte.
    pub(crate) uri: String,
    pub(crate) body: String,
}

/// A fake target on a port of its own, until it is dropped, with what it holds.
pub(crate) struct Fake<M> {
    pub(crate) address: SocketAddr,
    model: Arc<Mutex<M>>,
    _server: FakeHttp,
}

impl<M: Send + 'static> Fake<M> {
    /// Answers each request with the model at hand, as [`FakeHttp::start`] says.
    pub(crate) async fn of<A>(
        model: M,
        answer: impl Fn(Arc<Mutex<M>>, Asked) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: Future<Output = Option<(u16, String)>> + Send + 'static,
    {
        let model = Arc::new(Mutex::new(model));
        let answered = model.clone();
        let server = FakeHttp::start(move |asked| answer(answered.clone(), asked)).await;
        Self {
            address: server.address,
            model,
            _server: server,
        }
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, M> {
        self.model.lock().unwrap()
    }
}

/// A server on a port of its own, until it is dropped.
pub(crate) struct FakeHttp {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The error that makes hyper end the connection.
#[derive(Debug, thiserror::Error)]
#[error("broken on purpose")]
struct Broken;

impl FakeHttp {
    /// Gives each request to `answer`: status and body, or `None` to end the connection.
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Asked) -> A + Send + Sync + 'static,
        A: Future<Output = Option<(u16, String)>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, Arc::new(answer)));
        Self { address, task }
    }
}

async fn serve<F, A>(listener: TcpListener, answer: Arc<F>)
where
    F: Fn(Asked) -> A + Send + Sync + 'static,
    A: Future<Output = Option<(u16, String)>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer.clone();
            async move {
                let (method, uri) = (request.method().to_string(), request.uri().to_string());
                let body = request.into_body().collect().await.map_err(|_| Broken)?;
                let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                let (status, text) = answer(Asked { method, uri, body }).await.ok_or(Broken)?;
                let response = Response::builder().status(status);
                Ok::<_, Broken>(response.body(Full::new(Bytes::from(text))).unwrap())
            }
        });
        tokio::spawn(async move {
            // A broken connection is part of the play.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
