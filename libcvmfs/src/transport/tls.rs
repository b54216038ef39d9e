//! Which servers are trusted for https, and how they are spoken to.

use super::error::TransportError;
use super::settings::TlsSettings;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// The certificate authorities that are trusted.
#[derive(Debug, Clone)]
pub(super) struct Authorities(Arc<ClientConfig>);

impl Authorities {
    /// Loads them. Only called when a host speaks https.
    pub(super) fn load(settings: &TlsSettings) -> Result<Authorities, TransportError> {
        client_config(settings).map(Authorities)
    }

    /// What is to be said to `server`, of which nothing is sent yet.
    pub(super) fn session(&self, server: &str) -> Result<Session, String> {
        let name = ServerName::try_from(server.to_owned()).map_err(|error| error.to_string())?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(|error| error.to_string())?;
        Ok(Session(session))
    }
}

/// A conversation with one server.
#[derive(Debug)]
pub(super) struct Session(ClientConnection);

/// A socket on which all is encrypted.
#[derive(Debug)]
pub(super) struct TlsStream<S: Read + Write>(Box<StreamOwned<ClientConnection, S>>);

impl<S: Read + Write> TlsStream<S> {
    /// Shakes hands over `socket`.
    pub(super) fn open(session: Session, socket: S) -> io::Result<TlsStream<S>> {
        let mut stream = StreamOwned::new(session.0, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsStream(Box::new(stream)))
    }

    /// The socket below.
    pub(super) fn socket(&mut self) -> &mut S {
        &mut self.0.sock
    }
}

impl<S: Read + Write> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, TransportError> {
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
