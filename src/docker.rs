//! Pairing with a container: what it is, where it can be reached, and what happens to it.
//!
//! [`client`] asks a daemon (Docker, or Podman by its compatible socket); [`container`] is what an inspect answer
//! says, as an owned value; [`identity`] turns that into a record, with the reason for each part; [`follow`] tells the
//! container's life. Nothing here is created unless a container was named.
//!
//! - [`daemon`]: which socket. `state`: runs, stops, gone. `events`: what the daemon tells meanwhile.
//! - [`address`], [`port`], [`host_address`], [`host`]: where others reach it. [`labels`], [`image`]: what it says of itself.
//! - `exec`: a command inside it. `process`, `signal`: its main process, as the kernel tells.

pub mod address;
mod chosen;
pub mod client;
pub mod container;
pub mod daemon;
mod events;
pub(crate) mod exec;
#[cfg(test)]
mod fixtures;
pub mod follow;
pub(crate) mod fuzz;
pub mod host;
pub mod host_address;
pub mod identity;
pub mod image;
pub mod labels;
mod podman;
pub mod port;
pub mod problem;
mod process;
mod raw;
mod signal;
mod state;
mod transport;
pub mod unreachable;

pub use client::Client;
pub use container::Container;
pub use daemon::Daemon;
