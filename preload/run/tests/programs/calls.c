/* Calls with what they must answer below /cvmfs/small.test.example and /cvmfs/demo.example.org, as on a mounted
   read-only file system. Prints what is wrong; exit status 1 if anything is. */
#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#define D "/cvmfs/demo.example.org"

static int wrong;

#define CHECK(what) do { if (!(what)) { printf("line %d: %s (errno %d %s)\n", __LINE__, #what, errno, strerror(errno)); wrong = 1; } } while (0)
#define FAILS(number, call) do { errno = 0; long r_ = (long)(call); \
    if (r_ != -1 || errno != (number)) { printf("line %d: %s = %ld, %s instead of %s\n", __LINE__, #call, r_, strerrorname_np(errno), #number); wrong = 1; } } while (0)
#define WORKS(call) ({ errno = 77; long r_ = (long)(call); if (r_ == -1) { printf("line %d: %s: %s\n", __LINE__, #call, strerror(errno)); wrong = 1; } \
    else if (errno != 77) { printf("line %d: %s changed errno to %d\n", __LINE__, #call, errno); wrong = 1; } r_; })

// Whether the kernel lists directories, in an order and with inode numbers of its own.
static int kernel_lists;

static int same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_nlink == b->st_nlink &&
           a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void attributes(void) {
    struct stat by_path, by_fd, other;
    WORKS(stat(D "/README.txt", &by_path));
    int fd = WORKS(open(D "/README.txt", O_RDONLY));
    WORKS(fstat(fd, &by_fd));
    CHECK(same(&by_path, &by_fd));
    int copy = dup(fd), third = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    close(fd);
    WORKS(fstat(copy, &other));
    CHECK(same(&by_path, &other));
    WORKS(fstatat(third, "", &other, AT_EMPTY_PATH));
    CHECK(same(&by_path, &other));
    struct statx x;
    WORKS(statx(third, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    CHECK(x.stx_ino == by_path.st_ino && x.stx_size == by_path.st_size && x.stx_mode == by_path.st_mode);
    CHECK(makedev(x.stx_dev_major, x.stx_dev_minor) == by_path.st_dev);
    int dir = WORKS(open(D, O_RDONLY | O_DIRECTORY));
    WORKS(fstatat(dir, "README.txt", &other, 0));
    CHECK(same(&by_path, &other));
    WORKS(fstatat(dir, "bin/../README.txt", &other, 0));
    CHECK(same(&by_path, &other));
    WORKS(fstatat(dir, "../demo.example.org//./README.txt", &other, 0));
    CHECK(same(&by_path, &other));
    FAILS(ENOTDIR, stat(D "/README.txt/", &other));
    FAILS(ENOTDIR, stat(D "/README.txt/x", &other));
    FAILS(ENOENT, stat(D "/absent", &other));
    FAILS(ENOENT, stat("/cvmfs/absent", &other));
    FAILS(ENOENT, stat("", &other));
    FAILS(EFAULT, stat(NULL, &other));
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    FAILS(ENAMETOOLONG, fstatat(dir, longest, &other, 0));
    WORKS(lstat(D "/latest", &other));
    CHECK(S_ISLNK(other.st_mode) && other.st_size == strlen("releases/v2"));
    WORKS(stat(D "/latest/", &other));
    CHECK(S_ISDIR(other.st_mode));
    WORKS(stat(D "/../../etc", &other));
    WORKS(stat("/etc", &by_path));
    CHECK(same(&by_path, &other));
    WORKS(stat("/etc/../cvmfs/demo.example.org/README.txt", &other));
    WORKS(stat("//cvmfs///demo.example.org/./README.txt", &other));
    close(dir); close(copy); close(third);
}

static void opening(void) {
    struct { const char *name; int flags; int error; } cases[] = {
        {"README.txt", O_WRONLY, EROFS}, {"bin", O_WRONLY, EISDIR}, {"absent", O_WRONLY, ENOENT},
        {"README.txt", O_RDWR, EROFS}, {"bin", O_RDWR, EISDIR},
        {"README.txt", O_TRUNC, EROFS}, {"bin", O_TRUNC, EISDIR},
        {"README.txt", O_CREAT, 0}, {"bin", O_CREAT, EISDIR}, {"absent", O_CREAT, EROFS}, {"absent/x", O_CREAT, ENOENT},
        {"README.txt", O_CREAT | O_EXCL, EEXIST}, {"latest", O_CREAT | O_EXCL, EEXIST}, {"absent", O_CREAT | O_EXCL, EROFS},
        {"README.txt", O_CREAT | O_WRONLY, EROFS}, {"README.txt/x", O_CREAT | O_WRONLY, ENOTDIR},
        {"bin", O_TMPFILE | O_RDWR, EROFS}, {"README.txt", O_TMPFILE | O_RDWR, ENOTDIR},
        {"README.txt", O_DIRECTORY, ENOTDIR}, {"bin", O_DIRECTORY, 0}, {"latest", O_DIRECTORY, 0},
        {"latest", O_NOFOLLOW, ELOOP}, {"README.txt", O_NOFOLLOW, 0}, {"latest", O_NOFOLLOW | O_DIRECTORY, ENOTDIR},
        {"README.txt", O_PATH, 0}, {"latest", O_PATH | O_NOFOLLOW, 0}, {"bin", O_PATH | O_RDWR, 0}, {"README.txt", O_APPEND, 0},
    };
    int dir = open(D, O_PATH | O_DIRECTORY);
    for (int i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[PATH_MAX];
        sprintf(path, D "/%s", cases[i].name);
        for (int way = 0; way < 3; way++) {
            errno = 0;
            int fd = way == 0 ? open(path, cases[i].flags, 0644) : way == 1 ? openat(dir, cases[i].name, cases[i].flags, 0644)
                                : syscall(SYS_openat, dir, cases[i].name, cases[i].flags, 0644);
            if ((fd < 0 ? errno : 0) != cases[i].error) {
                printf("open %s %#o way %d: %s\n", cases[i].name, cases[i].flags, way, fd < 0 ? strerror(errno) : "works");
                wrong = 1;
            }
            if (fd >= 0) close(fd);
        }
    }
    int fd = open(D "/latest", O_PATH | O_NOFOLLOW);
    char target[100];
    CHECK(readlinkat(fd, "", target, sizeof target) == strlen("releases/v2"));
    struct stat st;
    WORKS(fstatat(fd, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
    CHECK(S_ISLNK(st.st_mode));
    close(fd);
    FAILS(EROFS, creat(D "/README.txt", 0644));
    CHECK(fopen(D "/README.txt", "w") == NULL && errno == EROFS);
    CHECK(fopen(D "/absent", "r") == NULL && errno == ENOENT);
    CHECK(fopen(D "/README.txt", "r+") == NULL && errno == EROFS);
    FILE *f = fopen(D "/README.txt", "re");
    CHECK(f && fgets(target, sizeof target, f) && !strncmp(target, "demo.example.org", 16));
    f = freopen(D "/include/demo/units.h", "r", f);
    CHECK(f && fgets(target, sizeof target, f) && strncmp(target, "demo.example.org", 16));
    if (f) fclose(f);
    fd = WORKS(open(D "/README.txt", O_RDONLY));
    sprintf(target, "/proc/self/fd/%d", fd);
    FAILS(EROFS, open(target, O_RDWR));
    char *map = mmap(NULL, 100, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && !memcmp(map, "demo.example.org", 16));
    CHECK(mmap(NULL, 100, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
    close(fd);
    close(dir);
}

static void changing(void) {
    int fd = open(D "/README.txt", O_RDONLY), dir = open(D, O_RDONLY | O_DIRECTORY);
    struct stat before, after;
    syscall(SYS_fstat, fd, &before);
    FAILS(EEXIST, mkdir(D "/bin", 0755)); FAILS(EROFS, mkdir(D "/new", 0755)); FAILS(ENOENT, mkdir(D "/absent/new", 0755));
    FAILS(EEXIST, mkdirat(dir, "README.txt", 0755)); FAILS(EEXIST, mkdir("/cvmfs", 0755)); FAILS(EEXIST, mkdir(D, 0755));
    FAILS(EEXIST, symlink("a", D "/latest")); FAILS(EROFS, symlink("a", D "/new")); FAILS(EROFS, mknod(D "/new", S_IFREG, 0));
    FAILS(EROFS, mkfifo(D "/new", 0600)); FAILS(EROFS, unlink(D "/README.txt")); FAILS(EROFS, unlink(D "/absent"));
    FAILS(ENOENT, unlink(D "/absent/x")); FAILS(EROFS, unlinkat(dir, "bin", AT_REMOVEDIR)); FAILS(EROFS, rmdir(D "/bin"));
    FAILS(EROFS, remove(D "/bin")); FAILS(EROFS, rename(D "/README.txt", D "/other")); FAILS(EXDEV, rename(D "/README.txt", "/tmp/other"));
    FAILS(EXDEV, rename("/etc/passwd", D "/other")); FAILS(EXDEV, link(D "/README.txt", "/tmp/other")); FAILS(EROFS, link(D "/README.txt", D "/other"));
    FAILS(EEXIST, link(D "/README.txt", D "/bin")); FAILS(ENOENT, link(D "/absent", "/tmp/other")); FAILS(EEXIST, link("/etc/passwd", D "/bin"));
    FAILS(EROFS, chmod(D "/README.txt", 0)); FAILS(ENOENT, chmod(D "/absent", 0)); FAILS(EROFS, fchmod(fd, 0777)); FAILS(EROFS, fchmodat(dir, "README.txt", 0, 0));
    FAILS(EROFS, chown(D "/README.txt", 1, 1)); FAILS(EROFS, lchown(D "/latest", 1, 1)); FAILS(EROFS, fchown(fd, 1, 1)); FAILS(EROFS, fchownat(fd, "", 1, 1, AT_EMPTY_PATH));
    FAILS(EROFS, truncate(D "/README.txt", 0)); FAILS(EISDIR, truncate(D "/bin", 0)); FAILS(EINVAL, ftruncate(fd, 0));
    FAILS(EROFS, utime(D "/README.txt", NULL)); FAILS(EROFS, utimes(D "/README.txt", NULL)); FAILS(EROFS, lutimes(D "/latest", NULL)); FAILS(EROFS, futimens(fd, NULL));
    FAILS(EROFS, utimensat(dir, "README.txt", NULL, 0)); FAILS(EINVAL, utimensat(fd, NULL, NULL, 0)); FAILS(EROFS, syscall(SYS_utimensat, fd, NULL, NULL, 0)); FAILS(EROFS, futimes(fd, NULL));
    FAILS(EROFS, setxattr(D "/README.txt", "user.a", "", 0, 0)); FAILS(EROFS, fsetxattr(fd, "user.a", "", 0, 0)); FAILS(EROFS, removexattr(D "/README.txt", "user.a"));
    char name[] = D "/fileXXXXXX";
    FAILS(EROFS, mkstemp(name));
    // The C library does not restore the name.
    strcpy(name + sizeof name - 7, "XXXXXX");
    CHECK(mkdtemp(name) == NULL && errno == EROFS);
    FAILS(EROFS, access(D "/README.txt", W_OK)); WORKS(access(D "/README.txt", R_OK)); FAILS(EACCES, access(D "/README.txt", X_OK)); WORKS(access(D "/bin/hello.sh", X_OK));
    FAILS(ENOENT, access(D "/absent", F_OK)); WORKS(faccessat(dir, "bin", X_OK, AT_EACCESS)); FAILS(EINVAL, access(D, 64)); WORKS(eaccess(D "/README.txt", R_OK));
    char handle[200];
    ((int *)handle)[0] = 128;
    int mount;
    FAILS(EOPNOTSUPP, name_to_handle_at(dir, "README.txt", (struct file_handle *)handle, &mount, 0));
    int watcher = inotify_init1(IN_CLOEXEC);
    WORKS(inotify_add_watch(watcher, D "/bin", IN_ALL_EVENTS)); FAILS(ENOENT, inotify_add_watch(watcher, D "/absent", IN_ALL_EVENTS));
    FAILS(ENOTDIR, inotify_add_watch(watcher, D "/README.txt", IN_ALL_EVENTS | IN_ONLYDIR));
    close(watcher);
    syscall(SYS_fstat, fd, &after);
    CHECK(same(&before, &after));
    close(fd); close(dir);
}

static int visited, chdir_wrong;
static int visit(const char *path, const struct stat *st, int kind, struct FTW *place) {
    struct stat here;
    if (kind != FTW_NS && lstat(path + place->base, &here) == 0 && here.st_ino == st->st_ino) chdir_wrong--;
    visited++;
    return 0;
}
static int visit_simply(const char *path, const struct stat *st, int kind) { visited++; return strstr(path, "units.h") ? 42 : 0; }
static int not_dot(const struct dirent *e) { return e->d_name[0] != '.'; }

static void directories(void) {
    DIR *dir = opendir(D);
    CHECK(dir != NULL);
    int count = 0;
    long third = 0;
    struct dirent *e, entry, *result;
    char name[300] = "";
    errno = 77;
    while ((e = readdir(dir))) {
        struct stat st;
        CHECK(fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        CHECK(kernel_lists || strcmp(e->d_name, "..") == 0 || e->d_ino == st.st_ino);
        CHECK(e->d_type == IFTODT(st.st_mode));
        if (++count == 3) third = telldir(dir);
        if (count == 4) strcpy(name, e->d_name);
    }
    CHECK(errno == 77 && count == 12);
    seekdir(dir, third);
    CHECK((e = readdir(dir)) && !strcmp(e->d_name, name));
    rewinddir(dir);
    CHECK(readdir_r(dir, &entry, &result) == 0 && result == &entry && (kernel_lists || !strcmp(entry.d_name, ".")));
    CHECK(closedir(dir) == 0);
    FAILS(ENOTDIR, opendir(D "/README.txt") ? 0 : -1); FAILS(ENOENT, opendir(D "/absent") ? 0 : -1);
    int fd = open(D "/bin", O_RDONLY | O_DIRECTORY);
    dir = fdopendir(fd);
    CHECK(dir && dirfd(dir) == fd && readdir(dir) && readdir(dir) && (e = readdir(dir)) && !strcmp(e->d_name, "hello.sh") && !readdir(dir));
    closedir(dir);
    FAILS(EBADF, fcntl(fd, F_GETFD));
    dir = opendir("/etc");
    CHECK(dir && readdir(dir) && telldir(dir));
    closedir(dir);

    struct dirent **list;
    int n = scandir(D, &list, not_dot, alphasort);
    CHECK(n == 10 && !strcmp(list[0]->d_name, "README.txt") && !strcmp(list[9]->d_name, "releases"));
    n = scandir(D "/bin", &list, NULL, NULL);
    CHECK(n == 3);

    visited = 0;
    CHECK(nftw(D, visit, 10, FTW_PHYS | FTW_DEPTH) == 0 && visited == 29);
    int all = visited;
    CHECK(chdir("/tmp") == 0);
    visited = chdir_wrong = 0;
    CHECK(nftw(D, visit, 10, FTW_PHYS | FTW_CHDIR) == 0 && visited == all && chdir_wrong == -all);
    char cwd[PATH_MAX];
    CHECK(getcwd(cwd, sizeof cwd) && !strcmp(cwd, "/tmp"));
    CHECK(ftw(D "/include", visit_simply, 10) == 42);
    FAILS(ENOENT, nftw(D "/absent", visit, 10, 0));

    glob_t g;
    CHECK(glob(D "/*/*.sh", 0, NULL, &g) == 0 && g.gl_pathc == 1 && !strcmp(g.gl_pathv[0], D "/bin/hello.sh"));
    globfree(&g);
    CHECK(glob(D "/{bin,data}/*", GLOB_BRACE | GLOB_MARK, NULL, &g) == 0 && g.gl_pathc == 3);
    globfree(&g);
    CHECK(glob(D "/x*", 0, NULL, &g) == GLOB_NOMATCH);
    CHECK(chdir(D) == 0 && glob("b*/h*", 0, NULL, &g) == 0 && g.gl_pathc == 1 && !strcmp(g.gl_pathv[0], "bin/hello.sh"));
    globfree(&g);
    CHECK(chdir("/") == 0);
}

static void names(void) {
    char buf[PATH_MAX], small[5];
    CHECK(realpath(D "/first/../v2/bin/.", buf) && !strcmp(buf, D "/releases/v2/bin"));
    char *p = realpath(D "/latest", NULL);
    CHECK(p && !strcmp(p, D "/releases/v2"));
    free(p);
    CHECK(!realpath(D "/absent", buf) && errno == ENOENT);
    CHECK(realpath(D "/../../etc/.", buf) && !strcmp(buf, "/etc"));
    p = canonicalize_file_name(D "/first");
    CHECK(p && !strcmp(p, D "/releases/v1"));
    CHECK(readlink(D "/first", small, sizeof small) == 5 && !memcmp(small, "/cvmf", 5));
    FAILS(EINVAL, readlink(D "/README.txt", buf, sizeof buf)); FAILS(ENOENT, readlink(D "/absent", buf, sizeof buf));

    WORKS(chdir(D "/first/bin"));
    CHECK(getcwd(buf, sizeof buf) && !strcmp(buf, D "/releases/v1/bin"));
    CHECK(!getcwd(small, sizeof small) && errno == ERANGE);
    CHECK((p = getcwd(NULL, 0)) && !strcmp(p, D "/releases/v1/bin"));
    CHECK((p = get_current_dir_name()) && !strcmp(p, D "/releases/v1/bin"));
    CHECK(syscall(SYS_getcwd, buf, sizeof buf) == strlen(D "/releases/v1/bin") + 1);
    CHECK(readlink("/proc/self/cwd", buf, sizeof buf) == strlen(D "/releases/v1/bin"));
    WORKS(access("../NOTES.txt", R_OK)); WORKS(access("demo-version", X_OK));
    WORKS(chdir("..")); CHECK(getcwd(buf, sizeof buf) && !strcmp(buf, D "/releases/v1"));
    int fd = open(".", O_RDONLY | O_DIRECTORY), elsewhere = open("/usr", O_PATH | O_DIRECTORY);
    WORKS(chdir("../../../../usr")); CHECK(getcwd(buf, sizeof buf) && !strcmp(buf, "/usr"));
    WORKS(access("../cvmfs/demo.example.org/README.txt", R_OK));
    WORKS(fchdir(fd)); CHECK(getcwd(buf, sizeof buf) && !strcmp(buf, D "/releases/v1"));
    WORKS(fchdir(elsewhere)); CHECK(getcwd(buf, sizeof buf) && !strcmp(buf, "/usr"));
    struct stat st;
    WORKS(fstatat(fd, "../../README.txt", &st, 0)); WORKS(fstatat(elsewhere, "../cvmfs/demo.example.org/README.txt", &st, 0));
    FAILS(ENOTDIR, chdir(D "/README.txt")); FAILS(ENOENT, chdir(D "/absent"));
    WORKS(chdir("/")); WORKS(access("cvmfs/demo.example.org/README.txt", R_OK));
    close(fd); close(elsewhere);

    char link[] = "/tmp/preload-link-XXXXXX", path[100];
    CHECK(mkdtemp(link));
    sprintf(path, "%s/l", link);
    CHECK(symlink(D, path) == 0);
    sprintf(buf, "%s/l/README.txt", link);
    WORKS(access(buf, R_OK));
    CHECK((fd = open(buf, O_RDONLY)) >= 0);
    close(fd);
    WORKS(lstat(path, &st)); CHECK(S_ISLNK(st.st_mode));
    WORKS(stat(path, &st)); CHECK(S_ISDIR(st.st_mode));
    CHECK(chdir(path) == 0 && getcwd(buf, sizeof buf) && !strcmp(buf, D) && chdir("/") == 0);
    unlink(path); rmdir(link);
}

static void file_system(void) {
    struct statfs fs; struct statvfs vfs;
    WORKS(statfs(D, &fs)); CHECK(fs.f_type == 0x65735546 && fs.f_blocks > 0);
    int fd = open(D "/README.txt", O_RDONLY);
    WORKS(fstatfs(fd, &fs)); CHECK(fs.f_type == 0x65735546);
    WORKS(statvfs(D, &vfs)); CHECK(vfs.f_flag & ST_RDONLY);
    WORKS(fstatvfs(fd, &vfs)); CHECK(vfs.f_flag & ST_RDONLY);
    CHECK(pathconf(D, _PC_NAME_MAX) == 255);
    char value[100], names[4000];
    CHECK(getxattr(D, "user.fqrn", value, sizeof value) == strlen("demo.example.org"));
    CHECK(fgetxattr(fd, "user.fqrn", value, 0) == strlen("demo.example.org"));
    FAILS(ERANGE, getxattr(D, "user.fqrn", value, 3)); FAILS(ENODATA, lgetxattr(D, "user.absent", value, sizeof value));
    WORKS(listxattr(D, names, sizeof names)); WORKS(flistxattr(fd, names, sizeof names));
    close(fd);
}

int main(void) {
    kernel_lists = getenv("KERNEL_LISTS") != NULL;
    attributes();
    opening();
    changing();
    directories();
    names();
    file_system();
    return wrong;
}
