use std::io::{self, BufRead};

/// One request as it reached the server.
#[derive(Debug, Clone)]
pub struct LoggedRequest {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// The target as sent: a path, or a whole URL when the server was used as a proxy.
    pub target: String,
    /// The path of the target, percent-decoded, without query.
    pub path: String,
    /// Header fields in the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Which connection it came on; connections are counted from 0.
    pub connection: usize,
    /// Position in the order of all requests since the server was made, from 0.
    pub number: usize,
}

impl LoggedRequest {
    /// The first header field of this (lower case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The two ends of a `Range: bytes=a-b` field for a body of `size` bytes: first and one past the last byte.
    pub(super) fn range(&self, size: u64) -> Option<(u64, u64)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let first = first.parse().ok()?;
        let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.saturating_add(1).min(size) };
        Some((first, end))
    }

    /// Reads one request; `None` when the peer has closed the connection.
    pub(super) fn read(from: &mut impl BufRead, connection: usize) -> io::Result<Option<LoggedRequest>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other(format!("no request line: {line:?}")));
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let path = decode(path_of(&target));
        Ok(Some(LoggedRequest { method, target, path, headers, connection, number: 0 }))
    }
}

fn path_of(target: &str) -> &str {
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    path.split('?').next().unwrap_or(path)
}

/// Undoes percent encoding; bytes that are no UTF-8 are kept visible as `%XX`.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = std::str::from_utf8(tail.get(..2).unwrap_or_default()).ok();
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}
