//! What programs find inside, and how they are run: signals, processes, devices, the terminal, the network.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{BACKENDS, User, complaint, output, script, text};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

/// "Signals sent to `cernvm-fork` go on to the program."
#[test]
fn signals_reach_the_program() {
    let Some(user) = User::new() else { return };
    user.made("x", "true");
    for backend in BACKENDS {
        let traps =
            "trap 'echo got TERM; exit 5' TERM; trap 'echo got USR1' USR1; echo ready; while :; do sleep 0.05; done";
        let mut command = user.fork(&["x", "--fast", backend, "--", "sh", "-c", traps]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        assert_eq!(lines.next().as_deref(), Some("ready"));
        let pid = child.id().to_string();
        for (signal, answer) in [("-USR1", "got USR1"), ("-TERM", "got TERM")] {
            output(user.command("kill").args([signal, &pid]));
            assert_eq!(lines.next().as_deref(), Some(answer), "{backend}");
        }
        assert_eq!(child.wait().unwrap().code(), Some(5));
    }
}

/// "Under `namespaces` the program is process 2 and sees the instance's processes only; process 1 reaps what nobody else waits
/// for. What the program leaves behind ends with it."
#[test]
fn processes() {
    let Some(user) = User::new() else { return };
    let orphans = "echo $$; for i in 1 2 3 4 5; do (sleep 0.01 & ); done; sleep 0.3; \
        grep -l '^State:.Z' /proc/[0-9]*/status || echo no zombies; set -- /proc/[0-9]*; echo $#";
    // The shell and process 1.
    assert_eq!(user.made("x", orphans), "2\nno zombies\n2\n");
    for backend in BACKENDS {
        let left = "sleep 1000 <&- >&- 2>&- & (sleep 1000 <&- >&- 2>&- &) ; echo $!";
        let marker = format!("CERNVM_FORK_TEST=left-{}", user.home.path().display());
        let mut command = user.fork(&["x", "--fast", backend, "--env", &marker, "--", "sh", "-c", left]);
        text(&mut command);
        let still =
            fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.unwrap().path().join("environ")).ok());
        let still = still.filter(|environment| environment.windows(marker.len()).any(|part| part == marker.as_bytes()));
        assert_eq!(still.count(), 0, "{backend}");
    }
}

/// "`--backend=userns` shows the processes of the host; `namespaces` does not."
#[test]
fn processes_of_the_host() {
    let Some(user) = User::new() else { return };
    user.made("x", "true");
    let own = std::process::id();
    let looks = format!("test -d /proc/{own} && echo seen || echo hidden");
    for (backend, seen) in BACKENDS.into_iter().zip(["hidden\n", "seen\n"]) {
        assert_eq!(text(&mut user.fork(&["x", "--fast", backend, "--", "sh", "-c", &looks])), seen, "{backend}");
    }
    // What runs in one instance is not there in another.
    let mut child = user
        .new_instance("y", &["--", "sh", "-c", "echo ready; exec sleep 98765"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    assert_eq!(user.sh("x", "ps | grep -c 'sleep 9876[5]' || true"), "0\n");
    output(user.command("kill").arg(child.id().to_string()));
    child.wait().unwrap();
}

/// "Inside there are `/proc`, `/sys` (read-only), the devices `null`, `zero`, `full`, `random`, `urandom` and `tty`, terminals of
/// the instance's own, `/tmp`, `/run` and `/dev/shm` in memory, and the host's name servers."
#[test]
fn devices_and_file_systems() {
    let Some(user) = User::new() else { return };
    let said = user.made(
        "x",
        "echo x > /dev/null; head -c 3 /dev/zero | od -An -c; head -c 4 /dev/urandom | wc -c; \
         echo x > /dev/full || echo full; test -c /dev/tty; ls -l /dev/ptmx | sed 's/.*-> //'; ls /dev/pts | sort; \
         echo 3 < /dev/stdin; readlink /dev/fd; touch /tmp/a /run/a /dev/shm/a; stat -c %a /tmp /dev/shm; \
         touch /sys/x 2>/dev/null || echo sys is read-only; echo 1 2>/dev/null > /proc/sys/kernel/domainname || echo so is this; \
         mknod /dev/mine c 1 3 2>/dev/null || echo no devices",
    );
    let expected = "  \\0  \\0  \\0\n4\nfull\npts/ptmx\nptmx\n3\n/proc/self/fd\n1777\n1777\nsys is read-only\nso is this\nno devices\n";
    assert_eq!(said, expected);
    let host = fs::read_to_string("/etc/resolv.conf").unwrap();
    assert_eq!(user.sh("x", "cat /etc/resolv.conf"), host);
    // A link into what the host's services make, and one that was deleted.
    let without = |script: &str| text(&mut user.fork(&["x", "--fast", "--net=none", "--", "sh", "-ec", script]));
    without("rm /etc/resolv.conf; ln -s ../run/resolve/stub.conf /etc/resolv.conf");
    assert_eq!(user.sh("x", "cat /etc/resolv.conf"), host);
    without("rm /etc/resolv.conf");
    assert_eq!(user.sh("x", "ls /etc"), "passwd\n");
    // Nothing of all that is in the layer.
    let layer = fs::read_dir(user.store().join(".layers")).unwrap().map(|entry| entry.unwrap().path().join("fs"));
    let written: usize = layer.map(|files| fs::read_dir(files).unwrap().count()).sum();
    assert_eq!(written, 1, "/etc");
}

/// "The program is root inside, the host name is that of the instance, and `CERNVM_FORK` names it. Of the environment only TERM, TZ,
/// LANG, LC_* and CVMFS_* come in; `--env` sets others or lets them in."
#[test]
fn surroundings() {
    let Some(user) = User::new() else { return };
    let user = user.env("SECRET", "secret").env("WANTED", "wanted").env("LC_TIME", "C").env("LD_PRELOAD", "");
    let said = text(&mut user.new_instance(
        "x-1",
        &["--env", "A=1=2", "--env=WANTED", "--env=UNSET", "--", "sh", "-c", "id -u; hostname; pwd; env | sort"],
    ));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["0", "x-1", "/"]);
    let environment = [
        "A=1=2",
        "CERNVM_FORK=x-1",
        "HOME=/root",
        "LC_ALL=C",
        "LC_TIME=C",
        "LOGNAME=root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/",
        "SHLVL=1",
        "USER=root",
        "WANTED=wanted",
    ];
    assert_eq!(lines[3..], environment);
}

/// "`--run` is looked for inside first; else a file of the host is copied to `/tmp/postinit-NAME` and run. Without it the first
/// argument is the program; without any it is a shell."
#[test]
fn what_is_run() {
    let Some(user) = User::new() else { return };
    let outside = user.home.path().join("job.sh");
    script(&outside, "#!/bin/sh\necho outside $0 $1\n");
    user.made("x", "printf '#!/bin/sh\\necho inside $1\\n' > /bin/job; chmod 755 /bin/job");
    let job = outside.display().to_string();
    assert_eq!(text(&mut user.fork(&["x", "--fast", "--run=job", "--", "a"])), "inside a\n");
    assert_eq!(text(&mut user.fork(&["x", "--fast", "--run", &job, "--", "a"])), "outside /tmp/postinit-job.sh a\n");
    let which = ["x", "--fast", "--run=/bin/sh", "--", "-c", "readlink /bin/sh"];
    assert_eq!(text(&mut user.fork(&which)), "busybox\n", "not that of the host");
    let mut shell = user.fork(&["x", "--fast"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(b"echo $0; exit 3\n").unwrap();
    let out = shell.wait_with_output().unwrap();
    assert_eq!((out.status.code(), &out.stdout[..]), (Some(3), &b"/bin/sh\n"[..]));
}

/// "Without `--fast` the tree's `/sbin/init`, or `--init`, is process 1 itself."
#[test]
fn an_init_of_the_tree() {
    let Some(user) = User::new() else { return };
    let tree = user.tree().display().to_string();
    let said = user.refused(&["x", "--new", "--root", &tree]);
    assert!(said.contains("/sbin/init") && said.contains("--fast"), "{said}");
    user.sh("x", "mkdir /sbin; printf '#!/bin/sh\\necho init $$; exit 9\\n' > /sbin/init; chmod 755 /sbin/init");
    let out = user.fork(&["x"]).output().unwrap();
    assert_eq!((out.status.code(), &out.stdout[..]), (Some(9), &b"init 1\n"[..]));
    let out = user.fork(&["x", "--init=/bin/true"]).output().unwrap();
    assert_eq!(out.status.code(), Some(0));
}

/// "`--bind` shows a file or directory of the host inside, at a place that is made if it is not there; `:ro` forbids writing."
#[test]
fn binds() {
    let Some(user) = User::new() else { return };
    let data = user.home.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "data\n").unwrap();
    user.give(&data);
    let data = data.display().to_string();
    let all = [
        format!("{data}:/mnt/rw"),
        format!("{data}:/mnt/ro:ro"),
        format!("{data}/file:/etc/data/file:ro"),
        format!("{data}:/etc"),
    ];
    let binds: Vec<&str> = all.iter().take(3).flat_map(|bind| ["--bind", bind]).collect();
    let tries = "cat /mnt/rw/file /etc/data/file; echo new > /mnt/rw/new; echo x 2>/dev/null > /mnt/ro/new || echo kept; \
        echo x 2>/dev/null > /etc/data/file || echo kept; mount -o remount,rw /mnt/ro 2>/dev/null || echo kept; umount /mnt/ro 2>/dev/null || echo kept";
    let said = text(&mut user.new_instance("x", &[&binds[..], &["--", "sh", "-c", tries]].concat()));
    assert_eq!(said, "data\ndata\nkept\nkept\nkept\nkept\n");
    assert_eq!(fs::read_to_string(format!("{data}/new")).unwrap(), "new\n");
    for layer in fs::read_dir(user.store().join(".layers")).unwrap() {
        let files = layer.unwrap().path().join("fs");
        assert!(
            !files.join("mnt").exists() && !files.join("etc/data").exists(),
            "places are not written into the layer"
        );
    }
    assert_eq!(text(&mut user.fork(&["x", "--fast", "--bind", &all[3], "--", "ls", "/etc"])), "file\nnew\n");
    assert!(user.refused(&["x", "--fast", "--bind", "/no/such", "--", "true"]).contains("/no/such"));
    let bind = format!("{data}/file:/etc/resolv.conf");
    assert_eq!(text(&mut user.fork(&["x", "--fast", "--bind", &bind, "--", "cat", "/etc/resolv.conf"])), "data\n");
    // A link that the instance left where something is to be shown leads nowhere outside.
    user.made("y", &format!("ln -s {data}/../elsewhere /mnt"));
    let bind = format!("{data}:/mnt/sub");
    assert!(user.refused(&["y", "--fast", "--bind", &bind, "--", "true"]).contains("mounting upon /mnt/sub"));
    assert!(!user.home.path().join("elsewhere").exists());
}

/// "`--net=none` leaves a loop-back of the instance's own, and nothing else."
#[test]
fn no_network() {
    let Some(user) = User::new() else { return };
    user.made("x", "true");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let connects = format!("nc -w 5 127.0.0.1 {port} < /dev/null && echo connected || echo refused");
    let looks = format!("ls /sys/class/net; ping -c 1 -W 5 127.0.0.1 > /dev/null && echo loop; {connects}");
    for backend in BACKENDS {
        for none in ["--net=none", "--nonic", "-c"] {
            let said = text(user.fork(&["x", "--fast", backend, none, "--", "sh", "-c", &looks]).stderr(Stdio::null()));
            assert_eq!(said.replace("loop\n", ""), "lo\nrefused\n", "{backend} {none}");
        }
        let said = text(&mut user.fork(&["x", "--fast", backend, "--net=host", "--", "sh", "-c", &connects]));
        assert_eq!(said, "connected\n");
    }
}

/// "The program has the terminal it was started on, as any other: Ctrl-C, Ctrl-Z and its size are the program's."
#[test]
fn the_terminal() {
    let Some(user) = User::new() else { return };
    user.made("x", "true");
    let program = user.program().display().to_string();
    let on_terminal = |inside: &str, keys: &str| {
        let line = format!("stty rows 33 cols 77; exec {program} x --fast -- sh -c '{inside}'");
        let mut terminal = user.command("script");
        terminal
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("SHELL", "/bin/sh");
        let mut terminal = terminal.spawn().unwrap();
        let mut keyboard = terminal.stdin.take().unwrap();
        let lines = BufReader::new(terminal.stdout.take().unwrap()).lines().map(|line| line.unwrap().trim().to_owned());
        let mut said = Vec::new();
        for line in lines {
            if line == "ready" {
                keyboard.write_all(keys.as_bytes()).unwrap();
                keyboard.flush().unwrap();
            }
            said.push(line);
        }
        (terminal.wait().unwrap().code(), said)
    };
    let (code, said) =
        on_terminal("stty size; test -t 0 && test -c /dev/console && echo terminal; echo to tty > /dev/tty", "");
    assert_eq!((code, said), (Some(0), vec!["33 77".to_owned(), "terminal".to_owned(), "to tty".to_owned()]));
    let trap = "trap \"echo interrupted; exit 4\" INT; echo ready; while :; do sleep 0.05; done";
    let (code, said) = on_terminal(trap, "\x03");
    assert_eq!(code, Some(4), "{said:?}");
    assert!(said.last().unwrap().ends_with("interrupted"), "{said:?}");
    // Stopped by the terminal and continued by a shell around it, which has job control.
    let inner = format!("{program} x --fast -- sh -c \"echo ready; sleep 0.2; echo on; sleep 1000\"");
    let line = format!("set -m; {inner}; echo stopped; bg >/dev/null; kill %1; wait %1; echo ended $?");
    let mut terminal = user.command("script");
    terminal.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).env("SHELL", "/bin/bash");
    let mut terminal = terminal.spawn().unwrap();
    let mut keyboard = terminal.stdin.take().unwrap();
    let mut said = String::new();
    for line in BufReader::new(terminal.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.trim() == "on" {
            keyboard.write_all(b"\x1a").unwrap();
            keyboard.flush().unwrap();
        }
        said += &line;
    }
    terminal.wait().unwrap();
    assert!(said.contains("stopped") && said.contains("ended 143"), "{said}");
}

/// A standard descriptor that is a directory would lead out.
#[test]
fn directories_as_standard_descriptors_are_refused() {
    let Some(user) = User::new() else { return };
    user.made("x", "true");
    let directory = fs::File::open("/").unwrap();
    let said = complaint(user.fork(&["x", "--fast", "--", "true"]).stdin(directory), 125);
    assert!(said.contains("descriptor 0 is a directory"), "{said}");
}
