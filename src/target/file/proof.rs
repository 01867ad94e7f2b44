//! A listener in the file that answers which file it stands in.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::target::Layer;
use crate::util::sanitize::short;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than the longest answer.
const MAX_ANSWER: u64 = 4096;

/// Where nginx is asked whether it has the file: an address of this machine only, `127.0.0.1:9181` or `http://127.0.0.1:9181/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof(SocketAddr);

impl FromStr for Proof {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.strip_prefix("http://").unwrap_or(text);
        let address = address.strip_suffix('/').unwrap_or(address).parse();
        match address {
            Ok(address @ SocketAddr::V4(_) | address @ SocketAddr::V6(_))
                if address.ip().is_loopback() && address.port() != 0 =>
            {
                Ok(Self(address))
            }
            _ => Err(format!(
                "\"{}\" is not a loopback address with a port, such as 127.0.0.1:9181",
                short(text)
            )),
        }
    }
}

impl Proof {
    /// Where it listens.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }

    /// Whether somebody answers with this token; `None` when nobody listens.
    pub(super) async fn answers(self, layer: Layer, token: &str) -> Option<bool> {
        match timeout(PATIENCE, self.ask(layer)).await {
            Ok(Ok(answer)) => Some(answer == token),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => None,
            _ => Some(false),
        }
    }

    async fn ask(self, layer: Layer) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.0).await?;
        if layer == Layer::Http {
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        }
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let body = match (layer, answer.split_once("\r\n\r\n")) {
            (Layer::Stream, _) => &answer,
            (Layer::Http, Some((head, body))) if head.contains(" 200 ") => body,
            (Layer::Http, _) => "",
        };
        Ok(body.trim().to_owned())
    }
}

#[cfg(test)]
mod tests;
