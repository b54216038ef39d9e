//! What may be different, and why. `doc/SEMANTICS.md` says the same in its own words.

/// A difference between a mounted tree and ours. In the patterns `*` stands for anything.
pub(crate) struct Exception {
    /// Values of `--mode`; empty: all.
    modes: &'static [&'static str],
    /// The program.
    program: &'static str,
    /// `family: label`.
    labels: &'static [&'static str],
    mounted: &'static str,
    here: &'static str,
    pub(crate) reason: &'static str,
}

const PRELOAD: &[&str] = &["preload"];
const SUPERVISOR: &[&str] = &["full", "shim", "trace"];

const EXCEPTIONS: &[Exception] = &[
    Exception {
        modes: &[],
        program: "*",
        labels: &["stat: statfs"],
        mounted: "type 0x1021994 readonly 1 *",
        here: "type 0x65735546 readonly 1 *",
        reason: "a mounted CernVM-FS is a FUSE file system, the tree to compare with is on a tmpfs",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["descriptors: name_to_handle_at(*"],
        mounted: "1",
        here: "0 and errno EOPNOTSUPP",
        reason: "there is no handle by which the kernel could find a file of ours again",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["*absent.test.example*"],
        mounted: "ENOENT",
        here: "EIO",
        reason: "whether a repository exists cannot be known: its server answers, but not with its manifest",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["exec: hello execfn"],
        mounted: "*",
        here: "*/cache/cvmfs/view/*",
        reason: "the kernel runs the file in the view: AT_EXECFN is the name that it was given",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["reading: maps"],
        mounted: "/cvmfs/*",
        here: "*/cache/cvmfs/view/*",
        reason: "/proc/self/maps is the kernel's own text",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["exec: hello comm"],
        mounted: "*",
        here: "hello*",
        reason: "the kernel runs the interpreter and knows nothing of script or link",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["directories: read(fd, &byte, 1)"],
        mounted: "EISDIR",
        here: "EINVAL",
        reason: "it is a directory of the cache's file system, which says it so",
    },
    Exception {
        modes: SUPERVISOR,
        program: "*",
        labels: &["open: open_how(*"],
        mounted: "*",
        here: "ENOSYS",
        reason: "rules about the way (RESOLVE_ flags) are not kept: programs fall back to openat",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["stat: statx mask *"],
        mounted: "basic 0 *",
        here: "basic 1 *",
        reason: "more is told than was asked for",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["stat: getxattr(R \"/xattr\", \"nonsense\", *"],
        mounted: "EOPNOTSUPP",
        here: "ENODATA",
        reason: "FUSE asks the file system for names of every kind",
    },
    Exception {
        modes: SUPERVISOR,
        program: "*",
        labels: &["directories: * numbers of '.' aside as those of stat"],
        mounted: "*",
        here: "*",
        reason: "the kernel lists the directory of the view, whose numbers are its own",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["directories: glob /cvm*"],
        mounted: "0 1 *",
        here: "3 0 ",
        reason: "the mount directory itself is not found by a pattern: the root directory is the host's",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["stat: fstatat(dir, \"../..\"*", "names: stat(\"../../..\"*", "descriptors: /cvmfs 0: above"],
        mounted: "d0755 0:0 *",
        here: "d0755 65534:65534 *",
        reason: "for an ordinary user, who is root in his own eyes, the host's root directory is nobody's; that of the measure is his",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["changes: chroot(*", "descriptors: bind(*", "descriptors: connect(*"],
        mounted: "*",
        here: "ENOENT",
        reason: "not seen: the kernel finds no such path",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &["descriptors: fcntl(a, F_GETFL) & O_NOFOLLOW"],
        mounted: "0",
        here: "131072",
        reason: "a node is opened as what it is: the flag stays with the descriptor",
    },
    Exception {
        modes: SUPERVISOR,
        program: "*",
        labels: &["descriptors: io_uring_setup"],
        mounted: "*",
        here: "ENOSYS",
        reason: "paths in its queues would not be seen: programs fall back to calls",
    },
    Exception {
        modes: &[],
        program: "*",
        labels: &[
            "exec: *at(dir, \"script\", 0)",
            "exec: *at(script, *",
            "exec: *fexecve(script, *",
            "exec: script",
            "exec: *scratch",
        ],
        mounted: "*",
        here: "*",
        reason: "a script can be run by a descriptor that is closed by that",
    },
    Exception {
        modes: &[],
        program: "*nobody",
        labels: &["open: open secret O_PATH*", "stat: lstat is fstat '/secret'", "exec: *execve noread"],
        mounted: "*",
        here: "*",
        reason: "what the caller may not read is not fetched, also if it is only to be run or named",
    },
    Exception {
        modes: &[],
        program: "*nobody",
        labels: &["exec: hello *"],
        mounted: "*",
        here: "nothing",
        reason: "what the caller may not read is not fetched, also if it is only to be run or named",
    },
    Exception {
        modes: &[],
        program: "*nobody",
        labels: &["exec: hello *"],
        mounted: "nothing",
        here: "*",
        reason: "what the caller may not read is not fetched, also if it is only to be run or named",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["*(*8*", "open: open((char *)-4096*", "open: open(page*"],
        mounted: "EFAULT",
        here: "signal 11",
        reason: "a function of a library reads its arguments in the program itself",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &[
            "exec: end of syscall(SYS_execve, (char *)8*",
            "exec: end of syscall(SYS_execve, B \"script\", (char *)8*",
        ],
        mounted: "exit 99",
        here: "signal 11",
        reason: "a function of a library reads its arguments in the program itself",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["exec: syscall(SYS_execve, (char *)8*", "exec: syscall(SYS_execve, B \"script\", (char *)8*"],
        mounted: "EFAULT",
        here: "nothing",
        reason: "a function of a library reads its arguments in the program itself",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["changes: syscall(SYS_symlink, (void *)8*"],
        mounted: "EFAULT",
        here: "EROFS",
        reason: "the target of a link that is not made is not looked at",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["open: open_how(*"],
        mounted: "*",
        here: "*",
        reason: "openat2 by number: what it says about the way is not looked at, nor are its bad arguments",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["directories: getdents64 *", "directories: counted(*"],
        mounted: "*",
        here: "*",
        reason: "getdents64 by number reads the view, which has the names that were opened so far",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["directories: fts *"],
        mounted: "*",
        here: "0 directories, 0 files, 0 links, 0 bare, 3 errors",
        reason: "fts calls the kernel from inside the C library",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["directories: fdopendir path*"],
        mounted: "*",
        here: "*",
        reason: "a directory opened with O_PATH can be listed, too",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &[
            "stat: statx mask *",
            "stat: statx(AT_FDCWD, *",
            "stat: fstatat(dir, \"link\", &st, 0x10000000)",
            "stat: readlinkat*",
            "stat: faccessat(dir, \"README\", F_OK, 0x40000000)",
            "stat: getxattr(R \"/xattr\", \"*",
            "names: syscall(SYS_getcwd, buffer, 0L)",
            "changes: ioctl(*",
            "changes: truncate(path, -1) *",
            "changes: utimensat(AT_FDCWD, path, bad, 0) *",
            "changes: utimensat(AT_FDCWD, path, omit, 0) *",
            "changes: renameat(*",
            "changes: * 'link/'",
            "changes: * 'absent/'",
            "changes: *'.'",
            "changes: *'bin/.'",
            "changes: *'bin/..'",
            "changes: syscall(SYS_renameat2, *",
            "changes: *0x4000)",
            "changes: setxattr(*",
            "changes: mknod(R \"/new\", *",
            "changes: symlink(\"\", *",
            "descriptors: * realpath",
            "exec: posix_spawn(*",
        ],
        mounted: "*",
        here: "*",
        reason: "an argument that makes no sense, or two errors at once: another error, or none",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &[
            "exec: hello sees",
            "exec: hello exe",
            "exec: hello cwd",
            "exec: hello getcwd",
            "exec: hello descriptor",
        ],
        mounted: "*",
        here: "*",
        reason: "a static program does not see /cvmfs, and sees the view behind its descriptors",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["exec: hello *"],
        mounted: "*",
        here: "nothing",
        reason: "execveat by number is the kernel's, which finds what the view has; a script can be run by its descriptor",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &["exec: hello *"],
        mounted: "nothing",
        here: "*",
        reason: "execveat by number is the kernel's, which finds what the view has; a script can be run by its descriptor",
    },
    Exception {
        modes: PRELOAD,
        program: "*",
        labels: &[
            "exec: *at(*",
            "exec: plain",
            "exec: script",
            "exec: fexecve(script*",
            "exec: end of fexecve(script*",
            "exec: *scratch",
        ],
        mounted: "*",
        here: "*",
        reason: "execveat by number is the kernel's, which finds what the view has; a script can be run by its descriptor",
    },
];

/// The entry of the table that a difference is covered by.
pub(crate) fn covering(
    program: &str,
    mode: &str,
    label: &str,
    mounted: &str,
    here: &str,
) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|e| {
        (e.modes.is_empty() || e.modes.contains(&mode))
            && fits(e.program, program)
            && e.labels.iter().any(|pattern| fits(pattern, label))
            && fits(e.mounted, mounted)
            && fits(e.here, here)
    })
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            rest.is_empty() || (0..=text.len()).any(|at| text.is_char_boundary(at) && fits(rest, &text[at..]))
        }),
    }
}
