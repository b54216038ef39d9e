//! A scripted HTTP server that does exactly what a test tells it, and receivers that record what happened.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use libcvmfs::object::{ReceiveError, Receiver};
use libcvmfs::transport::{ProxyList, Settings};
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Request line.
    pub line: String,
    /// Header lines, as sent.
    pub headers: Vec<String>,
    /// Number of this request at this server, from 0.
    pub number: usize,
    /// Number of the connection, from 0.
    pub connection: usize,
}

impl Seen {
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        self.headers.iter().find(|h| h.to_ascii_lowercase().starts_with(&prefix)).map(|h| h[prefix.len()..].trim())
    }
}

/// Answers one request; returns whether the connection stays open.
pub type Script = dyn Fn(&Seen, &mut TcpStream) -> bool + Send + Sync;

pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    pub fn start(script: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server {
            port,
            seen: Arc::default(),
            connections: Arc::default(),
            stopped: Arc::default(),
            open: Arc::default(),
        };
        let script: Arc<Script> = Arc::new(script);
        let (seen, connections, stopped, open) =
            (server.seen.clone(), server.connections.clone(), server.stopped.clone(), server.open.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                let (seen, script) = (seen.clone(), script.clone());
                std::thread::spawn(move || serve(stream, connection, &seen, &*script));
            }
        });
        server
    }

    /// A server with one file.
    pub fn with_body(path: &'static str, body: &'static [u8]) -> Server {
        Server::start(move |seen, stream| {
            if seen.target().ends_with(path) { respond(stream, 200, "", body) } else { respond(stream, 404, "", b"no") }
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/cvmfs/test.example", self.port)
    }

    pub fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Refuses new connections and cuts the old ones.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, connection: usize, seen: &Mutex<Vec<Seen>>, script: &Script) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut line = String::new();
        if !matches!(reader.read_line(&mut line), Ok(n) if n > 0) {
            return;
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            if !matches!(reader.read_line(&mut header), Ok(n) if n > 0) {
                return;
            }
            if header.trim_end().is_empty() {
                break;
            }
            headers.push(header.trim_end().to_owned());
        }
        let request = {
            let mut all = seen.lock().unwrap();
            let request = Seen { line: line.trim_end().to_owned(), headers, number: all.len(), connection };
            all.push(request.clone());
            request
        };
        if !script(&request, &mut stream) {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Writes a whole response with a length.
pub fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).is_ok() && stream.write_all(body).is_ok()
}

/// Writes bytes as they are.
pub fn raw(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Writes bytes as they are and closes the connection.
pub fn last(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    raw(stream, bytes);
    false
}

/// A port that refuses connections for as long as this process runs, unless it is listened on by name: a socket that
/// is bound to it and does not listen keeps it from everybody who asks for any port.
pub fn dead_port() -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket_ipv4().unwrap().port();
    std::mem::forget(socket);
    port
}

/// Collects a body and compares it with what is expected.
#[derive(Debug, Default)]
pub struct Collector {
    pub body: Vec<u8>,
    pub expected: Option<Vec<u8>>,
    pub restarts: usize,
    pub full_disk: bool,
}

impl Collector {
    pub fn expecting(body: &[u8]) -> Collector {
        Collector { expected: Some(body.to_vec()), ..Collector::default() }
    }
}

impl Receiver for Collector {
    fn restart(&mut self) -> Result<(), ReceiveError> {
        self.body.clear();
        self.restarts += 1;
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        if self.full_disk {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), ReceiveError> {
        match &self.expected {
            Some(expected) if *expected != self.body => Err(ReceiveError::Corrupt("hash mismatch".to_owned())),
            _ => Ok(()),
        }
    }
}

/// What a server is waited for: short for who has to wait, and longer than a busy machine lets anybody stand still.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// How long what is silent stays silent: longer than any client waits.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Settings with short times.
pub fn settings(hosts: &[String], proxies: &str) -> Settings {
    Settings {
        hosts: hosts.to_vec(),
        proxies: ProxyList::parse(proxies).unwrap(),
        timeout: TIMEOUT,
        timeout_direct: TIMEOUT,
        backoff_init: Duration::from_millis(20),
        backoff_max: Duration::from_millis(50),
        random_seed: Some(1),
        ..Settings::default()
    }
}
