//! The cryptography of every TLS configuration and verifier here.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// ring, named explicitly: a process-wide default could be set by any library.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}
