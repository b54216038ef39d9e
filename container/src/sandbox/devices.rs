//! `/dev`: the few devices that every program may use, and terminals of the instance's own.

use super::mounts::{self, Mount};
use anyhow::{Context as _, Result};
use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Devices of the host that can do no harm.
const SHOWN: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
/// Links that every `/dev` has.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
];

/// All of it, before it has its place.
pub(crate) struct Devices {
    directory: Mount,
    shown: Vec<(&'static str, Mount)>,
    terminals: Mount,
    memory: Mount,
}

/// Gathers it from the host.
pub(crate) fn gather() -> Result<Devices> {
    let mut shown = Vec::new();
    for name in SHOWN {
        shown.push((name, mounts::copy(Path::new("/dev").join(name))?));
    }
    // The terminal that the instance was started on has no name among the instance's own.
    if std::io::stdin().is_terminal()
        // By its path: what is open was opened in the host's mounts, from which nothing can be taken any more.
        && let Ok(terminal) = fs::read_link("/proc/self/fd/0")
        && let Ok(console) = mounts::copy(terminal)
    {
        shown.push(("console", console));
    }
    Ok(Devices {
        directory: mounts::fresh("tmpfs", &[("mode", "0755")])?,
        shown,
        terminals: mounts::fresh("devpts", &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")])
            .or_else(|_| mounts::fresh("devpts", &[("ptmxmode", "0666"), ("mode", "0620")]))?,
        memory: mounts::fresh("tmpfs", &[("mode", "1777")])?,
    })
}

impl Devices {
    /// Puts it into the new root.
    pub(crate) fn attach(self) -> Result<()> {
        self.directory.attach(Path::new("/dev"))?;
        for (name, device) in self.shown {
            device.attach(&Path::new("/dev").join(name))?;
        }
        for (link, target) in LINKS {
            symlink(target, link).with_context(|| format!("making {link}"))?;
        }
        for (place, mount) in [("/dev/pts", self.terminals), ("/dev/shm", self.memory)] {
            fs::create_dir(place).with_context(|| format!("making {place}"))?;
            mount.attach(Path::new(place))?;
        }
        Ok(())
    }
}
