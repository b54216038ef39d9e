//! Connections kept open between requests.

use super::Wire;
use crate::transport::url::Authority;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A connection idle for longer is closed; squid keeps them for two minutes.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// What makes two connections interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::transport) struct PoolKey {
    /// Address of the proxy, if there is one.
    pub(in crate::transport) proxy: Option<SocketAddr>,
    /// Server at the other end of a direct connection or a tunnel; a plain proxy connection serves all.
    pub(in crate::transport) server: Option<Authority>,
    /// True under TLS.
    pub(in crate::transport) tls: bool,
}

/// Idle connections, newest last.
#[derive(Debug, Default)]
pub(in crate::transport) struct Pool {
    idle: Mutex<HashMap<PoolKey, Vec<Wire>>>,
    max_idle: AtomicUsize,
}

impl Pool {
    /// A pool for at most `max_idle` connections.
    pub(in crate::transport) fn new(max_idle: usize) -> Pool {
        Pool { idle: Mutex::default(), max_idle: AtomicUsize::new(max_idle) }
    }

    /// Keeps at least this many from now on.
    pub(in crate::transport) fn allow(&self, connections: usize) {
        self.max_idle.fetch_max(connections, Ordering::Relaxed);
    }

    /// The connection that was used last, if it still works.
    pub(in crate::transport) fn take(&self, key: &PoolKey) -> Option<Wire> {
        loop {
            let mut wire = self.idle.lock().get_mut(key)?.pop()?;
            if wire.idle_since.elapsed() < MAX_IDLE && wire.is_quiet() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(in crate::transport) fn put(&self, key: PoolKey, mut wire: Wire) {
        wire.used = true;
        wire.idle_since = std::time::Instant::now();
        let mut idle = self.idle.lock();
        idle.entry(key).or_default().push(wire);
        while idle.values().map(Vec::len).sum::<usize>() > self.max_idle.load(Ordering::Relaxed) {
            let oldest = idle
                .iter()
                .filter_map(|(key, wires)| Some((wires.first()?.idle_since, key.clone())))
                .min_by_key(|o| o.0);
            let Some((_, key)) = oldest else { break };
            if let Some(wires) = idle.get_mut(&key) {
                wires.remove(0);
            }
        }
        idle.retain(|_, wires| !wires.is_empty());
    }
}
