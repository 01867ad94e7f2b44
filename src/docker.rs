//! Pairing with a container: what it is, where it can be reached, and what happens to it.
//!
//! [`client`] asks a daemon (Docker, or Podman by its compatible socket); [`container`] is what an inspect answer
//! says, as an owned value; [`derive`](mod@derive) turns that into a record, with the reason for each part; [`follow`] tells the
//! container's life. Nothing here is created unless a container was named.

mod chosen;
pub mod client;
pub mod container;
pub mod conventions;
pub mod daemon;
pub mod derive;
mod event;
pub(crate) mod exec;
#[cfg(test)]
mod fixtures;
pub mod follow;
pub mod host;
pub mod host_address;
pub mod image;
mod life;
mod podman;
pub mod port;
mod process;
mod raw;
pub mod reach;
mod signal;
mod transport;

pub use client::Client;
pub use container::Container;
pub use daemon::Daemon;
