//! Real programs that lie in a repository, with loader, libraries and everything: they do the same as from a plain
//! directory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::{Mode, modes};
use common::{User, output};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::tools::require_tool;
use libcvmfs::object::Compression;
use std::path::{Path, PathBuf};
use std::process::Command;

const FQRN: &str = "distribution.test.example";
const ROOT: &str = "/cvmfs/distribution.test.example";

/// What is done with the programs in `$R`. `$W` is a directory for results.
struct Case {
    name: &'static str,
    script: &'static str,
    /// Does it need more than functions of the C library?
    needs_kernel: bool,
}

const fn case(name: &'static str, script: &'static str) -> Case {
    Case { name, script, needs_kernel: false }
}

const fn kernel(name: &'static str, script: &'static str) -> Case {
    Case { name, script, needs_kernel: true }
}

const CASES: &[Case] = &[
    case(
        "bash",
        r#"n=0; for f in $R/src/project/*; do read -r line <"$f"; n=$((n + ${#line})); done; echo $n
           cd $R/src/made; for f in *; do [ -f $f ] && echo $f; done; while read -r w; do echo "<$w>"; done < one.in
           echo $(cat one.in two.in) | (read -r a b; echo $b $a); type -P bash; declare -f | wc -l"#,
    ),
    case(
        "find and xargs",
        r#"cd $R; find usr/include src -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
           find $R -name '*.h' -newermt 2000-01-01 | wc -l; find . -type l | sort | head -n 5; find bin -xtype f | wc -l
           find $R/src -maxdepth 1 -exec ls -d {} +"#,
    ),
    case(
        "tar",
        r#"tar -C $R -c --sort=name --owner=0 --group=0 --numeric-owner bin src usr/include | sha256sum
           tar -C $R -c src | tar -t | sort | sha256sum; tar -C $W -x -f <(tar -C $R -c src) && diff -r --no-dereference $R/src $W/src && echo same"#,
    ),
    case(
        "git",
        r#"export GIT_EXEC_PATH=$R/libexec GIT_TEMPLATE_DIR= GIT_CONFIG_NOSYSTEM=1 GIT_OPTIONAL_LOCKS=0
           printf '[safe]\ndirectory = *\n' >$HOME/.gitconfig
           cd $R/src/project; git log --stat; git diff HEAD~1; git status --short; git fsck 2>&1; git grep -n 7
           git -c protocol.file.allow=always clone -q --no-local file://$R/src/project $W/clone && git -C $W/clone log --oneline && cat $W/clone/file7
           git clone -q $R/src/project $W/local && git -C $W/local rev-parse HEAD"#,
    ),
    case(
        "python",
        r#"export PYTHONHOME=$R/python PYTHONDONTWRITEBYTECODE=1
           $R/python/bin/python3 -c '
import sys, os, json, decimal, asyncio, email.message, xml.dom.minidom, unittest, ctypes, hashlib, logging, http.server, multiprocessing, zoneinfo, importlib.resources
assert json.__file__.startswith(sys.prefix), json.__file__
print(sys.prefix, json.__file__)
count = 0
for directory, names, files in os.walk(os.path.dirname(json.__file__)):
    for name in sorted(files):
        if name.endswith(".py"):
            with open(os.path.join(directory, name)) as f: compile(f.read(), name, "exec")
            count += 1
print(count, len(sys.modules) > 100)
import subprocess
print(subprocess.run([sys.executable, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True).stdout)'
           $R/python/bin/python3 -m tokenize $R/python/lib/python3*/json/tool.py | sha256sum"#,
    ),
    case(
        "gcc",
        r#"gcc --sysroot=$R -o $W/hello $R/src/hello.c && $W/hello; gcc --sysroot=$R -v $R/src/hello.c -o $W/again 2>&1 | grep '^ /.*include'
           gcc --sysroot=$R -M $R/src/hello.c | tr -d '\\' | tr ' ' '\n' | grep /shared.h; gcc -print-prog-name=cc1"#,
    ),
    case(
        "make",
        r#"cd $W; make -s -f $R/src/made/Makefile SOURCE=$R/src/made; cat one two; make -f $R/src/made/Makefile SOURCE=$R/src/made | wc -l"#,
    ),
    case(
        "perl",
        r#"export PERL5LIB=$R/perl; perl -MFile::Find -MCwd -e 'my ($n, $s) = (0, 0); find(sub { $n++; $s += -s if -f }, "$ENV{R}/src"); print "$n $s\n"; chdir "$ENV{R}/src"; print getcwd, " $INC{q(File/Find.pm)}\n";
             open my $f, "<", "made/one.in"; print <$f>; opendir my $d, "."; print join(" ", sort readdir $d), "\n"; print -w "hello.c" ? "w" : "-", -r _ ? "r" : "-", "\n"'"#,
    ),
    kernel(
        "busybox",
        r#"$R/bin/busybox find src | $R/bin/busybox sort | $R/bin/busybox sha256sum; cd $R/src && $R/bin/busybox sh -c 'busybox=$R/bin/busybox; $busybox ls; ../bin/busybox ls made; $busybox cat made/*.in; cd made; pwd; $busybox tar c . | $busybox tar t | $busybox sort'"#,
    ),
    kernel(
        "go",
        r#"$R/bin/walk $R/src $R/bin/pwd-of-here; cd $R/src && ../bin/walk . ../bin/pwd-of-here | sed "s:$R:@:g" | sha256sum"#,
    ),
    kernel(
        "loader",
        r#"l=$(cd $R && echo lib/*-linux-gnu); $R/lib64/ld-linux-x86-64.so.2 --library-path $R/$l $R/bin/bash -c 'echo $0; cd $R/src; echo *' $R
           $R/lib64/ld-linux-x86-64.so.2 --library-path $R/$l --list $R/bin/ls | grep -oE '=> [^ ]+' | sort
           LD_LIBRARY_PATH=$R/$l LD_DEBUG=files $R/bin/ls $R/src 2>&1 | grep -oE "$R[^ ;]*libc.so.6" | sort -u"#,
    ),
    kernel(
        "interpreter",
        r#"l=$(cd $R && echo lib/*-linux-gnu); gcc -o $W/exe $R/src/exe.c -Wl,--dynamic-linker=$R/lib64/ld-linux-x86-64.so.2 -Wl,-rpath,$R/$l && $W/exe | sed s:.*/::
           $R/own/exe && cd $R/own && ./exe && cd / && env -i $R/own/exe"#,
    ),
];

/// The distribution in a directory and in a repository. `None` if a tool is missing.
fn publish() -> Option<(PathBuf, User)> {
    for tool in ["gcc", "git", "make", "perl", "python3", "tar", "find", "busybox", "go"] {
        require_tool(tool)?;
    }
    let user = User::with(Vec::new());
    let home = user.home.path();
    let plain = home.join("plain");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/distribution.sh");
    let mut command = Command::new("bash");
    // Go compiles its own library once.
    output(command.arg(script).arg(&plain).env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go")));
    // Each has its loader where it is itself: those of the repository are linked for there.
    let linked = |root: &str, to: &Path| {
        let library = format!("-Wl,-rpath,{root}/lib/x86_64-linux-gnu");
        let loader = format!("-Wl,--dynamic-linker={root}/lib64/ld-linux-x86-64.so.2");
        output(Command::new("gcc").arg(plain.join("src/exe.c")).args([loader, library]).arg("-o").arg(to));
    };
    let exe = plain.join("own/exe");
    linked(ROOT, &exe);
    let published =
        Forge::new(FQRN).compression(Compression::None).tree("", &plain).nested("/python").publish(home.join("web"));
    linked(plain.to_str().unwrap(), &exe);
    let mut user = user.using(&published.repository());
    // Whoever runs this owns the directory that all is compared with.
    user.options.push(("CVMFS_CLAIM_OWNERSHIP".into(), "yes".into()));
    Some((plain, user))
}

/// What a case prints, with its own root written as `@`.
fn said(mut command: Command, root: &str, work: &Path, case: &Case) -> String {
    let _ = std::fs::remove_dir_all(work);
    std::fs::create_dir(work).unwrap();
    let path = format!("{root}/bin:/usr/bin:/bin");
    command
        .args(["-c", &format!("cd $R || exit\n{}", case.script)])
        .env("R", root)
        .env("W", work)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .current_dir("/");
    command.env("HOME", work).stdin(std::process::Stdio::null());
    let out = command.output().unwrap();
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).replace(root, "@"));
    format!("{}{}{}", text[0], text[1], out.status)
}

fn compare(cases: impl Fn(&Case) -> bool, modes: &[Mode]) {
    if modes.is_empty() {
        return;
    }
    let Some((plain, user)) = publish() else { return };
    let work = user.home.path().join("work");
    let mut wrong = Vec::new();
    for case in CASES.iter().filter(|&case| cases(case)) {
        let native = said(Command::new("bash"), plain.to_str().unwrap(), &work, case);
        assert!(native.ends_with("exit status: 0"), "{}: {native}", case.name);
        for &mode in modes {
            let start = std::time::Instant::now();
            let ours = said(user.run_in(mode, format!("{ROOT}/bin/bash")), ROOT, &work, case);
            println!("{}, --mode={}: {:.1?}", case.name, mode.name, start.elapsed());
            if ours != native {
                wrong.push(format!("{}, --mode={}:\n{native}\n--- but here:\n{ours}", case.name, mode.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn programs_do_the_same_as_from_a_plain_directory() {
    let (all, others): (Vec<Mode>, Vec<Mode>) = modes().into_iter().partition(|mode| mode.serves_static);
    compare(|case| !case.needs_kernel, &others);
    compare(|_| true, &all);
}
