//! Sources of user data behind HTTP addresses of the local link.
//!
//! The sources are a table, and [`ask`] goes through it with whatever can make a request; so all of it is tested without a network.

use crate::about::keys_in;
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
    about: fn(&mut Get<'_>) -> About,
}

/// The body of a page of one service, if there is one.
type Get<'a> = dyn FnMut(&str) -> Option<Vec<u8>> + 'a;

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
        about: about_gce,
    },
    Service {
        name: "Azure",
        host: Host::Link,
        token: false,
        header: Some(("Metadata", "true")),
        user_data: &["/metadata/instance/compute/userData?api-version=2021-01-01&format=text"],
        proof: &["/metadata/instance/compute/vmId?api-version=2021-01-01&format=text"],
        base64: true,
        about: about_azure,
    },
    Service {
        name: "OpenStack",
        host: Host::Link,
        token: false,
        header: None,
        user_data: &["/openstack/2013-10-17/user_data"],
        proof: &["/openstack/2013-10-17/meta_data.json"],
        base64: false,
        about: about_open_stack,
    },
    Service {
        name: "EC2",
        host: Host::Link,
        token: true,
        header: None,
        user_data: &["/2016-04-19/user-data", "/latest/user-data"],
        proof: &["/2016-04-19/meta-data/ami-id", "/latest/meta-data/ami-id"],
        base64: false,
        about: about_ec2,
    },
    Service {
        name: "CloudStack",
        host: Host::CloudStack,
        token: false,
        header: None,
        user_data: &["/latest/user-data"],
        proof: &["/latest/meta-data/instance-id"],
        base64: false,
        about: about_cloud_stack,
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
    let (instance, hostname) = (field(["i", "instance-id"]), field(["h", "local-hostname"]));
    let about = About::from_no_cloud(&get("meta-data")?).or(About { instance, hostname, ..About::default() });
    Some(UserData { source: "NoCloud", bytes: get("user-data").unwrap_or_default(), about })
}

/// Adds what the service of a cloud tells to what the same cloud's medium said, if that said nothing of keys.
pub fn complete(told: UserData, request: &mut dyn FnMut(&Request) -> Answer) -> UserData {
    let service = SERVICES.iter().find(|service| service.name == told.source && told.about.keys.is_empty());
    let more = service.and_then(|service| match service.ask(service.hosts(None).first()?, request) {
        Outcome::Data(more) => Some(more),
        Outcome::Absent | Outcome::Silence => None,
    });
    let Some(more) = more else { return told };
    UserData {
        source: told.source,
        bytes: if told.bytes.is_empty() { more.bytes } else { told.bytes },
        about: told.about.or(more.about),
    }
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
                    let about = (self.about)(&mut |path| match get(path) {
                        Answer::Found(body) => Some(body),
                        Answer::Refused | Answer::Silence => None,
                    });
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

/// The most keys that are asked for one by one.
const MOST_KEYS: usize = 16;

fn about_ec2(get: &mut Get<'_>) -> About {
    // `0=NAME` in each line.
    let list = text(get("/latest/meta-data/public-keys/")).unwrap_or_default();
    let numbers = list.lines().filter_map(|line| Some(line.split_once('=')?.0));
    let mut numbers: Vec<&str> = numbers.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).collect();
    if numbers.is_empty() {
        numbers.push("0");
    }
    numbers.truncate(MOST_KEYS);
    let mut key = |number: &str| text(get(&format!("/latest/meta-data/public-keys/{number}/openssh-key")));
    let keys = numbers.into_iter().filter_map(|number| Some(keys_in(&key(number)?))).flatten().collect();
    About { keys, ..names(get) }
}

fn about_cloud_stack(get: &mut Get<'_>) -> About {
    let keys = text(get("/latest/meta-data/public-keys")).map(|text| keys_in(&text)).unwrap_or_default();
    About { keys, ..names(get) }
}

/// Names as EC2 has them.
fn names(get: &mut Get<'_>) -> About {
    let mut name = |of: &str| one_line(get(&format!("/latest/meta-data/{of}")));
    About { instance: name("instance-id"), hostname: name("local-hostname"), ..About::default() }
}

fn about_open_stack(get: &mut Get<'_>) -> About {
    get("/openstack/2013-10-17/meta_data.json").map(|body| About::from_open_stack(&body)).unwrap_or_default()
}

fn about_azure(get: &mut Get<'_>) -> About {
    let body = get("/metadata/instance/compute?api-version=2021-01-01&format=json");
    body.map(|body| About::from_azure(&body)).unwrap_or_default()
}

/// Whoever may log in somewhere in a project is an administrator there; here all of them are one user. Keys that expire are left out,
/// for nobody would take them away.
fn about_gce(get: &mut Get<'_>) -> About {
    let mut value = |of: &str| text(get(&format!("/computeMetadata/v1/{of}")));
    let is_blocked = value("instance/attributes/block-project-ssh-keys")
        .is_some_and(|word| word.trim().eq_ignore_ascii_case("true"));
    let mut lines = value("instance/attributes/ssh-keys").unwrap_or_default();
    if !is_blocked {
        lines.push('\n');
        lines.push_str(&value("project/attributes/ssh-keys").unwrap_or_default());
    }
    // `USER:KEY` in each line.
    let keys =
        lines.lines().filter(|line| !line.contains(" google-ssh ")).filter_map(|line| Some(line.split_once(':')?.1));
    About {
        instance: one_line(get("/computeMetadata/v1/instance/id")),
        hostname: one_line(get("/computeMetadata/v1/instance/hostname")),
        keys: keys.flat_map(keys_in).collect(),
        document: None,
    }
}

fn text(body: Option<Vec<u8>>) -> Option<String> {
    String::from_utf8(body?).ok()
}

/// What is said in one line; a page that says more is something else.
fn one_line(body: Option<Vec<u8>>) -> Option<String> {
    let text = text(body)?;
    let line = text.trim();
    (!line.is_empty() && line.lines().count() == 1).then(|| line.to_owned())
}

#[cfg(test)]
mod tests;
