//! A Debian in a repository, and machines that boot it.

pub(crate) mod machine;

use cvmfs_tests::server::WebRoot;
use cvmfs_tests::tools::{is_root, output, require_tool, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository of the operating system.
pub(crate) const FQRN: &str = "os.example.org";
/// Where machines see the server.
pub(crate) const SERVER: &str = "10.0.2.100";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files that are made once for all tests, and again when what they are made from changes.
fn kept() -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_ucernvm")).ancestors().nth(2).unwrap().join("boot");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A repository with a Debian in it, and a server.
pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: WebRoot,
    programs: PathBuf,
}

impl Site {
    /// Publishes a Debian as tag `v1`; `None`, and it is said, where that cannot be done.
    pub(crate) fn new() -> Option<Site> {
        for tool in
            ["mmdebstrap", "qemu-system-x86_64", "qemu-img", "xorriso", "grub-mkimage", "mformat", "mke2fs", "cpio"]
        {
            require_tool(tool)?;
        }
        if !is_root() {
            skip("only root can unpack a Debian whose files belong to whom they should");
            return None;
        }
        let programs = static_programs();
        let directory = tempfile::tempdir().unwrap();
        let (storage, keys) = (directory.path().join("storage"), directory.path().join("keys"));
        output(publisher().args(["mkfs", FQRN, "--storage"]).arg(&storage).arg("--keys").arg(&keys));
        let site = Site { server: WebRoot::serve(FQRN, &storage), directory, programs };
        site.unpack(&debian("bookworm", ""), "");
        site.publish("v1");
        Some(site)
    }

    /// Unpacks an archive below a path in the tree that is published next.
    pub(crate) fn unpack(&self, archive: &Path, path: &str) {
        fs::create_dir_all(self.tree(path)).unwrap();
        output(Command::new("tar").arg("-xpf").arg(archive).arg("-C").arg(self.tree(path)));
    }

    /// A path in the tree that is published next.
    pub(crate) fn tree(&self, path: &str) -> PathBuf {
        self.directory.path().join("tree").join(path)
    }

    /// Publishes the tree as it is now.
    pub(crate) fn publish(&self, tag: &str) {
        let (storage, keys) = (self.directory.path().join("storage"), self.directory.path().join("keys"));
        let mut publish = publisher();
        publish.args(["publish", FQRN]).arg(self.tree("")).arg("--storage").arg(storage).arg("--keys").arg(keys);
        output(publish.args(["--tag", tag]));
    }

    /// Builds an image called `name` with the kernel of this machine's Debian, or that of `CVMFS_TESTS_KERNEL`; what
    /// `ucernvm` says.
    pub(crate) fn build(&self, name: &str, more: &[&str]) -> (PathBuf, serde_json::Value) {
        self.build_with(name, "", more)
    }

    /// The same with more words on the kernel command line.
    pub(crate) fn build_with(&self, name: &str, words: &str, more: &[&str]) -> (PathBuf, serde_json::Value) {
        let image = self.directory.path().join(name);
        let mut build = Command::new(env!("CARGO_BIN_EXE_ucernvm"));
        let kernel = std::env::var_os("CVMFS_TESTS_KERNEL").unwrap_or("debian".into());
        build.args(["build", "--repo", FQRN, "--json", "--kernel"]).arg(kernel);
        build.args(["--append", &format!("cvmfs_ntp=NONE {words}")]);
        build.args(["--url", &format!("http://{SERVER}/cvmfs/@fqrn@")]);
        build.arg("--key").arg(self.directory.path().join("keys").join(format!("{FQRN}.pub")));
        build.arg("--programs").arg(&self.programs).args(more).arg("-o").arg(&image);
        // Two images of one run must not differ by what is in nobody's hand.
        let report = output(build.env("XDG_CACHE_HOME", kept()));
        (image, serde_json::from_slice(&report.stdout).unwrap())
    }
}

/// `ucernvm-init` and `cvmfs-mount` for images; those in `CVMFS_TESTS_BOOT_PROGRAMS` if it is set.
fn static_programs() -> PathBuf {
    if let Some(built) = std::env::var_os("CVMFS_TESTS_BOOT_PROGRAMS") {
        return PathBuf::from(built);
    }
    output(Command::new(workspace().join("ci/boot")).arg("quick"));
    workspace().join("target/boot")
}

/// `cvmfs-server`, which a build of the whole workspace has put beside our program.
fn publisher() -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_ucernvm")).with_file_name("cvmfs-server");
    if !program.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        output(Command::new(cargo).current_dir(workspace()).args(["build", "--quiet", "--package", "cvmfs-server"]));
    }
    Command::new(program)
}

/// A small Debian as an archive: systemd, a login on the console, no password, and more packages between commas.
pub(crate) fn debian(suite: &str, packages: &str) -> PathBuf {
    let script = workspace().join("examples/boot/debian");
    let name = [suite, packages].join("-").trim_end_matches('-').replace(',', "-");
    let archive = kept().join(format!("debian-{name}.tar"));
    let made_from = archive.with_extension("script");
    let text = fs::read(&script).unwrap();
    if !archive.exists() || fs::read(&made_from).ok().as_deref() != Some(&text) {
        let arriving = kept().join(format!("arriving-{}.tar", std::process::id()));
        output(Command::new(&script).arg(&arriving).args([suite, packages]));
        fs::rename(arriving, &archive).unwrap();
        fs::write(made_from, text).unwrap();
    }
    archive
}

/// Whether the scratch was left as a file system that was unmounted: nothing to replay, nothing to repair.
pub(crate) fn is_clean(disk: &Path) -> bool {
    let partition = format!("{}?offset={}", disk.display(), 1 << 20);
    let header = Command::new("dumpe2fs").args(["-h", &partition]).output().unwrap();
    let header = String::from_utf8_lossy(&header.stdout).into_owned();
    assert!(header.contains("Filesystem volume name:   UROOT"), "{header}");
    let check = Command::new("e2fsck").args(["-fn", &partition]).output().unwrap();
    !header.contains("needs_recovery") && check.status.success()
}

/// A disk with nothing on it.
pub(crate) fn blank_disk(site: &Site, name: &str) -> PathBuf {
    let disk = site.directory.path().join(name);
    fs::File::create(&disk).unwrap().set_len(2 << 30).unwrap();
    disk
}
