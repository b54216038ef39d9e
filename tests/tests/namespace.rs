//! The tree of `/cvmfs` as programs see it: hidden names, snapshots inside, links over every border, owners,
//! attributes, and which repositories there are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, FileType, Truth};
use cvmfs_tests::forge::{Forge, Keys};
use cvmfs_tests::mount::{Mount, Mounted, read, sha256};
use cvmfs_tests::server::WebRoot;
use libcvmfs::Error;
use libcvmfs::namespace::{FileKind, LastLink, Node, Resolved};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

fn small() -> Mount {
    Mount::of(&fixtures::repository("small.test.example"))
}

fn truth_of(tag: Option<&str>) -> BTreeMap<Vec<u8>, Truth> {
    fixtures::truth("small.test.example", tag).map(|t| (t.path.clone(), t)).collect()
}

fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::Reg => FileKind::Regular,
        FileType::Dir => FileKind::Directory,
        FileType::Lnk => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Sock => FileKind::Socket,
        FileType::Blk => FileKind::BlockDevice,
        FileType::Chr => FileKind::CharacterDevice,
    }
}

#[test]
fn hidden_names_are_found_and_not_listed() {
    let mounted = small().client();
    assert!(!mounted.list("").unwrap().contains(&".cvmfs".to_owned()));
    let hidden = mounted.node("/.cvmfs").unwrap();
    assert_eq!(hidden.kind(), FileKind::Directory);
    assert!(mounted.node("").unwrap().child(b".cvmfs").unwrap().is_some());
    assert!(mounted.list("/files").unwrap().contains(&".hidden_dotfile".to_owned()), "a dot alone hides nothing");
}

#[test]
fn snapshots_inside_a_repository_are_the_revisions_they_name() {
    let mounted = small().environment("CVMFS_ANCHOR_VAR", "anchor_value").client();
    let snapshots = mounted.node("/.cvmfs/snapshots").unwrap();
    let mut inodes = BTreeSet::new();
    for tag in ["v1", "v3"] {
        let root = snapshots.child(tag.as_bytes()).unwrap().unwrap_or_else(|| panic!("no snapshot {tag}"));
        let mut compared = 0;
        for truth in truth_of(Some(tag)).values().filter(|truth| truth.path != b"/") {
            // A snapshot of a snapshot would go on for ever.
            let path = [format!("/.cvmfs/snapshots/{tag}").as_bytes(), &truth.path].concat();
            let node = mounted.link(&path).unwrap_or_else(|e| panic!("{}: {e}", String::from_utf8_lossy(&path)));
            let attributes = node.attributes();
            assert_eq!(attributes.kind(), kind(truth.file_type), "{node:?}");
            assert_eq!(attributes.mode & 0o7777, truth.mode, "{node:?}");
            assert_eq!((attributes.size, attributes.uid), (truth.size, truth.uid), "{node:?}");
            if truth.file_type == FileType::Reg && compared % 3 == 0 {
                assert_eq!(Some(sha256(&read(&node).unwrap())), truth.sha256, "{node:?}");
            }
            if compared < 50 {
                let head = mounted.link(&truth.path).map(|node| node.attributes().ino).ok();
                assert_ne!(Some(attributes.ino), head, "{node:?} is not the entry of the newest revision");
                assert!(truth.nlink > 1 || inodes.insert(attributes.ino), "{node:?} shares its number");
            }
            compared += 1;
        }
        assert!(compared > 300, "{compared}");
        assert_eq!(root.parent().unwrap().path(), snapshots.path(), ".. leads out again");
    }
}

#[test]
fn the_same_position_is_the_same_name() {
    let mount = small();
    let (one, other) = (mount.client(), mount.client());
    for path in ["", "/bigdir", "/names", "/nested"] {
        let list = |mounted: &Mounted| mounted.node(path).unwrap().list().unwrap();
        let (first, again, elsewhere) = (list(&one), list(&one), list(&other));
        assert_eq!(first.len(), again.len());
        for at in 0..first.len() {
            assert!(first.get(at).is_some());
            assert_eq!(first.get(at), again.get(at));
            assert_eq!(first.get(at), elsewhere.get(at));
        }
        assert!(first.get(first.len()).is_none());
        let names: BTreeSet<&[u8]> = first.iter().map(|item| &*item.name).collect();
        assert_eq!(names.len(), first.len());
    }
    assert!(one.node("/bigdir").unwrap().list().unwrap().len() >= 1000);
}

#[test]
fn variables_in_links_come_from_the_environment_and_the_options() {
    let target = |mounted: &Mounted, name: &str| {
        let node = mounted.link(format!("/symlinks/{name}")).unwrap();
        let target = node.read_link().unwrap();
        assert_eq!(node.attributes().size, target.len() as u64, "{node:?}");
        String::from_utf8(target).unwrap()
    };
    let bare = small().client();
    assert_eq!(target(&bare, "variant_plain"), "");
    let default = target(&bare, "variant_default");
    assert_eq!(target(&bare, "variant_unterminated"), "$(broken");
    let set = small().environment("CVMFS_ANCHOR_VAR", "from/environment").client();
    assert_eq!(target(&set, "variant_plain"), "from/environment");
    assert_ne!(target(&set, "variant_default"), default);
    let both = small().environment("CVMFS_ANCHOR_VAR", "lost").option("CVMFS_ANCHOR_VAR", "from_option").client();
    assert_eq!(target(&both, "variant_plain"), "from_option");
    let raw = |mounted: &Mounted| mounted.link("/symlinks/variant_plain").unwrap().raw_link().unwrap();
    assert_eq!(raw(&bare), raw(&both));
    assert!(raw(&bare).starts_with(b"$("));
    // A variable decides which directory a path goes through.
    let leading = Forge::new("v.test.example").symlink("/current", "$(WHICH:-one)/file").file("/one/file", "1");
    let directory = tempfile::tempdir().unwrap();
    let published = leading.file("/two/file", "2").publish(directory.path());
    let mount = Mount::of(&published.repository());
    assert_eq!(mount.client().read("/current").unwrap(), b"1");
    assert_eq!(mount.clone().environment("WHICH", "two").client().read("/current").unwrap(), b"2");
}

/// Two repositories on one server, and a client that knows both.
struct Pair {
    mount: Mount,
    _server: WebRoot,
    _directory: tempfile::TempDir,
}

const FIRST: &str = "first.test.example";
const SECOND: &str = "second.test.example";

fn pair() -> Pair {
    let directory = tempfile::tempdir().unwrap();
    let server = WebRoot::new();
    let first = Forge::new(FIRST)
        .file("/dir/file", "first")
        .nested("/nested")
        .file("/nested/deep/file", "deep")
        .symlink("/nested/deep/up", "../../dir/file")
        .symlink("/absolute", format!("/cvmfs/{SECOND}/dir/file"))
        .symlink("/absolute_dir", format!("/cvmfs/{SECOND}/dir/"))
        .symlink("/sideways", format!("../{SECOND}/dir"))
        .symlink("/home", format!("/cvmfs/{FIRST}"))
        .symlink("/top", "/cvmfs")
        .symlink("/out", "/etc/hostname")
        .symlink("/out_dir", "/usr/share")
        .symlink("/too_far", "../../etc/passwd")
        .symlink("/spelled", format!("//cvmfs/./{SECOND}//dir/../dir/file"))
        .symlink("/loop", "loop2")
        .symlink("/loop2", "/cvmfs/first.test.example/loop")
        .symlink("/nowhere", "/cvmfs/third.test.example.invalid/x")
        .publish(directory.path().join("first"));
    let second = Forge::new(SECOND)
        .file("/dir/file", "second")
        .symlink("/back", format!("/cvmfs/{FIRST}/absolute"))
        .symlink("/chain", format!("/cvmfs/{FIRST}/home/nested/deep/up"))
        .publish(directory.path().join("second"));
    server.mount_repository(FIRST, &first.web_root);
    server.mount_repository(SECOND, &second.web_root);
    let mount = Mount::over(&first.repository(), &[&server]);
    Pair { mount, _server: server, _directory: directory }
}

#[test]
fn links_and_dots_lead_over_every_border() {
    let pair = pair();
    let mounted = pair.mount.client();
    let namespace = mounted.client().namespace();
    for (path, content) in [
        (format!("/cvmfs/{FIRST}/dir/file"), "first"),
        (format!("/cvmfs/{FIRST}/nested/deep/up"), "first"),
        (format!("/cvmfs/{FIRST}/absolute"), "second"),
        (format!("/cvmfs/{FIRST}/absolute_dir/file"), "second"),
        (format!("/cvmfs/{FIRST}/sideways/file"), "second"),
        (format!("/cvmfs/{FIRST}/spelled"), "second"),
        (format!("/cvmfs/{FIRST}/home/home/dir/file"), "first"),
        (format!("/cvmfs/{FIRST}/top/{SECOND}/dir/file"), "second"),
        (format!("/cvmfs/{SECOND}/back"), "second"),
        (format!("/cvmfs/{SECOND}/chain"), "first"),
        (format!("/cvmfs/{FIRST}/../{SECOND}/dir/file"), "second"),
        (format!("/cvmfs/{FIRST}/nested/deep/../../dir/file"), "first"),
        (format!("/cvmfs/{FIRST}/sideways/../../{FIRST}/dir/file"), "first"),
        (format!("//cvmfs//./{FIRST}/dir//./file"), "first"),
    ] {
        let node = namespace.resolve(path.as_bytes(), LastLink::Follow).and_then(Resolved::node);
        let node = node.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(read(&node).unwrap(), content.as_bytes(), "{path}");
    }
    for (path, outside) in [
        (format!("/cvmfs/{FIRST}/out"), "/etc/hostname"),
        (format!("/cvmfs/{FIRST}/out_dir"), "/usr/share"),
        (format!("/cvmfs/{FIRST}/out_dir/doc/x"), "/usr/share/doc/x"),
        (format!("/cvmfs/{FIRST}/too_far"), "/etc/passwd"),
        (format!("/cvmfs/{FIRST}/../../etc"), "/etc"),
        ("/cvmfs/../usr/lib".to_owned(), "/usr/lib"),
        ("/usr/lib".to_owned(), "/usr/lib"),
    ] {
        match namespace.resolve(path.as_bytes(), LastLink::Follow).unwrap_or_else(|error| panic!("{path}: {error}")) {
            Resolved::Outside(found) => assert_eq!(String::from_utf8_lossy(&found), outside, "{path}"),
            Resolved::Node(node) => panic!("{path} is {node:?}"),
        }
    }
    let errno = |path: &str, last| namespace.resolve(path.as_bytes(), last).unwrap_err().errno();
    assert_eq!(errno(&format!("/cvmfs/{FIRST}/loop"), LastLink::Follow), libc::ELOOP);
    assert_eq!(errno(&format!("/cvmfs/{FIRST}/dir/file/x"), LastLink::Follow), libc::ENOTDIR);
    assert_eq!(errno(&format!("/cvmfs/{FIRST}/dir/file/"), LastLink::Keep), libc::ENOTDIR);
    assert_eq!(errno(&format!("/cvmfs/{FIRST}/dir/file/.."), LastLink::Keep), libc::ENOTDIR);
    assert_eq!(errno(&format!("/cvmfs/{FIRST}/none/.."), LastLink::Keep), libc::ENOENT);
    assert_eq!(errno(&format!("/cvmfs/{FIRST}/{}", "n".repeat(256)), LastLink::Keep), libc::ENAMETOOLONG);
    assert_eq!(errno(&format!("/cvmfs/{FIRST}{}", "/.".repeat(2100)), LastLink::Keep), libc::ENAMETOOLONG);
    // The borders from inside.
    let root = mounted.node("").unwrap();
    assert_eq!(root.parent().unwrap().path(), b"/cvmfs");
    let top = namespace.resolve(b"/cvmfs", LastLink::Follow).unwrap().node().unwrap();
    assert!(top.parent().is_none() && top.fqrn().is_none());
    let listed: Vec<Vec<u8>> = top.list().unwrap().iter().map(|item| item.name.to_vec()).collect();
    assert_eq!(listed, [FIRST.as_bytes(), SECOND.as_bytes()], "what was touched is listed");
    let deep = mounted.node("/nested/deep").unwrap();
    let up = namespace.resolve_at(&deep, b"../../dir/file", LastLink::Follow).unwrap().node().unwrap();
    assert_eq!(up.path(), format!("/cvmfs/{FIRST}/dir/file").into_bytes());
    let link = mounted.link("/absolute").unwrap().follow().unwrap().node().unwrap();
    assert_eq!(link.fqrn().unwrap().as_str(), SECOND);
    assert_ne!(link.attributes().dev, root.attributes().dev);
}

#[test]
fn owners_are_mapped_or_claimed() {
    let truth = truth_of(None);
    let owner = |mounted: &Mounted, path: &str| {
        let attributes = mounted.link(path).unwrap().attributes();
        (attributes.uid, attributes.gid)
    };
    let entry = "/owners/f_1001_1002";
    let own = &truth[entry.as_bytes()];
    assert_eq!((own.uid, own.gid), (1001, 1002));
    assert_eq!(owner(&small().client(), entry), (1001, 1002));

    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (users, groups) = (write("users", "# users\n1001 77\n0 5\n"), write("groups", "1002 88\n* 99\n"));
    let mapped = small().option("CVMFS_UID_MAP", &users).option("CVMFS_GID_MAP", &groups);
    let client = mapped.client();
    assert_eq!(owner(&client, entry), (77, 88));
    assert_eq!(owner(&client, "/owners/d_65534_65534"), (65534, 99), "only groups have a default rule");
    assert_eq!(owner(&client, "/owners/l_4000000000_4000000001"), (4_000_000_000, 99));
    assert_eq!(owner(&client, "/files").0, if truth[&b"/files"[..]].uid == 0 { 5 } else { truth[&b"/files"[..]].uid });

    // SAFETY: these calls only read a number of the process.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let claimed = mapped.option("CVMFS_CLAIM_OWNERSHIP", "yes").client();
    assert_eq!(owner(&claimed, entry), (uid, gid));
    assert_eq!(owner(&claimed, "/owners/l_4000000000_4000000001"), (uid, gid));

    let broken = write("broken", "1001 x\n");
    let error = small().option("CVMFS_UID_MAP", &broken).client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("CVMFS_UID_MAP") && error.to_string().contains("line 1"), "{error}");
    let missing = directory.path().join("missing").to_str().unwrap().to_owned();
    let error = small().option("CVMFS_GID_MAP", &missing).client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("CVMFS_GID_MAP") && error.to_string().contains("missing"), "{error}");
}

#[test]
fn everything_can_be_made_readable() {
    let mode = |mounted: &Mounted, path: &[u8]| mounted.link(path).unwrap().attributes().mode & 0o7777;
    let (plain, readable) = (small().client(), small().option("CVMFS_WORLD_READABLE", "yes").client());
    let truth = truth_of(None);
    let mut closed = 0;
    for entry in truth.values().filter(|entry| matches!(entry.file_type, FileType::Reg | FileType::Dir)) {
        assert_eq!(mode(&plain, &entry.path), entry.mode);
        let added = if entry.file_type == FileType::Dir { 0o555 } else { 0o444 };
        assert_eq!(mode(&readable, &entry.path), entry.mode | added);
        closed += usize::from(entry.mode | added != entry.mode);
    }
    assert!(closed > 0, "some entries are not for everybody");
}

#[test]
fn computed_attributes_are_listed_where_the_configuration_says() {
    let names = |mount: Mount, path: &str| {
        let names = mount.client().node(path).unwrap().list_xattrs().unwrap();
        names.into_iter().filter(|name| name == b"user.fqrn" || name == b"user.hash").count()
    };
    let visible = |value: &str| small().option("CVMFS_MAGIC_XATTRS_VISIBILITY", value);
    let file = "/files/tiny.txt";
    assert_eq!((names(small(), ""), names(small(), file)), (1, 0));
    assert_eq!((names(visible("rootonly"), ""), names(visible("rootonly"), file)), (1, 0));
    assert_eq!((names(visible("never"), ""), names(visible("never"), file)), (0, 0));
    assert_eq!((names(visible("always"), ""), names(visible("always"), file)), (1, 2));
    let hidden = small().option("CVMFS_HIDE_MAGIC_XATTRS", "yes");
    assert_eq!((names(hidden.clone(), ""), names(hidden.clone(), file)), (0, 0));
    let shown = small().option("CVMFS_HIDE_MAGIC_XATTRS", "no");
    assert_eq!((names(shown.clone(), ""), names(shown, file)), (1, 2));
    // They can be read all the same.
    let mounted = hidden.client();
    assert_eq!(mounted.node(file).unwrap().get_xattr(b"user.fqrn").unwrap(), b"small.test.example");
    assert_eq!(mounted.node("").unwrap().get_xattr(b"user.revision").unwrap(), b"9");
    let wrong = visible("sometimes").client().repository().map(drop).unwrap_err();
    assert!(wrong.to_string().contains("CVMFS_MAGIC_XATTRS_VISIBILITY"), "{wrong}");
}

#[test]
fn long_attributes_come_in_pages() {
    let directory = tempfile::tempdir().unwrap();
    let chunks = 1200;
    let bytes: Vec<u8> = (0..chunks * 2_u32).flat_map(u32::to_le_bytes).collect();
    let forge = Forge::new("pages.test.example").file("/many", &bytes).chunks_of(8);
    let mounted = Mount::of(&forge.publish(directory.path()).repository()).client();
    let node = mounted.node("/many").unwrap();
    let get = |name: &str| String::from_utf8(node.get_xattr(name.as_bytes()).unwrap()).unwrap();
    assert_eq!(get("user.chunks"), chunks.to_string());
    let pages: usize = get("user.chunk_list~?").parse().unwrap();
    assert!(pages > 1);
    let whole: String = (0..pages).map(|page| get(&format!("user.chunk_list~{page}"))).collect();
    assert_eq!(whole.lines().count(), chunks as usize + 1);
    assert!(whole.starts_with("hash,offset,size\n"));
    assert!(get("user.chunk_list").starts_with('#'), "the first page with a heading");
    assert_eq!(node.get_xattr(format!("user.chunk_list~{pages}").as_bytes()).unwrap_err().errno(), libc::ENODATA);
    assert_eq!(node.get_xattr(b"user.none").unwrap_err().errno(), libc::ENODATA);
    assert_eq!(read(&node).unwrap(), bytes);
}

/// Set in the child process that looks at protected attributes: the options, one a line.
const UNPRIVILEGED: &str = "CVMFS_TESTS_UNPRIVILEGED";

#[test]
fn unprivileged_reader() {
    let Some(client) = cvmfs_tests::mount::client_from_environment(UNPRIVILEGED) else { return };
    let root = client.namespace().resolve(b"/cvmfs/small.test.example", LastLink::Follow).unwrap().node().unwrap();
    let outcome = |name: &[u8]| root.get_xattr(name).map(|_| 0).unwrap_or_else(|error| error.errno());
    println!("protected {} free {}", outcome(b"user.host"), outcome(b"user.revision"));
}

#[test]
fn protected_attributes_are_for_the_privileged() {
    let protected = small().option("CVMFS_XATTR_PROTECTED_XATTRS", "user.host,user.pid");
    // SAFETY: only reads a number of the process.
    let uid = unsafe { libc::geteuid() };
    let own = protected.client().node("").unwrap().get_xattr(b"user.host");
    if uid != 0 {
        assert_eq!(own.unwrap_err().errno(), libc::ENODATA);
        return;
    }
    own.unwrap();
    // Somebody else needs to reach the program, the repository and a cache.
    let place = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    };
    open(place.path());
    let program = place.path().join("program");
    cvmfs_tests::tools::copy_program(std::env::current_exe().unwrap(), &program);
    open(&program);
    let small = fixtures::repository("small.test.example");
    let key = place.path().join("key.pub");
    std::fs::copy(&small.public_key, &key).unwrap();
    open(&key);
    let server = WebRoot::serve(&small.fqrn, &small.web_root);
    let run = |group: u32| {
        let options = [
            ("CVMFS_SERVER_URL", server.server_url()),
            ("CVMFS_HTTP_PROXY", "DIRECT".to_owned()),
            ("CVMFS_PUBLIC_KEY", key.display().to_string()),
            ("CVMFS_CACHE_BASE", place.path().join(format!("cache{group}")).display().to_string()),
            ("CVMFS_XATTR_PROTECTED_XATTRS", "user.host,user.pid".to_owned()),
            ("CVMFS_XATTR_PRIVILEGED_GIDS", "4711".to_owned()),
        ];
        let options: Vec<String> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(&program);
        command.args(["--exact", "unprivileged_reader", "--nocapture"]).env(UNPRIVILEGED, options.join("\n"));
        let output = command.uid(65534).gid(group).current_dir("/").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    assert!(run(65534).contains(&format!("protected {} free 0", libc::ENODATA)));
    assert!(run(4711).contains("protected 0 free 0"));
}

#[test]
fn only_described_repositories_exist() {
    let small = small();
    // Nothing but the names given describes any repository here.
    let undescribed = small.without_option("CVMFS_SERVER_URL").option("CVMFS_CONFIG_REPOSITORY", "");
    let client = undescribed.try_client().unwrap();
    let errno = |path: &str| client.namespace().resolve(path.as_bytes(), LastLink::Follow).unwrap_err().errno();
    assert_eq!(errno("/cvmfs/unknown.test.example"), libc::ENOENT);
    assert_eq!(errno("/cvmfs/unknown.test.example/some/file"), libc::ENOENT);
    for no_name in ["/cvmfs/.Trash", "/cvmfs/a b", "/cvmfs/-x", "/cvmfs/.", "/cvmfs/UPPER CASE", "/cvmfs/\u{e4}"] {
        let resolved = client.namespace().resolve(no_name.as_bytes(), LastLink::Follow);
        assert!(matches!(resolved, Err(Error::NotFound)) || no_name == "/cvmfs/.", "{no_name}: {resolved:?}");
    }
    let top = client.namespace().resolve(b"/cvmfs", LastLink::Follow).unwrap().node().unwrap();
    assert!(top.list().unwrap().is_empty());

    // One that is described and cannot be reached is another matter.
    let server = WebRoot::new();
    server.stop();
    let mount = Mount::over(&fixtures::repository("small.test.example"), &[&server]);
    let error = mount.client().node("/x").unwrap_err();
    assert_eq!(error.errno(), libc::EIO);
    assert!(error.to_string().contains(&server.port().to_string()), "{error}");
}

#[test]
fn the_list_of_repositories_is_shown_and_may_be_final() {
    let pair = pair();
    let names = |mount: &Mount| {
        let top = mount.client().client().namespace().top();
        let names: Vec<String> =
            top.list().unwrap().iter().map(|item| String::from_utf8_lossy(&item.name).into_owned()).collect();
        (names, top.attributes().nlink)
    };
    let listed = pair.mount.clone().option("CVMFS_REPOSITORIES", &format!("{SECOND},{FIRST}"));
    assert_eq!(names(&listed), (vec![FIRST.to_owned(), SECOND.to_owned()], 4));
    let strict = listed.clone().option("CVMFS_REPOSITORIES", SECOND).option("CVMFS_STRICT_MOUNT", "yes");
    let client = strict.try_client().unwrap();
    let resolve =
        |fqrn: &str| client.namespace().resolve(format!("/cvmfs/{fqrn}/dir/file").as_bytes(), LastLink::Follow);
    assert!(resolve(SECOND).is_ok());
    assert_eq!(resolve(FIRST).unwrap_err().errno(), libc::ENOENT);
    // Without a domain: the default one is added.
    let short = listed.option("CVMFS_REPOSITORIES", "first").option("CVMFS_DEFAULT_DOMAIN", "test.example");
    assert_eq!(names(&short).0, [FIRST]);
    assert!(short.try_client().unwrap().repository("first").is_ok());
}

#[test]
fn the_mount_directory_can_be_another() {
    let mount = small().option("CVMFS_MOUNT_DIR", "/software/cvmfs");
    let client = mount.try_client().unwrap();
    let path = "/software/cvmfs/small.test.example/files/tiny.txt";
    let node: Node = client.namespace().resolve(path.as_bytes(), LastLink::Follow).unwrap().node().unwrap();
    assert_eq!(node.path(), path.as_bytes());
    assert!(matches!(client.namespace().resolve(b"/cvmfs/x", LastLink::Follow).unwrap(), Resolved::Outside(_)));
    for wrong in ["cvmfs", "/a/../b", ""] {
        let outcome = small().option("CVMFS_MOUNT_DIR", wrong).try_client();
        assert!(wrong.is_empty() || outcome.is_err_and(|e| e.to_string().contains("CVMFS_MOUNT_DIR")), "{wrong}");
    }
}

#[test]
fn counters_tell_how_large_the_repository_is() {
    let mounted = small().client();
    let counters: BTreeMap<String, i64> =
        mounted.repository().unwrap().snapshot().statistics().total().iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let truth = truth_of(None);
    let count = |wanted: FileType| truth.values().filter(|entry| entry.file_type == wanted).count() as i64;
    // Hidden entries are counted by the publisher and not in the record.
    assert!(counters["regular"] >= count(FileType::Reg), "{counters:?}");
    assert!(counters["symlink"] >= count(FileType::Lnk) && counters["dir"] >= count(FileType::Dir), "{counters:?}");
    assert!(counters["file_size"] > 0);
    let text = String::from_utf8(mounted.node("").unwrap().get_xattr(b"user.repo_counters").unwrap()).unwrap();
    assert!(text.lines().any(|line| line == format!("regular,{}", counters["regular"])), "{text}");
}

#[test]
fn a_configuration_repository_describes_others() {
    let directory = tempfile::tempdir().unwrap();
    let server = WebRoot::new();
    let wanted = Forge::new("wanted.lab.example").keys(Keys::stranger()).file("/hello", "found");
    let wanted = wanted.publish(directory.path().join("wanted"));
    let keys = "/cvmfs/config.lab.example/etc/cvmfs/keys/lab.example";
    let domain = format!("CVMFS_SERVER_URL={}\nCVMFS_KEYS_DIR={keys}\n", server.server_url());
    let config = Forge::new("config.lab.example")
        .file("/etc/cvmfs/default.conf", "CVMFS_HTTP_PROXY=DIRECT\nCVMFS_FROM_CONFIG=yes\n")
        .file("/etc/cvmfs/domain.d/lab.example.conf", &domain)
        .file("/etc/cvmfs/keys/lab.example/lab.pub", Keys::stranger().public_key())
        .publish(directory.path().join("config"));
    server.mount_repository("wanted.lab.example", &wanted.web_root);
    server.mount_repository("config.lab.example", &config.web_root);
    let root = directory.path().join("etc");
    for sub in ["config.d", "domain.d"] {
        std::fs::create_dir_all(root.join(sub)).unwrap();
    }
    std::fs::write(root.join("default.conf"), "CVMFS_CONFIG_REPOSITORY=config.lab.example\n").unwrap();
    let own = format!(
        "CVMFS_SERVER_URL={}\nCVMFS_PUBLIC_KEY={}\nCVMFS_HTTP_PROXY=DIRECT\n",
        server.server_url(),
        config.public_key.display()
    );
    std::fs::write(root.join("config.d/config.lab.example.conf"), own).unwrap();
    let mount = Mount::of(&wanted.repository()).configured_by(&root);
    let mount = mount.without_option("CVMFS_SERVER_URL").without_option("CVMFS_PUBLIC_KEY");
    let mount = mount.without_option("CVMFS_HTTP_PROXY");
    let mounted = mount.client();
    assert_eq!(mounted.read("/hello").unwrap_or_else(|error| panic!("{error}")), b"found");
    let config_of_it = mounted.client().config("wanted.lab.example").unwrap();
    assert_eq!(config_of_it.value("CVMFS_FROM_CONFIG").unwrap().text, "yes");
    let mounted_now: BTreeSet<String> =
        mounted.client().mounted().iter().map(|repository| repository.fqrn().to_string()).collect();
    assert_eq!(mounted_now, BTreeSet::from(["config.lab.example".to_owned(), "wanted.lab.example".to_owned()]));
    // A new process without servers finds all of it in the cache.
    server.stop();
    assert_eq!(mount.client().read("/hello").unwrap(), b"found");
    // Required and not to be had: then nothing is mounted, and the message says which one is missing.
    let required = "CVMFS_CONFIG_REPOSITORY=config.lab.example\nCVMFS_CONFIG_REPO_REQUIRED=yes\n";
    std::fs::write(root.join("default.conf"), required).unwrap();
    let error = mount.with_new_cache().client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("config.lab.example"), "{error}");
    assert_eq!(error.errno(), libc::EIO);
}
