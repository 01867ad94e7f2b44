//! What `tests/fuzz` calls.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::wire::{Fault, Identity, ServerObject, StatusObject};
use crate::target::api::stepwise::Running;
use crate::upstream::plan::Peer;

fn read<T: DeserializeOwned, U: Debug>(
    body: &[u8],
    convert: impl Fn(T) -> U,
) -> Result<String, String> {
    let read = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(format!("{:?}", convert(read)))
}

/// The list of an upstream's servers.
///
/// # Errors
/// Why it is none.
pub fn api_servers(body: &[u8]) -> Result<String, String> {
    let peers =
        |objects: Vec<ServerObject>| objects.into_iter().map(Peer::from).collect::<Vec<_>>();
    read(body, peers)
}

/// The state of an upstream.
///
/// # Errors
/// Why it is none.
pub fn api_status(body: &[u8]) -> Result<String, String> {
    read(body, |status: StatusObject| Running::from(status))
}

/// The identity of an nginx.
///
/// # Errors
/// Why it is none.
pub fn api_identity(body: &[u8]) -> Result<String, String> {
    read(body, |identity: Identity| identity)
}

/// Code and message of an error answer, whatever it is.
#[must_use]
pub fn api_fault(body: &[u8]) -> String {
    let Fault { code, text } = Fault::read(body);
    format!("{code}: {text}")
}
