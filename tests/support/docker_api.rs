//! Calls of a container daemon's API.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::PATIENCE;

/// How long a daemon may take for a whole Debian.
const IMPORT: Duration = Duration::from_secs(180);

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One call.
pub(super) fn call(socket: &Path, method: &str, path: &str, body: &[u8]) -> io::Result<Reply> {
    let length = body.len().try_into().expect("64 bits");
    exchange(
        socket,
        &format!("{method} {path}"),
        &mut &*body,
        length,
        PATIENCE,
    )
}

/// A POST of a file, however large.
pub(super) fn upload(socket: &Path, path: &str, file: &Path) -> io::Result<Reply> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    exchange(socket, &format!("POST {path}"), &mut file, length, IMPORT)
}

/// HTTP/1.0, so that an answer ends where the connection does.
fn exchange(
    socket: &Path,
    what: &str,
    body: &mut dyn Read,
    length: u64,
    limit: Duration,
) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    let head = format!(
        "{what} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
    );
    stream.write_all(head.as_bytes())?;
    io::copy(body, &mut stream)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Reply {
        status: status.unwrap_or_default(),
        body: body.to_owned(),
    })
}

impl Reply {
    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}
