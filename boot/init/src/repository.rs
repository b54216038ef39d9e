//! The repository of the operating system: which snapshot, and mounting it.
//!
//! `cvmfs-mount` runs in a small root of its own, `/run/initramfs/boot`, with scratch and mount point inside. `/run` moves into the
//! operating system as a whole, so every path that the program knows stays what it was, whatever the system does to its root. And
//! what lies below `/run/initramfs` is left alone when systemd unmounts all else.

use crate::run;
use anyhow::{Context as _, Result, bail, ensure};
use cvmfs_fuse::command::PROGRAM;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use ucernvm_context::Settings;
use ucernvm_update::accounts::MAPS;
use ucernvm_update::state::{Action, Pin, Wish};

/// The small root.
pub(crate) const JAIL: &str = "/run/initramfs/boot";
/// Where the scratch is.
pub(crate) const SCRATCH: &str = "/run/initramfs/boot/rw";
/// Where the repository is.
pub(crate) const REPOSITORY: &str = "/run/initramfs/boot/ro";
/// Where the snapshot that was pinned is, while the machine goes to another one.
pub(crate) const BASE: &str = "/run/initramfs/boot/base";
/// Public master keys, in the initramfs.
const KEYS: &str = "/etc/cvmfs/keys";

/// Which snapshot is booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Hash of the root catalog, if it is known.
    pub(crate) root_hash: Option<String>,
    /// Name of a tag, if one was asked for.
    pub(crate) tag: Option<String>,
    /// What is mounted is to be pinned when all else is done.
    pub(crate) fresh: bool,
    /// What becomes of the overlay, if it was made over another snapshot.
    pub(crate) change: Option<Action>,
}

impl Snapshot {
    /// The one that is pinned.
    pub(crate) fn pinned(pin: &Pin) -> Snapshot {
        Snapshot { root_hash: Some(pin.root_hash.clone()), tag: pin.tag.clone(), fresh: false, change: None }
    }
}

/// What the scratch says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) pin: Option<Pin>,
    pub(crate) previous: Option<Pin>,
    pub(crate) wish: Option<Wish>,
}

/// Decides.
///
/// From the lowest to the highest: the newest, the tag of the settings, the root hash of user data, the pin, what was wished, and what the boot menu says: a
/// tag, a root hash, or the pin before the last change; those are for one boot and change no pin.
pub(crate) fn choose(settings: &Settings, kept: &Kept) -> Snapshot {
    let once = |root_hash, tag| Snapshot { root_hash, tag, fresh: false, change: None };
    if let Some(hash) = &settings.root_hash {
        return once(Some(hash.clone()), None);
    }
    if let Some(tag) = &settings.force_tag {
        return once(None, Some(tag.clone()));
    }
    if let Some(pin) = kept.previous.as_ref().filter(|_| settings.previous) {
        return Snapshot::pinned(pin);
    }
    if let Some(wish) = &kept.wish {
        let change = Some(wish.action);
        return Snapshot { root_hash: wish.root_hash.clone(), tag: wish.tag.clone(), fresh: true, change };
    }
    if let Some(pin) = &kept.pin {
        return Snapshot::pinned(pin);
    }
    let root_hash = settings.first_root_hash.clone();
    let tag = settings.tag.clone().filter(|_| root_hash.is_none());
    Snapshot { root_hash, tag, fresh: true, change: None }
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
    for (map, parameter) in MAPS.iter().zip(["CVMFS_GID_MAP", "CVMFS_UID_MAP"]) {
        if Path::new(SCRATCH).join(map).exists() {
            parameters.push((parameter, format!("/rw/{map}")));
        }
    }
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
    for directory in ["dev", "proc", "etc", "bin", "keys", "ro", "base", "rw", "tmp"] {
        fs::create_dir_all(jail.join(directory))?;
    }
    mount_bind("/dev", jail.join("dev"))?;
    mount("proc", jail.join("proc"), "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, Some(c""))?;
    fs::write(jail.join("etc/resolv.conf"), resolver)?;
    fs::copy("/init", program_in(jail)).context("/init")?;
    for key in fs::read_dir(KEYS).into_iter().flatten().flatten() {
        fs::copy(key.path(), jail.join("keys").join(key.file_name()))?;
    }
    if let Ok(bundle) = fs::read("/etc/ssl/certs/ca-certificates.crt") {
        fs::create_dir_all(jail.join("etc/ssl/certs"))?;
        fs::write(jail.join("etc/ssl/certs/ca-certificates.crt"), bundle)?;
    }
    Ok(())
}

/// The mounting program: this one, under its other name.
pub(crate) fn program_in(jail: &Path) -> PathBuf {
    jail.join("bin").join(PROGRAM)
}

/// The mounting program was started; its devices are no longer needed. What is in use stays until it is not.
pub(crate) fn unfurnish() {
    let _ = unmount(Path::new(JAIL).join("dev"), UnmountFlags::DETACH);
}

/// Mounts the repository at `place`, [`REPOSITORY`] or [`BASE`]. The command ends when it can be read.
pub(crate) fn mount_repository(
    place: &str,
    fqrn: &str,
    parameters: &[(String, String)],
    settings: &Settings,
) -> Result<()> {
    let mut command = in_jail(["--pin", "--log", "/rw/ulogs/cvmfs.log"]);
    if place == REPOSITORY {
        command.arg("--survive");
        if settings.record {
            command.args(["--record", "/rw/ulogs/opened.list"]);
        }
    }
    if settings.debug {
        command.arg("-v");
    }
    for (key, value) in parameters {
        command.arg("-o").arg(format!("{key}={value}"));
    }
    let inside = place.strip_prefix(JAIL).unwrap_or(place);
    let output = command.args([fqrn, inside]).stdin(Stdio::null()).output().context(PROGRAM)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{}", if text.is_empty() { format!("{PROGRAM}: {}", output.status) } else { text });
    }
    Ok(())
}

/// Takes away what was mounted; who serves it ends.
pub(crate) fn unmount_repository(place: &str) {
    let _ = unmount(place, UnmountFlags::DETACH);
}

/// What the servers publish now: root hash, revision, and a tag if there is one.
pub(crate) fn newest() -> Result<String> {
    let outcome = in_jail(["--newest", "/ro"]).stdin(Stdio::null()).output().context(PROGRAM)?;
    ensure!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr).trim());
    Ok(String::from_utf8_lossy(&outcome.stdout).trim().to_owned())
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
    let mut command = Command::new(program_in(Path::new("/")));
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
    use ucernvm_context::{CommandLine, Section};

    fn settings(line: &str) -> Settings {
        Settings::from_command_line(&CommandLine::parse(line))
    }

    fn pin(hash: &str, tag: Option<&str>) -> Option<Pin> {
        Some(Pin { root_hash: hash.to_owned(), tag: tag.map(str::to_owned) })
    }

    fn chosen(line: &str, kept: &Kept) -> (Option<String>, Option<String>, bool, Option<Action>) {
        let snapshot = choose(&settings(line), kept);
        (snapshot.root_hash, snapshot.tag, snapshot.fresh, snapshot.change)
    }

    #[test]
    fn a_wish_beats_the_pin_and_the_boot_menu_beats_all_for_one_boot() {
        let text = |text: &str| Some(text.to_owned());
        let nothing = Kept::default();
        assert_eq!(chosen("", &nothing), (None, None, true, None));
        assert_eq!(chosen("cvmfs_repository_tag=t cernvm_pin=previous", &nothing), (None, text("t"), true, None));
        let kept = Kept { pin: pin("abc", Some("now")), previous: pin("old", Some("before")), wish: None };
        assert_eq!(chosen("cvmfs_repository_tag=t", &kept), (text("abc"), text("now"), false, None));
        let wish = Wish { action: Action::Rebase, root_hash: None, tag: text("new") };
        let kept = Kept { wish: Some(wish), ..kept };
        assert_eq!(chosen("", &kept), (None, text("new"), true, Some(Action::Rebase)));
        assert_eq!(chosen("cvmfs_root_hash=def", &kept), (text("def"), None, false, None));
        assert_eq!(chosen("cvmfs_force_tag=a", &kept), (None, text("a"), false, None));
        assert_eq!(chosen("cernvm_pin=previous", &kept), (text("old"), text("before"), false, None));
    }

    #[test]
    fn a_root_hash_of_user_data_is_pinned_and_beaten_by_the_pin() {
        let section = Section::find("[ucernvm-begin]\ncvmfs_root_hash=def\n[ucernvm-end]").expect("a section");
        let mut settings = settings("cvmfs_repository_tag=t");
        settings.apply(&section);
        let snapshot = choose(&settings, &Kept::default());
        assert_eq!((snapshot.root_hash.as_deref(), snapshot.tag, snapshot.fresh), (Some("def"), None, true));
        let kept = Kept { pin: pin("abc", None), ..Kept::default() };
        assert_eq!(choose(&settings, &kept), Snapshot::pinned(kept.pin.as_ref().expect("a pin")));
    }

    #[test]
    fn the_snapshot_is_a_parameter() {
        let line = "cvmfs_server=s cvmfs_repos=r.example.org";
        let of = |pin| {
            let settings = settings(line);
            let kept = Kept { pin, ..Kept::default() };
            parameters(&settings, &choose(&settings, &kept), 500).expect("parameters")
        };
        let pinned = of(pin("abc", Some("tag")));
        assert!(pinned.contains(&("CVMFS_ROOT_HASH".to_owned(), "abc".to_owned())));
        assert!(!pinned.iter().any(|(key, _)| key == "CVMFS_REPOSITORY_TAG"));
        assert!(of(None).contains(&("CVMFS_QUOTA_LIMIT".to_owned(), "500".to_owned())));
        let nowhere = settings("");
        assert!(parameters(&nowhere, &choose(&nowhere, &Kept::default()), 1).is_err(), "nobody said where it is");
    }
}
