//! A bare HTTP/1.1 client: one connection a request, nothing repeated, nothing hidden.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The sending half of a connection.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

/// What a server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// One request over a connection of its own.
///
/// # Errors
/// A text that says which step failed and why.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Answer, String> {
    let mut connection = connect(address).await?;
    exchange(&mut connection, method, path, body.into()).await
}

/// Opens a connection and lets it run beside the caller.
pub(crate) async fn connect(address: SocketAddr) -> Result<Connection, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("connect: {error}"))?;
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("handshake: {error}"))?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One request on an open connection.
pub(crate) async fn exchange(
    connection: &mut Connection,
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<Answer, String> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Full::new(body))
        .map_err(|error| format!("request: {error}"))?;
    let answer = connection
        .send_request(request)
        .await
        .map_err(|error| format!("send: {error}"))?;
    let (head, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| format!("body: {error}"))?;
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    })
}
