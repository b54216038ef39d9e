//! Programs of every kind, as they are used on a mounted file system.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::in_every_mode;
use common::{DEMO, SMALL, User, compile, output, text};
use cvmfs_tests::tools::require_tool;
use std::path::Path;

fn demo() -> User {
    let dir = std::env::temp_dir().join(format!("cvmfs-preload-demo-{}", std::process::id()));
    let demo = libcvmfs::demo::unpack(&dir).unwrap();
    let mut options = demo.options();
    options.push(("CVMFS_REPOSITORIES".into(), demo.fqrn.to_string()));
    User::with(options)
}

/// "`stat` and `fstat` agree"; "A call that would change something fails as on a file system that is mounted
/// read-only"; "The working directory, and what is opened relative to it, may be virtual".
#[test]
fn c_calls_answer_as_on_a_mounted_file_system() {
    in_every_mode(|| {
        let user = demo();
        let Some(program) = compile(&user, "calls.c", &[]) else { return };
        assert_eq!(text(&mut user.run(program)), "");
    });
}

#[test]
fn names_that_old_and_checking_compilers_use_are_hooked_too() {
    let user = demo();
    let flags = ["-O2", "-D_FORTIFY_SOURCE=2", "-D_FILE_OFFSET_BITS=64", "-U_GNU_SOURCE", "-D_GNU_SOURCE"];
    let Some(program) = compile(&user, "calls.c", &flags) else { return };
    assert_eq!(text(&mut user.run(program)), "");
}

/// "Programs and scripts are started"; "A child process stays in the session, whatever its environment".
#[test]
fn programs_are_started_in_every_way() {
    in_every_mode(|| {
        let user = demo();
        let Some(program) = compile(&user, "starting.c", &[]) else { return };
        let greetings = text(&mut user.run(program));
        assert_eq!(
            greetings.lines().filter(|line| line.ends_with("from demo.example.org!")).count(),
            14,
            "{greetings}"
        );
    });
}

/// "A `fork` waits until no other thread is inside the library."
#[test]
fn a_child_finds_everything_in_order_whatever_other_threads_do() {
    in_every_mode(|| {
        let user = demo();
        let Some(program) = compile(&user, "forking.c", &[]) else { return };
        assert_eq!(text(&mut user.run(program)), "");
    });
}

#[test]
fn bash_changes_directories_and_expands_names() {
    in_every_mode(|| {
        let script = format!(
            "cd {DEMO}/first && pwd && pwd -P && /bin/pwd && cd {DEMO}; echo *; cd -P latest; pwd; \
         cd ../../lib; echo $OLDPWD; ls -d ../data/*; [ -f ../README.txt ] && [ ! -w ../README.txt ] && [ -d . ] && echo tests; \
         read -r line < ../README.txt; echo $line; source <(echo 'echo sourced'); cd /; echo cvmfs/demo.ex*/b*"
        );
        let expected = "/cvmfs/demo.example.org/first\n/cvmfs/demo.example.org/releases/v1\n/cvmfs/demo.example.org/releases/v1\n\
        README.txt analysis.py bin current data first include latest lib releases\n/cvmfs/demo.example.org/releases/v2\n\
        /cvmfs/demo.example.org/releases/v2\n../data/dimuons.csv\n../data/events.csv\ntests\ndemo.example.org\nsourced\n\
        cvmfs/demo.example.org/bin\n";
        assert_eq!(demo().sh(&script), expected);
    });
}

#[test]
fn nothing_can_be_written_and_nothing_in_the_cache_changes() {
    in_every_mode(|| {
        let user = demo();
        let attempts = format!(
            "cd {DEMO}; for c in 'touch README.txt' 'touch new' 'rm README.txt' 'rm -rf bin' 'mkdir new' 'mv README.txt new' \
         'chmod 777 README.txt' 'truncate -s 0 README.txt' 'ln -s a new' 'cp /etc/passwd .' 'tee README.txt' 'sed -i s/a/b/ README.txt' \
         'dd if=/dev/zero of=/proc/self/fd/9 count=1' 'mv /etc/hostname .'; do $c 9< README.txt < /dev/null > /dev/null 2> /tmp/e-$$ && echo \"$c: worked\"; \
         grep -q 'Read-only file system\\|Invalid cross-device' /tmp/e-$$ || cat /tmp/e-$$; done; rm /tmp/e-$$; md5sum README.txt"
        );
        let out = user.sh(&attempts);
        assert_eq!(out.lines().count(), 1, "{out}");
        assert_eq!(out, user.sh(&format!("cd {DEMO}; md5sum README.txt")));
    });
}

#[test]
fn python_walks_reads_imports_and_starts() {
    in_every_mode(|| {
        demo().python(&format!(
        r#"
import pathlib, shutil, subprocess, mmap, tempfile, threading, glob, stat
root = '{DEMO}'
walked = {{os.path.join(d, n) for d, ds, fs in os.walk(root) for n in ds + fs}}
assert walked == {{str(p) for p in pathlib.Path(root).rglob('*')}}
assert glob.glob(root + '/*/*.sh') == [root + '/bin/hello.sh']
for entry in os.scandir(root):
    s = entry.stat(follow_symlinks=False)
    assert 'KERNEL_LISTS' in os.environ or entry.inode() == s.st_ino
    assert entry.is_symlink() == stat.S_ISLNK(s.st_mode), entry
sys.path.insert(0, root + '/lib/python')
import physics.kinematics
assert physics.__file__.startswith(root)
with open(root + '/README.txt', 'rb') as f:
    assert os.fstat(f.fileno()) == os.stat(f.name) == os.stat(f.fileno())
    assert mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:] == f.read()
    assert os.path.realpath(f'/proc/self/fd/{{f.fileno()}}') == f.name
assert os.path.samefile(root + '/latest', root + '/releases/v2')
assert pathlib.Path(root, 'first/..').resolve() == pathlib.Path(root, 'releases')
with tempfile.TemporaryDirectory() as d:
    shutil.copytree(root, d + '/copy', symlinks=True)
    assert subprocess.run(['diff', '-r', '--no-dereference', root, d + '/copy']).returncode == 0
    os.symlink(root, d + '/link')
    assert os.listdir(d + '/link') == os.listdir(root) or sorted(os.listdir(d + '/link')) == sorted(os.listdir(root))
for env in (None, {{}}, {{'PATH': root + '/bin'}}):
    for close_fds in (True, False):
        assert b'demo.example.org' in subprocess.run([root + '/bin/hello.sh'], env=env, close_fds=close_fds, capture_output=True).stdout
assert b'demo.example.org' in subprocess.run(['hello.sh'], env={{'PATH': root + '/bin:/bin'}}, capture_output=True).stdout
assert subprocess.run(['pwd'], cwd=root + '/lib', capture_output=True).stdout == root.encode() + b'/lib\n'
dir = os.open(root, os.O_RDONLY)
assert sorted(os.listdir(dir)) == sorted(os.listdir(root)) and os.stat('bin', dir_fd=dir) == os.stat(root + '/bin')
os.fchdir(dir)
assert os.getcwd() == root and os.path.exists('bin/hello.sh')
failures = []
def work():
    try:
        for _ in range(50):
            for d, ds, fs in os.walk(root):
                for f in fs:
                    with open(os.path.join(d, f), 'rb') as o:
                        assert len(o.read()) == os.stat(o.name).st_size
    except BaseException as e:
        failures.append(e)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads], [t.join() for t in threads]
assert not failures, failures
"#
    ));
    });
}

#[test]
fn the_host_leads_in_and_the_tree_leads_out() {
    in_every_mode(|| {
        let user = demo();
        let home = user.home.path();
        let venv = home.join("bin");
        std::fs::create_dir(&venv).unwrap();
        std::os::unix::fs::symlink(format!("{DEMO}/bin/hello.sh"), venv.join("hello")).unwrap();
        std::os::unix::fs::symlink(DEMO, home.join("demo")).unwrap();
        std::fs::write(venv.join("script"), format!("#!{DEMO}/bin/hello.sh\n")).unwrap();
        std::fs::set_permissions(venv.join("script"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let home = home.display();
        let out = user.sh(&format!(
        "cd {home}; cat demo/README.txt | head -n 1; ls demo/bin; bin/hello; bin/script; PATH=$PATH:{home}/bin hello; \
         cd demo/bin; pwd -P; cd {DEMO}; stat -c %n ../../etc/passwd; ls -d {DEMO}/../../etc"
    ));
        let greeting = "Hello, world, from demo.example.org!\n";
        let script = format!("Hello, {home}/bin/script, from demo.example.org!\n").replace(&format!("{home}/"), "");
        let expected = format!(
            "demo.example.org\nhello.sh\n{greeting}{script}{greeting}{DEMO}/bin\n../../etc/passwd\n{DEMO}/../../etc\n"
        );
        assert_eq!(out, expected);
    });
}

#[test]
fn compilers_find_headers_and_libraries() {
    in_every_mode(|| {
        let Some(cc) = require_tool("cc") else { return };
        let user = demo();
        let source = user.home.path().join("units.c");
        std::fs::write(
            &source,
            "#include <demo/units.h>\n#include <stdio.h>\nint main(void) { puts(__FILE__); return 0; }\n",
        )
        .unwrap();
        let program = user.home.path().join("units");
        output(user.run(cc).args(["-I", &format!("{DEMO}/include"), "-MMD", "-o"]).arg(&program).arg(&source));
        let depends = std::fs::read_to_string(user.home.path().join("units.d")).unwrap();
        assert!(depends.contains(&format!("{DEMO}/include/demo/units.h")), "{depends}");
    });
}

#[test]
fn perl_finds_files() {
    in_every_mode(|| {
        let Some(perl) = require_tool("perl") else { return };
        let script = format!(
            "use File::Find; my $n = 0; find(sub {{ $n++ if -f $_ }}, '{DEMO}'); print \"$n\\n\"; opendir D, '{DEMO}/bin'; print join(' ', sort readdir D), \"\\n\"; print -s '{DEMO}/README.txt', \"\\n\""
        );
        let out = text(demo().run(perl).args(["-e", &script]));
        assert_eq!(out, "13\n. .. hello.sh\n811\n");
    });
}

#[test]
fn git_reads_a_work_tree() {
    in_every_mode(|| {
        let Some(git) = require_tool("git") else { return };
        let user = demo();
        let out = text(user.run(git).args(["hash-object", &format!("{DEMO}/README.txt")]));
        assert_eq!(out.trim().len(), 40);
        let status = user.run("git").args(["-C", DEMO, "status"]).output().unwrap();
        assert!(String::from_utf8_lossy(&status.stderr).contains("not a git repository"));
    });
}

/// "A repository that no server has is absent": programs look for their files in every directory above.
#[test]
fn a_repository_that_no_server_has_is_absent_and_nothing_is_said() {
    in_every_mode(|| {
        let small = cvmfs_tests::fixtures::repository("small.test.example");
        let mut options = small.options();
        options[0].1 = format!("file://{}/@fqrn@", small.web_root.parent().unwrap().display());
        let user = User::with(options);
        let out = user.run("stat").args(["/cvmfs/package.json", "/cvmfs/go.work/src"]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(said.matches("No such file or directory").count(), 2, "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
        assert_ne!(user.sh(&format!("ls {SMALL}")), "");
    });
}

/// "Nothing of this reaches the cache's file": not by calls of newer kernels either.
#[test]
fn calls_that_few_programs_know_are_answered() {
    for mode in common::modes::modes_for_static() {
        let script = format!(
            r#"
import ctypes, os, errno
call = ctypes.CDLL(None, use_errno=True).syscall
path, fd = b'{DEMO}/README.txt', os.open('{DEMO}/README.txt', os.O_RDONLY)
def fails(*arguments):
    ctypes.set_errno(0)
    return call(*arguments), ctypes.get_errno()
value = (ctypes.c_uint64 * 2)(ctypes.addressof(ctypes.create_string_buffer(b'x')), 1)
for number in 463, 464, 465, 466, 468, 469:
    assert fails(number, -100, path, 0, b'user.x', value, 16) == (-1, errno.ENOSYS), number
    assert fails(number, fd, b'', 0x1000, b'user.x', value, 16) == (-1, errno.ENOSYS), number
mark, group = 301, fails(300, 0x200, 0)[0]
if group >= 0:
    assert fails(mark, group, 1, ctypes.c_uint64(0x20), -100, path) == (-1, errno.EOPNOTSUPP)
    assert fails(mark, group, 1, ctypes.c_uint64(0x20), fd, None) == (-1, errno.EOPNOTSUPP)
print('done')"#
        );
        let user = demo();
        let Some(python) = require_tool("python3") else { return };
        assert_eq!(
            text(user.run_in(mode, python).args(["-c", &script])),
            "done
",
            "--mode={}",
            mode.name
        );
    }
}

/// "A file made of chunks is put together when it is first opened."
#[test]
fn large_files_are_read_in_any_order() {
    in_every_mode(|| {
        let user = User::of_small();
        let Some(record) = cvmfs_tests::fixtures::truth("small.test.example", None).max_by_key(|record| record.size)
        else {
            return;
        };
        let path = format!("{SMALL}{}", String::from_utf8_lossy(&record.path));
        user.python(&format!(
            r#"
import hashlib
size = os.stat({path:?}).st_size
assert size == {}
with open({path:?}, 'rb') as f:
    tail = os.pread(f.fileno(), 1 << 16, size - (1 << 16))
    whole = f.read()
assert whole.endswith(tail) and hashlib.sha256(whole).hexdigest() == {:?}
"#,
            record.size,
            record.sha256.unwrap()
        ));
    });
}

/// "What the helper cannot get is an input/output error, never an absent file."
#[test]
fn an_unreachable_object_is_an_error_and_not_absent() {
    in_every_mode(|| {
        let fixture = cvmfs_tests::fixtures::bad("data_missing");
        let user = User::of(&fixture);
        let out = user.sh(&format!(
            "find {SMALL} -type f -exec cat {{}} + 2>&1 >/dev/null | grep -v ' Input/output error$'; true"
        ));
        assert_eq!(out, "");
        let errors = user.sh(&format!(
            "find {SMALL} -type f -exec cat {{}} + 2>&1 >/dev/null | grep -c ' Input/output error$'; true"
        ));
        assert_ne!(errors.trim(), "0");
    });
}

#[test]
fn what_is_not_ours_is_untouched() {
    in_every_mode(|| {
        let user = demo();
        let dir = user.home.path().join("native");
        let script = format!(
            "mkdir {0} && cd {0} && echo a > b && cp b c && mv c d && ln -s b e && ls -i | wc -l && rm -r {0} && cd / && find /etc/ssl -printf '%p %m %T@\\n' | md5sum && ls /",
            dir.display()
        );
        let native = text(std::process::Command::new("bash").args(["-c", &script]).env("LC_ALL", "C"));
        assert_eq!(user.sh(&script), native);
        assert!(Path::new("/cvmfs").exists() || !native.contains("cvmfs"));
    });
}

/// "Where linking is impossible the cache's file is opened, and remembered": a cache on another file system.
#[test]
fn a_cache_that_cannot_be_linked_from_is_used_all_the_same() {
    in_every_mode(|| {
        let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
            return cvmfs_tests::tools::skip("there is no second file system at /dev/shm");
        };
        let user = demo().env("CVMFS_ALIEN_CACHE", elsewhere.path().display().to_string());
        user.python(&format!(
            r#"
import subprocess
with open('{DEMO}/README.txt') as f:
    link = '/proc/self/fd/%d' % f.fileno()
    assert os.fstat(f.fileno()) == os.stat(f.name) == os.stat(os.dup(f.fileno()))
    assert os.readlink(link) == f.name and f.readline() == 'demo.example.org\n'
    for attempt in (lambda: os.open(link, os.O_RDWR), lambda: os.fchmod(f.fileno(), 0), lambda: os.utime(f.fileno())):
        try:
            attempt()
            assert False, 'it was changed'
        except OSError as e:
            assert e.errno == 30, e
assert b'Hello' in subprocess.run(['{DEMO}/bin/hello.sh'], capture_output=True).stdout
assert subprocess.run(['diff', '-r', '{DEMO}/lib', '{DEMO}/lib']).returncode == 0
"#
        ));
    });
}
