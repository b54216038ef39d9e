/* What is said about names: the stat, access and readlink families, attributes and file systems. */
#include "twin.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static const char *names[] = {
    "", "/", "/README", "/README/", "/README/.", "/README/..", "/README/x", "/empty", "/big", "/secret", "/bin", "/bin/", "/bin/.",
    "/bin/..", "/bin/../README", "/bin/absent", "/absent", "/absent/", "/absent/..", "/link", "/link/", "/dirlink", "/dirlink/",
    "/dirlink/.", "/dirlink/sub/leaf", "/abslink", "/outlink", "/dangling", "/dangling/", "/loop1", "/loop1/", "/loop1/x", "/hard1", "/hard2", "/fifo", "/xattr",
    "/nested", "/nested/inner", "/nested/inner/file", "/locked", "/locked/file", "/locked/absent", "/name with blanks\n", "/\xff\xfe", "/many", "/many/file0007",
    "/../twin.test.example/README", "/dir/sub/../../README", "/dirlink/../README", "//README", "/./README", "/chain40", "/chain41",
};

static void every_name(int dir) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_MAX], label[200];
        struct stat st;
        sprintf(path, R "%s", names[i]);
#define EACH(what, call) do { sprintf(label, what " '%s'", names[i]); stated(label, (int)ANSWER(call), &st); } while (0)
#define ASK(what, call) do { sprintf(label, what " '%s'", names[i]); CALL_AS(label, call); } while (0)
        EACH("stat", stat(path, &st));
        EACH("lstat", lstat(path, &st));
        EACH("fstatat", fstatat(dir, names[i] + (names[i][0] != 0), &st, 0));
        EACH("fstatat nofollow", fstatat(dir, names[i] + (names[i][0] != 0), &st, AT_SYMLINK_NOFOLLOW));
        EACH("raw stat", syscall(SYS_stat, path, &st));
        ASK("access F", access(path, F_OK));
        ASK("access R", access(path, R_OK));
        ASK("access W", access(path, W_OK));
        ASK("access X", access(path, X_OK));
        ASK("faccessat E", faccessat(dir, path, R_OK | X_OK, AT_EACCESS));
        char target[PATH_MAX] = "";
        sprintf(label, "readlink '%s'", names[i]);
        ssize_t length = ANSWER(readlink(path, target, sizeof target - 1));
        say(label, "%zd %s %s", length, length < 0 ? error_name(errno) : "", target);
        struct stat other;
        int fd = ANSWER(open(path, O_PATH | O_NOFOLLOW));
        if (fd >= 0) {
            sprintf(label, "lstat is fstat '%s'", names[i]);
            int both = lstat(path, &st) == 0 && fstat(fd, &other) == 0;
            say(label, "%d", both && same_file(&st, &other));
            close(fd);
        }
    }
}

/* Older musl does not know statx. */
#ifdef STATX_TYPE
static const char *described(const struct statx *x) {
    static char text[200];
    sprintf(text, "%o %lld @%lld.%09u", x->stx_mode, S_ISREG(x->stx_mode) ? (long long)x->stx_size : -1, (long long)x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec);
    return text;
}

static void extended(int dir) {
    int file = open(R "/README", O_RDONLY), path = open(R "/link", O_PATH | O_NOFOLLOW);
    struct stat a;
    struct statx x;
    static const int masks[] = {0, STATX_TYPE, STATX_SIZE, STATX_BASIC_STATS, 0x7fffffff};
    for (int i = 0; i < 5; i++) {
        char label[60];
        sprintf(label, "statx mask %#x", masks[i]);
        errno = 0;
        int r = statx(AT_FDCWD, R "/README", 0, masks[i], &x);
        if (r == 0) say(label, "basic %d %s", (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS, described(&x)); else said(label, r);
    }
    CALL(statx(AT_FDCWD, R "/README", 0, 0x80000000u, &x));
    CALL(statx(AT_FDCWD, R "/README", 0x40000000, STATX_BASIC_STATS, &x));
    CALL(statx(AT_FDCWD, R "/README", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &x));
    CALL(statx(AT_FDCWD, R "/README", AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &x));
    CALL(statx(dir, "link", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x));
    say("statx link", "%s", described(&x));
    CALL(statx(file, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    say("statx empty", "%s", described(&x));
    CALL(fstat(file, &a));
    CALL(x.stx_ino == a.st_ino && makedev(x.stx_dev_major, x.stx_dev_minor) == a.st_dev);
    CALL(statx(file, "", 0, STATX_BASIC_STATS, &x));
    CALL(statx(file, "x", 0, STATX_BASIC_STATS, &x));
    CALL(statx(path, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    CALL(statx(54321, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    CALL(statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    APART(syscall(SYS_statx, file, NULL, AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    APART(syscall(SYS_statx, AT_FDCWD, R "/README", 0, STATX_BASIC_STATS, (void *)8));
    close(file), close(path);
}
#else
static void extended(int dir) {}
#endif

static void by_descriptor(int dir) {
    int file = open(R "/README", O_RDONLY), path = open(R "/link", O_PATH | O_NOFOLLOW);
    struct stat a, b;
    STAT(fstat(file, &st));
    STAT(fstat(path, &st));
    STAT(fstat(dir, &st));
    STAT(fstat(54321, &st));
    STAT(fstat(-1, &st));
    STAT(fstatat(file, "", &st, AT_EMPTY_PATH));
    STAT(fstatat(path, "", &st, AT_EMPTY_PATH));
    STAT(fstatat(path, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
    STAT(fstatat(file, "", &st, 0));
    STAT(fstatat(file, "x", &st, 0));
    STAT(fstatat(dir, "link", &st, 0x10000000));
    STAT(fstatat(54321, "README", &st, 0));
    STAT(fstatat(54321, R "/README", &st, 0));
    STAT(fstatat(dir, "bin/hello", &st, 0));
    STAT(fstatat(dir, "../..", &st, 0));
    APART(stat((char *)8, &a));
    APART(syscall(SYS_newfstatat, AT_FDCWD, R "/README", (void *)8, 0));
    APART(syscall(SYS_stat, R "/README", NULL));
    APART(syscall(SYS_fstat, file, (void *)8));
    CALL(stat(R "/link", &a) == 0 && stat(R "/README", &b) == 0 && same_file(&a, &b));
    CALL(stat(R "/hard1", &a) == 0 && stat(R "/hard2", &b) == 0 && same_file(&a, &b));
    CALL(fstat(file, &a) == 0 && stat(R "/README", &b) == 0 && same_file(&a, &b));
    CALL(fstat(dir, &a) == 0 && stat(R "/bin/..", &b) == 0 && same_file(&a, &b));
    CALL(fstat(dir, &a) == 0 && stat("/cvmfs", &b) == 0 && a.st_dev != b.st_dev);
    CALL(stat(R "/nested/inner", &a) == 0 && stat(R "/nested/inner/.", &b) == 0 && same_file(&a, &b));
    CALL(stat(R "/nested/inner/..", &a) == 0 && stat(R "/nested", &b) == 0 && same_file(&a, &b));
    int other = dup(file), high = fcntl(file, F_DUPFD, 200);
    CALL(fstat(other, &a) == 0 && fstat(high, &b) == 0 && same_file(&a, &b));
    close(other), close(high), close(file);
    int native = open("/etc/passwd", O_RDONLY);
    CALL(dup2(native, file) == file && fstat(file, &a) == 0 && stat("/etc/passwd", &b) == 0 && same_file(&a, &b));
    close(file), close(native), close(path);
}

static void links(int dir) {
    char buffer[PATH_MAX];
    static const int sizes[] = {0, 1, 5, 6, 7, 100, -1};
    for (int i = 0; i < 7; i++) {
        char label[60];
        memset(buffer, 'z', 10);
        errno = 0;
        long r = readlinkat(dir, "link", buffer, sizes[i]);
        sprintf(label, "readlinkat into %d", sizes[i]);
        say(label, "%ld %s %.8s", r, r < 0 ? error_name(errno) : "", buffer);
    }
    int path = open(R "/link", O_PATH | O_NOFOLLOW), file = open(R "/README", O_RDONLY);
    CALL(readlinkat(path, "", buffer, sizeof buffer));
    CALL(readlinkat(file, "", buffer, sizeof buffer));
    CALL(readlinkat(dir, "", buffer, sizeof buffer));
    CALL(readlinkat(dir, "absent", buffer, sizeof buffer));
    CALL(readlinkat(file, "x", buffer, sizeof buffer));
    CALL(readlinkat(54321, "x", buffer, sizeof buffer));
    CALL(readlink("", buffer, sizeof buffer));
    APART(syscall(SYS_readlink, R "/link", (void *)8, 100));
    APART(syscall(SYS_readlinkat, dir, (void *)8, buffer, 100));
    close(path), close(file);
}

static void permissions(int dir) {
    int file = open(R "/README", O_RDONLY);
    CALL(access(R "/README", 8));
    CALL(access(R "/README", -1));
    CALL(access(R "/bin/hello", R_OK | X_OK));
    CALL(access(R "/bin/hello", R_OK | W_OK | X_OK));
    CALL(faccessat(dir, "bin/plain", X_OK, 0));
    CALL(faccessat(dir, "bin/hello", X_OK, AT_EACCESS));
    CALL(faccessat(dir, "link", F_OK, AT_SYMLINK_NOFOLLOW));
    CALL(faccessat(dir, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    CALL(faccessat(dir, "link", W_OK, AT_SYMLINK_NOFOLLOW));
    CALL(faccessat(dir, "README", F_OK, 0x40000000));
    CALL(faccessat(54321, "README", F_OK, 0));
    CALL(faccessat(file, "README", F_OK, 0));
    CALL(syscall(SYS_faccessat, dir, "README", R_OK));
    CALL(syscall(439, dir, "README", R_OK, 0));
    CALL(syscall(439, file, "", R_OK, AT_EMPTY_PATH));
    CALL(syscall(439, file, "", W_OK, AT_EMPTY_PATH));
    CALL(syscall(439, file, "", X_OK, AT_EMPTY_PATH));
    APART(syscall(SYS_access, (void *)8, R_OK));
#ifdef __GLIBC__
    CALL(euidaccess(R "/README", R_OK));
    CALL(euidaccess(R "/secret", R_OK));
    CALL(eaccess(R "/README", W_OK));
#endif
    close(file);
}

static void attributes(void) {
    char value[300], list[1000];
    int file = open(R "/xattr", O_RDONLY), path = open(R "/xattr", O_PATH);
    long length;
#define VALUE(call) do { memset(value, 0, sizeof value); length = ANSWER(call); if (length < 0) said(#call, length); else say(#call, "%ld %s", length, value); } while (0)
    VALUE(getxattr(R "/xattr", "user.one", value, sizeof value));
    VALUE(lgetxattr(R "/xattr", "user.two", value, sizeof value));
    VALUE(fgetxattr(file, "user.two", value, sizeof value));
    VALUE(fgetxattr(path, "user.two", value, sizeof value));
    VALUE(fgetxattr(54321, "user.two", value, sizeof value));
    VALUE(getxattr(R "/xattr", "user.one", value, 0));
    VALUE(getxattr(R "/xattr", "user.one", NULL, 0));
    VALUE(getxattr(R "/xattr", "user.one", value, 2));
    VALUE(getxattr(R "/xattr", "user.none", value, sizeof value));
    VALUE(getxattr(R "/xattr", "", value, sizeof value));
    VALUE(getxattr(R "/xattr", "nonsense", value, sizeof value));
    VALUE(getxattr(R "/xattr", "trusted.none", value, sizeof value));
    VALUE(getxattr(R "/xattr", "security.capability", value, sizeof value));
    VALUE(getxattr(R "/xattr", "system.posix_acl_access", value, sizeof value));
    VALUE(getxattr(R "/absent", "user.one", value, sizeof value));
    VALUE(getxattr(R "/dangling", "user.one", value, sizeof value));
    VALUE(lgetxattr(R "/dangling", "user.one", value, sizeof value));
    VALUE(getxattr(R "/README/", "user.one", value, sizeof value));
    VALUE(getxattr(R "/bin", "user.one", value, sizeof value));
    int plain = open(R "/README", O_RDONLY), named = open(R "/README", O_PATH);
    VALUE(getxattr(R "/README", "security.capability", value, sizeof value));
    VALUE(lgetxattr(R "/link", "trusted.none", value, sizeof value));
    VALUE(lgetxattr(R "/dangling", "security.selinux", value, sizeof value));
    VALUE(fgetxattr(plain, "trusted.none", value, sizeof value));
    VALUE(fgetxattr(named, "trusted.none", value, sizeof value));
    VALUE(getxattr(R "/README/", "security.capability", value, sizeof value));
    CALL(flistxattr(plain, list, sizeof list));
    CALL(flistxattr(named, list, sizeof list));
    CALL(llistxattr(R "/dangling", list, sizeof list));
    close(plain), close(named);
    CALL(listxattr(R "/README", list, sizeof list));
    CALL(listxattr(R "/xattr", list, sizeof list));
    CALL(listxattr(R "/xattr", list, 0));
    CALL(listxattr(R "/xattr", list, 5));
    CALL(llistxattr(R "/link", list, sizeof list));
    CALL(flistxattr(file, list, sizeof list));
    CALL(flistxattr(54321, list, sizeof list));
    CALL(listxattr(R "/absent", list, sizeof list));
    APART(syscall(SYS_getxattr, R "/xattr", (void *)8, value, 100));
    APART(syscall(SYS_getxattr, R "/README", (void *)8, value, 100));
    APART(syscall(SYS_getxattr, R "/xattr", "user.one", (void *)8, 100));
    close(file), close(path);
}

static void file_systems(int dir) {
    struct statfs fs, of_fd;
    struct statvfs vfs;
    CALL(statfs(R "/README", &fs));
    say("statfs", "type %#lx readonly %d names %ld blocks %d", (long)fs.f_type, (int)(fs.f_flags & ST_RDONLY) != 0, (long)fs.f_namelen, fs.f_blocks > 0);
    CALL(fstatfs(dir, &of_fd));
    CALL(fs.f_type == of_fd.f_type && fs.f_blocks == of_fd.f_blocks && fs.f_flags == of_fd.f_flags);
    CALL(!memcmp(&fs.f_fsid, &of_fd.f_fsid, sizeof fs.f_fsid));
    CALL(statfs(R "/absent", &fs));
    CALL(statfs(R "/dangling", &fs));
    CALL(statfs(R "/README/", &fs));
    CALL(fstatfs(54321, &fs));
    CALL(statvfs(R, &vfs));
    CALL((vfs.f_flag & ST_RDONLY) != 0);
    CALL(fstatvfs(dir, &vfs));
    CALL((vfs.f_flag & ST_RDONLY) != 0);
    APART(syscall(SYS_statfs, R, (void *)8));
    APART(syscall(SYS_statfs, (void *)8, &fs));
    CALL(pathconf(R "/README", _PC_NAME_MAX));
    CALL(pathconf(R "/README", _PC_PATH_MAX));
    CALL(fpathconf(dir, _PC_NAME_MAX));
}

void probe_stat(void) {
    int dir = open(R, O_RDONLY | O_DIRECTORY);
    every_name(dir);
    extended(dir);
    by_descriptor(dir);
    links(dir);
    permissions(dir);
    attributes();
    file_systems(dir);
    close(dir);
}
