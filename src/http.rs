//! HTTP clients, as the probes and the drivers need them.

use std::error::Error as StdError;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};

use crate::printable::short;

/// A client that does what it is told and nothing more: no redirects, no proxy from the environment.
///
/// The system's certificates are half a megabyte, loaded only with `tls`.
pub(crate) fn client(tls: bool) -> ClientBuilder {
    crate::tls::install_provider();
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

/// The innermost cause of an error, which says what happened; the outer ones only say that something did.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let innermost = causes(error).last();
    innermost.map_or_else(
        || short(error.to_string()),
        |cause| short(cause.to_string()),
    )
}

/// Whether nobody listens where the request went.
pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Reads a body of at most `limit` bytes; `None` when there is more.
///
/// # Errors
/// When the connection breaks before the body is whole.
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
