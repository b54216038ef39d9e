//! Clusters: the head node tells where it is, and later that it is ready; the others wait for it at their first boot.

use crate::contextualize::{Kept, agent};
use crate::repository::SCRATCH;
use crate::units;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use ucernvm_context::cluster::{self, Answer, Cluster, Request};
use ucernvm_context::{Settings, UserData};

/// The name under which the system calls this program to say that it is ready.
pub(crate) const READY: &str = "cernvm-cluster-ready";
/// It waits for the target that wants it, which without default dependencies does not wait for it.
const SERVICE: &str = "[Unit]\nDescription=Tell the cluster that its head node is ready\nDefaultDependencies=no\n\
After=multi-user.target cloud-final.service\nConflicts=shutdown.target\nBefore=shutdown.target\n\n\
[Service]\nType=oneshot\nExecStart=/run/initramfs/cernvm-cluster-ready\n";
/// On the scratch: it was said.
const SAID: &str = "context/cluster-ready";
/// How often it is tried to say so.
const ATTEMPTS: u32 = 10;
/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 64 << 10;

/// Does what this machine has to do in its cluster; the user data, if they have changed.
pub(crate) fn join(cluster: &Cluster, data: &UserData) -> Result<Option<UserData>> {
    if cluster.is_head {
        cluster.announce(own_address(cluster)?, &mut ask).map_err(anyhow::Error::msg)?;
        return Ok(None);
    }
    let head = cluster.head(&mut ask, &mut || std::thread::sleep(pause())).map_err(anyhow::Error::msg)?;
    Ok(cluster::with_head(data, head))
}

fn pause() -> Duration {
    Duration::from_secs(cluster::PAUSE + RandomState::new().hash_one(0) % cluster::JITTER)
}

/// The address that the service sees this machine come from, unless something is in between.
fn own_address(cluster: &Cluster) -> Result<IpAddr> {
    let host = cluster.host();
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let service = if has_port { host.to_owned() } else { format!("{host}:80") };
    let address = service.to_socket_addrs()?.next().with_context(|| format!("{service} has no address"))?;
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(address)?;
    Ok(socket.local_addr()?.ip())
}

fn ask(request: &Request) -> Answer {
    let agent = agent(Duration::from_secs(10));
    let result = match &request.body {
        Some(body) => agent.post(&request.url).header("Content-Type", "application/json").send(body.as_str()),
        None => agent.get(&request.url).header("Accept", "text/plain").call(),
    };
    let mut response = result.map_err(|error| error.to_string())?;
    response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string().map_err(|error| error.to_string())
}

/// Lets the system of a head node say when it is ready; once.
pub(crate) fn offer_ready() -> Result<()> {
    if Path::new(SCRATCH).join(SAID).exists() {
        return Ok(());
    }
    units::link(Path::new("shutdown"), &Path::new("/run/initramfs").join(READY))?;
    units::add(&format!("{READY}.service"), SERVICE, Some("multi-user.target"))
}

/// In the operating system of a head node: says that it is ready.
pub(crate) fn say_ready() -> ExitCode {
    let Err(error) = try_to_say_ready() else { return ExitCode::SUCCESS };
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{READY}: {error:#}\n"));
    ExitCode::FAILURE
}

fn try_to_say_ready() -> Result<()> {
    let scratch = Path::new(SCRATCH);
    let mut settings = Settings::default();
    settings.apply(&Kept::on(scratch).section().context("this machine has no context")?);
    let cluster = Cluster::of(&settings).map_err(anyhow::Error::msg)?.context("this machine is in no cluster")?;
    let mut result = Ok(());
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(pause());
        }
        result = cluster.announce_ready(&mut ask);
        if result.is_ok() {
            fs::write(scratch.join(SAID), "")?;
            return Ok(());
        }
    }
    match result {
        Err(reason) => bail!(reason),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use ucernvm_context::{About, Section};

    /// Answers requests with these bodies, one after the other; what was asked.
    fn service(answers: Vec<(u16, &'static str)>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serve = move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (stream, _) = listener.accept().expect("a connection");
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                reader.read_line(&mut line).expect("a request");
                let mut text = line.trim_end().to_owned();
                let mut length = 0;
                while {
                    line.clear();
                    reader.read_line(&mut line).expect("a header") > 2
                } {
                    let lower = line.to_ascii_lowercase();
                    length = lower
                        .strip_prefix("content-length:")
                        .and_then(|text| text.trim().parse().ok())
                        .unwrap_or(length);
                }
                let mut sent = vec![0; length];
                reader.read_exact(&mut sent).expect("a body");
                text.push_str(&String::from_utf8_lossy(&sent));
                asked.push(text);
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                reader.get_mut().write_all(answer.as_bytes()).expect("an answer");
            }
            asked
        };
        (port, std::thread::spawn(serve))
    }

    fn cluster(port: u16, more: &str) -> Cluster {
        let lines = format!(
            "[ucernvm-begin]\ncvm_cluster_pin=abc\ncvm_service_url=http://127.0.0.1:{port}\n{more}\n[ucernvm-end]"
        );
        let mut settings = Settings::default();
        settings.apply(&Section::find(&lines).expect("a section"));
        Cluster::of(&settings).expect("usable").expect("told")
    }

    #[test]
    fn a_head_node_tells_its_address_and_others_write_it_into_their_data() {
        let data = |text: &str| UserData { source: "test", bytes: text.as_bytes().to_vec(), about: About::default() };
        let (port, service_of_head) = service(vec![(201, "")]);
        assert_eq!(join(&cluster(port, "cvm_cluster_master=on"), &data("x")).expect("told"), None);
        let asked = service_of_head.join().expect("requests");
        assert_eq!(asked, ["POST /api/v1/clusters/abc/keys HTTP/1.1{\"key\":\"master_ip\",\"value\":\"127.0.0.1\"}"]);

        let (port, service) = service(vec![(200, "master_ready: true\n"), (200, "master_ip: 10.0.0.7\n")]);
        let found = join(&cluster(port, ""), &data("head=###MASTER_IP_PLACEHOLDER###\n")).expect("an address");
        assert_eq!(found.expect("new data").bytes, b"head=10.0.0.7\n");
        let asked = service.join().expect("requests");
        assert_eq!(asked[1], "GET /api/v1/clusters/abc/keys/master_ip HTTP/1.1");
    }

    #[test]
    fn a_service_that_refuses_is_an_error() {
        let (port, service) = service(vec![(409, "")]);
        let refused = cluster(port, "cvm_cluster_master=on").announce_ready(&mut ask);
        assert!(refused.expect_err("refused").contains("409"));
        service.join().expect("requests");
    }
}
