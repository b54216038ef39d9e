//! Where addresses and names are, as a database in MaxMind's format tells.

use crate::file_identity::FileIdentity;
use anyhow::{Context as _, Result};
use maxminddb::Reader;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long the place of a name is believed.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Most names that are remembered.
const MOST_REMEMBERED: usize = 10_000;
/// Names that are looked up at the same time: whoever asks us must not occupy everything with names that nobody answers for.
const LOOKUPS: usize = 16;
/// After this time names count as unknown.
const PATIENCE: Duration = Duration::from_secs(5);

/// A point on the globe, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

impl Place {
    /// The angle between two points seen from the centre of the earth, in radians.
    pub(super) fn distance(self, other: Place) -> f64 {
        let half = |a: f64, b: f64| ((a - b).to_radians() / 2.0).sin().powi(2);
        let across = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let chord = half(self.latitude, other.latitude) + across * half(self.longitude, other.longitude);
        2.0 * chord.sqrt().min(1.0).asin()
    }
}

/// What is read of an entry of the database.
#[derive(Deserialize)]
struct Entry {
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

/// The database, and the names that were looked up lately.
pub(super) struct Places {
    file: PathBuf,
    database: Mutex<Database>,
    names: Mutex<HashMap<String, (Instant, Option<Place>)>>,
    lookups: Arc<Semaphore>,
}

/// A database with what tells it from its successor.
struct Database {
    identity: FileIdentity,
    reader: Arc<Reader<Vec<u8>>>,
}

fn read(file: &Path) -> Result<Database> {
    let context = || format!("the database of places {}", file.display());
    let identity = FileIdentity::from(&std::fs::metadata(file).with_context(context)?);
    let reader = Arc::new(Reader::open_readfile(file).with_context(context)?);
    Ok(Database { identity, reader })
}

impl Places {
    /// Reads the database.
    pub(super) fn open(file: &Path) -> Result<Places> {
        let database = Mutex::new(read(file)?);
        let lookups = Arc::new(Semaphore::new(LOOKUPS));
        Ok(Places { file: file.to_owned(), database, names: Mutex::default(), lookups })
    }

    /// Reads the database again; the old one stays if that fails.
    pub(super) fn reload(&self) {
        self.replace(&mut self.database.lock());
    }

    fn replace(&self, database: &mut Database) {
        match read(&self.file) {
            Ok(new) => {
                log::info!("{} was read again", self.file.display());
                *database = new;
                self.names.lock().clear();
            }
            Err(error) => log::warn!("{error:#}; the one that was read before stays"),
        }
    }

    /// The newest database there is.
    fn reader(&self) -> Arc<Reader<Vec<u8>>> {
        let mut database = self.database.lock();
        if let Ok(metadata) = std::fs::metadata(&self.file) {
            let identity = FileIdentity::from(&metadata);
            if identity != database.identity {
                // A file that cannot be read is tried again when it changes, not with each question.
                database.identity = identity;
                self.replace(&mut database);
            }
        }
        Arc::clone(&database.reader)
    }

    /// Where an address is.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<Place> {
        find(&self.reader(), address)
    }

    /// Where each of the names or addresses is.
    pub(super) async fn of_names(self: &Arc<Places>, names: &[&str]) -> Vec<Option<Place>> {
        let reader = self.reader();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            found.push(match (address(name), self.remembered(name)) {
                (Some(address), _) => Found::Known(find(&reader, address)),
                (None, Some(place)) => Found::Known(place),
                (None, None) => Found::Asked(tokio::spawn(Arc::clone(self).look_up((*name).to_owned()))),
            });
        }
        let mut places = Vec::with_capacity(names.len());
        for found in found {
            places.push(match found {
                Found::Known(place) => place,
                Found::Asked(task) => match tokio::time::timeout_at(deadline, task).await {
                    Ok(Ok(place)) => place,
                    _ => None,
                },
            });
        }
        places
    }

    fn remembered(&self, name: &str) -> Option<Option<Place>> {
        let names = self.names.lock();
        names.get(name).filter(|(when, _)| when.elapsed() < REMEMBERED).map(|(_, place)| *place)
    }

    /// Asks the system where a name is. IPv4 addresses first: databases know more about them.
    async fn look_up(self: Arc<Places>, name: String) -> Option<Place> {
        let _permit = Arc::clone(&self.lookups).acquire_owned().await.ok()?;
        if let Some(place) = self.remembered(&name) {
            return place;
        }
        let (host, _) = host_and_port(&name);
        let found: Vec<SocketAddr> = match host.is_empty() {
            true => Vec::new(),
            false => tokio::net::lookup_host((host, 80)).await.map(Iterator::collect).unwrap_or_default(),
        };
        let reader = self.reader();
        let (old, new): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().map(|found| found.ip()).partition(IpAddr::is_ipv4);
        let place = old.into_iter().chain(new).find_map(|address| find(&reader, address));
        let mut names = self.names.lock();
        if names.len() >= MOST_REMEMBERED {
            names.retain(|_, (when, _)| when.elapsed() < REMEMBERED);
        }
        if names.len() >= MOST_REMEMBERED {
            names.clear();
        }
        names.insert(name, (Instant::now(), place));
        place
    }
}

enum Found {
    Known(Option<Place>),
    Asked(tokio::task::JoinHandle<Option<Place>>),
}

/// A name without its port, if it has one.
fn host_and_port(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (name, None),
    }
}

/// The address that a text is, with brackets or without, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let plain =
        |text: &str| text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok();
    plain(text).or_else(|| plain(host_and_port(text).0))
}

fn find(reader: &Reader<Vec<u8>>, address: IpAddr) -> Option<Place> {
    let entry: Entry = match reader.lookup(address.to_canonical()).and_then(|found| found.decode()) {
        Ok(entry) => entry?,
        Err(error) => {
            log::debug!("{address}: {error}");
            return None;
        }
    };
    let Location { latitude, longitude } = entry.location?;
    let place = Place { latitude: latitude?, longitude: longitude? };
    (place.latitude.abs() <= 90.0 && place.longitude.abs() <= 360.0).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_many_forms() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:3128", Some("192.0.2.1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("proxy.example", None),
            ("proxy.example:3128", None),
            ("", None),
        ] {
            assert_eq!(address(text), expected.map(|address| address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_globe_is_round() {
        let place = |latitude, longitude| Place { latitude, longitude };
        let quarter = std::f64::consts::FRAC_PI_2;
        for (a, b, expected) in [
            (place(0.0, 0.0), place(0.0, 90.0), quarter),
            (place(90.0, 17.0), place(0.0, 90.0), quarter),
            (place(0.0, -179.0), place(0.0, 179.0), 2.0_f64.to_radians()),
            (place(0.0, 0.0), place(0.0, 180.0), 2.0 * quarter),
            (place(46.2, 6.1), place(46.2, 6.1), 0.0),
        ] {
            assert!((a.distance(b) - expected).abs() < 1e-9, "{a:?} {b:?}");
        }
    }
}
