//! Everything at once: readers while revisions change, and a cache smaller than what is read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::forge::Forge;
use cvmfs_tests::mount::{Mount, assert_clean, read};
use cvmfs_tests::server::WebRoot;
use libcvmfs::repository::Refreshed;
use std::sync::atomic::{AtomicBool, Ordering};

const FQRN: &str = "busy.test.example";

/// All files of a revision tell its number, in two catalogs.
fn revision(number: u64) -> Forge {
    let names = (0..20).map(|n| format!("/{}/{n}", if n % 2 == 0 { "even" } else { "odd" }));
    names.fold(Forge::new(FQRN).revision(number).nested("/odd"), |forge, name| forge.file(name, number.to_string()))
}

#[test]
fn readers_see_whole_revisions_that_never_go_back() {
    const LAST: u64 = 15;
    let web_root = tempfile::tempdir().unwrap();
    let published = revision(1).publish(web_root.path());
    let server = WebRoot::serve(FQRN, web_root.path());
    let mounted = Mount::over(&published.repository(), &[&server]).client();
    let repository = mounted.repository().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..6 {
            let (mounted, done) = (mounted.clone(), &done);
            scope.spawn(move || {
                let mut seen = 0;
                for round in reader.. {
                    // Everything below one root is of one revision, however long that takes.
                    let root = mounted.node("").unwrap();
                    let of_root = root.snapshot().unwrap().identity().revision;
                    assert!(of_root >= seen, "from {seen} back to {of_root}");
                    seen = of_root;
                    for n in [round % 20, (round + 7) % 20, (round + 12) % 20] {
                        let directory = root.child(if n % 2 == 0 { b"even" } else { b"odd" }).unwrap().unwrap();
                        let file = directory.child(n.to_string().as_bytes()).unwrap().unwrap();
                        assert_eq!(read(&file).unwrap(), of_root.to_string().as_bytes());
                    }
                    let by_path: u64 = String::from_utf8(mounted.read("/odd/1").unwrap()).unwrap().parse().unwrap();
                    assert!(by_path >= of_root);
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
                assert_eq!(mounted.read("/even/0").unwrap(), LAST.to_string().as_bytes());
            });
        }
        for number in 2..=LAST {
            revision(number).publish(web_root.path());
            assert_eq!(repository.refresh().unwrap(), Refreshed::Newer { revision: number });
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_clean(repository.cache());
}

#[test]
fn a_cache_smaller_than_what_is_read_serves_all_of_it() {
    const FILES: usize = 48;
    const SIZE: usize = 200_000;
    let content = |n: usize| -> Vec<u8> { (0..SIZE).map(|at| ((at * (2 * n + 1)) >> 3) as u8 ^ n as u8).collect() };
    let web_root = tempfile::tempdir().unwrap();
    let forge = (0..FILES).fold(Forge::new(FQRN).nested("/dir"), |forge, n| {
        let forge = forge.file(format!("/dir/{n}"), content(n));
        if n % 4 == 0 { forge.chunks_of(70_000) } else { forge }
    });
    let published = forge.publish(web_root.path());
    let server = WebRoot::serve(FQRN, web_root.path());
    // 4 of 9.6 MB.
    let mounted = Mount::over(&published.repository(), &[&server]).option("CVMFS_QUOTA_LIMIT", "4").client();
    let mut kept = Vec::new();
    for round in 0..2 {
        for n in 0..FILES {
            let node = mounted.node(format!("/dir/{n}")).unwrap();
            assert_eq!(read(&node).unwrap(), content(n), "{n} in round {round}");
            if n % 8 == 0 {
                kept.push((n, node.open().unwrap()));
            }
            let used = mounted.repository().unwrap().cache().status().unwrap().used.bytes;
            assert!(used <= 4 << 20, "{used} bytes after {n} in round {round}");
        }
    }
    // Whoever has a file open keeps it.
    for (n, mut file) in kept {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        assert_eq!(bytes, content(n), "{n}");
    }
    assert_clean(mounted.repository().unwrap().cache());
    // A file that cannot fit is an error that says so, and not the end of the others.
    let large = Forge::new(FQRN).revision(2).file("/large", vec![1; 6 << 20]).uncompressed().file("/small", "small");
    large.publish(web_root.path());
    mounted.repository().unwrap().refresh().unwrap();
    let error = mounted.read("/large").unwrap_err();
    assert_eq!(error.errno(), libc::ENOSPC, "{error}");
    assert_eq!(mounted.read("/small").unwrap(), b"small");
}
