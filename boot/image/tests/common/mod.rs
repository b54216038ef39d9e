//! A Debian in a repository, and machines that boot it.

pub(crate) mod machine;

use cvmfs_tests::server::WebRoot;
use cvmfs_tests::tools::{is_root, output, require_tool, skip};
use machine::Plan;
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the first partition of a disk begins.
pub(crate) const FIRST: u64 = 1 << 20;
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

/// Tests with machines take turns: an emulated machine is as fast as this one lets it be.
static TURN: ReentrantMutex<()> = ReentrantMutex::new(());

/// A repository with a Debian in it, and a server.
pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: WebRoot,
    programs: PathBuf,
    tools: PathBuf,
    /// The last to go: until then it is this test's turn.
    _turn: ReentrantMutexGuard<'static, ()>,
}

impl Site {
    /// Publishes a Debian as tag `v1`; `None`, and it is said, where that cannot be done.
    pub(crate) fn new() -> Option<Site> {
        for tool in ["mmdebstrap", "qemu-system-x86_64", "qemu-img", "xorriso", "objcopy", "mformat", "mke2fs", "cpio"]
        {
            require_tool(tool)?;
        }
        if !is_root() {
            skip("only root can unpack a Debian whose files belong to whom they should");
            return None;
        }
        let turn = TURN.lock();
        let (programs, tools) = (static_programs(), static_tools());
        let directory = tempfile::tempdir().unwrap();
        let (storage, keys) = (directory.path().join("storage"), directory.path().join("keys"));
        output(publisher().args(["mkfs", FQRN, "--storage"]).arg(&storage).arg("--keys").arg(&keys));
        let site = Site { server: WebRoot::serve(FQRN, &storage), directory, programs, tools, _turn: turn };
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

    /// A machine that boots `image` in the server's network, with `scratch` as its disk.
    pub(crate) fn plan<'a>(&self, image: &'a Path, scratch: &Path) -> Plan<'a> {
        Plan::new(image).network(self.server.port()).with(&["--scratch", scratch.to_str().unwrap()])
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
        // On a busy computer the emulated timer comes too late for the kernel, which then gives up.
        build.args(["--append", &format!("cvmfs_ntp=NONE no_timer_check {words}")]);
        build.args(["--url", &format!("http://{SERVER}/cvmfs/@fqrn@")]);
        build.arg("--key").arg(self.directory.path().join("keys").join(format!("{FQRN}.pub")));
        build.arg("--programs").arg(&self.programs).arg("--tools").arg(&self.tools).args(more).arg("-o").arg(&image);
        // Two images of one run must not differ by what is in nobody's hand.
        let report = output(build.env("XDG_CACHE_HOME", kept()));
        (image, serde_json::from_slice(&report.stdout).unwrap())
    }
}

/// `ucernvm-init` for images; that in `CVMFS_TESTS_BOOT_PROGRAMS` if it is set.
fn static_programs() -> PathBuf {
    if let Some(built) = std::env::var_os("CVMFS_TESTS_BOOT_PROGRAMS") {
        // Cargo starts tests in the directory of their crate.
        return workspace().join(built);
    }
    output(Command::new(workspace().join("ci/boot")).arg("quick"));
    workspace().join("target/boot")
}

/// The shell and programs for file systems, built from Debian's sources.
fn static_tools() -> PathBuf {
    let scripts = workspace().join("boot/image/tools");
    let text = ["build", "busybox.config"].map(|name| fs::read_to_string(scripts.join(name)).unwrap()).concat();
    let tools = kept().join("tools");
    make_once(&tools, text.as_bytes(), |arriving| {
        output(Command::new(scripts.join("build")).arg(arriving));
    });
    tools
}

/// Makes `place` by `make`, unless it is there and was made from `text`.
fn make_once(place: &Path, text: &[u8], make: impl FnOnce(&Path)) {
    let made_from = place.with_extension("script");
    if place.exists() && fs::read(&made_from).ok().as_deref() == Some(text) {
        return;
    }
    let name = place.file_name().unwrap().to_string_lossy();
    let arriving = place.with_file_name(format!("arriving-{}-{name}", std::process::id()));
    make(&arriving);
    if place.is_dir() {
        fs::remove_dir_all(place).unwrap();
    }
    fs::rename(arriving, place).unwrap();
    fs::write(made_from, text).unwrap();
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
    make_once(&archive, &fs::read(&script).unwrap(), |arriving| {
        output(Command::new(&script).arg(arriving).args([suite, packages]));
    });
    archive
}

/// Whether the scratch was left as a file system that was unmounted: nothing to replay, nothing to repair.
pub(crate) fn is_clean(disk: &Path) -> bool {
    let partition = partition(disk);
    let header = Command::new("dumpe2fs").arg("-h").arg(&partition).output().unwrap();
    let header = String::from_utf8_lossy(&header.stdout).into_owned();
    assert!(header.contains("Filesystem volume name:   UROOT"), "{header}");
    let check = Command::new("e2fsck").arg("-fn").arg(&partition).output().unwrap();
    !header.contains("needs_recovery") && check.status.success()
}

/// The file system of a scratch, copied into a file of its own: `e2fsck` forgets where in a disk it is when it has replayed a journal.
pub(crate) fn partition(disk: &Path) -> PathBuf {
    let (file, copy) = (disk.display(), disk.with_extension("ext4"));
    let layers = match disk.extension().is_some_and(|extension| extension == "qcow2") {
        true => format!("file.driver=qcow2,file.file.filename={file}"),
        false => format!("file.filename={file}"),
    };
    let options = format!("driver=raw,offset={FIRST},{layers}");
    output(Command::new("qemu-img").args(["convert", "-O", "raw", "--image-opts", &options]).arg(&copy));
    copy
}

/// A disk with nothing on it.
pub(crate) fn blank_disk(site: &Site, name: &str) -> PathBuf {
    let disk = site.directory.path().join(name);
    fs::File::create(&disk).unwrap().set_len(2 << 30).unwrap();
    disk
}
