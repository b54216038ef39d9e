//! Takes user data out of what it is wrapped in: gzip, base64, MIME. Every layer has a limit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zlib_rs::{Inflate, InflateFlush, Status};

/// The most bytes that all layers together may unpack to.
const LARGEST_UNPACKED: usize = 8 << 20;
/// Bytes unpacked at once.
const PIECE: usize = 32 << 10;
/// How the library is told that there are headers of gzip, and the largest window.
const GZIP_WINDOW: u8 = 16 + 15;
/// The most layers that are taken off.
const DEEPEST: usize = 6;
/// The most parts that a multipart document is split into.
const MOST_PARTS: usize = 256;

/// One document inside user data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its type as MIME says it, in lower case and without parameters; `None` outside MIME.
    pub kind: Option<String>,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// All documents in `bytes`, and what could not be taken apart, in words for a person.
///
/// What does not unpack stays as it is: a script that only looks like base64 is a script.
pub fn parts(bytes: &[u8]) -> (Vec<Part>, Vec<String>) {
    let mut unwrapper = Unwrapper { budget: LARGEST_UNPACKED, parts: Vec::new(), remarks: Vec::new() };
    unwrapper.take(None, bytes.to_vec(), 0);
    (unwrapper.parts, unwrapper.remarks)
}

struct Unwrapper {
    budget: usize,
    parts: Vec<Part>,
    remarks: Vec<String>,
}

impl Unwrapper {
    fn take(&mut self, kind: Option<String>, bytes: Vec<u8>, depth: usize) {
        if depth == DEEPEST {
            self.remarks.push("wrapped too often".to_owned());
        } else if bytes.starts_with(&[0x1f, 0x8b]) {
            match self.gunzipped(&bytes) {
                Ok(plain) => return self.take(kind, plain, depth + 1),
                Err(remark) => self.remarks.push(remark),
            }
        } else if let Some(document) = Document::read(&bytes) {
            return self.take_document(&document, depth);
        } else if kind.is_none()
            && let Some(plain) = unbase64(&bytes)
        {
            return self.take(kind, plain, depth + 1);
        }
        self.parts.push(Part { kind, bytes });
    }

    fn gunzipped(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let plain = gunzip(bytes, self.budget)?;
        self.budget -= plain.len();
        Ok(plain)
    }

    fn take_document(&mut self, document: &Document<'_>, depth: usize) {
        let Some(boundary) = &document.boundary else {
            return self.take(Some(document.kind.clone()), document.decoded(), depth + 1);
        };
        let pieces = split(document.body, boundary.as_bytes());
        if pieces.len() >= MOST_PARTS {
            self.remarks.push("too many parts".to_owned());
        }
        for piece in pieces {
            match Document::read(piece) {
                Some(part) if part.boundary.is_some() => {
                    if depth + 1 < DEEPEST {
                        self.take_document(&part, depth + 1);
                    }
                }
                Some(part) => self.take(Some(part.kind.clone()), part.decoded(), depth + 1),
                None => self.take(Some("text/plain".to_owned()), without_header(piece).to_vec(), depth + 1),
            }
        }
    }
}

/// All members of a gzip file, one behind the other; at most `limit` bytes.
fn gunzip(mut packed: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let mut piece = vec![0; PIECE];
    while !packed.is_empty() {
        let mut member = Inflate::new(true, GZIP_WINDOW);
        let mut is_whole = false;
        while !is_whole {
            let (taken, given) = (member.total_in(), member.total_out());
            let status = member.decompress(packed, &mut piece, InflateFlush::NoFlush);
            is_whole = status.map_err(|error| format!("gzip: {}", error.as_str()))? == Status::StreamEnd;
            let (taken, given) = ((member.total_in() - taken) as usize, (member.total_out() - given) as usize);
            if taken + given == 0 && !is_whole {
                return Err("gzip: ends too soon".to_owned());
            }
            packed = &packed[taken..];
            plain.extend_from_slice(&piece[..given]);
            if plain.len() > limit {
                return Err("gzip: unpacks to too much".to_owned());
            }
        }
    }
    Ok(plain)
}

/// Decodes base64 with spaces and line ends in it; `None` if it is something else.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let packed: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(packed).ok()
}

/// Base64 is only seen as such when nothing else is in it, and it is not a plain word.
fn unbase64(bytes: &[u8]) -> Option<Vec<u8>> {
    let packed: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let plain = (packed.len() >= 16).then(|| STANDARD.decode(&packed).ok()).flatten()?;
    // A word of letters decodes to something, too, but hardly to text.
    (plain.starts_with(&[0x1f, 0x8b]) || std::str::from_utf8(&plain).is_ok()).then_some(plain)
}

/// A header and a body.
struct Document<'a> {
    kind: String,
    boundary: Option<String>,
    encoding: String,
    body: &'a [u8],
}

impl<'a> Document<'a> {
    /// `None` if `bytes` do not begin with a header that tells their type.
    fn read(bytes: &'a [u8]) -> Option<Document<'a>> {
        let body = without_header(bytes);
        let header = std::str::from_utf8(&bytes[..bytes.len() - body.len()]).ok()?;
        let fields = fields(header)?;
        let field = |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let content = field("content-type")?;
        let kind = content.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let boundary = kind.starts_with("multipart/").then(|| parameter(content, "boundary")).flatten();
        let encoding = field("content-transfer-encoding").map(|value| value.trim().to_ascii_lowercase());
        Some(Document { kind, boundary, encoding: encoding.unwrap_or_default(), body })
    }

    fn decoded(&self) -> Vec<u8> {
        match self.encoding.as_str() {
            "base64" => {
                let packed: Vec<u8> = self.body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                STANDARD.decode(packed).unwrap_or_else(|_| self.body.to_vec())
            }
            "quoted-printable" => unquoted(self.body),
            _ => self.body.to_vec(),
        }
    }
}

/// What follows the first empty line; nothing if there is none.
fn without_header(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return &[] };
        let (line, after) = rest.split_at(end + 1);
        if line.trim_ascii().is_empty() {
            return after;
        }
        rest = after;
    }
}

/// The fields of a header; `None` if it is not one.
fn fields(header: &str) -> Option<Vec<(&str, String)>> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in header.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            fields.last_mut()?.1.push_str(line);
        } else if !line.starts_with("From ") {
            let (key, value) = line.split_once(':')?;
            let named = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            named.then(|| fields.push((key, value.trim().to_owned())))?;
        }
    }
    Some(fields)
}

fn parameter(content: &str, name: &str) -> Option<String> {
    let value = content.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    });
    value.filter(|value| !value.is_empty())
}

/// The pieces between lines `--boundary`, until `--boundary--`.
fn split<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut begin = None;
    let mut at = 0;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let text = line.trim_ascii_end();
        if let Some(rest) = text.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary))
            && (rest.is_empty() || rest == b"--")
        {
            if let Some(begin) = begin {
                pieces.push(&body[begin..at]);
            }
            begin = rest.is_empty().then_some(at + line.len());
            if begin.is_none() || pieces.len() == MOST_PARTS {
                return pieces;
            }
        }
        at += line.len();
    }
    pieces.extend(begin.map(|begin| &body[begin..]));
    pieces
}

fn unquoted(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'=', [b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..]) => rest = tail,
            (b'=', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_default() as u8;
                plain.push(digit(*high) << 4 | digit(*low));
                rest = tail;
            }
            _ => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
