//! Which program runs inside, and with which environment.

use super::{PRIVATE, privilege};
use anyhow::{Context as _, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where programs are looked for, unless `--env PATH=...` says something else.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What the user works with if nothing else is asked for.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// Variables of the host that are true inside, too.
const PASSED: [&str; 5] = ["TERM", "COLORTERM", "TZ", "LANG", "LANGUAGE"];

/// What is started.
pub(crate) struct Program {
    /// What is to be run: an absolute path, or a name to look for; `None` for a shell.
    pub(crate) name: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
    /// A program of the host with that name, for the case that there is none inside.
    pub(crate) outside: Option<File>,
    /// It is process 1 itself.
    pub(crate) is_init: bool,
    /// The program that shows `/cvmfs` to the program, if one is needed.
    pub(crate) shown_by: Option<PathBuf>,
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// The environment of programs inside: little of the host's, then what is asked for.
pub(crate) fn environment(name: &str, more: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let set = [("PATH", PATH), ("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root"), ("CERNVM_FORK", name)];
    let mut environment: Vec<(OsString, OsString)> = set.map(|(name, value)| (name.into(), value.into())).into();
    environment.extend(std::env::vars_os().filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| PASSED.contains(&name) || name.starts_with("LC_") || name.starts_with("CVMFS_"))
    }));
    for (name, value) in more {
        environment.retain(|(known, _)| *known != name);
        environment.push((name, value));
    }
    environment
}

impl Program {
    /// Finds the program inside, or copies that of the host to `/tmp/postinit-NAME`.
    pub(crate) fn bring_in(&mut self) -> Result<()> {
        let Some(name) = self.name.clone() else {
            let shell = SHELLS.iter().find(|shell| Path::new(shell).exists());
            let shell = shell.context("there is neither /bin/bash nor /bin/sh in the tree: name a program (--run)")?;
            self.name = Some(shell.into());
            return Ok(());
        };
        if self.is_init && !Path::new(&name).exists() {
            bail!("there is no {} in the tree to be process 1: use --fast, or name another (--init)", name.display());
        }
        if self.is_inside(&name) {
            return Ok(());
        }
        if let Some(mut outside) = self.outside.take() {
            let base = Path::new(&name).file_name().unwrap_or(OsStr::new("program"));
            let mut own = OsString::from("postinit-");
            own.push(base);
            let copy = Path::new("/tmp").join(own);
            let context = || format!("copying {} to {}", name.display(), copy.display());
            let mut options = File::options();
            let mut file = options.write(true).create_new(true).mode(0o755).open(&copy).with_context(context)?;
            io::copy(&mut outside, &mut file).with_context(context)?;
            self.name = Some(copy.into());
        }
        Ok(())
    }

    fn is_inside(&self, name: &OsStr) -> bool {
        if name.as_encoded_bytes().contains(&b'/') {
            let shown = self.shown_by.is_some() && Path::new(name).starts_with("/cvmfs");
            return shown || Path::new(name).exists();
        }
        let path = self.environment.iter().find(|(known, _)| known == "PATH");
        path.is_some_and(|(_, path)| {
            let can_run =
                |file: PathBuf| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
            std::env::split_paths(path).any(|directory| can_run(directory.join(name)))
        })
    }

    /// The call that starts it.
    pub(crate) fn command(&self) -> Command {
        let name = self.name.as_deref().unwrap_or(OsStr::new(SHELLS[1]));
        let mut command = match &self.shown_by {
            Some(shows) => {
                let mut command = Command::new(shows);
                command.arg("--").arg(name);
                command
            }
            None => Command::new(name),
        };
        command.args(&self.arguments).env_clear().envs(self.environment.iter().map(|(n, v)| (n, v))).current_dir("/");
        // SAFETY: between fork and exec only system calls are made, and memory of this process, which has one thread.
        unsafe {
            command.pre_exec(|| {
                nix::sys::signal::SigSet::empty().thread_set_mask()?;
                privilege::give_up()
            })
        };
        command
    }
}

/// Where programs of this project lie inside.
pub(crate) fn private(name: &str) -> PathBuf {
    Path::new(PRIVATE).join(name)
}
