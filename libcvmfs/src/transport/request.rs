//! What is asked for, and the header lines that go with it.

use super::error::TransportError;
use super::settings::Settings;
use super::url::escape_path;
use crate::hash::ContentHash;

/// Largest total length of `CVMFS_HTTP_TRACING_HEADERS`.
const MAX_TRACING_LEN: usize = 1000;

/// One object to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Path below the repository base URL, with a leading slash, unescaped: bytes, since external files have names.
    pub path: &'a [u8],
    /// The object's hash, which decides the proxy when the load is sharded.
    pub hash: Option<&'a ContentHash>,
    /// First and last byte wanted; the receiver gets these only.
    pub range: Option<(u64, u64)>,
    /// A longer body is refused.
    pub max_bytes: u64,
    /// Path in the repository or a description, for the `cvmfs-info` header.
    pub label: Option<&'a str>,
    /// Ask caches on the way for a fresh copy from the start.
    pub fresh: bool,
}

impl<'a> Request<'a> {
    /// A request for a whole object of at most `max_bytes` bytes.
    pub fn new(path: &'a (impl AsRef<[u8]> + ?Sized), max_bytes: u64) -> Request<'a> {
        Request { path: path.as_ref(), hash: None, range: None, max_bytes, label: None, fresh: false }
    }

    /// The path for messages.
    pub fn shown_path(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.path)
    }

    /// Names the content hash of what is asked for.
    pub fn with_hash(self, hash: &'a ContentHash) -> Request<'a> {
        Request { hash: Some(hash), ..self }
    }

    /// Names the path in the repository that the object belongs to.
    pub fn with_label(self, label: &'a str) -> Request<'a> {
        Request { label: Some(label), ..self }
    }
}

/// The header lines that are the same for every request of a transport, and what is needed for the others.
#[derive(Debug)]
pub(super) struct HeaderTemplate {
    constant: String,
    send_info: bool,
}

impl HeaderTemplate {
    pub(super) fn new(settings: &Settings) -> Result<HeaderTemplate, TransportError> {
        let agent: String = settings.user_agent.chars().filter(|c| (' '..='~').contains(c)).collect();
        let mut constant = format!("User-Agent: {agent}");
        if let Some(uuid) = &settings.cernvm_uuid {
            let uuid: String = uuid.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            if !uuid.is_empty() {
                constant.push(' ');
                constant.push_str(&uuid);
            }
        }
        constant.push_str("\r\nAccept: */*\r\nConnection: Keep-Alive\r\n");
        if let Some(tracing) = &settings.tracing_headers {
            // SAFETY: these calls read process credentials and cannot fail.
            let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
            constant.push_str(&format!(
                "X-CVMFS-PID: {}\r\nX-CVMFS-GID: {gid}\r\nX-CVMFS-UID: {uid}\r\n",
                std::process::id()
            ));
            constant.push_str(&tracing_lines(tracing)?);
        }
        Ok(HeaderTemplate { constant, send_info: settings.send_info_header })
    }

    /// All header lines of one request, without the empty line that ends them.
    pub(super) fn lines(&self, request: &Request<'_>, no_cache: bool) -> String {
        let mut lines = self.constant.clone();
        if no_cache || request.fresh {
            lines.push_str("Pragma: no-cache\r\nCache-Control: no-cache\r\n");
        }
        if let Some((first, last)) = request.range {
            lines.push_str(&format!("Range: bytes={first}-{last}\r\n"));
        }
        if let (true, Some(label)) = (self.send_info, request.label) {
            lines.push_str(&format!("cvmfs-info: {}\r\n", escape_path(label.as_bytes())));
        }
        lines
    }

    /// `User-Agent` alone, for CONNECT.
    pub(super) fn user_agent_line(&self) -> &str {
        self.constant.split_inclusive("\r\n").next().unwrap_or_default()
    }
}

fn tracing_lines(tracing: &str) -> Result<String, TransportError> {
    let wrong = |reason: String| TransportError::Setting { parameter: "CVMFS_HTTP_TRACING_HEADERS", reason };
    if tracing.len() > MAX_TRACING_LEN {
        return Err(wrong(format!("{} characters are more than {MAX_TRACING_LEN}", tracing.len())));
    }
    let mut lines = String::new();
    for pair in tracing.split('|').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(':').ok_or_else(|| wrong(format!("'{pair}' is not key:value")))?;
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(wrong(format!("key '{key}' is not alphanumeric")));
        }
        if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(wrong(format!("the value of '{key}' has characters that a header cannot carry")));
        }
        lines.push_str(&format!("X-CVMFS-{key}: {value}\r\n"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_of_a_plain_request() {
        let template = HeaderTemplate::new(&Settings::default()).expect("defaults are fine");
        let lines = template.lines(&Request::new("/x", 1), false);
        assert!(lines.starts_with("User-Agent: cvmfs libcvmfs "), "{lines}");
        assert!(lines.contains("\r\nConnection: Keep-Alive\r\n"), "{lines}");
        for absent in ["Accept-Encoding", "Pragma", "Range", "cvmfs-info", "X-CVMFS", "If-"] {
            assert!(!lines.contains(absent), "{absent}: {lines}");
        }
    }

    #[test]
    fn optional_header_lines() {
        let settings = Settings {
            cernvm_uuid: Some("ab-12\r\nEvil: yes".into()),
            send_info_header: true,
            tracing_headers: Some("job:17| site : CERN PROD".into()),
            ..Settings::default()
        };
        let template = HeaderTemplate::new(&settings).expect("well formed");
        let request = Request { range: Some((5, 9)), label: Some("/a b\r\nEvil: yes"), ..Request::new("/x", 1) };
        let lines = template.lines(&request, true);
        assert!(lines.contains(" ab-12Evilyes\r\n"), "{lines}");
        assert!(lines.contains("Range: bytes=5-9\r\n") && lines.contains("Cache-Control: no-cache\r\n"), "{lines}");
        assert!(lines.contains("cvmfs-info: /a%20b%0D%0AEvil:%20yes\r\n"), "{lines}");
        assert!(lines.contains("X-CVMFS-job: 17\r\n") && lines.contains("X-CVMFS-site: CERN PROD\r\n"), "{lines}");
        assert!(!lines.contains("\nEvil"), "{lines}");
    }

    #[test]
    fn bad_tracing_headers_are_refused() {
        for bad in ["novalue", "a b:1", ":1", &"k:v|".repeat(300)] {
            assert!(tracing_lines(bad).is_err(), "{bad}");
        }
    }
}
