//! Calls whose answers are parsed here instead of by bollard, which refuses a whole answer for
//! one unknown word.

use std::future::poll_fn;
use std::pin::Pin;

use bollard::errors::Error as Cause;
use hyper::body::{Body as _, Incoming};
use hyper::{HeaderMap, Method, Request};
use serde_json::Value;

use super::daemon::Daemon;
use super::transport;

/// A successful answer.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// One call, with an empty body. The daemon and the caller decide how long it takes.
pub(super) async fn call(daemon: &Daemon, method: Method, path: &str) -> Result<Answer, Cause> {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(String::new())?;
    let response = transport::send(daemon.clone(), request).await?;
    let (head, body) = response.into_parts();
    let body = whole(body).await?;
    if head.status.is_success() {
        let headers = head.headers;
        return Ok(Answer { headers, body });
    }
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = match said["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&body).into_owned(),
    };
    Err(Cause::DockerResponseServerError {
        status_code: head.status.as_u16(),
        message,
    })
}

/// Reads a whole body; the connection bounds its length.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
