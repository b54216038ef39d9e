//! Programs and libraries that lie in a repository.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::in_every_mode;
use common::{User, output, text};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::tools::require_tool;
use std::path::Path;
use std::process::Command;

const FQRN: &str = "software.test.example";

fn cc(directory: &Path, source: &str, name: &str, flags: &[&str]) -> Vec<u8> {
    let (from, to) = (directory.join(format!("{name}.c")), directory.join(name));
    std::fs::write(&from, source).unwrap();
    let mut command = Command::new("cc");
    command.args(["-w", "-o"]).arg(&to).arg(&from).arg(format!("-L{}", directory.display())).args(flags);
    output(&mut command);
    std::fs::read(to).unwrap()
}

/// A program that needs a library by `$ORIGIN`, which needs another one; a plug-in; scripts.
fn user() -> Option<User> {
    require_tool("cc")?;
    let dir = tempfile::tempdir().unwrap();
    let origin = "-Wl,-rpath,$ORIGIN/../lib";
    let inner = cc(dir.path(), "int inner(void) { return 40; }", "libinner.so", &["-shared", "-fPIC"]);
    let outer_source = "int inner(void); int outer(void) { return inner() + 2; }";
    let beside = "-Wl,-rpath,$ORIGIN";
    let outer = cc(
        dir.path(),
        outer_source,
        "libouter.so.1",
        &["-shared", "-fPIC", "-linner", beside, "-Wl,-soname,libouter.so.1"],
    );
    let main_source = r#"
        #include <stdio.h>
        #include <unistd.h>
        #include <dlfcn.h>
        int outer(void);
        int main(int argc, char **argv) {
            char exe[4096] = "";
            readlink("/proc/self/exe", exe, sizeof exe);
            printf("%d %s %s %s\n", outer(), argv[0], exe, argc > 1 ? argv[1] : "-");
            void *plugin = dlopen("/cvmfs/software.test.example/plugins/plugin.so", RTLD_NOW);
            int (*call)(void) = plugin ? dlsym(plugin, "call") : NULL;
            printf("%s\n", call ? call() == 43 ? "plugin" : "wrong" : dlerror());
            return 0;
        }"#;
    let main = cc(
        dir.path(),
        main_source,
        "main",
        &["-l:libouter.so.1", &format!("-Wl,-rpath-link,{}", dir.path().display()), origin, "-ldl"],
    );
    let plugin_source = "int outer(void); int call(void) { return outer() + 1; }";
    let plugin = cc(
        dir.path(),
        plugin_source,
        "plugin.so",
        &["-shared", "-fPIC", "-l:libouter.so.1", &format!("-Wl,-rpath-link,{}", dir.path().display()), origin],
    );
    let published = Forge::new(FQRN)
        .file("/bin/main", main)
        .mode(0o755)
        .file("/lib/libouter.so.1.0", outer)
        .mode(0o755)
        .symlink("/lib/libouter.so.1", "libouter.so.1.0")
        .file("/lib/libinner.so", inner)
        .mode(0o644)
        .file("/plugins/plugin.so", plugin)
        .mode(0o755)
        .file("/bin/script", "#!/cvmfs/software.test.example/bin/main\n")
        .mode(0o755)
        .file("/bin/nested", "#! /cvmfs/software.test.example/bin/script\targument \n")
        .mode(0o755)
        .file("/bin/loop", "#!/cvmfs/software.test.example/bin/loop\n")
        .mode(0o755)
        .file("/bin/dangling", "#!/no/such/interpreter\n")
        .mode(0o755)
        .publish(dir.path().join("web"));
    let user = User::with(vec![
        ("CVMFS_SERVER_URL".into(), format!("file://{}", published.web_root.display())),
        ("CVMFS_HTTP_PROXY".into(), "DIRECT".into()),
        ("CVMFS_PUBLIC_KEY".into(), published.public_key.display().to_string()),
    ]);
    Some(user.keeping(dir))
}

/// "A program finds the libraries that it names relative to itself"; "A program runs under its own name."
#[test]
fn programs_find_their_libraries_and_their_own_name() {
    in_every_mode(|| {
        let Some(user) = user() else { return };
        let bin = format!("/cvmfs/{FQRN}/bin");
        let expected = |argv0: &str, argument: &str| format!("42 {argv0} {bin}/main {argument}\nplugin\n");
        assert_eq!(text(&mut user.run(format!("{bin}/main"))), expected(&format!("{bin}/main"), "-"));
        assert_eq!(
            user.sh(&format!("cd {bin}; ./main x; exec -a other ./main")),
            expected("./main", "x") + &expected("other", "-")
        );
        assert_eq!(user.sh(&format!("{bin}/script")), expected(&format!("{bin}/main"), &format!("{bin}/script")));
        let nested = expected(&format!("{bin}/main"), &format!("{bin}/script"));
        assert_eq!(user.sh(&format!("{bin}/nested")), nested);
        let out = user.run("sh").args(["-c", &format!("{bin}/loop; {bin}/dangling")]).output().unwrap();
        assert_eq!(out.status.code(), Some(127), "{}", String::from_utf8_lossy(&out.stderr));
    });
}

/// "Objects that may not be executed are copied when they are to be run": a cache in the official client's modes.
#[test]
fn a_cache_without_execute_permission_serves_programs() {
    in_every_mode(|| {
        let Some(user) = user() else { return };
        let bin = format!("/cvmfs/{FQRN}/bin");
        user.sh(&format!("cat {bin}/* /cvmfs/{FQRN}/*/*.so* > /dev/null"));
        output(
            Command::new("find")
                .arg(user.home.path().join("cache"))
                .args(["-type", "f", "-perm", "0555", "-exec", "chmod", "0600", "{}", "+"]),
        );
        let out = text(&mut user.run(format!("{bin}/main")));
        assert!(out.starts_with(&format!("42 {bin}/main {bin}/main -\n")), "{out}");
    });
}
