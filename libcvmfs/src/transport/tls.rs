//! Which servers are trusted for https.

use super::error::TransportError;
use super::settings::TlsSettings;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Loads the certificate authorities. Only called when a host speaks https.
pub(super) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, TransportError> {
    let mut roots = RootCertStore::empty();
    let mut places = Vec::new();
    if settings.use_system_ca {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            log::warn!("certificates of the system: {error}");
        }
        roots.add_parsable_certificates(found.certs);
        places.push("the system".to_owned());
    }
    if let Some(bundle) = &settings.cert_bundle {
        let failed = |reason: String| TransportError::Certificates { place: bundle.display().to_string(), reason };
        let certificates = read_pem(bundle).map_err(failed)?;
        roots.add_parsable_certificates(certificates);
        places.push(bundle.display().to_string());
    }
    if let Some(dir) = &settings.cert_dir {
        // Grid certificate directories hold policy and revocation files too: what is not PEM is passed over.
        match std::fs::read_dir(dir) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    if let Ok(certificates) = read_pem(&entry.path()) {
                        roots.add_parsable_certificates(certificates);
                    }
                }
            }
            Err(error) => log::debug!("certificates in {}: {error}", dir.display()),
        }
        places.push(dir.display().to_string());
    }
    if roots.is_empty() {
        let place = if places.is_empty() { "nowhere".to_owned() } else { places.join(", ") };
        let reason = "no certificate authority found, so no https server can be trusted; \
                      set X509_CERT_BUNDLE, X509_CERT_DIR or CVMFS_USE_SSL_SYSTEM_CA=yes";
        return Err(TransportError::Certificates { place, reason: reason.to_owned() });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Certificates { place: places.join(", "), reason: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read_pem(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    found.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
}
