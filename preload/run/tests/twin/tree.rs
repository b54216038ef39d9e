//! The tree that the probe knows, on disk and published.

use crate::common::{User, output};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::tools::require_tool;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// The name that is compiled into the probe.
pub(crate) const FQRN: &str = "twin.test.example";

/// The tree in both forms, and somebody who uses the repository.
pub(crate) struct Published {
    pub(crate) user: User,
    pub(crate) tree: PathBuf,
}

impl Published {
    /// `None` without a C compiler.
    pub(crate) fn new() -> Option<Published> {
        let cc = require_tool("cc")?;
        let user = User::with(Vec::new());
        let home = user.home.path();
        let tree = home.join("tree");
        plant(&tree, &cc);
        let published = Forge::new(FQRN)
            .tree("", &tree)
            .at("/big")
            .chunks_of(1 << 17)
            .nested("/nested")
            .nested("/nested/inner")
            .publish(home.join("web"));
        Some(Published { user: user.using(&published.repository()), tree })
    }
}

fn mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn plant(tree: &Path, cc: &Path) {
    for directory in ["bin", "dir/sub", "nested/inner", "nested/dir", "locked", "many", "vacant"] {
        std::fs::create_dir_all(tree.join(directory)).unwrap();
    }
    let file = |name: &str, bytes: &[u8], permissions: u32| {
        let path = tree.join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        mode(&path, permissions);
    };
    let text = "A line of the README.\n".repeat(50);
    file("README", text.as_bytes(), 0o644);
    let time = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    std::fs::File::open(tree.join("README")).unwrap().set_modified(time).unwrap();
    file("empty", b"", 0o644);
    let big: Vec<u8> = (0..300_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    file("big", &big, 0o644);
    file("secret", b"for the owner\n", 0o600);
    for name in
        ["dir/one", "dir/two", "dir/sub/leaf", "nested/inner/file", "nested/dir/file", "locked/file", "xattr", "hard1"]
    {
        file(name, name.as_bytes(), 0o644);
    }
    for number in 0..300 {
        file(&format!("many/file{number:04}"), format!("number {number}\n").as_bytes(), 0o644);
    }
    file("name with blanks\n", b"blanks", 0o644);
    std::fs::write(tree.join(OsStr::from_bytes(b"\xff\xfe")), "no UTF-8").unwrap();
    std::fs::hard_link(tree.join("hard1"), tree.join("hard2")).unwrap();
    attribute(&tree.join("xattr"), "user.one", "1st");
    attribute(&tree.join("xattr"), "user.two", "second");
    let fifo = CString::new(tree.join("fifo").as_os_str().as_bytes()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o644) }, 0);

    let root = format!("/cvmfs/{FQRN}");
    let link = |name: &str, target: &str| symlink(target, tree.join(name)).unwrap();
    link("link", "README");
    link("dirlink", "dir");
    link("abslink", &format!("{root}/README"));
    // Not a file that is missed if one of the calls gets through.
    link("outlink", "/dev/null");
    link("dangling", "absent");
    link("loop1", "loop2");
    link("loop2", "loop1");
    link("chain1", "README");
    for number in 2..=41 {
        link(&format!("chain{number}"), &format!("chain{}", number - 1));
    }
    let deep = tree.join("deep").join(["d".repeat(39).as_str(); 60].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("bottom"), "far down\n").unwrap();

    programs(tree, cc, &root);
    mode(&tree.join("locked"), 0o700);
    mode(tree, 0o755);
}

fn programs(tree: &Path, cc: &Path, root: &str) {
    let bin = tree.join("bin");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/hello.c");
    for (name, flags) in [("hello", &[][..]), ("hello-static", &["-static"])] {
        let mut command = Command::new(cc);
        output(command.args(["-D_GNU_SOURCE", "-w", "-O1"]).args(flags).arg("-o").arg(bin.join(name)).arg(&source));
    }
    let script = |name: &str, text: &str, permissions: u32| {
        std::fs::write(bin.join(name), text).unwrap();
        mode(&bin.join(name), permissions);
    };
    script("script", "#!/bin/sh\necho \"script => $0: $*\"\npwd\nexit 5\n", 0o755);
    script("cscript", &format!("#!{root}/bin/hello of a script\n"), 0o755);
    script("chain", &format!("#! {root}/bin/cscript\tof a chain \n"), 0o755);
    script("argless", &format!("#!{root}/bin/hello\n"), 0o755);
    script("nested-static", &format!("#!{root}/bin/hello-static static\n"), 0o755);
    script("loop", &format!("#!{root}/bin/loop\n"), 0o755);
    script("dangling", "#!/no/such/interpreter\n", 0o755);
    script("plain", "#!/bin/sh\necho plain\n", 0o644);
    script("shell", "echo \"shell => $0: $*\"\n", 0o755);
    script("empty", "", 0o755);
    cvmfs_tests::tools::copy_program(bin.join("hello"), bin.join("noread"));
    mode(&bin.join("noread"), 0o711);
    cvmfs_tests::tools::copy_program(bin.join("hello"), tree.join("locked/hello"));
    symlink("hello", bin.join("link")).unwrap();
    symlink(format!("{root}/bin/hello-static"), bin.join("link-static")).unwrap();
    symlink("/bin/true", bin.join("outside")).unwrap();
}

fn attribute(file: &Path, name: &str, value: &str) {
    let (path, name) = (CString::new(file.as_os_str().as_bytes()).unwrap(), CString::new(name).unwrap());
    // SAFETY: C strings, and a value with its length. Without attributes in the file system both sides have none.
    unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
}
