//! What a transport is doing, for magic attributes, status commands and logs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Running totals of one transport.
#[derive(Debug, Default)]
pub(super) struct Counters {
    downloads: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
    errors: AtomicU64,
    retries: AtomicU64,
    host_switches: AtomicU64,
    proxy_switches: AtomicU64,
    connections: AtomicU64,
}

impl Counters {
    pub(super) fn download(&self, bytes: u64, time: Duration) {
        self.downloads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn host_switch(&self) {
        self.host_switches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn proxy_switch(&self) {
        self.proxy_switches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Totals {
        Totals {
            downloads: self.downloads.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
            errors: self.errors.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            host_switches: self.host_switches.load(Ordering::Relaxed),
            proxy_switches: self.proxy_switches.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }
}

/// Running totals since the transport was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Requests served.
    pub downloads: u64,
    /// Bytes of the bodies of served requests.
    pub bytes: u64,
    /// Time spent in served requests.
    pub time: Duration,
    /// Requests that could not be served.
    pub errors: u64,
    /// Repetitions on the same host and proxy.
    pub retries: u64,
    /// Changes of the current host.
    pub host_switches: u64,
    /// Changes of the current proxy.
    pub proxy_switches: u64,
    /// TCP connections opened.
    pub connections: u64,
}

/// A snapshot of a transport's state.
#[derive(Debug, Clone)]
pub struct Status {
    /// The host that the next request goes to (attribute `user.host`).
    pub host: String,
    /// All hosts, beginning with the current one (attribute `user.host_list`).
    pub hosts: Vec<String>,
    /// The proxy that the next request goes through, or `DIRECT` (attribute `user.proxy`).
    pub proxy: String,
    /// Groups as text, with the addresses in use (attribute `user.proxy_list`).
    pub proxy_list: String,
    /// Index of the current group.
    pub proxy_group: usize,
    /// Timeout through proxies (attribute `user.timeout`).
    pub timeout: Duration,
    /// Timeout of direct connections (attribute `user.timeout_direct`).
    pub timeout_direct: Duration,
    /// Bytes per second below which a transfer is too slow (attribute `user.lowspeed_limit`).
    pub low_speed_limit: u64,
    /// Running totals (attributes `user.ndownload`, `user.rx`, `user.speed`).
    pub totals: Totals,
}
