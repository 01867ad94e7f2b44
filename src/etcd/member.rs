//! A member of etcd and its client's login.

use std::sync::atomic::{AtomicBool, Ordering};

use super::access::TlsFiles;

/// A member, with the login for it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: String,
    /// Its endpoint.
    pub(super) number: usize,
    /// The user, if any.
    pub(super) user: Option<String>,
    /// Certificates, if TLS is used.
    pub(super) tls: Option<TlsFiles>,
    /// Whether it has answered over this connection.
    pub(super) heard: AtomicBool,
}

impl Member {
    /// Whether it has answered over this connection.
    pub(super) fn has_answered(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}
