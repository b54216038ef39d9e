//! https: directly, through a proxy's tunnel, and with servers that cannot be trusted.
#![allow(clippy::unwrap_used)]

mod transport_support;

use libcvmfs::transport::{Failure, Request, Settings, TlsSettings, Transport, TransportError};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use transport_support::{Collector, Server, TIMEOUT, last, settings};

const BODY: &[u8] = b"the object";

/// A certificate for `localhost` in a file, and the configuration of a server that has it.
fn certificate(dir: &std::path::Path, name: &str) -> (std::path::PathBuf, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let file = dir.join(format!("{name}.pem"));
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (file, Arc::new(config))
}

/// Serves the same response to every request; returns port and number of connections.
fn serve(config: Arc<ServerConfig>, response: Vec<u8>, close: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let response = response.clone();
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(session, tcp);
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(got) = stream.read(&mut buffer) {
                    if got == 0 {
                        return;
                    }
                    request.extend_from_slice(&buffer[..got]);
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        if stream.write_all(&response).is_err() || close {
                            let _ = stream.sock.shutdown(std::net::Shutdown::Both);
                            return;
                        }
                    }
                }
            });
        }
    });
    (port, connections)
}

fn whole() -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", BODY].concat()
}

fn trusting(bundle: &std::path::Path, port: u16, proxies: &str) -> Settings {
    let tls = TlsSettings { use_system_ca: false, cert_dir: None, cert_bundle: Some(bundle.to_owned()) };
    // The server listens on IPv4 only and is called by name, because the certificate has no address in it.
    Settings { tls, ..settings(&[format!("https://localhost:{port}/cvmfs/x")], proxies) }
}

fn fetch(transport: &Transport) -> Result<libcvmfs::transport::Fetched, TransportError> {
    transport.fetch(&Request::new("/data/ab/cd", 100), &mut Collector::expecting(BODY))
}

#[test]
fn a_trusted_server_serves_over_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, config) = certificate(dir.path(), "localhost");
    let (port, connections) = serve(config, whole(), false);
    for tls in [
        TlsSettings { cert_bundle: Some(bundle.clone()), cert_dir: None, use_system_ca: false },
        TlsSettings { cert_bundle: None, cert_dir: Some(dir.path().to_owned()), use_system_ca: false },
    ] {
        let before = connections.load(Ordering::SeqCst);
        let transport = Transport::new(Settings { tls, ..trusting(&bundle, port, "DIRECT") }).unwrap();
        for _ in 0..3 {
            fetch(&transport).unwrap();
        }
        assert_eq!(connections.load(Ordering::SeqCst) - before, 1);
    }
}

#[test]
fn an_untrusted_or_misnamed_server_is_a_host_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = certificate(dir.path(), "localhost");
    let (other_bundle, other) = certificate(dir.path(), "other.example");
    let (port, _) = serve(other, whole(), false);
    for bundle in [bundle, other_bundle] {
        let error = fetch(&Transport::new(trusting(&bundle, port, "DIRECT")).unwrap()).unwrap_err();
        assert_eq!(error.failure(), Failure::HostConnection, "{error}");
    }
}

#[test]
fn without_authorities_https_is_a_configuration_error() {
    let none = TlsSettings { use_system_ca: false, cert_dir: None, cert_bundle: None };
    let settings = Settings { tls: none, ..settings(&["https://localhost/x".to_owned()], "DIRECT") };
    assert!(matches!(Transport::new(settings), Err(TransportError::Certificates { .. })));
}

#[test]
fn an_unlengthed_body_cut_by_an_attacker_is_not_taken_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, config) = certificate(dir.path(), "localhost");
    // No length, and the connection ends without TLS saying so.
    let (port, _) = serve(config, [b"HTTP/1.1 200 OK\r\n\r\n", BODY].concat(), true);
    let error = fetch(&Transport::new(trusting(&bundle, port, "DIRECT")).unwrap()).unwrap_err();
    assert_eq!(error.failure(), Failure::HostShortTransfer, "{error}");
}

#[test]
fn a_server_that_never_finishes_the_handshake_is_left_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = certificate(dir.path(), "localhost");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let started = Instant::now();
    let error = fetch(&Transport::new(trusting(&bundle, port, "DIRECT")).unwrap()).unwrap_err();
    assert_eq!(error.failure(), Failure::HostConnection);
    assert!(started.elapsed() < 7 * TIMEOUT, "{:?}", started.elapsed());
}

#[test]
fn a_proxy_opens_a_tunnel() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, config) = certificate(dir.path(), "localhost");
    let (port, _) = serve(config, whole(), false);
    let proxy = Server::start(move |seen, client| {
        assert_eq!(seen.line, format!("CONNECT localhost:{port} HTTP/1.1"));
        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut server, client);
        false
    });
    let transport = Transport::new(trusting(&bundle, port, &proxy.proxy())).unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&transport).unwrap().proxy, Some(proxy.proxy()));
    }
    assert_eq!(proxy.connections(), 1);

    let refusing = Server::start(|_, client| last(client, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let transport = Transport::new(trusting(&bundle, port, &refusing.proxy())).unwrap();
    assert_eq!(fetch(&transport).unwrap_err().failure(), Failure::ProxyHttp);
}
