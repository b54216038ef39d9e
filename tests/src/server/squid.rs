use super::port::ReservedPort;
use crate::tools::require_tool;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A real Squid with a memory and a disk cache of its own, set up as sites do it for CernVM-FS: plain requests for
/// any server, no `CONNECT` but to port 443. Dropping it kills it.
pub struct Squid {
    process: Child,
    directory: TempDir,
    port: ReservedPort,
}

impl Squid {
    /// Starts Squid and waits until it takes connections; `None` (after a loud line) where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Squid> {
        let program = require_tool("squid")?;
        let directory = tempfile::Builder::new().prefix("cvmfs-squid-").tempdir().expect("a temporary directory");
        // Started by root, Squid becomes user proxy.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("the directory is ours");
        let port = ReservedPort::new().expect("a free port on the loop-back interface");
        let configuration = directory.path().join("squid.conf");
        fs::write(&configuration, configure(directory.path(), port.number())).expect("a file in a temporary directory");
        let squid = || {
            let mut command = Command::new(&program);
            // Instances of one name would share memory, and take each other's away.
            command.arg("-n").arg(service(port.number())).arg("-N").arg("-f").arg(&configuration).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let prepared = squid().arg("-z").status().expect("squid is executable");
        assert!(prepared.success(), "squid -z: {prepared}\n{}", read(&directory.path().join("cache.log")));
        let process = squid().spawn().expect("squid is executable");
        let mut squid = Squid { process, directory, port };
        squid.wait_until_ready();
        Some(squid)
    }

    /// `http://127.0.0.1:PORT`, the value for `CVMFS_HTTP_PROXY`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// The access log, a line for each answered request: time, milliseconds, client, result (such as
    /// `TCP_MISS/200`), bytes, method, URL, ...
    pub fn access_log(&self) -> Vec<String> {
        let log = read(&self.directory.path().join("access.log"));
        // Connections that ask nothing, as those that wait for the start, are no requests.
        let asked = |line: &&str| !line.contains("error:transaction-end-before-headers");
        log.lines().filter(asked).map(str::to_owned).collect()
    }

    /// The access log once it has `lines` lines, or what there is after five seconds: Squid writes after it answers.
    pub fn wait_for_log(&self, lines: usize) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let log = self.access_log();
            if log.len() >= lines || Instant::now() > end {
                return log;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it at once: connections break, new ones are refused.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn wait_until_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number())).is_err() {
            let ended = self.process.try_wait().expect("a child can be waited for");
            let log = || read(&self.directory.path().join("cache.log"));
            assert!(ended.is_none(), "squid ended with {ended:?}:\n{}", log());
            assert!(Instant::now() < end, "squid does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        self.kill();
        // A killed one leaves its shared memory behind.
        for part in ["metadata", "queues", "readers"] {
            let _ = fs::remove_file(format!("/dev/shm/{}-cf__{part}.shm", service(self.port.number())));
        }
    }
}

/// The name of the instance on this port: letters and digits.
fn service(port: u16) -> String {
    format!("cvmfs{}x{port}", std::process::id())
}

fn configure(directory: &Path, port: u16) -> String {
    let dir = directory.display();
    format!(
        "http_port 127.0.0.1:{port}\n\
         acl secure_ports port 443\n\
         acl connect method CONNECT\n\
         http_access deny connect !secure_ports\n\
         http_access allow localhost\n\
         http_access deny all\n\
         visible_hostname localhost\n\
         cache_mem 64 MB\n\
         maximum_object_size_in_memory 128 KB\n\
         maximum_object_size 1024 MB\n\
         cache_dir ufs {dir}/spool 100 4 16\n\
         collapsed_forwarding on\n\
         access_log stdio:{dir}/access.log squid\n\
         buffered_logs off\n\
         cache_log {dir}/cache.log\n\
         pid_filename {dir}/squid.pid\n\
         coredump_dir {dir}\n\
         pinger_enable off\n\
         shutdown_lifetime 0 seconds\n"
    )
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
