//! The source of a repository that fetches for itself, and what it tells about itself.

use super::select::Selected;
use crate::Error;
use crate::cache::Mapping;
use crate::config::{Config, table};
use crate::fetch::Fetcher;
use crate::snapshot::{CatalogRef, Content, Source};
use crate::transport::{Status, Transport};
use crate::trust::VerifiedManifest;
use parking_lot::RwLock;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Bytes of meta information that are shown.
const META_INFO_LIMIT: usize = 64 << 10;

pub(super) struct FetchingSource {
    fetcher: Arc<Fetcher>,
    public_keys: Vec<u8>,
    mounted: Instant,
    manifest: RwLock<Option<Arc<VerifiedManifest>>>,
    expires: RwLock<Option<Instant>>,
}

impl FetchingSource {
    pub(super) fn new(fetcher: Arc<Fetcher>, config: &Config) -> Result<FetchingSource, Error> {
        let keys = match config.master_keys() {
            Err(_) if config.text(&table::ROOT_HASH)?.is_some() => Vec::new(),
            keys => keys?,
        };
        let public_keys = keys.iter().flat_map(|key| key.pem.iter().copied()).collect();
        Ok(FetchingSource {
            fetcher,
            public_keys,
            mounted: Instant::now(),
            manifest: RwLock::new(None),
            expires: RwLock::new(None),
        })
    }

    /// Remembers whose meta information to show.
    pub(super) fn mounted(&self, selected: &Selected) {
        if selected.manifest.is_some() {
            self.manifest.write().clone_from(&selected.manifest);
        }
    }

    /// Remembers when the next look for a newer revision is due.
    pub(super) fn expires(&self, when: Option<Instant>) {
        *self.expires.write() = when;
    }

    fn meta_info(&self) -> Vec<u8> {
        let manifest = self.manifest.read().clone();
        let Some(manifest) = manifest else { return b"manifest not available".to_vec() };
        let Some(name) = manifest.meta_info() else { return b"no meta information".to_vec() };
        match self.fetcher.small_object(name, manifest.has_alternative_paths()) {
            Ok(mut json) => {
                json.truncate(META_INFO_LIMIT);
                json
            }
            Err(error) => format!("meta information not available: {error}").into_bytes(),
        }
    }
}

fn with_newline(lines: &str) -> String {
    if lines.is_empty() || lines.ends_with('\n') { lines.to_owned() } else { format!("{lines}\n") }
}

fn seconds(status: &Status) -> f64 {
    status.totals.time.as_secs_f64()
}

impl Source for FetchingSource {
    fn index(&self, catalog: &CatalogRef) -> Result<Mapping, Error> {
        self.fetcher.index(catalog)
    }

    fn open(&self, content: &Content) -> Result<File, Error> {
        self.fetcher.open(content)
    }

    fn status_attribute(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let status = self.fetcher.transport().status();
        let external = self.fetcher.external_transport().map(Transport::status);
        let counters = self.fetcher.counters();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let text = match name {
            "external_host" => external.map(|status| status.host).unwrap_or_default(),
            "external_timeout" => external.as_ref().unwrap_or(&status).timeout.as_secs().to_string(),
            "expires" => match *self.expires.read() {
                Some(expires) => (expires.saturating_duration_since(Instant::now()).as_secs().div_ceil(60)).to_string(),
                None => "never (fixed root catalog)".to_owned(),
            },
            "hitrate" => {
                let (hits, misses) = (count(&counters.hits), count(&counters.misses));
                match hits + misses {
                    0 => "n/a".to_owned(),
                    all => format!("{:.3}", 100.0 * hits as f64 / all as f64),
                }
            }
            "host" => status.host,
            "host_list" => status.hosts.join(";"),
            "maxfd" => rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string()),
            // Clean-ups are not counted: any process that uses the cache may have done one.
            "ncleanup24" => "-1".to_owned(),
            "ndownload" => status.totals.downloads.to_string(),
            "nioerr" => count(&counters.errors).to_string(),
            "nopen" => count(&counters.opened).to_string(),
            "pid" => std::process::id().to_string(),
            "proxy" => status.proxy,
            "proxy_list" => with_newline(&status.proxy_list),
            // Without a server for them, external files would go the official way: directly.
            "proxy_list_external" => {
                external.map_or_else(|| "DIRECT\n".to_owned(), |status| with_newline(&status.proxy_list))
            }
            "pubkeys" => return Ok(Some(self.public_keys.clone())),
            "repo_metainfo" => return Ok(Some(self.meta_info())),
            "rx" => (status.totals.bytes >> 10).to_string(),
            "speed" => match (status.totals.bytes >> 10) as f64 / seconds(&status) {
                speed if speed.is_finite() => format!("{speed:.0}"),
                _ => "n/a".to_owned(),
            },
            "timeout" => status.timeout.as_secs().to_string(),
            "timeout_direct" => status.timeout_direct.as_secs().to_string(),
            "timestamp_last_ioerr" => count(&counters.last_error).to_string(),
            "uptime" => (self.mounted.elapsed().as_secs() / 60).to_string(),
            "version" => env!("CARGO_PKG_VERSION").to_owned(),
            _ => return Ok(None),
        };
        Ok(Some(text.into_bytes()))
    }
}
