//! Sends requests to the daemon: one connection each, with a limit on the answer. An answer may turn the
//! connection into a plain stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard::errors::Error;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::daemon::{Daemon, Stream};

/// The most bytes read from one connection. An inspect answer has a few thousand and an event a few hundred; a
/// stream of events that reaches the limit ends and is opened again.
const MAX_READ: usize = 8 * 1024 * 1024;

/// Sends one request on its own connection, which ends when the answer has been read or is dropped.
pub(super) async fn send<B>(
    daemon: Daemon,
    mut request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = daemon.connect().await?;
    // Bollard's URI has a scheme and a host; the request line has only the path.
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = target.map_or_else(hyper::Uri::default, hyper::Uri::from);
    if let Ok(host) = HeaderValue::from_str(daemon.host()) {
        request.headers_mut().insert(HOST, host);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(Bounded::new(stream))).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

/// A connection that reads at most [`MAX_READ`] bytes.
struct Bounded {
    stream: Box<dyn Stream>,
    left: usize,
}

impl Bounded {
    fn new(stream: Box<dyn Stream>) -> Self {
        let left = MAX_READ;
        Self { stream, left }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let error = format!("the daemon's answer is longer than {MAX_READ} bytes");
            return Poll::Ready(Err(io::Error::other(error)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
