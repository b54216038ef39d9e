//! A machine in QEMU, whose console is read and written.

use super::SERVER;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a machine may be silent about what is expected: far more than it takes, emulated, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A running machine. Dropped, its power fails.
pub(crate) struct Machine {
    process: Child,
    console: Receiver<Vec<u8>>,
    /// All that it has said.
    pub(crate) said: String,
    read: usize,
}

/// How a machine is started.
pub(crate) struct Plan<'a> {
    arguments: Vec<String>,
    image: &'a Path,
}

impl<'a> Plan<'a> {
    /// A machine that boots `image`.
    pub(crate) fn new(image: &'a Path) -> Plan<'a> {
        Plan { arguments: Vec::new(), image }
    }

    /// With a network in which there is nothing but the server at `port` of this machine.
    pub(crate) fn network(mut self, port: u16) -> Plan<'a> {
        let forward = format!("guestfwd=tcp:{SERVER}:80-cmd:/bin/busybox nc 127.0.0.1 {port}");
        self.arguments.extend(["--network".to_owned(), format!("user,id=net,restrict=on,{forward}")]);
        self
    }

    /// More arguments for `ucernvm run`.
    pub(crate) fn with(mut self, more: &[&str]) -> Plan<'a> {
        self.arguments.extend(more.iter().map(|&word| word.to_owned()));
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> Machine {
        let mut run = Command::new(env!("CARGO_BIN_EXE_ucernvm"));
        run.arg("run").arg(self.image).args(self.arguments);
        let mut process = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = process.stdout.take().unwrap();
        let (send, console) = channel();
        std::thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut room) {
                if send.send(room[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Machine { process, console, said: String::new(), read: 0 }
    }
}

impl Machine {
    /// Waits until `text` is said after what was waited for last.
    pub(crate) fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.said[self.read..].contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.console.recv_timeout(left) {
                Ok(bytes) => self.said.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("'{text}' was not said:\n{}", self.said),
            }
        }
        self.read += self.said[self.read..].find(text).unwrap() + text.len();
    }

    /// Types a line.
    pub(crate) fn send(&mut self, line: &str) {
        let stdin = self.process.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\r").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Runs a command in the shell that is logged in; what it prints.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        // The line that was typed is said, too: what ends the output must not be in it.
        self.send(&format!("echo be''gin; {command}; echo e''nd"));
        self.expect("begin\r\n");
        let from = self.read;
        self.expect("end\r\n");
        self.said[from..self.read - "end\r\n".len()].replace('\r', "").trim().to_owned()
    }

    /// Logs root in.
    pub(crate) fn log_in(&mut self) {
        self.expect("login: ");
        self.send("root");
        self.expect("# ");
    }

    /// Switches off from inside, and waits for the end.
    pub(crate) fn power_off(mut self) -> String {
        self.send("systemctl poweroff");
        self.wait()
    }

    /// The power fails. What was said until then, after what was waited for last.
    pub(crate) fn cut(&mut self) -> String {
        assert!(matches!(self.process.try_wait(), Ok(None)), "it had ended before:\n{}", self.said);
        // QEMU is our grandchild; told to quit it would write what it has in memory.
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let qemu = children.split_whitespace().find_map(|id| Pid::from_raw(id.parse().ok()?));
        match qemu {
            Some(qemu) => kill_process(qemu, Signal::KILL).unwrap(),
            None => self.process.kill().unwrap(),
        }
        self.process.wait().unwrap();
        self.hear_the_rest();
        self.said[self.read..].to_owned()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> String {
        self.hear_the_rest();
        // Silent for so long, or ended: a machine that hangs has said why.
        std::thread::sleep(Duration::from_secs(1));
        let status = self.process.try_wait().unwrap();
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", self.said);
        self.said.clone()
    }

    fn hear_the_rest(&mut self) {
        while let Ok(bytes) = self.console.recv_timeout(PATIENCE) {
            self.said.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.cut();
        }
    }
}
