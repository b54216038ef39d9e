//! Sources of user data behind HTTP addresses of the local link.
//!
//! The sources are a table, and [`ask`] goes through it with whatever can make a request; so all of it is tested without a network.

use crate::media::yaml_about;
use crate::{About, LARGEST_USER_DATA, UserData};
use std::net::Ipv4Addr;

/// One request to a metadata service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, or `PUT` for a token.
    pub put: bool,
    /// The host, a numeric address.
    pub host: String,
    /// The path with a slash in front.
    pub path: String,
    /// Additional headers.
    pub headers: Vec<(&'static str, String)>,
}

/// What a service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The body of an answer with status 200.
    Found(Vec<u8>),
    /// Any other answer.
    Refused,
    /// No answer at all: nobody else is asked at this host.
    Silence,
}

/// One kind of service.
struct Service {
    name: &'static str,
    host: Host,
    token: bool,
    header: Option<(&'static str, &'static str)>,
    user_data: &'static [&'static str],
    /// Something that exists where this service does, even without user data.
    proof: &'static [&'static str],
    base64: bool,
    keys: Option<&'static str>,
}

enum Host {
    Link,
    CloudStack,
}

const SERVICES: [Service; 5] = [
    Service {
        name: "GCE",
        host: Host::Link,
        token: false,
        header: Some(("Metadata-Flavor", "Google")),
        user_data: &["/computeMetadata/v1/instance/attributes/user-data"],
        proof: &["/computeMetadata/v1/instance/id"],
        base64: false,
        keys: None,
    },
    Service {
        name: "Azure",
        host: Host::Link,
        token: false,
        header: Some(("Metadata", "true")),
        user_data: &["/metadata/instance/compute/userData?api-version=2021-01-01&format=text"],
        proof: &["/metadata/instance/compute/vmId?api-version=2021-01-01&format=text"],
        base64: true,
        keys: None,
    },
    Service {
        name: "OpenStack",
        host: Host::Link,
        token: false,
        header: None,
        user_data: &["/openstack/2013-10-17/user_data"],
        proof: &["/openstack/2013-10-17/meta_data.json"],
        base64: false,
        keys: Some("/latest/meta-data/public-keys/0/openssh-key"),
    },
    Service {
        name: "EC2",
        host: Host::Link,
        token: true,
        header: None,
        user_data: &["/2016-04-19/user-data", "/latest/user-data"],
        proof: &["/2016-04-19/meta-data/ami-id", "/latest/meta-data/ami-id"],
        base64: false,
        keys: Some("/latest/meta-data/public-keys/0/openssh-key"),
    },
    Service {
        name: "CloudStack",
        host: Host::CloudStack,
        token: false,
        header: None,
        user_data: &["/latest/user-data"],
        proof: &["/latest/meta-data/instance-id"],
        base64: false,
        keys: Some("/latest/meta-data/public-keys"),
    },
];

/// Asks all services. `dhcp_server` is where CloudStack may have its own.
pub fn ask(dhcp_server: Option<Ipv4Addr>, request: &mut dyn FnMut(&Request) -> Answer) -> Option<UserData> {
    let mut silent: Vec<String> = Vec::new();
    for service in &SERVICES {
        for host in service.hosts(dhcp_server) {
            if silent.contains(&host) {
                continue;
            }
            match service.ask(&host, request) {
                Outcome::Data(data) => return Some(data),
                Outcome::Absent => {}
                Outcome::Silence => silent.push(host),
            }
        }
    }
    None
}

/// Asks where the kernel command line or the firmware's serial number says that NoCloud's files are:
/// `nocloud;s=http://HOST/PATH/`, with `h=` and `i=` for the names of the machine and of its incarnation.
pub fn ask_no_cloud(told: &str, request: &mut dyn FnMut(&Request) -> Answer) -> Option<UserData> {
    let mut fields = told.trim().split(';');
    fields.next().filter(|kind| matches!(*kind, "nocloud" | "nocloud-net"))?;
    let fields: Vec<(&str, &str)> = fields.filter_map(|field| field.split_once('=')).collect();
    let field =
        |names: [&str; 2]| fields.iter().find(|(name, _)| names.contains(name)).map(|(_, value)| (*value).to_owned());
    let seed = field(["s", "seedfrom"])?;
    let (host, path) = seed.strip_prefix("http://").and_then(|rest| rest.split_once('/'))?;
    let mut get = |name: &str| match request(&Request {
        put: false,
        host: host.to_owned(),
        path: format!("/{path}{name}"),
        headers: Vec::new(),
    }) {
        Answer::Found(body) if body.len() <= LARGEST_USER_DATA => Some(body),
        _ => None,
    };
    let described = yaml_about(&get("meta-data")?);
    let about = About {
        instance: described.instance.or_else(|| field(["i", "instance-id"])),
        hostname: described.hostname.or_else(|| field(["h", "local-hostname"])),
        keys: described.keys,
    };
    Some(UserData { source: "NoCloud", bytes: get("user-data").unwrap_or_default(), about })
}

enum Outcome {
    Data(UserData),
    Absent,
    Silence,
}

impl Service {
    fn hosts(&self, dhcp_server: Option<Ipv4Addr>) -> Vec<String> {
        match self.host {
            Host::Link => vec!["169.254.169.254".to_owned()],
            Host::CloudStack => dhcp_server.map(|server| server.to_string()).into_iter().collect(),
        }
    }

    fn ask(&self, host: &str, request: &mut dyn FnMut(&Request) -> Answer) -> Outcome {
        let mut headers: Vec<(&'static str, String)> = Vec::new();
        headers.extend(self.header.map(|(name, value)| (name, value.to_owned())));
        if self.token {
            match request(&token_request(host)) {
                Answer::Found(token) => {
                    let token = String::from_utf8_lossy(&token).trim().to_owned();
                    // What cannot stand in a header is no token.
                    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
                        headers.push(("X-aws-ec2-metadata-token", token));
                    }
                }
                // Services of the first version know no tokens.
                Answer::Refused => {}
                Answer::Silence => return Outcome::Silence,
            }
        }
        let mut get = |path: &str| {
            request(&Request { put: false, host: host.to_owned(), path: path.to_owned(), headers: headers.clone() })
        };
        for path in self.user_data.iter().chain(self.proof) {
            match get(path) {
                Answer::Silence => return Outcome::Silence,
                Answer::Refused => {}
                Answer::Found(body) => {
                    let found = self.user_data.contains(path) && body.len() <= LARGEST_USER_DATA;
                    let bytes = if found { self.decoded(body) } else { Vec::new() };
                    let keys = self.keys.map(&mut get).and_then(keys_in).unwrap_or_default();
                    let about = About { instance: None, hostname: None, keys };
                    return Outcome::Data(UserData { source: self.name, bytes, about });
                }
            }
        }
        Outcome::Absent
    }

    fn decoded(&self, body: Vec<u8>) -> Vec<u8> {
        use base64::Engine as _;
        let decoded = self.base64.then(|| base64::engine::general_purpose::STANDARD.decode(body.trim_ascii()).ok());
        decoded.flatten().unwrap_or(body)
    }
}

fn token_request(host: &str) -> Request {
    Request {
        put: true,
        host: host.to_owned(),
        path: "/latest/api/token".to_owned(),
        headers: vec![("X-aws-ec2-metadata-token-ttl-seconds", "300".to_owned())],
    }
}

fn keys_in(answer: Answer) -> Option<Vec<String>> {
    let Answer::Found(body) = answer else { return None };
    let text = String::from_utf8(body).ok()?;
    Some(
        text.lines()
            .map(str::trim)
            .filter(|line| line.starts_with("ssh-") || line.starts_with("ecdsa-"))
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests;
