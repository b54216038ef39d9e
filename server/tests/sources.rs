//! Sources that are no directory trees, and files that steer publishing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Published, text};
use flate2::write::GzEncoder;
use libcvmfs::namespace::FileKind;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use tar::{Builder, EntryType, Header};

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o640);
    header.set_uid(1001);
    header.set_gid(1002);
    header.set_mtime(1_600_000_000);
    header.set_size(size);
    header
}

fn add(archive: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, content: &[u8]) {
    archive.append_data(&mut header(kind, content.len() as u64), path, content).unwrap();
}

fn link(archive: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, target: &str) {
    archive.append_link(&mut header(kind, 0), path, target).unwrap();
}

fn device(archive: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, major: u32, minor: u32) {
    let mut header = header(kind, 0);
    header.set_device_major(major).unwrap();
    header.set_device_minor(minor).unwrap();
    archive.append_data(&mut header, path, &b""[..]).unwrap();
}

/// Every kind of entry that archives have.
fn archive() -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    add(&mut archive, "./d/", EntryType::Directory, b"");
    let extensions = [("mtime", &b"1234.5"[..]), ("SCHILY.xattr.user.foo", b"bar"), ("uid", b"4000000000")];
    archive.append_pax_extensions(extensions).unwrap();
    add(&mut archive, "d/file", EntryType::Regular, b"content");
    link(&mut archive, "d/other", EntryType::Link, "./d/file");
    link(&mut archive, "elsewhere", EntryType::Link, "d/file");
    link(&mut archive, "d/link", EntryType::Symlink, "../d/file");
    device(&mut archive, "d/null", EntryType::Char, 1, 3);
    device(&mut archive, "d/disk", EntryType::Block, 8, 700);
    device(&mut archive, "d/fifo", EntryType::Fifo, 0, 0);
    add(&mut archive, "no/directory/for/this", EntryType::Regular, b"x");
    add(&mut archive, "twice", EntryType::Regular, b"first");
    add(&mut archive, "twice", EntryType::Regular, b"second");
    add(&mut archive, &format!("{}/long", "n".repeat(90)), EntryType::Regular, &vec![7; 100_000]);
    archive.into_inner().unwrap()
}

fn assert_archive(repository: &Published, top: &str) {
    let mount = repository.mount().client();
    let node = |path: &str| mount.link(format!("{top}{path}")).unwrap_or_else(|e| panic!("{path}: {e}"));
    let file = node("/d/file");
    let a = file.attributes();
    assert_eq!((a.mode, a.uid, a.gid, a.mtime), (0o100640, 4_000_000_000, 1002, (1234, 500_000_000)));
    assert_eq!(file.get_xattr(b"user.foo").unwrap(), b"bar");
    assert_eq!((a.nlink, node("/d/other").attributes().ino, node("/elsewhere").attributes().nlink), (2, a.ino, 1));
    assert_eq!(mount.read(format!("{top}/elsewhere")).unwrap(), b"content");
    assert_eq!(node("/d/link").read_link().unwrap(), b"../d/file");
    let rdev = |path: &str| (libc::major(node(path).attributes().rdev), libc::minor(node(path).attributes().rdev));
    assert_eq!((node("/d/null").kind(), rdev("/d/null")), (FileKind::CharacterDevice, (1, 3)));
    assert_eq!((node("/d/disk").kind(), rdev("/d/disk")), (FileKind::BlockDevice, (8, 700)));
    assert_eq!(node("/d/fifo").kind(), FileKind::Fifo);
    assert_eq!(mount.read(format!("{top}/no/directory/for/this")).unwrap(), b"x");
    assert_eq!(mount.read(format!("{top}/twice")).unwrap(), b"second");
    assert_eq!(mount.read(format!("{top}/{}/long", "n".repeat(90))).unwrap(), vec![7; 100_000]);
    repository.check();
}

#[test]
fn archives_of_all_forms() {
    let dir = tempfile::tempdir().unwrap();
    let plain = archive();
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let forms =
        [("tar", plain.clone()), ("gz", gzip.finish().unwrap()), ("zst", zstd::encode_all(&plain[..], 1).unwrap())];
    let repository = Published::new(&[]);
    for (name, bytes) in forms {
        let file = dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        repository.publish(&[text(&file), "--into", &format!("/{name}")]);
        assert_archive(&repository, &format!("/{name}"));
    }
    let mut run = repository.command("publish", &["-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(&plain).unwrap();
    assert!(run.wait().unwrap().success());
    assert_archive(&repository, "");
    assert!(repository.mount().client().node("/tar").is_err(), "without --into an archive is the whole tree");
    // Directories that the archive does not have stay for what is in them.
    let told = repository.publish(&[text(&dir.path().join("tar"))]);
    assert!(told["summary"]["files_unchanged"].as_u64() >= Some(2), "{told}");
    assert_archive(&repository, "");
}

#[test]
fn archives_with_holes_are_the_files_that_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    // One begins and ends with a hole, one is nothing else, one has more parts than a block of their map.
    for (name, size, parts) in [("middle", 3 << 20, 1..3), ("nothing", 1 << 20, 0..0), ("many", 4 << 20, 0..100)] {
        let mut file = fs::File::create(tree.join(name)).unwrap();
        for part in parts {
            file.seek(SeekFrom::Start(part * 40_000 + 700)).unwrap();
            file.write_all(format!("{name}: part {part}").as_bytes()).unwrap();
        }
        file.set_len(size).unwrap();
    }
    for (name, options) in [
        ("gnu", &["--format=gnu"][..]),
        ("oldest", &["--format=posix", "--sparse-version=0.0"]),
        ("older", &["--format=posix", "--sparse-version=0.1"]),
        ("pax", &["--format=posix", "--sparse-version=1.0"]),
    ] {
        let file = dir.path().join(format!("{name}.tar"));
        let mut tar = std::process::Command::new("tar");
        tar.args(options).args(["--sparse", "--mtime=@1600000000", "-cf", text(&file), "-C", text(&tree), "."]);
        cvmfs_tests::tools::output(&mut tar);
        assert!(fs::metadata(&file).unwrap().len() < 1 << 20, "{name}: it has no holes");
        let repository = Published::new(&[]);
        repository.publish(&[text(&file)]);
        let mount = repository.mount().client();
        assert_eq!(mount.list("").unwrap(), ["many", "middle", "nothing"], "{name}");
        for file in ["many", "middle", "nothing"] {
            let read = mount.read(format!("/{file}")).unwrap();
            assert!(read == fs::read(tree.join(file)).unwrap(), "{name}: {file}");
        }
        let told = repository.publish(&[text(&file)]);
        assert_eq!(told["summary"]["files_unchanged"], 3, "{name}: {told}");
    }
}

#[test]
fn archives_that_lead_out_are_refused_whole() {
    let repository = Published::new(&[]);
    let mut bad = Header::new_gnu();
    bad.set_size(1);
    bad.set_entry_type(EntryType::Regular);
    bad.as_mut_bytes()[..8].copy_from_slice(b"a/../../");
    bad.set_cksum();
    let mut archive = Builder::new(Vec::new());
    add(&mut archive, "good", EntryType::Regular, b"x");
    archive.append(&bad, &b"x"[..]).unwrap();
    let file = repository.dir.path().join("bad.tar");
    fs::write(&file, archive.into_inner().unwrap()).unwrap();
    let error = repository.fails("publish", &[text(&file)]);
    assert!(error.contains("leads out"), "{error}");
    fs::write(&file, &fs::read(&file).unwrap()[..700]).unwrap();
    repository.fails("publish", &[text(&file)]);
    assert_eq!(repository.check()["revision"], 1);
}

fn blob(image: &Path, bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(image.join("blobs/sha256")).unwrap();
    fs::write(image.join("blobs/sha256").join(&hex), bytes).unwrap();
    format!("sha256:{hex}")
}

#[test]
fn images_are_their_layers_on_top_of_each_other() {
    let repository = Published::new(&[]);
    let image = repository.dir.path().join("image");
    let mut lower = Builder::new(Vec::new());
    for path in ["etc/gone", "etc/kept", "opt/a", "opt/b", "usr/tree/x"] {
        add(&mut lower, path, EntryType::Regular, path.as_bytes());
    }
    let mut upper = Builder::new(Vec::new());
    add(&mut upper, "etc/.wh.gone", EntryType::Regular, b"");
    add(&mut upper, "opt/.wh..wh..opq", EntryType::Regular, b"");
    add(&mut upper, "opt/new", EntryType::Regular, b"new");
    add(&mut upper, "usr/.wh.tree", EntryType::Regular, b"");
    add(&mut upper, "etc/kept", EntryType::Regular, b"changed");
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&upper.into_inner().unwrap()).unwrap();
    let layers = [blob(&image, &lower.into_inner().unwrap()), blob(&image, &gzip.finish().unwrap())];
    let manifest = serde_json::json!({"layers": [{"digest": layers[0]}, {"digest": layers[1]}]});
    let digest = blob(&image, manifest.to_string().as_bytes());
    fs::write(image.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    fs::write(image.join("index.json"), serde_json::json!({"manifests": [{"digest": digest}]}).to_string()).unwrap();
    repository.publish(&[text(&image)]);
    let mount = repository.mount().client();
    assert_eq!(mount.list("/etc").unwrap(), ["kept"]);
    assert_eq!(mount.read("/etc/kept").unwrap(), b"changed");
    assert_eq!((mount.list("/opt").unwrap(), mount.list("/usr").unwrap()), (vec!["new".to_owned()], vec![]));
    repository.check();
    fs::write(image.join("blobs/sha256").join(&layers[0][7..]), b"other").unwrap();
    let error = repository.fails("publish", &[text(&image)]);
    assert!(error.contains("is damaged"), "{error}");
}

#[test]
fn patterns_make_nested_catalogs() {
    let repository = Published::new(&[]);
    let tree = repository.dir.path().join("tree");
    for directory in ["software/gcc/v1", "software/gcc/v2", "software/x.skip/v1", "software/not", "other/v1"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
        fs::write(tree.join(directory).join("file"), directory).unwrap();
    }
    fs::write(tree.join(".cvmfsdirtab"), "# text\n/software/*\n/software/*/v*\n! *.skip\n! /software/not\n").unwrap();
    let told = repository.publish(&[text(&tree)]);
    assert_eq!(told["catalogs"], 5, "{told}");
    assert_eq!(repository.check()["total"]["nested"], 4);
    let told = repository.publish(&[text(&tree)]);
    assert_eq!(told["changed"], false, "markers stay: {told}");
    // Patterns that go do not take markers along, as with the official publisher; the directory does.
    fs::remove_dir_all(tree.join("software/gcc")).unwrap();
    repository.publish(&[text(&tree)]);
    assert_eq!(repository.check()["total"]["nested"], 1);
}

#[test]
fn large_catalogs_are_divided_and_put_together_again() {
    let repository = Published::new(&[]);
    let tree = repository.dir.path().join("tree");
    for number in 0..600 {
        let directory = tree.join(format!("a{}/b{}", number % 3, number % 9));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("f{number}")), b"x").unwrap();
    }
    fs::hard_link(tree.join("a0/b0/f0"), tree.join("a0/b0/g0")).unwrap();
    let options = [text(&tree), "--auto-catalogs=250,20"];
    let told = repository.publish(&options);
    let total = &repository.check()["total"];
    assert!(total["nested"].as_u64().unwrap() >= 2, "{total} {told}");
    // Each mount point is in two catalogs, and each has two markers.
    let nested = total["nested"].as_u64().unwrap();
    assert_eq!(total["regular"].as_u64().unwrap(), 601 + 2 * nested);
    assert_eq!(repository.publish(&options)["changed"], false, "division is stable");
    for number in 0..3 {
        for file in fs::read_dir(tree.join(format!("a{number}"))).unwrap().map(Result::unwrap).skip(1) {
            fs::remove_dir_all(file.path()).unwrap();
        }
        let rest = fs::read_dir(tree.join(format!("a{number}"))).unwrap().map(Result::unwrap).next().unwrap().path();
        for file in fs::read_dir(&rest).unwrap().map(Result::unwrap).skip(3) {
            fs::remove_file(file.path()).unwrap();
        }
    }
    repository.publish(&options);
    let total = &repository.check()["total"];
    assert_eq!(total["nested"], 0, "{total}");
}

#[test]
fn an_archive_takes_away_only_as_a_layer() {
    let repository = Published::new(&[]);
    let tree = repository.dir.path().join("tree");
    for directory in ["gone", "cleared", "kept"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
        fs::write(tree.join(directory).join("file"), directory).unwrap();
    }
    repository.publish(&[text(&tree)]);
    let mut archive = Builder::new(Vec::new());
    for name in [".wh.gone", "cleared/.wh..wh..opq", "cleared/new", ".wh.never-there"] {
        add(&mut archive, name, EntryType::Regular, b"");
    }
    let layer = repository.dir.path().join("layer.tar");
    fs::write(&layer, archive.into_inner().unwrap()).unwrap();
    let list = |path: &str| {
        let mut names = repository.mount().client().list(path).unwrap();
        names.sort();
        names
    };
    repository.publish(&[text(&layer), "--layer", "--into", "/"]);
    assert_eq!((list("/"), list("/cleared")), (vec!["cleared".into(), "kept".into()], vec!["new".into()]));
    repository.publish(&[text(&layer), "--into", "/"]);
    assert_eq!(list("/"), [".wh.gone", ".wh.never-there", "cleared", "kept"]);
    assert!(repository.fails("publish", &[text(&layer), "--layer"]).contains("--into"));
}

#[test]
fn grafts_and_external_files_are_described_not_stored() {
    let repository = Published::new(&[]);
    let tree = repository.dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("real"), b"abc").unwrap();
    // The object of the real file under another name.
    let graft = "size=3\nchecksum=2a695360ba25033e8899486a62c9dc7316650b56\n";
    fs::write(tree.join(".cvmfsgraft-grafted"), graft).unwrap();
    fs::write(tree.join("beside"), b"").unwrap();
    fs::write(tree.join(".cvmfsgraft-beside"), graft).unwrap();
    repository.publish(&[text(&tree)]);
    let mount = repository.mount().client();
    let mut names = mount.list("/").unwrap();
    names.sort();
    assert_eq!(names, ["beside", "grafted", "real"]);
    assert_eq!((mount.read("/grafted").unwrap(), mount.read("/beside").unwrap()), (b"abc".to_vec(), b"abc".to_vec()));
    repository.check();
    fs::write(tree.join(".cvmfsgraft-bad"), "size=3").unwrap();
    assert!(repository.fails("publish", &[text(&tree)]).contains(".cvmfsgraft-bad"));

    let external = Published::new(&[]);
    fs::remove_file(tree.join(".cvmfsgraft-bad")).unwrap();
    let told = external.publish(&[text(&tree.join("real")).trim_end_matches("/real"), "--external"]);
    assert_eq!(told["summary"]["objects_stored"], 0, "{told}");
    let url = format!("file://{}", tree.display());
    assert_eq!(external.mount().option("CVMFS_EXTERNAL_URL", &url).client().read("/real").unwrap(), b"abc");
}

#[test]
fn files_that_stay_whole_may_be_larger_than_memory_is_used() {
    let repository = Published::new(&[]);
    let tree = repository.dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let content: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(tree.join("large"), &content).unwrap();
    let told = repository.publish(&[text(&tree), "--chunks", "none", "--compression", "none"]);
    assert_eq!(told["summary"]["objects_stored"], 1, "{told}");
    assert!(repository.mount().client().read("/large").unwrap() == content);
    assert_eq!(repository.check()["total"]["chunked"], 0);
}

#[test]
fn what_is_in_the_way_is_not_replaced() {
    let repository = Published::new(&[]);
    let file = repository.dir.path().join("source.tar");
    let publish = |archive: Builder<Vec<u8>>, into: &str| {
        fs::write(&file, archive.into_inner().unwrap()).unwrap();
        repository.run("publish", &[text(&file), "--into", into])
    };
    let mut first = Builder::new(Vec::new());
    add(&mut first, "file", EntryType::Regular, b"content");
    add(&mut first, "d/file", EntryType::Regular, b"content");
    link(&mut first, "link", EntryType::Symlink, "d");
    assert!(publish(first, "/").status.success());
    for into in ["/file", "/file/below", "/link", "/link/below/it"] {
        let mut archive = Builder::new(Vec::new());
        add(&mut archive, "a", EntryType::Regular, b"b");
        let output = publish(archive, into);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains("is no directory"), "{into}: {told}");
    }
    for (kind, into) in [(EntryType::Symlink, "/"), (EntryType::Symlink, "/d"), (EntryType::Regular, "/d")] {
        let mut archive = Builder::new(Vec::new());
        let mut header = header(kind, 0);
        header.set_link_name("elsewhere").unwrap();
        header.as_mut_bytes()[..2].copy_from_slice(b"./");
        header.set_cksum();
        archive.append(&header, &b""[..]).unwrap();
        let output = publish(archive, into);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains("root of an archive"), "{into}: {told}");
    }
    assert_eq!(repository.check()["revision"], 2);
    assert_eq!(repository.mount().client().read("/link/file").unwrap(), b"content");
}
