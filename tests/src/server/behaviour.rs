use std::fs::File;
use std::io::{self, Read, Take, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

/// How a server answers one request. Those marked *file* need something to serve at the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// *File*: as it should be.
    Normal,
    /// *File*: as it should be, but only after this time.
    After(Duration),
    /// This status code with a short text body.
    Status(u16),
    /// Status 200 with this body, whatever lies at the path.
    Body(Vec<u8>),
    /// Status 200 with a friendly HTML page, as captive portals send.
    Html,
    /// Status 302 to this URL or path.
    Redirect(String),
    /// Status 302 to the very same path.
    RedirectLoop,
    /// *File*: the right length is announced, the connection ends after this many bytes of the body.
    Truncate(usize),
    /// *File*: as many bytes as announced, but announced are this many more (or fewer) than there are; then the
    /// connection is closed.
    WrongLength(i64),
    /// *File*: with the bit 0 of the byte at this offset (modulo the size) flipped.
    CorruptByte(usize),
    /// A body without announced length that never ends.
    Endless,
    /// A chunked body that never ends.
    EndlessChunked,
    /// Header fields that never end.
    EndlessHeader,
    /// *File*: this many bytes of the body at a time, with this pause between.
    Drip {
        /// Bytes sent at once.
        bytes: usize,
        /// Pause after each.
        pause: Duration,
    },
    /// The request is read and never answered.
    Silent,
    /// *File*: the connection is reset (RST) after this many bytes of the body; 0: before any answer.
    Reset(usize),
    /// The connection is closed without an answer.
    Close,
    /// Something that is no HTTP at all.
    Garbage,
    /// These bytes, exactly, and the end of the connection.
    Raw(Vec<u8>),
}

/// What lies at a path.
#[derive(Default)]
pub(super) struct Content {
    /// The part that is sent; `None`: nothing lies there.
    pub(super) file: Option<Take<File>>,
    /// Bytes in that part.
    pub(super) length: u64,
    /// First byte and size of the whole when only a part was asked for.
    pub(super) part: Option<(u64, u64)>,
    pub(super) max_age: u32,
}

/// Whether the connection can take another request.
#[derive(PartialEq, Eq)]
pub(super) enum Next {
    Keep,
    Close,
}

pub(super) fn answer(
    out: &mut TcpStream,
    behaviour: &Behaviour,
    head_only: bool,
    path: &str,
    content: Option<Content>,
    stopped: &dyn Fn() -> bool,
) -> io::Result<Next> {
    let Some(mut content) = content else {
        return status(out, 404, head_only);
    };
    if let Behaviour::Normal | Behaviour::After(_) = behaviour {
        if let Behaviour::After(time) = behaviour {
            rest(*time, stopped);
        }
        head(out, &content, content.length as i64)?;
        if let (Some(mut file), false) = (content.file, head_only) {
            // By sendfile, as good servers do it.
            io::copy(&mut file, out)?;
        }
        return Ok(Next::Keep);
    }
    let mut body = Vec::new();
    if let Some(file) = &mut content.file {
        file.read_to_end(&mut body)?;
    }
    let body = &body;
    match behaviour {
        Behaviour::Normal | Behaviour::After(_) => unreachable!("answered above"),
        Behaviour::Status(code) => status(out, *code, head_only),
        Behaviour::Body(bytes) => typed(out, "application/octet-stream", bytes, head_only),
        Behaviour::Html => {
            typed(out, "text/html", b"<html><body><h1>Please log in to the guest network</h1></body></html>", head_only)
        }
        Behaviour::Redirect(to) => redirect(out, to),
        Behaviour::RedirectLoop => redirect(out, path),
        Behaviour::Truncate(after) => {
            let sent = &body[..body.len().min(*after)];
            file(out, &content, body.len() as i64, sent, head_only)?;
            Ok(Next::Close)
        }
        Behaviour::WrongLength(by) => {
            let announced = (body.len() as i64 + by).max(0);
            file(out, &content, announced, body, head_only)?;
            Ok(Next::Close)
        }
        Behaviour::CorruptByte(at) => {
            let mut bytes = body.clone();
            let size = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % size) {
                *byte ^= 1;
            }
            file(out, &content, body.len() as i64, &bytes, head_only)
        }
        Behaviour::Endless => {
            write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            while !stopped() {
                out.write_all(&[b'x'; 65536])?;
            }
            Ok(Next::Close)
        }
        Behaviour::EndlessChunked => {
            write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            while !stopped() {
                write!(out, "10000\r\n")?;
                out.write_all(&[b'x'; 65536])?;
                write!(out, "\r\n")?;
            }
            Ok(Next::Close)
        }
        Behaviour::EndlessHeader => {
            write!(out, "HTTP/1.1 200 OK\r\n")?;
            let field = format!("X-Filler: {}\r\n", "x".repeat(4000));
            while !stopped() {
                out.write_all(field.as_bytes())?;
            }
            Ok(Next::Close)
        }
        Behaviour::Drip { bytes, pause } => {
            head(out, &content, body.len() as i64)?;
            for piece in body.chunks((*bytes).max(1)) {
                if stopped() {
                    return Ok(Next::Close);
                }
                out.write_all(piece)?;
                rest(*pause, stopped);
            }
            Ok(Next::Keep)
        }
        Behaviour::Silent => {
            while !stopped() {
                rest(Duration::from_secs(1), stopped);
            }
            Ok(Next::Close)
        }
        Behaviour::Reset(after) => {
            if *after > 0 {
                file(out, &content, body.len() as i64, &body[..body.len().min(*after)], head_only)?;
                // Let the bytes leave before the reset overtakes them.
                std::thread::sleep(Duration::from_millis(20));
            }
            socket2::SockRef::from(&*out).set_linger(Some(Duration::ZERO))?;
            Ok(Next::Close)
        }
        Behaviour::Close => Ok(Next::Close),
        Behaviour::Garbage => {
            out.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n")?;
            Ok(Next::Close)
        }
        Behaviour::Raw(bytes) => {
            out.write_all(bytes)?;
            Ok(Next::Close)
        }
    }
}

impl Behaviour {
    /// Whether the answer is made from what lies at the path, so that there is none where nothing lies.
    pub(super) fn needs_file(&self) -> bool {
        match self {
            Behaviour::Normal
            | Behaviour::After(_)
            | Behaviour::Truncate(_)
            | Behaviour::WrongLength(_)
            | Behaviour::CorruptByte(_)
            | Behaviour::Drip { .. } => true,
            Behaviour::Reset(after) => *after > 0,
            _ => false,
        }
    }
}

fn head(out: &mut TcpStream, content: &Content, announced: i64) -> io::Result<()> {
    let (status, range) = match content.part {
        Some((first, whole)) => {
            let last = (first + content.length).saturating_sub(1);
            ("206 Partial Content", format!("Content-Range: bytes {first}-{last}/{whole}\r\n"))
        }
        None => ("200 OK", String::new()),
    };
    // Without a date a proxy cannot tell how old an answer is, and does not keep it.
    let date = httpdate::fmt_http_date(SystemTime::now());
    let max_age = content.max_age;
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {announced}\r\n\
         {range}Accept-Ranges: bytes\r\nDate: {date}\r\nCache-Control: max-age={max_age}\r\n\r\n"
    );
    out.write_all(text.as_bytes())
}

fn file(out: &mut TcpStream, content: &Content, announced: i64, body: &[u8], head_only: bool) -> io::Result<Next> {
    head(out, content, announced)?;
    if !head_only {
        out.write_all(body)?;
    }
    Ok(Next::Keep)
}

pub(super) fn typed(out: &mut TcpStream, media_type: &str, body: &[u8], head_only: bool) -> io::Result<Next> {
    let length = body.len();
    write!(out, "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n")?;
    if !head_only {
        out.write_all(body)?;
    }
    Ok(Next::Keep)
}

pub(super) fn status(out: &mut TcpStream, code: u16, head_only: bool) -> io::Result<Next> {
    let text = format!("status {code}\n");
    let length = text.len();
    write!(out, "HTTP/1.1 {code} Status\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n")?;
    if !head_only {
        out.write_all(text.as_bytes())?;
    }
    Ok(Next::Keep)
}

fn redirect(out: &mut TcpStream, to: &str) -> io::Result<Next> {
    write!(out, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
    Ok(Next::Keep)
}

/// Sleeps, but not much longer than until the server is stopped.
pub(super) fn rest(time: Duration, stopped: &dyn Fn() -> bool) {
    let until = std::time::Instant::now() + time;
    while !stopped() {
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}
