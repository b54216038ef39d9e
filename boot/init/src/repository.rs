//! The repository of the operating system: which snapshot, and mounting it.
//!
//! `cvmfs-mount` runs in a small root of its own, `/run/initramfs/boot`, with scratch and mount point inside. `/run` moves into the
//! operating system as a whole, so every path that the program knows stays what it was, whatever the system does to its root. And
//! what lies below `/run/initramfs` is left alone when systemd unmounts all else.

use crate::run;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use ucernvm_context::Settings;

/// The small root.
pub(crate) const JAIL: &str = "/run/initramfs/boot";
/// Where the scratch is.
pub(crate) const SCRATCH: &str = "/run/initramfs/boot/rw";
/// Where the repository is.
pub(crate) const REPOSITORY: &str = "/run/initramfs/boot/ro";
/// Public master keys, in the initramfs.
const KEYS: &str = "/etc/cvmfs/keys";
/// Name of the mounting program.
pub(crate) const PROGRAM: &str = "cvmfs-mount";

/// Which snapshot is booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Hash of the root catalog, if it is known.
    pub(crate) root_hash: Option<String>,
    /// Name of a tag, if one was asked for.
    pub(crate) tag: Option<String>,
    /// Nothing was pinned for this boot: what is mounted is to be pinned.
    pub(crate) fresh: bool,
}

/// Decides. `pinned` and `forced` are the contents of the two files on scratch.
///
/// From the lowest to the highest: the newest, the tag of the settings, the pin, the tag that was forced, a tag or a root hash from
/// the boot menu; those are for one boot and change no pin.
pub(crate) fn choose(settings: &Settings, pinned: Option<&str>, forced: Option<&str>) -> Snapshot {
    let line = |text: Option<&str>, number: usize| {
        let line = text.and_then(|text| text.lines().nth(number)).map(str::trim);
        line.filter(|line| !line.is_empty()).map(str::to_owned)
    };
    if let Some(hash) = &settings.root_hash {
        return Snapshot { root_hash: Some(hash.clone()), tag: None, fresh: false };
    }
    if let Some(tag) = &settings.force_tag {
        return Snapshot { root_hash: None, tag: Some(tag.clone()), fresh: false };
    }
    if let Some(tag) = line(forced, 0) {
        return Snapshot { root_hash: None, tag: Some(tag), fresh: true };
    }
    if let Some(hash) = line(pinned, 0) {
        return Snapshot { root_hash: Some(hash), tag: line(pinned, 1), fresh: false };
    }
    Snapshot { root_hash: None, tag: settings.tag.clone(), fresh: true }
}

/// Parameters of the client.
pub(crate) fn parameters(settings: &Settings, snapshot: &Snapshot, quota: u64) -> Result<Vec<(String, String)>> {
    let url = settings.server_url().context("no server: cvmfs_server=, cvmfs_cdn= or cvmfs_url= is needed")?;
    let mut parameters: Vec<(&str, String)> = vec![
        ("CVMFS_SERVER_URL", url),
        ("CVMFS_HTTP_PROXY", settings.proxy.clone()),
        ("CVMFS_KEYS_DIR", "/keys".to_owned()),
        ("CVMFS_CACHE_BASE", "/rw/cache".to_owned()),
        ("CVMFS_QUOTA_LIMIT", quota.to_string()),
        ("CVMFS_TIMEOUT", "5".to_owned()),
        ("CVMFS_TIMEOUT_DIRECT", "5".to_owned()),
        ("CVMFS_CHECK_PERMISSIONS", "yes".to_owned()),
        ("CVMFS_CLAIM_OWNERSHIP", "no".to_owned()),
    ];
    parameters.extend(settings.pac_urls.clone().map(|urls| ("CVMFS_PAC_URLS", urls)));
    match snapshot {
        Snapshot { root_hash: Some(hash), .. } => parameters.push(("CVMFS_ROOT_HASH", hash.clone())),
        Snapshot { tag: Some(tag), .. } => parameters.push(("CVMFS_REPOSITORY_TAG", tag.clone())),
        Snapshot { .. } => {}
    }
    Ok(parameters.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Makes the small root. `/dev` and `/proc` are the machine's.
pub(crate) fn furnish(resolver: &str) -> Result<()> {
    let jail = Path::new(JAIL);
    for directory in ["dev", "proc", "etc", "bin", "keys", "ro", "rw", "tmp"] {
        fs::create_dir_all(jail.join(directory))?;
    }
    mount_bind("/dev", jail.join("dev"))?;
    mount("proc", jail.join("proc"), "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, Some(c""))?;
    fs::write(jail.join("etc/resolv.conf"), resolver)?;
    fs::copy(Path::new("/bin").join(PROGRAM), jail.join("bin").join(PROGRAM)).context(PROGRAM)?;
    for key in fs::read_dir(KEYS).into_iter().flatten().flatten() {
        fs::copy(key.path(), jail.join("keys").join(key.file_name()))?;
    }
    if let Ok(bundle) = fs::read("/etc/ssl/certs/ca-certificates.crt") {
        fs::create_dir_all(jail.join("etc/ssl/certs"))?;
        fs::write(jail.join("etc/ssl/certs/ca-certificates.crt"), bundle)?;
    }
    Ok(())
}

/// The mounting program was started; its devices are no longer needed. What is in use stays until it is not.
pub(crate) fn unfurnish() {
    let _ = unmount(Path::new(JAIL).join("dev"), UnmountFlags::DETACH);
}

/// Mounts the repository. The command ends when it can be read.
pub(crate) fn mount_repository(fqrn: &str, parameters: &[(String, String)], verbose: bool) -> Result<()> {
    let mut command = in_jail(["--pin", "--survive", "--log", "/rw/ulogs/cvmfs.log"]);
    if verbose {
        command.arg("-v");
    }
    for (key, value) in parameters {
        command.arg("-o").arg(format!("{key}={value}"));
    }
    let output = command.args([fqrn, "/ro"]).stdin(Stdio::null()).output().context(PROGRAM)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{}", if text.is_empty() { format!("{PROGRAM}: {}", output.status) } else { text });
    }
    Ok(())
}

/// Makes the mounting program give up what could be written, so that the scratch can become read-only.
pub(crate) fn drop_writable(jail: &Path) -> Result<()> {
    let outcome = in_jail_at(jail, ["--drop-writable", "/ro"]).stdin(Stdio::null()).output()?;
    ensure!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr).trim());
    Ok(())
}

fn in_jail<const N: usize>(arguments: [&str; N]) -> Command {
    in_jail_at(Path::new(JAIL), arguments)
}

fn in_jail_at<const N: usize>(jail: &Path, arguments: [&str; N]) -> Command {
    let mut command = Command::new(Path::new("/bin").join(PROGRAM));
    let jail: PathBuf = jail.to_owned();
    let change = move || {
        rustix::process::chroot(&jail)?;
        rustix::process::chdir("/")?;
        Ok(())
    };
    // SAFETY: two system calls, and an allocation for neither: paths of this length are copied to the stack.
    unsafe { command.pre_exec(change) };
    command.args(arguments).env_clear().env("PATH", run::PATH).env("HOME", "/");
    command
}

/// The root hash of what is mounted at `place`.
pub(crate) fn mounted_root_hash(place: &Path) -> Result<String> {
    let mut value = [0; 256];
    let length = rustix::fs::getxattr(place, c"user.root_hash", &mut value[..]).context("user.root_hash")?;
    Ok(String::from_utf8_lossy(value.get(..length).unwrap_or_default()).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ucernvm_context::CommandLine;

    fn settings(line: &str) -> Settings {
        Settings::from_command_line(&CommandLine::parse(line))
    }

    fn chosen(line: &str, pinned: Option<&str>, forced: Option<&str>) -> (Option<String>, Option<String>, bool) {
        let snapshot = choose(&settings(line), pinned, forced);
        (snapshot.root_hash, snapshot.tag, snapshot.fresh)
    }

    #[test]
    fn the_pin_beats_the_tag_and_a_forced_tag_beats_the_pin() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(chosen("", None, None), (None, None, true));
        assert_eq!(chosen("cvmfs_repository_tag=t", None, None), (None, text("t"), true));
        assert_eq!(chosen("cvmfs_repository_tag=t", Some("abc\nold\n"), None), (text("abc"), text("old"), false));
        assert_eq!(chosen("", Some("abc\n"), Some("new\n")), (None, text("new"), true));
        assert_eq!(chosen("cvmfs_root_hash=def", Some("abc\n"), Some("new\n")), (text("def"), None, false));
        assert_eq!(chosen("cvmfs_force_tag=a", Some("abc\n"), Some("new\n")), (None, text("a"), false));
        assert_eq!(chosen("", Some("\n"), None), (None, None, true), "a pin that was cut short is none");
    }

    #[test]
    fn the_snapshot_is_a_parameter() {
        let line = "cvmfs_server=s cvmfs_repos=r.example.org";
        let of = |pinned| {
            let settings = settings(line);
            parameters(&settings, &choose(&settings, pinned, None), 500).expect("parameters")
        };
        assert!(of(Some("abc\ntag\n")).contains(&("CVMFS_ROOT_HASH".to_owned(), "abc".to_owned())));
        assert!(!of(Some("abc\ntag\n")).iter().any(|(key, _)| key == "CVMFS_REPOSITORY_TAG"));
        assert!(of(None).contains(&("CVMFS_QUOTA_LIMIT".to_owned(), "500".to_owned())));
        assert!(parameters(&settings(""), &choose(&settings(""), None, None), 1).is_err(), "nobody said where it is");
    }
}
