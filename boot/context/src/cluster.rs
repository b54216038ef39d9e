//! Clusters: a head node tells a service its address, the others ask for it and write it into their user data.
//!
//! The requests are those of the original's service. What can make a request comes from outside, so all of it is tested without a
//! network.

use crate::settings::Settings;
use crate::unwrap::{self, Part};
use crate::{UserData, wrap};
use std::net::IpAddr;

/// What stands in user data for the address of the head node.
pub const PLACEHOLDER: &str = "###MASTER_IP_PLACEHOLDER###";
/// How often others than the head node ask.
pub const ATTEMPTS: u32 = 50;
/// Seconds between two questions, to which up to [`JITTER`] are added so that not all ask at once.
pub const PAUSE: u64 = 25;
/// See [`PAUSE`].
pub const JITTER: u64 = 10;

/// What a machine is to its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Where keys of the cluster are, without a slash at its end.
    keys: String,
    host: String,
    /// Whether this is the head node.
    pub is_head: bool,
}

/// One request to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The complete address.
    pub url: String,
    /// JSON to post; a question for plain text if there is none.
    pub body: Option<String>,
}

/// What the service says: the body of an answer with a status of 200 to 299, or why there is none.
pub type Answer = Result<String, String>;

impl Cluster {
    /// The cluster that settings tell, if they tell one; an error if it cannot be used.
    pub fn of(settings: &Settings) -> Result<Option<Cluster>, String> {
        let Some(pin) = &settings.cluster_pin else { return Ok(None) };
        if pin.len() > 64 || !pin.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("cvm_cluster_pin is letters and digits".to_owned());
        }
        let told = settings.cluster_service.as_deref().unwrap_or_default().trim_end_matches('/');
        let host = match told.split_once("://") {
            Some(("http", host)) => host,
            None => told,
            Some(_) => return Err("cvm_service_url has to be http: the loader has no TLS".to_owned()),
        };
        let is_host = |character: char| character.is_ascii_alphanumeric() || ".-:[]/_".contains(character);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err("cvm_service_url is needed, as http://HOST:PORT".to_owned());
        }
        let keys = format!("http://{host}/api/v1/clusters/{pin}/keys");
        let host = host.split('/').next().unwrap_or_default().to_owned();
        Ok(Some(Cluster { keys, host, is_head: settings.is_cluster_head }))
    }

    /// The service, `HOST` or `HOST:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Tells the service where this machine, the head node, is.
    pub fn announce(&self, address: IpAddr, ask: &mut dyn FnMut(&Request) -> Answer) -> Result<(), String> {
        self.post("master_ip", &address.to_string(), ask)
    }

    /// Tells the service that this machine, the head node, is ready for the others.
    pub fn announce_ready(&self, ask: &mut dyn FnMut(&Request) -> Answer) -> Result<(), String> {
        self.post("master_ready", "true", ask)
    }

    fn post(&self, key: &str, value: &str, ask: &mut dyn FnMut(&Request) -> Answer) -> Result<(), String> {
        let body = serde_json::json!({ "key": key, "value": value }).to_string();
        ask(&Request { url: self.keys.clone(), body: Some(body) }).map(|_| ())
    }

    /// The address of the head node, when that is ready. `wait` is called between two questions.
    pub fn head(&self, ask: &mut dyn FnMut(&Request) -> Answer, wait: &mut dyn FnMut()) -> Result<IpAddr, String> {
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                wait();
            }
            let mut value = |key: &str| ask(&Request { url: format!("{}/{key}", self.keys), body: None });
            match value("master_ready").and_then(|_| value("master_ip")).and_then(|text| address_in(&text)) {
                Ok(address) => return Ok(address),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

/// `master_ip: ADDRESS`.
fn address_in(text: &str) -> Result<IpAddr, String> {
    let value = text.trim().strip_prefix("master_ip:").unwrap_or(text).trim();
    value.parse().map_err(|_| "the service's answer is no address".to_owned())
}

/// User data with the address of the head node where the placeholder was; `None` if it was nowhere.
///
/// What was packed is unpacked for it.
pub fn with_head(data: &UserData, address: IpAddr) -> Option<UserData> {
    let (mut parts, _) = unwrap::parts(&data.bytes);
    let replaced = parts.iter_mut().map(|part| replace(part, address)).fold(false, |any, one| any | one);
    let bytes = match parts.as_slice() {
        [Part { kind: None, bytes }] => bytes.clone(),
        parts => wrap::multipart(parts),
    };
    replaced.then(|| UserData { bytes, ..data.clone() })
}

fn replace(part: &mut Part, address: IpAddr) -> bool {
    match std::str::from_utf8(&part.bytes) {
        Ok(text) if text.contains(PLACEHOLDER) => {
            part.bytes = text.replace(PLACEHOLDER, &address.to_string()).into_bytes();
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{About, Section};
    use std::collections::BTreeMap;

    fn cluster(lines: &str) -> Result<Option<Cluster>, String> {
        let section = Section::find(&format!("[ucernvm-begin]\n{lines}\n[ucernvm-end]\n")).expect("a section");
        let mut settings = Settings::default();
        assert_eq!(settings.apply(&section), [""; 0]);
        Cluster::of(&settings)
    }

    fn member(more: &str) -> Cluster {
        cluster(&format!("cvm_cluster_pin=abc123\ncvm_service_url=service.example.org:8000/{more}"))
            .expect("usable")
            .expect("told")
    }

    /// The original's service: keys of one cluster, each written once.
    #[derive(Default)]
    struct Service(BTreeMap<String, String>);

    impl Service {
        fn ask(&mut self, request: &Request) -> Answer {
            let path = request.url.strip_prefix("http://service.example.org:8000/api/v1/clusters/abc123/keys");
            let path = path.ok_or("404")?;
            let Some(body) = &request.body else {
                let key = path.trim_start_matches('/');
                return self.0.get(key).map(|value| format!("{key}: {value}")).ok_or("404".to_owned());
            };
            let body: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
            let text = |name: &str| body[name].as_str().map(str::to_owned).ok_or("400");
            match self.0.insert(text("key")?, text("value")?) {
                None => Ok(String::new()),
                Some(_) => Err("409".to_owned()),
            }
        }
    }

    #[test]
    fn others_wait_for_a_head_node_that_comes_late() {
        let service = std::cell::RefCell::new(Service::default());
        let head = member("\ncvm_cluster_master=yes");
        assert!(head.is_head);
        let mut waits = 0;
        let mut ask = |request: &Request| service.borrow_mut().ask(request);
        let found = member("").head(&mut ask, &mut || {
            waits += 1;
            let mut ask = |request: &Request| service.borrow_mut().ask(request);
            match waits {
                2 => head.announce(IpAddr::from([10, 0, 0, 7]), &mut ask).expect("told"),
                4 => head.announce_ready(&mut ask).expect("told"),
                _ => {}
            }
        });
        assert_eq!((found, waits), (Ok(IpAddr::from([10, 0, 0, 7])), 4));
        assert_eq!(
            head.announce(IpAddr::from([10, 0, 0, 8]), &mut |request| service.borrow_mut().ask(request)),
            Err("409".into())
        );
    }

    #[test]
    fn waiting_has_an_end_and_only_addresses_are_addresses() {
        let mut asked = 0;
        let never = member("").head(
            &mut |_| {
                asked += 1;
                Ok("master_ip: $(reboot)".to_owned())
            },
            &mut || {},
        );
        assert_eq!((never, asked), (Err("the service's answer is no address".into()), 2 * ATTEMPTS));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        assert_eq!(cluster("cvmfs_tag=x"), Ok(None));
        for lines in [
            "cvm_cluster_pin=abc",
            "cvm_cluster_pin=a/../b\ncvm_service_url=http://s",
            "cvm_cluster_pin=abc\ncvm_service_url=https://s",
            "cvm_cluster_pin=abc\ncvm_service_url=http://s x",
        ] {
            assert!(cluster(lines).is_err(), "{lines}");
        }
    }

    #[test]
    fn the_address_is_written_whatever_the_data_are_wrapped_in() {
        use base64::Engine as _;
        let address = IpAddr::from([10, 0, 0, 7]);
        let of = |bytes: &[u8]| {
            let data = UserData { source: "test", bytes: bytes.to_vec(), about: About::default() };
            let parts = unwrap::parts(&with_head(&data, address)?.bytes).0;
            Some(parts.iter().map(|part| String::from_utf8_lossy(&part.bytes).into_owned()).collect::<String>())
        };
        let plain = format!("#!/bin/sh\nHEAD={PLACEHOLDER}\necho {PLACEHOLDER}\n");
        let expected = Some("#!/bin/sh\nHEAD=10.0.0.7\necho 10.0.0.7\n".to_owned());
        assert_eq!(of(plain.as_bytes()), expected);
        assert_eq!(of(base64::engine::general_purpose::STANDARD.encode(&plain).as_bytes()), expected);
        let part = Part { kind: Some("text/x-shellscript".to_owned()), bytes: plain.into_bytes() };
        assert_eq!(of(&wrap::multipart(&[part])), expected);
        assert_eq!(of(b"#!/bin/sh\n"), None);
    }
}
