//! Numbers for those who watch over the server, in the text format of Prometheus.

use super::files::{Repositories, manifest};
use super::reply;
use crate::http::Body;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Object,
    Letter,
    Geo,
    Announcements,
    Other,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Letter => "letter",
            Kind::Geo => "geo",
            Kind::Announcements => "announcements",
            Kind::Other => "other",
        }
    }
}

pub(super) struct Metrics {
    replies: Mutex<BTreeMap<(Kind, u16), u64>>,
    connections: Arc<AtomicI64>,
}

impl Metrics {
    /// With the number of open connections, which somebody else keeps up to date.
    pub(super) fn new(connections: Arc<AtomicI64>) -> Metrics {
        Metrics { replies: Mutex::default(), connections }
    }

    pub(super) fn reply(&self, kind: Kind, status: StatusCode) {
        *self.replies.lock().entry((kind, status.as_u16())).or_insert(0) += 1;
    }

    pub(super) fn show(&self, repositories: &Repositories) -> Response<Body> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{arguments}");
        };
        line(format_args!("# TYPE cvmfs_server_replies_total counter"));
        for ((kind, status), count) in &*self.replies.lock() {
            let kind = kind.name();
            line(format_args!("cvmfs_server_replies_total{{kind=\"{kind}\",status=\"{status}\"}} {count}"));
        }
        line(format_args!("# TYPE cvmfs_server_connections gauge"));
        line(format_args!("cvmfs_server_connections {}", self.connections.load(Ordering::Relaxed)));
        let revisions: Vec<_> =
            repositories.all().into_iter().filter_map(|(name, at)| Some((name, manifest(&at)?))).collect();
        line(format_args!("# TYPE cvmfs_repository_revision gauge"));
        for (name, fields) in &revisions {
            line(format_args!("cvmfs_repository_revision{{repository=\"{name}\"}} {}", fields.revision));
        }
        line(format_args!("# TYPE cvmfs_repository_published_timestamp_seconds gauge"));
        for (name, fields) in &revisions {
            let time = fields.timestamp.unwrap_or(0);
            line(format_args!("cvmfs_repository_published_timestamp_seconds{{repository=\"{name}\"}} {time}"));
        }
        let mut response = reply::text("text/plain; version=0.0.4", text);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
