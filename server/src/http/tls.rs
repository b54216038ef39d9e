//! The certificates of the system, for requests to other servers.

use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Trusts whom the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
pub fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("certificates of the system: {error}");
    }
    let roots = found.certs.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder().root_certs(RootCerts::from(roots)).unversioned_rustls_crypto_provider(provider).build()
}
