//! Which revision is mounted, what replaces it, and what is left when the servers are gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures;
use cvmfs_tests::forge::{Forge, Keys, Published};
use cvmfs_tests::mount::{Mount, Mounted, sha256};
use cvmfs_tests::server::WebRoot;
use libcvmfs::Error;
use libcvmfs::error::Origin;
use libcvmfs::object::{ObjectKind, ObjectName};
use libcvmfs::repository::Refreshed;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const FQRN: &str = "changing.test.example";

/// A repository whose file `/version` tells its revision.
fn revision(number: u64) -> Forge {
    Forge::new(FQRN)
        .revision(number)
        .file("/version", format!("revision {number}"))
        .file("/same", "always the same")
        .file(format!("/only{number}"), "")
        .nested("/nested")
        .file("/nested/file", format!("nested {number}"))
}

struct Stage {
    server: WebRoot,
    mount: Mount,
    web_root: TempDir,
}

fn stage(first: &Forge) -> (Stage, Published) {
    let web_root = tempfile::tempdir().unwrap();
    let published = first.publish(web_root.path());
    let server = WebRoot::serve(FQRN, web_root.path());
    let mount = Mount::over(&published.repository(), &[&server]);
    (Stage { server, mount, web_root }, published)
}

impl Stage {
    fn publish(&self, forge: &Forge) -> Published {
        forge.publish(self.web_root.path())
    }
}

fn version(mounted: &Mounted) -> String {
    String::from_utf8(mounted.read("/version").unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

fn refresh(mounted: &Mounted) -> Result<Refreshed, Error> {
    mounted.repository().unwrap().refresh()
}

fn remove_object(published: &Published, name: ObjectName) {
    std::fs::remove_file(published.object_file(&name)).unwrap();
}

/// `YYYY-MM-DDThh:mm:ssZ`.
fn iso_date(seconds: u64) -> String {
    let (days, second) = (seconds as i64 / 86_400, seconds % 86_400);
    // Days from civil, after Howard Hinnant.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// > What is open, and every node found before, stays on the revision in which it was found.
/// > Inode numbers are made from paths: they are the same in every revision.
#[test]
fn a_newer_revision_is_seen_and_what_is_open_stays_as_it_was() {
    let (stage, _) = stage(&revision(1));
    let mounted = stage.mount.client();
    let (old_root, old_nested) = (mounted.node("").unwrap(), mounted.node("/nested").unwrap());
    let old_file = mounted.node("/version").unwrap();
    let mut open = old_file.open().unwrap();
    assert_eq!(refresh(&mounted).unwrap(), Refreshed::UpToDate);

    stage.publish(&revision(2));
    assert_eq!(version(&mounted), "revision 1", "the time to live is not over");
    assert_eq!(refresh(&mounted).unwrap(), Refreshed::Newer { revision: 2 });
    assert_eq!(version(&mounted), "revision 2");
    assert_eq!(mounted.read("/nested/file").unwrap(), b"nested 2");
    assert_eq!(mounted.node("/only1").unwrap_err().errno(), libc::ENOENT);
    assert!(mounted.node("/only2").is_ok());

    // Descriptors and nodes belong to the revision in which they were found.
    let mut content = String::new();
    open.read_to_string(&mut content).unwrap();
    assert_eq!(content, "revision 1");
    assert!(old_root.child(b"only1").unwrap().is_some() && old_root.child(b"only2").unwrap().is_none());
    assert_eq!(cvmfs_tests::mount::read(&old_file).unwrap(), b"revision 1");
    let old = old_nested.child(b"file").unwrap().unwrap();
    assert_eq!(cvmfs_tests::mount::read(&old).unwrap(), b"nested 1");
    assert_eq!(
        old_nested.parent().unwrap().child(b"version").unwrap().unwrap().snapshot().unwrap().identity().revision,
        1
    );
    assert_eq!(mounted.node("/version").unwrap().attributes().ino, old_file.attributes().ino, "numbers are stable");
    assert_eq!(mounted.node("").unwrap().get_xattr(b"user.revision").unwrap(), b"2");
    assert_eq!(old_root.get_xattr(b"user.revision").unwrap(), b"1");
}

/// > A newer revision is looked for when the time to live of the root catalog is over.
#[test]
fn the_time_to_live_decides_when_to_look() {
    let (stage, _) = stage(&revision(1).ttl(1));
    let mounted = stage.mount.client();
    assert_eq!(version(&mounted), "revision 1");
    stage.publish(&revision(2).ttl(3600));
    stage.server.forget_requests();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(version(&mounted), "revision 2");
    stage.publish(&revision(3));
    stage.server.forget_requests();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(version(&mounted), "revision 2", "now it is an hour");
    assert_eq!(stage.server.requests().len(), 0);
    // A shorter limit of the user counts.
    let short = stage.mount.clone().option("CVMFS_MAX_TTL_SECS", "1").client();
    assert_eq!(version(&short), "revision 3");
    stage.publish(&revision(4));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(version(&short), "revision 4");
}

#[test]
fn without_updates_the_revision_stays() {
    let (stage, _) = stage(&revision(1).ttl(1));
    let mounted = stage.mount.clone().option("CVMFS_AUTO_UPDATE", "no").client();
    assert_eq!(version(&mounted), "revision 1");
    stage.publish(&revision(2));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(version(&mounted), "revision 1");
    assert_eq!(refresh(&mounted).unwrap(), Refreshed::UpToDate);
    assert_eq!(version(&mounted), "revision 1");
}

#[test]
fn an_older_revision_is_refused_and_reported() {
    let (stage, first) = stage(&revision(1));
    let second = stage.publish(&revision(2));
    let mounted = stage.mount.client();
    assert_eq!(version(&mounted), "revision 2");
    first.put_manifest();
    let Refreshed::Offline { reason } = refresh(&mounted).unwrap() else { panic!("a roll-back goes unnoticed") };
    assert!(reason.contains("rollback") && reason.contains("revision 1") && reason.contains("revision 2"), "{reason}");
    assert!(reason.contains(&stage.server.port().to_string()), "{reason}");
    assert_eq!(version(&mounted), "revision 2");
    assert_eq!(mounted.repository().unwrap().state().offline.as_deref(), Some(reason.as_str()));
    // Neither does a new process accept it; the cache keeps serving.
    let other = stage.mount.client();
    assert_eq!(version(&other), "revision 2");
    assert_eq!(other.read("/nested/file").unwrap(), b"nested 2", "objects of the newer revision still come");
    second.put_manifest();
    assert_eq!(refresh(&mounted).unwrap(), Refreshed::UpToDate);
    assert_eq!(mounted.repository().unwrap().state().offline, None);
}

/// > An older revision than the newest one seen is never mounted, also if the cache was wiped but its workspace was
/// > kept.
#[test]
fn a_mirror_that_lags_behind_is_passed_over() {
    let (stage, _) = stage(&revision(1));
    let stale_root = tempfile::tempdir().unwrap();
    let published = revision(1).publish(stale_root.path());
    let stale = WebRoot::serve(FQRN, stale_root.path());
    stage.publish(&revision(2));
    let ahead = Mount::over(&published.repository(), &[&stage.server]);
    assert_eq!(version(&ahead.client()), "revision 2");
    // The same user now asks the stale one first.
    let urls = [stale.server_url(), stage.server.server_url()].join(";");
    let both = ahead.option("CVMFS_SERVER_URL", &urls).client();
    assert_eq!(version(&both), "revision 2");
    assert_eq!(both.read("/nested/file").unwrap(), b"nested 2");
    assert_eq!(both.repository().unwrap().state().offline, None, "the other one is fresh");
    assert!(stale.requests().iter().any(|request| request.path.ends_with("/.cvmfspublished")));
}

#[test]
fn copies_at_alternative_paths_are_used_where_they_are_announced() {
    let (stage, published) = stage(&revision(1).alternative_paths().tag("one"));
    assert_eq!(version(&stage.mount.clone().option("CVMFS_REPOSITORY_TAG", "one").client()), "revision 1");
    let paths = stage.server.paths();
    for (hash, kind) in
        [(published.root_catalog, ObjectKind::Catalog), (published.certificate, ObjectKind::Certificate)]
    {
        let name = ObjectName::new(hash, kind);
        assert!(paths.iter().any(|path| path.ends_with(&name.alternative_path())), "{paths:?}");
        assert!(!paths.iter().any(|path| path.ends_with(&name.path())), "{paths:?}");
    }
    // Announced and not there: the usual place is as good.
    let root = ObjectName::new(published.root_catalog, ObjectKind::Catalog);
    std::fs::remove_file(stage.web_root.path().join(&root.alternative_path()[1..])).unwrap();
    assert_eq!(version(&stage.mount.with_new_cache().client()), "revision 1");
}

#[test]
fn the_highest_revision_is_remembered_without_the_cache() {
    let (stage, first) = stage(&revision(1));
    let second = stage.publish(&revision(2));
    let workspace = tempfile::tempdir().unwrap();
    let with_workspace = stage.mount.clone().option("CVMFS_WORKSPACE", workspace.path().to_str().unwrap());
    assert_eq!(version(&with_workspace.client()), "revision 2");
    first.put_manifest();
    // Another cache, or the same one wiped: nothing to go on with, and still no way back.
    let wiped = with_workspace.with_new_cache();
    std::fs::remove_dir_all(workspace.path().join("local/letters")).unwrap();
    let error = wiped.client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("rollback"), "{error}");
    assert_eq!((error.errno(), error.origin()), (libc::EIO, Some(Origin::Content)));
    // Somebody who has never seen the second revision cannot know.
    assert_eq!(version(&stage.mount.with_new_cache().client()), "revision 1");
    second.put_manifest();
    assert_eq!(version(&wiped.client()), "revision 2");
}

#[test]
fn two_trees_under_one_number_raise_an_alarm() {
    let (stage, _) = stage(&revision(1));
    let mounted = stage.mount.client();
    assert_eq!(version(&mounted), "revision 1");
    stage.publish(&revision(1).file("/version", "another tree"));
    let error = refresh(&mounted).unwrap_err();
    assert!(error.to_string().contains("equivocation"), "{error}");
    assert!(error.to_string().contains(&stage.server.port().to_string()), "{error}");
    assert_eq!(version(&mounted), "revision 1");
    // Who is right cannot be told, so nobody mounts it any more.
    let error = stage.mount.client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("equivocation"), "{error}");
    stage.publish(&revision(2));
    assert_eq!(refresh(&mounted).unwrap(), Refreshed::Newer { revision: 2 });
    assert_eq!(version(&mounted), "revision 2");
}

#[test]
fn a_revision_without_its_root_catalog_is_passed_over() {
    let (stage, _) = stage(&revision(1));
    let mounted = stage.mount.client();
    assert_eq!(version(&mounted), "revision 1");
    let second = stage.publish(&revision(2));
    remove_object(&second, ObjectName::new(second.root_catalog, ObjectKind::Catalog));
    let refreshed = refresh(&mounted).unwrap();
    assert!(matches!(&refreshed, Refreshed::Offline { reason } if reason.contains("404")), "{refreshed:?}");
    assert_eq!(version(&mounted), "revision 1");
    // So it is in a new process, and nothing of the broken revision is remembered.
    let other = stage.mount.client();
    assert_eq!(version(&other), "revision 1");
    assert!(other.repository().unwrap().state().offline.is_some());
    let error = stage.mount.with_new_cache().client().repository().map(drop).unwrap_err();
    assert_eq!(error.errno(), libc::EIO, "{error}");
    // When it is repaired, all go on.
    stage.publish(&revision(2));
    assert_eq!(refresh(&mounted).unwrap(), Refreshed::Newer { revision: 2 });
    assert_eq!(version(&mounted), "revision 2");
}

#[test]
fn a_nested_catalog_that_is_missing_is_an_error_there_and_nowhere_else() {
    let (stage, published) = stage(&revision(1));
    remove_object(&published, ObjectName::new(published.catalogs["/nested"].0, ObjectKind::Catalog));
    let mounted = stage.mount.client();
    assert_eq!(version(&mounted), "revision 1");
    assert!(mounted.list("").unwrap().contains(&"nested".to_owned()));
    for path in ["/nested/file", "/nested/none"] {
        let error = mounted.node(path).unwrap_err();
        assert_eq!(error.errno(), libc::EIO, "{error}");
        assert!(error.to_string().contains(&published.catalogs["/nested"].0.to_string()[2..]), "{error}");
    }
    stage.publish(&revision(1));
    assert_eq!(mounted.read("/nested/file").unwrap(), b"nested 1");
}

#[test]
fn tags_dates_and_root_hashes_select() {
    let (stage, first) = stage(&revision(1).timestamp(1_600_000_000));
    let second = stage.publish(&revision(2).timestamp(1_600_100_000).tag_of("one", &first));
    let third = revision(3).timestamp(1_600_200_000).tag_of("one", &first).tag_of("two", &second).tag("three");
    let third = stage.publish(&third);
    let with = |name: &str, value: &str| stage.mount.clone().option(name, value).client();
    for (tag, expected) in [("one", "revision 1"), ("two", "revision 2"), ("three", "revision 3")] {
        let mounted = with("CVMFS_REPOSITORY_TAG", tag);
        assert_eq!(version(&mounted), expected);
        assert_eq!(mounted.node("").unwrap().get_xattr(b"user.tag").unwrap(), tag.as_bytes());
        assert_eq!(refresh(&mounted).unwrap(), Refreshed::UpToDate);
    }
    for (seconds, expected) in
        [(1_600_000_000, 1), (1_600_099_999, 1), (1_600_100_000, 2), (1_600_199_999, 2), (1_900_000_000, 3)]
    {
        let mounted = with("CVMFS_REPOSITORY_DATE", &iso_date(seconds));
        assert_eq!(version(&mounted), format!("revision {expected}"), "{}", iso_date(seconds));
    }
    for (published, expected) in [(&first, 1), (&second, 2), (&third, 3)] {
        let mounted = with("CVMFS_ROOT_HASH", &published.root_catalog.to_string());
        assert_eq!(version(&mounted), format!("revision {expected}"));
    }
    // The root hash beats the tag, the tag beats the date.
    let all = stage.mount.clone().option("CVMFS_REPOSITORY_DATE", "2040-01-01T00:00:00Z");
    let all = all.option("CVMFS_REPOSITORY_TAG", "two");
    assert_eq!(version(&all.client()), "revision 2");
    let all = all.option("CVMFS_ROOT_HASH", &first.root_catalog.to_string());
    assert_eq!(version(&all.client()), "revision 1");
    let tags: Vec<String> =
        stage.mount.client().repository().unwrap().tags().unwrap().into_iter().map(|tag| tag.name).collect();
    assert_eq!(tags.len(), 3, "{tags:?}");
    let old = stage.mount.client().repository().unwrap().snapshot_of_tag("one").unwrap();
    assert_eq!(old.identity().revision, 1);

    let refused = |name: &str, value: &str| with(name, value).repository().map(drop).unwrap_err();
    let error = refused("CVMFS_REPOSITORY_TAG", "four");
    assert!(error.to_string().contains("four") && error.to_string().contains(FQRN), "{error}");
    assert_eq!(error.origin(), Some(Origin::Config));
    let error = refused("CVMFS_REPOSITORY_DATE", &iso_date(1_599_999_999));
    assert!(error.to_string().contains("1599999999"), "{error}");
    for date in ["yesterday", "2020-13-01T00:00:00Z", "2020-01-01"] {
        let error = refused("CVMFS_REPOSITORY_DATE", date);
        assert!(error.to_string().contains("CVMFS_REPOSITORY_DATE") && error.to_string().contains(date), "{error}");
    }
    for hash in ["abc", "zz3e8f52186124b22c195c432d6dcd95f5e7e9b7", "../../../etc/passwd"] {
        let error = refused("CVMFS_ROOT_HASH", hash);
        assert!(error.to_string().contains("CVMFS_ROOT_HASH"), "{error}");
    }
    let error = refused("CVMFS_ROOT_HASH", "0123456789012345678901234567890123456789");
    assert_eq!((error.errno(), error.origin()), (libc::EIO, Some(Origin::Host)), "{error}");
}

#[test]
fn a_repository_without_tags_says_so() {
    let (stage, _) = stage(&revision(1));
    let error = stage.mount.clone().option("CVMFS_REPOSITORY_TAG", "one").client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("no tag"), "{error}");
}

/// > Without servers the newest revision that was verified here is mounted from the cache; what is not in the cache
/// > is an input/output error.
#[test]
fn without_servers_the_cache_is_what_there_is() {
    let (stage, _) = stage(&revision(1).tag("one").ttl(1));
    let mounted = stage.mount.client();
    assert_eq!(version(&mounted), "revision 1");
    let tagged = stage.mount.clone().option("CVMFS_REPOSITORY_TAG", "one");
    assert_eq!(version(&tagged.client()), "revision 1");
    stage.server.stop();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(version(&mounted), "revision 1", "mounted before");

    let cold = stage.mount.client();
    assert_eq!(version(&cold), "revision 1");
    assert_eq!(cold.node("/none").unwrap_err().errno(), libc::ENOENT, "the catalog is there and knows");
    assert_eq!(cold.read("/same").unwrap_err().errno(), libc::EIO, "the object is not");
    assert_eq!(cold.node("/nested/file").unwrap_err().errno(), libc::EIO, "nor the catalog");
    let state = cold.repository().unwrap().state();
    assert!(state.offline.is_some_and(|reason| reason.contains(&stage.server.port().to_string())));
    assert_eq!(version(&tagged.client()), "revision 1");

    let error = stage.mount.with_new_cache().client().repository().map(drop).unwrap_err();
    assert_eq!((error.errno(), error.retry()), (libc::EIO, libcvmfs::error::Retry::Later));
    assert!(error.to_string().contains(FQRN) && error.to_string().contains("offline"), "{error}");

    stage.server.restart();
    stage.publish(&revision(2));
    assert_eq!(cold.read("/same").unwrap(), b"always the same");
    assert_eq!(refresh(&cold).unwrap(), Refreshed::Newer { revision: 2 });
    assert_eq!(cold.repository().unwrap().state().offline, None);
}

#[test]
fn an_expired_whitelist_counts_online_and_not_offline() {
    let (stage, valid) = stage(&revision(1));
    let mounted = stage.mount.client();
    assert_eq!(version(&mounted), "revision 1");
    // The same revision an hour and a half later, so to speak: expiry is counted in hours.
    let expired = stage.publish(&revision(1).whitelist_created("20231114000000").whitelist_expires("20240101000000"));
    assert_ne!(expired.whitelist, valid.whitelist);
    let error = stage.mount.with_new_cache().client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    let error = stage.mount.client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    assert!(refresh(&mounted).unwrap_err().to_string().contains("expired"));
    assert_eq!(version(&mounted), "revision 1", "what is mounted stays");

    let letters = mounted.repository().unwrap().cache().settings().directory.join("local/letters").join(FQRN);
    let kept = letters.join("cvmfswhitelist");
    assert_eq!(std::fs::read(&kept).unwrap(), valid.whitelist);
    std::fs::write(&kept, &expired.whitelist).unwrap();
    stage.server.stop();
    let offline = stage.mount.client();
    assert_eq!(version(&offline), "revision 1");
    assert!(offline.repository().unwrap().state().offline.is_some());
    // It must have been signed all the same.
    std::fs::write(&kept, String::from_utf8_lossy(&expired.whitelist).replace("20231114", "20231115")).unwrap();
    let error = stage.mount.client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("letters in the cache"), "{error}");
}

/// A cache as the official client and the preloader leave it: plain objects by name, and a breadcrumb.
fn official_cache(directory: &Path) {
    let small = fixtures::repository("small.test.example");
    let manifest = std::fs::read(small.web_root.join(".cvmfspublished")).unwrap();
    let manifest = String::from_utf8_lossy(&manifest).into_owned();
    let field = |letter: char| manifest.lines().find_map(|line| line.strip_prefix(letter)).unwrap();
    let breadcrumb = format!("{}T{}R{}", field('C'), field('T'), field('S'));
    std::fs::write(directory.join("cvmfschecksum.small.test.example"), breadcrumb).unwrap();
    std::fs::create_dir_all(directory.join("txn")).unwrap();
    for folder in std::fs::read_dir(small.web_root.join("data")).unwrap() {
        let folder = folder.unwrap();
        let place = directory.join(folder.file_name());
        std::fs::create_dir_all(&place).unwrap();
        let objects = std::fs::read_dir(folder.path());
        for object in objects.into_iter().flatten().map(Result::unwrap) {
            let name = object.file_name().into_string().unwrap();
            let mut plain = Vec::new();
            let stored = std::fs::File::open(object.path()).unwrap();
            if flate2::read::ZlibDecoder::new(stored).read_to_end(&mut plain).is_err() {
                continue;
            }
            let file = place.join(name.trim_end_matches(|c: char| c.is_ascii_uppercase()));
            std::fs::write(&file, plain).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
    }
    // This is how the official client marks a directory as its own; we only read there.
    std::fs::write(directory.join("cachedb"), "").unwrap();
}

/// Set in the child process that reads as somebody else: the options, one a line.
const READER: &str = "CVMFS_TESTS_OTHER_USER";

/// The body of a child process; nothing in the process that runs the tests.
#[test]
fn another_user() {
    let Some(client) = cvmfs_tests::mount::client_from_environment(READER) else { return };
    let path = b"/cvmfs/small.test.example/files/";
    for (name, size) in [(&b"tiny.txt"[..], 12), (b"large_random_3M.bin", 3_145_745)] {
        let node = client.namespace().resolve(&[path, name].concat(), libcvmfs::namespace::LastLink::Follow);
        let node = node.and_then(libcvmfs::namespace::Resolved::node).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(cvmfs_tests::mount::read(&node).unwrap_or_else(|error| panic!("{error}")).len(), size);
    }
}

#[test]
fn somebody_elses_preloaded_cache_is_read_where_it_lies() {
    // SAFETY: only reads a number of the process.
    if unsafe { libc::geteuid() } != 0 {
        cvmfs_tests::tools::skip("only root can become somebody else");
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let place = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(place.path(), 0o755);
    let preloaded = place.path().join("preloaded");
    std::fs::create_dir(&preloaded).unwrap();
    official_cache(&preloaded);
    std::fs::remove_file(preloaded.join("cachedb")).unwrap();
    let before = listing(&preloaded);
    before.iter().for_each(|file| mode(file, 0o644));
    let (program, key, own) = (place.path().join("program"), place.path().join("key.pub"), place.path().join("own"));
    cvmfs_tests::tools::copy_program(std::env::current_exe().unwrap(), &program);
    std::fs::copy(fixtures::repository("small.test.example").public_key, &key).unwrap();
    std::fs::create_dir(&own).unwrap();
    mode(&program, 0o755);
    mode(&key, 0o644);
    mode(&own, 0o777);
    let nowhere = WebRoot::new();
    nowhere.stop();
    for parameter in ["CVMFS_ALIEN_CACHE", "CVMFS_CACHE_DIR"] {
        let options = [
            format!("CVMFS_SERVER_URL={}", nowhere.server_url()),
            "CVMFS_HTTP_PROXY=DIRECT".to_owned(),
            format!("CVMFS_PUBLIC_KEY={}", key.display()),
            format!("CVMFS_CACHE_BASE={}", own.join(parameter).display()),
            format!("{parameter}={}", preloaded.display()),
        ];
        let mut command = std::process::Command::new(&program);
        command.args(["--exact", "another_user", "--nocapture"]).env(READER, options.join("\n")).current_dir("/");
        let output = command.uid(65534).gid(65534).output().unwrap();
        assert!(output.status.success(), "{parameter}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(own.join(parameter).is_dir(), "indexes and whole files went to a place of his own");
    }
    assert_eq!(listing(&preloaded), before);
}

fn listing(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_cache_of_the_official_client_is_enough() {
    let small = fixtures::repository("small.test.example");
    let directory = tempfile::tempdir().unwrap();
    official_cache(directory.path());
    let before = listing(directory.path());
    let nowhere = WebRoot::new();
    nowhere.stop();
    let workspace = tempfile::tempdir().unwrap();
    let mount = Mount::over(&small, &[&nowhere]).option("CVMFS_CACHE_DIR", directory.path().to_str().unwrap());
    let alien = mount.clone().without_option("CVMFS_CACHE_DIR");
    let alien = alien.option("CVMFS_ALIEN_CACHE", directory.path().to_str().unwrap());
    for mount in [mount.clone().option("CVMFS_WORKSPACE", workspace.path().to_str().unwrap()), mount, alien] {
        let mounted = mount.client();
        let repository = mounted.repository().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(repository.snapshot().identity().revision, 9);
        let truths = fixtures::truth("small.test.example", None).filter(|t| t.path.starts_with(b"/files/"));
        let mut checked = 0;
        for truth in truths.filter(|truth| truth.sha256.is_some()) {
            let content = mounted.read(&truth.path);
            let content = content.unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(&truth.path)));
            assert_eq!(Some(sha256(&content)), truth.sha256);
            checked += 1;
        }
        assert!(checked > 20);
        assert!(!mounted.list("/nested").unwrap().is_empty());
        assert_eq!(listing(directory.path()), before, "nothing is written to it");
    }
}

#[test]
fn blacklists_of_both_forms_are_obeyed() {
    let (stage, _) = stage(&revision(4));
    let file = stage.web_root.path().join("blacklist");
    let mount = stage.mount.clone().option("CVMFS_BLACKLIST", file.to_str().unwrap());
    let refused = |line: &str| {
        std::fs::write(&file, line).unwrap();
        mount.client().repository().map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(refused("# nothing\n<other.test.example 9\n"), Ok(()), "not there");
    let fingerprint = Keys::standard().fingerprint();
    let error = refused(&format!("{fingerprint} # stolen\n")).unwrap_err();
    assert!(error.contains("blacklisted") && error.contains(&fingerprint[..20]), "{error}");
    assert_eq!(refused(&format!("<{FQRN} 4\n")), Ok(()), "the revision named is the first good one");
    let error = refused(&format!("<{FQRN} 5\n")).unwrap_err();
    assert!(error.contains("revision 4") && error.contains("demands 5"), "{error}");
    // The cache, which holds it, is no way around.
    stage.server.stop();
    let error = refused(&format!("<{FQRN} 5\n")).unwrap_err();
    assert!(error.contains("revision 4"), "{error}");
    assert!(refused(&format!("{fingerprint}\n")).unwrap_err().contains("blacklisted"));
    assert_eq!(refused(""), Ok(()));
}

#[test]
fn strangers_keys_do_not_help() {
    for forge in [revision(2).sign_manifest_with(Keys::stranger()), revision(2).sign_whitelist_with(Keys::stranger())] {
        let (stage, _) = stage(&revision(1));
        let mounted = stage.mount.client();
        assert_eq!(version(&mounted), "revision 1");
        stage.publish(&forge);
        assert!(!matches!(refresh(&mounted), Ok(Refreshed::Newer { .. } | Refreshed::UpToDate)));
        assert_eq!(version(&mounted), "revision 1");
        assert!(stage.mount.with_new_cache().client().repository().is_err());
        stage.publish(&revision(3));
        assert_eq!(refresh(&mounted).unwrap(), Refreshed::Newer { revision: 3 });
    }
}
