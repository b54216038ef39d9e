//! Revisions are announced, and mirrors come for them at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/http.rs"]
mod http;

use common::{FQRN, Published, text};
use http::Service;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A repository with a tree that can be published again and again.
fn published() -> Published {
    let published = Published::new(&[]);
    std::fs::create_dir(published.dir.path().join("tree")).unwrap();
    published
}

fn publish(published: &Published, content: &str) {
    let tree = published.dir.path().join("tree");
    std::fs::write(tree.join("file"), content).unwrap();
    published.publish(&[text(&tree)]);
}

/// Events of a stream.
struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    fn of(service: &Service) -> Events {
        let mut stream = service.connect();
        write!(stream, "GET /cvmfs/{FQRN}/api/v1.0/announcements HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines();
        let head: Vec<String> =
            lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty()).map(|l| l.to_lowercase()).collect();
        assert!(head[0].contains(" 200 "), "{head:?}");
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        assert!(head.contains(&"cache-control: no-store".to_owned()), "{head:?}");
        Events(lines)
    }

    fn next(&mut self) -> Option<serde_json::Value> {
        let data =
            self.0.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        data.map(|data| serde_json::from_str(&data).unwrap())
    }
}

#[test]
fn who_listens_is_told_of_each_revision_and_of_the_end() {
    let published = published();
    let service = Service::start(&["serve", text(&published.storage())]);
    let (mut first, mut second) = (Events::of(&service), Events::of(&service));
    assert_eq!(first.next().unwrap()["revision"], 1);
    publish(&published, "1");
    let told = first.next().unwrap();
    assert_eq!((&told["revision"], &told["repository"]), (&2.into(), &FQRN.into()));
    publish(&published, "2");
    assert_eq!(first.next().unwrap()["revision"], 3);
    let late = Events::of(&service).next().unwrap();
    assert_eq!(late["revision"], 3, "who comes late is told what is there");
    assert_eq!(service.ask("HEAD", &format!("/cvmfs/{FQRN}/api/v1.0/announcements"), &[]).status, 200);
    assert_eq!(service.get("/cvmfs/other.example/api/v1.0/announcements", &[]).status, 404);
    service.stop();
    assert_eq!(first.next(), None);
    while second.next().is_some() {}
}

/// A `replicate --follow` that is ended with this.
struct Mirror {
    process: Child,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Mirror {
    fn of(published: &Published, from: &str, to: &Path, every: &str) -> Mirror {
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.args(["--json", "replicate", FQRN, from]).arg(to).arg("--keys").arg(published.keys());
        let mut process = run.args(["--follow", "--every", every]).stdout(Stdio::piped()).spawn().unwrap();
        let reports = BufReader::new(process.stdout.take().unwrap()).lines();
        Mirror { process, reports }
    }

    /// The revision of the next report of something new.
    fn next(&mut self) -> u64 {
        loop {
            let report: serde_json::Value = serde_json::from_str(&self.reports.next().unwrap().unwrap()).unwrap();
            if report["changed"] == true {
                return report["revision"].as_u64().unwrap();
            }
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn mirrors_come_when_they_are_called() {
    let published = published();
    let service = Service::start(&["serve", text(&published.storage())]);
    let from = format!("http://{}/cvmfs/@fqrn@", service.address);
    let to = published.dir.path().join("mirror");
    // Nobody would wait so long.
    let mut mirror = Mirror::of(&published, &from, &to, "86400");
    assert_eq!(mirror.next(), 1);
    for revision in 2..5 {
        publish(&published, &revision.to_string());
        assert_eq!(mirror.next(), revision);
    }
    let [ours, theirs] = [&to, &published.storage()].map(|at| std::fs::read(at.join(".cvmfspublished")).unwrap());
    assert_eq!(ours, theirs);
}

#[test]
fn mirrors_ask_where_nothing_is_announced_and_go_on_after_errors() {
    let published = published();
    let from = format!("file://{}", text(&published.storage()));
    let mut mirror = Mirror::of(&published, &from, &published.dir.path().join("mirror"), "1");
    assert_eq!(mirror.next(), 1);
    publish(&published, "1");
    assert_eq!(mirror.next(), 2);
    let (manifest, away) = (published.storage().join(".cvmfspublished"), published.storage().join("away"));
    std::fs::rename(&manifest, &away).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    std::fs::rename(&away, &manifest).unwrap();
    publish(&published, "2");
    assert_eq!(mirror.next(), 3);
}

/// Announces another revision to everybody at once, and nothing else is ever new.
#[test]
fn who_announces_what_is_not_so_is_asked_less_and_less() {
    let published = published();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let storage = published.storage();
    let (asked, counted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            let path = first.split(' ').nth(1).unwrap().to_owned();
            lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
            let name = path.strip_prefix(&format!("/cvmfs/{FQRN}/")).unwrap();
            let (kind, body) = if name.starts_with("api/") {
                ("text/event-stream", format!("data: {{\"revision\": {}}}\n\n", u64::MAX).into_bytes())
            } else {
                let _ = asked.send(name.to_owned());
                ("application/octet-stream", std::fs::read(storage.join(name)).unwrap_or_default())
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    let from = format!("http://{address}/cvmfs/{FQRN}");
    let mut mirror = Mirror::of(&published, &from, &published.dir.path().join("mirror"), "3600");
    assert_eq!(mirror.next(), 1);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let asked = counted.try_iter().filter(|name| name == ".cvmfspublished").count();
    assert!((2..30).contains(&asked), "{asked} times in 5 s");
}
