//! Groups that share a repository: each publishes into its own paths, and sees nothing of the others.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/shared.rs"]
mod shared;

use common::FQRN;
use cvmfs_server::storage::{LocalStorage, Storage as _};
use serde_json::{Value, json};
use shared::{Group, Shared, Tar};
use std::io::{Read as _, Write as _};
use tar::EntryType;

fn code(reply: &http::Reply) -> (u16, String) {
    assert_eq!(reply.headers["content-type"], "application/problem+json", "{}", reply.body.escape_ascii());
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status);
    (reply.status, problem["code"].as_str().unwrap().to_owned())
}

fn says(reply: &http::Reply, status: u16, word: &str) {
    assert_eq!(code(reply), (status, word.to_owned()), "{}", reply.body.escape_ascii());
}

#[test]
fn groups_publish_side_by_side() {
    let shared = Shared::new(&[]);
    let tokens = [shared.publisher("astro", "/sw/astro"), shared.publisher("bio", "/sw/bio")];
    let service = shared.start(&[]);
    std::thread::scope(|scope| {
        for (name, token) in ["astro", "bio"].into_iter().zip(tokens) {
            let service = &service;
            scope.spawn(move || {
                let group = Group { service, token };
                let lease = group.lease(&format!("/sw/{name}"));
                let mut revision = 0;
                for round in 0..4 {
                    let archive =
                        Tar::default().file("bin/tool", &format!("{name} {round}")).file("./.cvmfscatalog", "");
                    let archive = archive.file(&format!("share/{round}"), &"x".repeat(200_000));
                    let told = group.publish(&lease, "", &archive.bytes());
                    assert!(told["revision"].as_u64().unwrap() > revision, "{told}");
                    revision = told["revision"].as_u64().unwrap();
                    let leases = group.get("/leases").json();
                    let mine: Vec<_> =
                        leases["leases"].as_array().unwrap().iter().map(|lease| &lease["path"]).collect();
                    assert_eq!(mine, [&json!(format!("/sw/{name}"))]);
                }
                let jobs = group.get("/jobs").json();
                assert!(jobs["jobs"].as_array().unwrap().iter().all(|job| job["group"] == name), "{jobs}");
                assert_eq!(jobs["jobs"].as_array().unwrap().len(), 4);
                assert_eq!(group.delete(&format!("/leases/{lease}")).status, 204);
                assert_eq!(group.get("/leases").json(), json!({"leases": []}));
            });
        }
    });
    assert_eq!(shared.revision(), 9);
    shared.published.check();
    let client = shared.published.mount().client();
    for name in ["astro", "bio"] {
        assert_eq!(client.read(format!("/sw/{name}/bin/tool")).unwrap(), format!("{name} 3").as_bytes());
        assert_eq!(client.list(format!("/sw/{name}/share")).unwrap().len(), 4);
    }
    service.stop();
}

#[test]
fn what_belongs_to_others_is_out_of_reach() {
    let shared = Shared::new(&[]);
    let astro = shared.publisher("astro", "/sw/astro");
    let bio = shared.publisher("bio", "/sw/bio");
    let everything = shared.publisher("operators", "/");
    let stranger = shared.token("strangers", &["--publish", "other.example:/"]);
    let service = shared.start(&[]);
    let [astro, bio, operators, stranger] =
        [astro, bio, everything, stranger].map(|token| Group { service: &service, token });
    let nobody = Group { service: &service, token: "cvmfs_0123456789abcdef_0".to_owned() };
    says(&nobody.get("/leases"), 401, "unauthorized");
    assert_eq!(nobody.get("/leases").headers["www-authenticate"], "Bearer");

    let lease = astro.lease("/sw/astro");
    for path in ["/sw", "/", "/sw/bio", "/sw/bio/x", "/sw/astrology"] {
        says(&astro.take(path, 60), 403, "forbidden");
    }
    for path in ["/sw/../sw/bio", "/sw/astro/..", "sw/astro", "/sw//astro", "/sw/astro/", "/.cvmfs", "/sw/astro/\u{0}"]
    {
        says(&astro.take(path, 60), 400, "invalid");
    }
    says(&astro.take("/sw/astro/deeper", 60), 409, "path-leased");
    for path in ["/", "/sw", "/sw/astro", "/sw/astro/x/y"] {
        let reply = operators.take(path, 60);
        says(&reply, 409, "path-leased");
        assert!(!String::from_utf8_lossy(&reply.body).replace(path, "").contains("astro"), "who has it is not told");
        assert!(reply.headers.contains_key("retry-after"));
    }
    bio.lease("/sw/bio");
    assert_eq!(operators.take("/other", 60).status, 201);

    for other in [&bio, &operators] {
        let at = format!("/leases/{lease}");
        says(&other.get(&at), 404, "not-found");
        says(&other.delete(&at), 404, "not-found");
        says(&other.patch(&at, &json!({"seconds": 60})), 404, "not-found");
        says(&other.upload(&lease, "", &Tar::default().file("a", "b").bytes()), 404, "not-found");
    }
    let job = astro.upload(&lease, "", &Tar::default().file("a", "b").bytes());
    let job_at = format!("/jobs/{}", job.json()["id"].as_str().unwrap());
    says(&bio.get(&job_at), 404, "not-found");
    says(&bio.cancel(&job_at), 404, "not-found");
    assert_eq!(bio.get("/jobs").json(), json!({"jobs": []}));
    assert_eq!(astro.wait(&job)["progress"], "done");

    assert_eq!(stranger.get("/repositories").json(), json!({"repositories": []}));
    says(&stranger.get(&format!("/repositories/{FQRN}")), 404, "not-found");
    says(&stranger.take("/sw", 60), 404, "not-found");
    assert_eq!(astro.get("/repositories").json(), json!({"repositories": [{"name": FQRN}]}));

    // What a token allows may change while a lease lasts.
    let id = astro.token.split('_').nth(1).unwrap();
    let mut remove = std::process::Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
    remove.args(["token", "remove", id, "--tokens"]).arg(shared.tokens());
    assert!(remove.status().unwrap().success());
    says(&astro.get("/leases"), 401, "unauthorized");
    let reduced = Group { service: &service, token: shared.publisher("astro", "/sw/astro/part") };
    assert_eq!(reduced.get("/leases").json()["leases"].as_array().unwrap().len(), 1);
    says(&reduced.upload(&lease, "", &Tar::default().file("a", "b").bytes()), 403, "forbidden");
}

#[test]
fn tokens_are_shown_once() {
    let directory = tempfile::tempdir().unwrap();
    let token = |arguments: &[&str]| {
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        // The file is named as somebody in its directory names it.
        run.current_dir(directory.path()).arg("token").args(arguments).args(["--tokens", "tokens.json"]);
        String::from_utf8(cvmfs_tests::tools::output(&mut run).stdout).unwrap()
    };
    let text = token(&["add", "astro", "--publish", "a.example:/sw", "--tag", "*.b.example", "--days", "1"]);
    let parts: Vec<_> = text.trim().split('_').collect();
    assert_eq!((parts.len(), parts[0], parts[1].len(), parts[2].len()), (3, "cvmfs", 16, 64), "{text}");
    let listed = token(&["list"]);
    assert!(listed.contains("publish a.example:/sw, tag *.b.example") && !listed.contains(parts[2]), "{listed}");
    let listed: Value = serde_json::from_str(&token(&["list", "--json"])).unwrap();
    assert_eq!((&listed["id"], &listed["group"]), (&json!(parts[1]), &json!("astro")));
    token(&["remove", parts[1]]);
    assert_eq!(token(&["list"]), "");
}

#[test]
fn leases_end_unless_they_are_renewed() {
    let shared = Shared::new(&[]);
    let (service, tokens) =
        shared.start_for([("astro", "/sw"), ("operators", "/")], &["--longest-lease", "600", "--leases", "2"]);
    let [astro, operators] = Group::all(&service, tokens);
    says(&astro.take("/sw/a", 601), 422, "lease-too-long");
    says(&astro.take("/sw/a", 0), 422, "lease-too-long");
    let kept = astro.take("/sw/kept", 60).json();
    let renewed = astro.patch(&format!("/leases/{}", kept["id"].as_str().unwrap()), &json!({"seconds": 600}));
    assert_eq!(renewed.status, 200, "{}", renewed.body.escape_ascii());
    assert!(renewed.json()["expires"].as_u64().unwrap() >= kept["expires"].as_u64().unwrap() + 540);
    let second = astro.lease("/sw/b");
    says(&astro.take("/sw/c", 60), 429, "too-many");
    astro.delete(&format!("/leases/{second}"));
    let lease = astro.take("/sw/a", 1).json()["id"].as_str().unwrap().to_owned();
    let at = format!("/leases/{lease}");
    while astro.get(&at).status == 200 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    says(&astro.get(&at), 410, "lease-expired");
    says(&astro.delete(&at), 410, "lease-expired");
    says(&astro.patch(&at, &json!({"seconds": 60})), 410, "lease-expired");
    says(&astro.upload(&lease, "", &Tar::default().file("a", "b").bytes()), 410, "lease-expired");
    assert_eq!(astro.get("/leases").json()["leases"].as_array().unwrap().len(), 1);
    operators.lease("/sw/a");
    says(&operators.take("/sw/kept", 60), 409, "path-leased");
    assert_eq!(shared.revision(), 1);
}

#[test]
fn an_archive_cannot_leave_its_lease() {
    let shared = Shared::new(&[]);
    let (service, tokens) = shared.start_for([("astro", "/sw/astro"), ("operators", "/")], &[]);
    let [astro, operators] = Group::all(&service, tokens);
    let all = operators.lease("/");
    let before = Tar::default().file("sw/bio/secret", "of others").file("sw/file", "a file").file("top", "at the top");
    operators.publish(&all, "", &before.bytes());
    operators.delete(&format!("/leases/{all}"));
    let lease = astro.lease("/sw/astro");

    let bad = |archive: Tar| {
        let revision = shared.revision();
        let job = astro.wait(&astro.upload(&lease, "", &archive.bytes()));
        assert_eq!(job["progress"], "failed", "{job}");
        assert_eq!(job["problem"]["code"], "bad-archive", "{job}");
        assert_eq!(shared.revision(), revision);
    };
    for name in ["../bio/secret", "a/../../bio/secret", "..", "./../../top", "/../top"] {
        bad(Tar::default().file("fine", "1").file(name, "replaced"));
        bad(Tar::default().entry(EntryType::Directory, name, "", b""));
        bad(Tar::default().entry(EntryType::Symlink, name, "/etc/passwd", b""));
        bad(Tar::default().entry(EntryType::Link, "link", name, b""));
    }
    // A link to a path of the repository is one below the lease, where there is nothing.
    bad(Tar::default().entry(EntryType::Link, "link", "/sw/bio/secret", b""));
    bad(Tar::default().entry(EntryType::Link, "link", "sw/bio/secret", b""));
    // The leased directory itself stays one.
    bad(Tar::default().entry(EntryType::Symlink, "./", "../bio", b""));
    bad(Tar::default().entry(EntryType::Regular, ".", "", b"x"));

    // Links are entries, and are not followed: what is put into one takes its place.
    let tricks = Tar::default()
        .entry(EntryType::Symlink, "up", "../bio", b"")
        .file("up/secret", "replaced")
        .entry(EntryType::Symlink, "out", "/cvmfs", b"")
        .file("/absolute/name", "below the lease")
        .entry(EntryType::Symlink, "stays", "../../bio/secret", b"");
    astro.publish(&lease, "", &tricks.bytes());
    for query in ["?into=..", "?into=/sw/bio", "?into=a/../../bio", "?delete=../bio", "?delete=x&delete=..", "?into="] {
        says(&astro.upload(&lease, query, &Tar::default().file("a", "b").bytes()), 422, "path");
    }
    astro.publish(&lease, "?into=deep/er&delete=out", &Tar::default().file("a", "b").bytes());
    let client = shared.published.mount().client();
    assert_eq!(client.read("/sw/bio/secret").unwrap(), b"of others");
    assert_eq!(client.read("/top").unwrap(), b"at the top");
    assert_eq!(client.read("/sw/astro/up/secret").unwrap(), b"replaced");
    assert_eq!(client.read("/sw/astro/absolute/name").unwrap(), b"below the lease");
    assert_eq!(client.read("/sw/astro/deep/er/a").unwrap(), b"b");
    let mut names = client.list("/sw/astro").unwrap();
    names.sort();
    assert_eq!(names, ["absolute", "deep", "stays", "up"]);
    // What is not in the archive goes, but only from there.
    astro.publish(&lease, "?replace=true", &Tar::default().file("only", "this").bytes());
    let client = shared.published.mount().client();
    assert_eq!(client.list("/sw/astro").unwrap(), ["only"]);
    assert_eq!(client.read("/sw/bio/secret").unwrap(), b"of others");

    // Something above a lease is not replaced because it is in the way.
    let below_a_file = operators.lease("/sw/file/below");
    let job = operators.wait(&operators.upload(&below_a_file, "", &Tar::default().file("a", "b").bytes()));
    assert_eq!(job["problem"]["code"], "refused", "{job}");
    assert_eq!(client.read("/sw/file").unwrap(), b"a file");
    shared.published.check();
}

#[test]
fn what_is_sent_is_bounded_and_checked() {
    let shared = Shared::new(&[]);
    let astro = shared.publisher("astro", "/sw");
    let service = shared.start(&["--largest-upload", "100000", "--largest-tree", "200000"]);
    let astro = Group { service: &service, token: astro };
    let lease = astro.lease("/sw");
    let archive = Tar::default().file("a", "b").bytes();
    says(&astro.upload(&lease, "", &Tar::default().file("a", &"x".repeat(100_000)).bytes()), 413, "too-large");
    says(&astro.upload(&lease, "", b""), 400, "invalid");
    says(&astro.upload(&lease, "?replcae=true", &archive), 400, "invalid");
    says(&astro.upload(&lease, "?tag=v1", &archive), 403, "forbidden");
    says(&astro.upload(&lease, &format!("?sha256={}", "0".repeat(64)), &archive), 422, "digest");
    let at = format!("/leases/{lease}/publications");
    says(&astro.send("POST", &at, "text/html", &archive), 415, "unsupported-type");
    says(&astro.send("POST", "/leases", "text/plain", b"{}"), 415, "unsupported-type");
    says(&astro.send("POST", "/leases", "application/json", b"{"), 400, "invalid");
    says(&astro.send("POST", "/leases", "application/json", &[b'x'; 70_000]), 413, "too-large");
    says(&astro.send("PUT", &at, "application/x-tar", &archive), 405, "method-not-allowed");
    says(&astro.get("/nothing"), 404, "not-found");
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&Tar::default().file("a", &"x".repeat(300_000)).bytes()).unwrap();
    let job = astro.wait(&astro.upload(&lease, "", &bomb.finish().unwrap()));
    assert_eq!(job["problem"]["code"], "bad-archive", "{job}");
    let job = astro.wait(&astro.upload(&lease, "?replace=true", &archive[..512]));
    assert!(job["problem"]["detail"].as_str().unwrap().contains("cut off"), "{job}");
    let job = astro.wait(&astro.upload(&lease, "", b"this is no archive"));
    assert_eq!(job["problem"]["code"], "bad-archive", "{job}");
    assert_eq!(shared.revision(), 1);
    let digest = cvmfs_tests::mount::sha256(&archive);
    assert_eq!(astro.publish(&lease, &format!("?sha256={digest}"), &archive)["revision"], 2);
    let uploads = shared.published.dir.path().join("state/uploads");
    assert_eq!(std::fs::read_dir(uploads).unwrap().count(), 0);
}

#[test]
fn a_slow_client_keeps_nobody_waiting() {
    let shared = Shared::new(&[]);
    let (service, tokens) = shared.start_for([("astro", "/sw/astro"), ("bio", "/sw/bio")], &[]);
    let [astro, bio] = Group::all(&service, tokens);
    let (slow, lease) = (astro.lease("/sw/astro"), bio.lease("/sw/bio"));
    let archive = Tar::default().file("a", "slow").bytes();
    let (first, rest) = archive.split_at(600);
    let mut stream = service.connect();
    let head = format!(
        "POST /api/v1/leases/{slow}/publications HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
        astro.token,
        archive.len()
    );
    stream.write_all(&[head.as_bytes(), first].concat()).unwrap();
    assert_eq!(bio.publish(&lease, "", &Tar::default().file("a", "fast").bytes())["revision"], 2);
    says(&astro.upload(&slow, "", &archive), 409, "lease-in-use");
    says(&astro.delete(&format!("/leases/{slow}")), 409, "lease-in-use");
    stream.write_all(rest).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(astro.wait(&http::parse("", &reply))["result"]["revision"], 3);
    // Who goes away in the middle leaves the lease as it was.
    let mut stream = service.connect();
    stream.write_all(&[head.as_bytes(), first].concat()).unwrap();
    drop(stream);
    while astro.delete(&format!("/leases/{slow}")).status == 409 {
        std::thread::yield_now();
    }
    assert_eq!(shared.revision(), 3);
}

#[test]
fn jobs_wait_for_other_publishers_and_can_be_called_off() {
    let shared = Shared::new(&[]);
    let (service, tokens) = shared.start_for([("astro", "/sw/astro"), ("bio", "/sw/bio")], &[]);
    let [astro, bio] = Group::all(&service, tokens);
    let (first, second) = (astro.lease("/sw/astro"), bio.lease("/sw/bio"));
    let lock = LocalStorage::open(&shared.published.storage()).unwrap().lock("the test").unwrap();
    let running = astro.upload(&first, "", &Tar::default().file("a", "1").bytes());
    let queued = bio.upload(&second, "", &Tar::default().file("a", "2").bytes());
    let at = |job: &http::Reply| format!("/jobs/{}", job.json()["id"].as_str().unwrap());
    while astro.get(&at(&running)).json()["progress"] != "running" {
        std::thread::yield_now();
    }
    assert_eq!(bio.get(&at(&queued)).json()["progress"], "queued", "one at a time for each repository");
    says(&bio.delete(&format!("/leases/{second}")), 409, "lease-in-use");
    assert_eq!(bio.cancel(&at(&queued)).json()["progress"], "cancelled");
    says(&bio.cancel(&at(&queued)), 409, "job-ended");
    assert_eq!(bio.delete(&format!("/leases/{second}")).status, 204);
    assert_eq!(astro.cancel(&at(&running)).status, 200);
    assert_eq!(astro.wait(&running)["progress"], "cancelled");
    drop(lock);
    assert_eq!(shared.revision(), 1);
    assert_eq!(astro.publish(&first, "", &Tar::default().file("a", "1").bytes())["revision"], 2);
}

#[test]
fn leases_survive_what_happens_to_the_service() {
    let shared = Shared::new(&[]);
    let (astro, bio) = (shared.publisher("astro", "/sw/astro"), shared.publisher("bio", "/sw/bio"));
    let service = shared.start(&[]);
    let group = Group { service: &service, token: astro.clone() };
    let lease = group.lease("/sw/astro");
    let lock = LocalStorage::open(&shared.published.storage()).unwrap().lock("the test").unwrap();
    let archive = Tar::default().file("a", "b").bytes();
    let job = group.upload(&lease, "", &archive);
    let job_at = format!("/jobs/{}", job.json()["id"].as_str().unwrap());
    while group.get(&job_at).json()["progress"] != "running" {
        std::thread::yield_now();
    }
    service.kill();
    drop(lock);
    for orderly in [true, false] {
        let service = shared.start(&[]);
        let [astro, bio] = [&astro, &bio].map(|token| Group { service: &service, token: token.clone() });
        assert_eq!(shared.revision(), 1);
        assert_eq!(astro.get("/leases").json()["leases"][0]["id"], lease.as_str());
        assert_eq!(astro.get(&job_at).json()["progress"], "interrupted");
        says(&bio.take("/sw/astro", 60), 403, "forbidden");
        if orderly {
            service.stop();
            continue;
        }
        assert_eq!(astro.publish(&lease, "", &archive)["revision"], 2);
        let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        let directory = shared.published.dir.path();
        second.arg("manage").arg(directory.join("srv")).arg("--keys").arg(shared.published.keys());
        second.arg("--tokens").arg(shared.tokens()).arg("--state").arg(directory.join("state"));
        let output = second.args(["--listen", "127.0.0.1:0"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains("another service"), "{told}");
    }
    shared.published.check();
}

#[test]
fn a_killed_service_leaves_the_old_revision_or_the_new_one() {
    let rounds = std::env::var("CVMFS_TESTS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6_u32);
    let shared = Shared::new(&[]);
    let token = shared.publisher("astro", "/sw");
    let mut random = fastrand::Rng::with_seed(3);
    let (mut revision, mut whole, mut lease) = (1, std::time::Duration::ZERO, String::new());
    for round in 0..rounds {
        let service = shared.start(&[]);
        let group = Group { service: &service, token: token.clone() };
        if round == 0 {
            lease = group.take("/sw", 86_400).json()["id"].as_str().unwrap().to_owned();
        }
        assert_eq!(group.get("/leases").json()["leases"][0]["id"], lease.as_str());
        let mut archive = Tar::default();
        for number in 0..60 {
            archive = archive.file(&format!("d{number}/.cvmfscatalog"), "");
            archive = archive.file(&format!("d{number}/f"), &format!("{round} {number} ").repeat(1000));
        }
        let started = std::time::Instant::now();
        let job = group.upload(&lease, "", &archive.bytes());
        assert_eq!(job.status, 202, "{}", job.body.escape_ascii());
        if round == 0 {
            assert_eq!(group.wait(&job)["progress"], "done");
            whole = started.elapsed();
        } else {
            std::thread::sleep(whole.mul_f64(random.f64()));
        }
        service.kill();
        let found = shared.published.check_loosely()["revision"].as_u64().unwrap();
        assert!(found == revision || found == revision + 1, "{found} after {revision}");
        revision = found;
    }
    let service = shared.start(&[]);
    let group = Group { service: &service, token };
    let told = group.publish(&lease, "?replace=true", &Tar::default().file("a", "b").bytes());
    assert_eq!(told["revision"], revision + 1);
    shared.published.check();
}

#[test]
fn operators_make_repositories_name_revisions_and_collect_garbage() {
    let shared = Shared::new(&["--garbage-collectable"]);
    let operators = shared.token(
        "operators",
        &[
            "--publish",
            "*.test.example:/",
            "--tag",
            "*.test.example",
            "--collect",
            FQRN,
            "--create",
            "*.new.test.example",
        ],
    );
    let astro = shared.publisher("astro", "/sw");
    let service = shared.start(&["--owner-map", "7:8"]);
    let [operators, astro] = [operators, astro].map(|token| Group { service: &service, token });
    let tags = format!("/repositories/{FQRN}/tags");
    let lease = operators.lease("/sw");
    let told = operators.publish(&lease, "?tag=v1&description=first%20one", &Tar::default().file("a", "one").bytes());
    assert_eq!(told["revision"], 2);
    operators.publish(&lease, "", &Tar::default().file("a", "second").bytes());
    operators.publish(&lease, "", &Tar::default().file("a", "the third").bytes());
    let job = operators.wait(&operators.upload(&lease, "?tag=v1", &Tar::default().file("a", "x").bytes()));
    assert_eq!((&job["progress"], &job["problem"]["code"]), (&json!("failed"), &json!("refused")), "{job}");
    assert_eq!(operators.post(&tags, &json!({"name": "v3", "description": "third"})).json()["revision"], 4);
    assert_eq!(operators.post(&tags, &json!({"name": "a/b", "of": "v1"})).json()["revision"], 2);
    says(&operators.post(&tags, &json!({"name": "v3"})), 409, "tag-exists");
    says(&operators.post(&tags, &json!({"name": "v4", "of": "none"})), 422, "no-such-tag");
    says(&operators.post(&tags, &json!({"name": "trunk"})), 422, "tag-name");
    says(&astro.post(&tags, &json!({"name": "v9"})), 403, "forbidden");
    says(&astro.delete(&format!("{tags}/v3")), 403, "forbidden");
    assert_eq!(operators.delete(&format!("{tags}/a%2Fb")).status, 204);
    says(&operators.delete(&format!("{tags}/a%2Fb")), 404, "not-found");
    let listed = astro.get(&tags).json();
    let mut names: Vec<_> =
        listed["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["trunk", "trunk-previous", "v1", "v3"]);

    says(&astro.post(&format!("/repositories/{FQRN}/collections"), &json!({})), 403, "forbidden");
    let collect = |body: Value| operators.wait(&operators.post(&format!("/repositories/{FQRN}/collections"), &body));
    let planned = collect(json!({"keep": 1, "dry_run": true}));
    assert_eq!((&planned["progress"], &planned["result"]["kept_revisions"]), (&json!("done"), &json!(3)), "{planned}");
    assert_eq!(collect(json!({"keep": 1}))["progress"], "done");

    says(&astro.post("/repositories", &json!({"name": "a.new.test.example"})), 403, "forbidden");
    says(&operators.post("/repositories", &json!({"name": FQRN})), 403, "forbidden");
    says(&operators.post("/repositories", &json!({"name": "../x.new.test.example"})), 400, "invalid");
    let made = operators.post("/repositories", &json!({"name": "a.new.test.example", "ttl": 60}));
    assert_eq!(made.status, 201, "{}", made.body.escape_ascii());
    assert_eq!((&made.json()["revision"], &made.json()["ttl"]), (&json!(1), &json!(60)));
    says(&operators.post("/repositories", &json!({"name": "a.new.test.example"})), 409, "repository-exists");
    says(&operators.post("/repositories/a.new.test.example/collections", &json!({})), 403, "forbidden");
    let body = json!({"repository": "a.new.test.example", "path": "/", "seconds": 60});
    let lease = operators.post("/leases", &body).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(operators.publish(&lease, "", &Tar::default().file("a", "b").bytes())["revision"], 2);
    let told = operators.get("/repositories/a.new.test.example").json();
    assert_eq!((&told["revision"], &told["garbage_collectable"]), (&json!(2), &json!(false)));

    shared.published.check();
    let node = shared.published.mount().client().node("/sw/a").unwrap();
    assert_eq!((node.attributes().uid, node.attributes().gid), (7, 8));
    // The description is for everybody.
    let description = service.get("/openapi.json", &[]).json();
    assert_eq!(description["openapi"], "3.1.0");
}
