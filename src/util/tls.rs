//! One crypto provider for every TLS connection.

/// Makes ring the provider of this process, once, and only when a connection may need it.
pub fn install_provider() {
    // An error says that one is installed already: it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
