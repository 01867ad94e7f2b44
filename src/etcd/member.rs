//! A member of etcd, as it is talked to.

use std::sync::atomic::{AtomicBool, Ordering};

use super::access::TlsFiles;

/// A member, and who asks it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: String,
    /// Which of the endpoints it is.
    pub(super) number: usize,
    /// The user, where there is one.
    pub(super) user: Option<String>,
    /// Certificates, where TLS is spoken.
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
