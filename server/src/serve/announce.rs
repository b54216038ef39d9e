//! Announcements: who waits for new revisions is told as soon as one is published.
//!
//! They are events as browsers read them (`text/event-stream`), and hints only: what is true, the signed manifest says.

use super::files::manifest;
use super::reply;
use crate::file_identity::FileIdentity;
use crate::http::Body;
use crate::repository::MANIFEST;
use http_body_util::BodyExt as _;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// Where a repository announces its revisions, below its base URL.
pub const PATH: &str = "api/v1.0/announcements";
/// What events are.
pub const CONTENT: &str = "text/event-stream";
/// Clients that are told at the same time.
const MOST: usize = 128;
/// Time between two looks at a manifest.
const LOOK: Duration = Duration::from_millis(500);
/// After this time without an event something is sent all the same, so that both ends see who is gone.
const SILENCE: Duration = Duration::from_secs(15);

/// Those who listen.
pub(super) struct Announcements {
    free: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Announcements {
    pub(super) fn new() -> Announcements {
        Announcements { free: Arc::new(Semaphore::new(MOST)), stopping: watch::Sender::new(false) }
    }

    /// Ends all streams.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// The revision of now and all that come, until the client goes or the server stops.
    pub(super) fn answer(&self, directory: &Path, method: &Method) -> Response<Body> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            return reply::status(StatusCode::SERVICE_UNAVAILABLE);
        };
        let (sender, channel) = Channel::<Bytes, io::Error>::new(1);
        if *method == Method::GET {
            let listener = Listener { directory: directory.to_owned(), sender, _permit: permit };
            tokio::spawn(listener.tell(self.stopping.subscribe()));
        }
        let mut response = Response::new(channel.boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// One who listens.
struct Listener {
    directory: PathBuf,
    sender: Sender<Bytes, io::Error>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    async fn tell(mut self, mut stopping: watch::Receiver<bool>) {
        let (mut known, mut silent_since) = (None, Instant::now());
        while !*stopping.borrow_and_update() {
            let text = match self.news(&mut known) {
                Some(event) => Some(event),
                None if silent_since.elapsed() > SILENCE => Some(":\n\n".to_owned()),
                None => None,
            };
            if let Some(text) = text {
                if self.sender.send_data(Bytes::from(text)).await.is_err() {
                    return;
                }
                silent_since = Instant::now();
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// The event for a manifest that is not the `known` one.
    fn news(&self, known: &mut Option<FileIdentity>) -> Option<String> {
        let metadata = std::fs::metadata(self.directory.join(MANIFEST)).ok()?;
        let identity = FileIdentity::from(&metadata);
        if *known == Some(identity) {
            return None;
        }
        let fields = manifest(&self.directory)?;
        *known = Some(identity);
        let told = json!({
            "repository": fields.name, "revision": fields.revision, "root_hash": fields.root_catalog.to_string(),
        });
        Some(format!("id: {}\nevent: revision\ndata: {told}\n\n", fields.revision))
    }
}
