//! HTTP clients for the probes and the drivers.

use std::error::Error as StdError;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, Url};

use crate::util::explain::{Options, Peer, Received, explain};

/// A client without redirects, and without a proxy from the environment.
///
/// The system's certificates are half a megabyte, loaded only with `tls`.
pub(crate) fn client(tls: bool) -> ClientBuilder {
    crate::util::tls::install_provider();
    let builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("sidekick/", env!("CARGO_PKG_VERSION")));
    if tls {
        builder
    } else {
        builder.tls_certs_only([])
    }
}

/// What is wrong with certificates or keys, or why a client could not be built.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let peer = Peer {
        place: "the server",
        tls: true,
        received: Received::Earlier,
        options: Options::default(),
    };
    let cause: &(dyn StdError + 'static) = error.source().unwrap_or(error);
    explain(cause, peer)
}

/// `HOST:PORT` of a URL.
pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default();
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Why a request failed. reqwest's own text is left out, because it quotes the URL.
pub(crate) fn failure(error: &reqwest::Error, peer: Peer<'_>) -> String {
    match error.source() {
        Some(cause) => explain(cause, peer),
        None if error.is_timeout() => format!("no answer from {} in time", peer.place),
        None => format!("the request to {} failed", peer.place),
    }
}

/// Whether the connection was refused.
pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Reads a body of at most `limit` bytes; `None` if it is longer.
///
/// # Errors
/// When the connection breaks before the body is complete.
pub(crate) async fn read(
    mut response: Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).is_ok_and(|announced| announced > limit) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
