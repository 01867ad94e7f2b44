//! One crypto provider for every TLS connection.

/// Makes ring the provider of this process, once, and only when a connection may need it.
pub fn install_provider() {
    // An error means that the same one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
