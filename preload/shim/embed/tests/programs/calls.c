/* The corners of single calls, and calls from threads, signal handlers and children of vfork.
   Usage: calls PART VIEW, where VIEW is the real name of the repository's root. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define R "/cvmfs/small.test.example"
static int failures;
#define CHECK(condition) \
    do { if (!(condition)) { failures++; fprintf(stderr, "%d: %s (%s)\n", __LINE__, #condition, strerror(errno)); } } while (0)
#define FAILS(call, error) \
    do { errno = 0; long _r = (long)(call); if (_r != -1 || errno != error) { failures++; \
        fprintf(stderr, "%d: %s gives %ld (%s)\n", __LINE__, #call, _r, strerror(errno)); } } while (0)

static struct stat s, t;
static char text[PATH_MAX];

static void names(void) {
    FAILS(stat(R "/nope", &s), ENOENT);
    FAILS(stat(R "/nope/nope", &s), ENOENT);
    FAILS(stat(R "/nested/a/nope", &s), ENOENT);
    FAILS(stat(R "/files/tiny.txt/x", &s), ENOTDIR);
    FAILS(stat(R "/files/tiny.txt/", &s), ENOTDIR);
    FAILS(stat(R "/symlinks/self", &s), ELOOP);
    FAILS(stat(R "/symlinks/dangling", &s), ENOENT);
    FAILS(open(R "/nope", O_RDONLY), ENOENT);
    FAILS(access(R "/nope", F_OK), ENOENT);
    FAILS(readlink(R "/nope", text, 10), ENOENT);
    FAILS(readlink(R "/files", text, 10), EINVAL);
    FAILS(chdir(R "/files/tiny.txt"), ENOTDIR);
    FAILS(chdir(R "/nope"), ENOENT);
    errno = 0;
    CHECK(opendir(R "/files/tiny.txt") == NULL && errno == ENOTDIR);
    errno = 0;
    CHECK(opendir(R "/nope") == NULL && errno == ENOENT);
    CHECK(stat(R "/files/tiny.txt", &t) == 0);
    const char *same[] = {
        "//cvmfs//small.test.example///files//tiny.txt", "/./cvmfs/./small.test.example/./files/./tiny.txt",
        R "/nested/../files/tiny.txt", R "/../small.test.example/files/tiny.txt", R "/nested/a/b/../../../files/tiny.txt",
        R "/symlinks/relative", R "/symlinks/todir/tiny.txt", R "/symlinks/../symlinks/todir/../files/tiny.txt",
    };
    for (unsigned i = 0; i < sizeof same / sizeof *same; i++) {
        memset(&s, 0, sizeof s);
        CHECK(stat(same[i], &s) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev && s.st_size == t.st_size);
        int fd = open(same[i], O_RDONLY);
        CHECK(fd >= 0 && fstat(fd, &s) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev);
        close(fd);
    }
    CHECK(stat(R "/nested/a/b/link", &s) == 0 && stat(R "/nested/z/file00", &t) == 0 && s.st_ino == t.st_ino);
    CHECK(lstat(R "/files/", &s) == 0 && stat(R "/symlinks/todir/", &t) == 0 && s.st_ino == t.st_ino);
    CHECK(readlink(R "/symlinks/variant_multi", text, sizeof text) == 30 && !memcmp(text, "pre/anchor_value/mid/dflt/post", 30));
    CHECK(lstat(R "/symlinks/variant_multi", &s) == 0 && s.st_size == 30);
#ifdef STATX_BASIC_STATS
    struct statx x;
    CHECK(stat(R "/files/tiny.txt", &t) == 0);
    CHECK(statx(AT_FDCWD, R "/files/tiny.txt", 0, STATX_BASIC_STATS, &x) == 0 && x.stx_ino == t.st_ino && x.stx_mode == t.st_mode
        && x.stx_size == t.st_size && x.stx_mtime.tv_sec == t.st_mtime && (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
#endif
}

static void attributes(void) {
    const char *names[] = {"security.selinux", "system.posix_acl_access", "system.posix_acl_default", "trusted.x"};
    int fd = open(R "/files/tiny.txt", O_RDONLY);
    for (int i = 0; i < 4; i++) {
        FAILS(getxattr(R "/files", names[i], text, sizeof text), ENODATA);
        FAILS(lgetxattr(R "/symlinks/dangling", names[i], NULL, 0), ENODATA);
        FAILS(fgetxattr(fd, names[i], text, sizeof text), ENODATA);
        FAILS(getxattr(R "/nope", names[i], text, sizeof text), ENOENT);
        FAILS(getxattr(R "/symlinks/dangling", names[i], text, sizeof text), ENOENT);
    }
    CHECK(listxattr(R "/files", text, sizeof text) == 0 && llistxattr(R "/symlinks/dangling", NULL, 0) == 0);
    CHECK(flistxattr(fd, text, sizeof text) == 0);
    FAILS(listxattr(R "/nope", text, sizeof text), ENOENT);
    close(fd);
    FAILS(fgetxattr(fd, names[0], text, sizeof text), EBADF);
    FAILS(flistxattr(fd, text, sizeof text), EBADF);
    /* Native files have theirs. */
    char native[] = "/tmp/attributes-XXXXXX";
    CHECK((fd = mkstemp(native)) >= 0);
    FAILS(getxattr(native, "security.none", text, sizeof text), ENODATA);
    FAILS(fgetxattr(fd, "security.none", text, sizeof text), ENODATA);
    close(fd), unlink(native);
}

static int named(const char *path, const char *name) {
    char here[PATH_MAX];
    char *made = realpath(path, NULL), *written = realpath(path, here);
    int right = made && written == here && !strcmp(made, name) && !strcmp(here, name);
    free(made);
    return right;
}

static void real_paths(const char *view) {
    char native[] = "/tmp/real-XXXXXX", link[64], expected[PATH_MAX];
    CHECK(named(R "/files//./tiny.txt", R "/files/tiny.txt") && named(R "/", R) && named(R "/nested/..", R));
    CHECK(named(R "/symlinks/relative", R "/files/tiny.txt") && named(R "/nested/a/b/link", R "/nested/z/file00"));
    CHECK(named(R "/nested/a/b/c", R "/nested/a/b/c"));
    FAILS((long)realpath(R "/nope", NULL) - 1, ENOENT);
    FAILS((long)realpath(R "/files/tiny.txt/", NULL) - 1, ENOTDIR);
    FAILS((long)realpath(R "/symlinks/self", NULL) - 1, ELOOP);
    FAILS((long)realpath("", NULL) - 1, ENOENT);
    FAILS((long)realpath(NULL, NULL) - 1, EINVAL);
    CHECK(mkdtemp(native) && named("/", "/") && named(native, native));
    snprintf(link, sizeof link, "%s/link", native);
    snprintf(expected, sizeof expected, "%s/absent", native);
    CHECK(symlink("../../etc/passwd", link) == 0 && named(link, "/etc/passwd"));
    FAILS((long)realpath(expected, NULL) - 1, ENOENT);
    CHECK(chdir(native) == 0 && named(".", native) && named("link", "/etc/passwd"));
    CHECK(chdir("/") == 0 && unlink(link) == 0 && rmdir(native) == 0);
#ifdef __GLIBC__
    char *name = canonicalize_file_name(R "/symlinks/todir");
    CHECK(name && !strcmp(name, R "/files"));
    free(name);
#endif
}

static void pointers(void) {
    const char *bad[] = {NULL, (char *)1, (char *)4095, (char *)-1, (char *)0x8000000000000000};
    for (int i = 0; i < 5; i++) {
        FAILS(stat(bad[i], &s), EFAULT);
        FAILS(lstat(bad[i], &s), EFAULT);
        FAILS(access(bad[i], F_OK), EFAULT);
        FAILS(open(bad[i], O_RDONLY), EFAULT);
        FAILS(readlink(bad[i], text, 10), EFAULT);
        FAILS(chdir(bad[i]), EFAULT);
        FAILS(stat(R, (struct stat *)bad[i]), EFAULT);
        FAILS(stat("/", (struct stat *)bad[i]), EFAULT);
        FAILS(fstat(0, (struct stat *)bad[i]), EFAULT);
    }
    /* A string without an end before memory that is not there. */
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    const char *beginnings[] = {R "/files/tiny", "/cvmfs", "/etc", "/pro", "files"};
    for (int i = 0; i < 5; i++) {
        char *string = page + 4096 - strlen(beginnings[i]);
        memcpy(string, beginnings[i], strlen(beginnings[i]));
        FAILS(stat(string, &s), EFAULT);
        FAILS(open(string, O_RDONLY), EFAULT);
    }
    strcpy(page + 4096 - sizeof R, R);
    CHECK(stat(page + 4096 - sizeof R, &s) == 0);
    FAILS(fstat(-1, &s), EBADF);
    FAILS(fstat(999, &s), EBADF);
    FAILS(openat(999, "x", O_RDONLY), EBADF);
    FAILS(fstatat(999, "x", &s, 0), EBADF);
    FAILS(stat("", &s), ENOENT);
    FAILS(open("", O_RDONLY), ENOENT);
    FAILS(closedir(NULL), EINVAL);
    /* What is too long for the shim, the kernel judges. */
    static char name[8000];
    strcpy(name, R);
    while (strlen(name) < 5000) strcat(name, "/./.");
    FAILS(stat(name, &s), ENAMETOOLONG);
    memset(name, 'x', 400);
    name[0] = '/';
    name[400] = 0;
    FAILS(stat(name, &s), ENAMETOOLONG);
}

static void native(void) {
    char *cwd = getcwd(NULL, 0);
    CHECK(cwd && !strcmp(cwd, "/"));
    free(cwd);
    CHECK(getcwd(text, 1) == NULL && errno == ERANGE);
    CHECK(getcwd(text, 0) == NULL && errno == EINVAL);
    CHECK(stat("/", &s) == 0 && stat(".", &t) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev);
    FAILS(stat("/no/such", &s), ENOENT);
    FAILS(stat("no/such", &s), ENOENT);
    FAILS(stat("/etc/passwd/x", &s), ENOTDIR);
    FAILS(stat("/lib/no-such", &s), ENOENT);
    FAILS(open("/etc/../no-such", O_RDONLY), ENOENT);
    int fd = open("/etc/passwd", O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &s) == 0 && stat("/etc/passwd", &t) == 0 && s.st_ino == t.st_ino);
    close(fd);
    int dir = open("/etc", O_RDONLY | O_DIRECTORY);
    CHECK(fstatat(dir, "passwd", &s, 0) == 0 && s.st_ino == t.st_ino);
    CHECK(faccessat(dir, "passwd", R_OK, 0) == 0);
    DIR *d = fdopendir(dir);
    CHECK(d && dirfd(d) == dir);
    int count = 0, seen = 0;
    for (struct dirent *e; (e = readdir(d)); count++) seen += !strcmp(e->d_name, "passwd") && e->d_ino == s.st_ino;
    CHECK(seen == 1 && count > 10);
    struct dirent entry, *result;
    rewinddir(d);
    int again = 0;
    while (readdir_r(d, &entry, &result) == 0 && result) again++;
    CHECK(again == count);
    CHECK(closedir(d) == 0);
    FAILS(fstat(dir, &s), EBADF);
    errno = 0;
    CHECK(fdopendir(dir) == NULL && errno == EBADF);
    fd = open("/etc/passwd", O_RDONLY);
    CHECK(fdopendir(fd) == NULL && errno == ENOTDIR);
    close(fd);
    /* More streams than there are places for. */
    DIR *all[100];
    for (int i = 0; i < 100; i++) CHECK((all[i] = opendir(i % 2 ? "/etc" : R "/files")) != NULL);
    for (int i = 0; i < 100; i++) CHECK(readdir(all[i]) != NULL && closedir(all[i]) == 0);
    CHECK(stat("/proc/self/exe", &s) == 0 && readlink("/proc/self/exe", text, sizeof text) > 0);
    CHECK(stat("/dev/null", &s) == 0 && S_ISCHR(s.st_mode));
}

static void relative(const char *view) {
    CHECK(stat(R "/nested/a/b", &t) == 0);
    CHECK(chdir(R "/nested/a/b") == 0);
    CHECK(getcwd(text, sizeof text) && !strcmp(text, R "/nested/a/b"));
    char *cwd = getcwd(NULL, 0);
    CHECK(cwd && !strcmp(cwd, R "/nested/a/b"));
    free(cwd);
    CHECK(stat(".", &s) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev);
    CHECK(stat("../b/../b", &s) == 0 && s.st_ino == t.st_ino);
    CHECK(stat("link", &s) == 0 && stat(R "/nested/z/file00", &t) == 0 && s.st_ino == t.st_ino);
    CHECK(readlink("link", text, sizeof text) == 14);
    FAILS(stat("nope", &s), ENOENT);
    FAILS(stat("../../../nope", &s), ENOENT);
    int fd = open("../../z/file00", O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &s) == 0 && s.st_ino == t.st_ino);
    close(fd);
    CHECK(access("link", R_OK) == 0 && access("link", W_OK) == -1 && errno == EROFS);
    CHECK(chdir("..") == 0 && getcwd(text, sizeof text) && !strcmp(text, R "/nested/a"));
    /* A directory of the view by its real name, and through a descriptor. */
    snprintf(text, sizeof text, "%s/files/tiny.txt", view);
    CHECK(stat(text, &s) == 0 && stat(R "/files/tiny.txt", &t) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev);
    CHECK(stat(view, &s) == 0 && stat(R, &t) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev);
    snprintf(text, sizeof text, "%s/", view);
    CHECK(stat(text, &s) == 0 && s.st_ino == t.st_ino);
    snprintf(text, sizeof text, "%s/nope", view);
    FAILS(stat(text, &s), ENOENT);
    DIR *dir = opendir(R "/symlinks/todir");
    CHECK(dir != NULL);
    CHECK(stat(R "/files/tiny.txt", &t) == 0);
    CHECK(fstatat(dirfd(dir), "tiny.txt", &s, 0) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev);
    CHECK(fstatat(dirfd(dir), "../nested/a/b/link", &s, 0) == 0 && S_ISREG(s.st_mode));
    CHECK((fd = openat(dirfd(dir), "tiny.txt", O_RDONLY)) >= 0 && fstat(fd, &s) == 0 && s.st_ino == t.st_ino);
    int copy = dup(fd);
    CHECK(fstat(copy, &s) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev);
    close(fd), close(copy);
    FAILS(fstatat(dirfd(dir), "nope", &s, 0), ENOENT);
    CHECK(fchdir(dirfd(dir)) == 0 && getcwd(text, sizeof text) && !strcmp(text, R "/files"));
    CHECK(stat("tiny.txt", &s) == 0 && s.st_ino == t.st_ino);
    CHECK(closedir(dir) == 0);
    CHECK(chdir("/") == 0 && getcwd(text, sizeof text) && !strcmp(text, "/"));
    FAILS(stat("tiny.txt", &s), ENOENT);
}

static void streams(void) {
    char name[] = "/tmp/shim-streams-XXXXXX", line[100];
    int fd = mkstemp(name);
    close(fd);
    errno = 0;
    CHECK(fopen(name, "wx") == NULL && errno == EEXIST);
    CHECK(fopen("/no/such", "r") == NULL && errno == ENOENT);
    CHECK(fopen(R "/nope", "r") == NULL && errno == ENOENT);
    CHECK(fopen(name, "nonsense") == NULL && errno == EINVAL);
    CHECK(fopen(NULL, "r") == NULL && errno == EFAULT);
    FILE *f = fopen(name, "w");
    CHECK(f && fputs("one\n", f) >= 0);
    CHECK(stat(name, &s) == 0 && s.st_size == 0); /* buffered */
    CHECK(fclose(f) == 0 && stat(name, &s) == 0 && s.st_size == 4);
    f = fopen(name, "a+e");
    CHECK(f && fcntl(fileno(f), F_GETFD) == FD_CLOEXEC && fputs("two\n", f) >= 0);
    rewind(f);
    CHECK(fgets(line, 100, f) && !strcmp(line, "one\n") && fgets(line, 100, f) && !strcmp(line, "two\n") && !fgets(line, 100, f) && feof(f));
    CHECK(fclose(f) == 0);
    f = fopen(name, "r+b");
    CHECK(f && fseek(f, 4, SEEK_SET) == 0 && fputs("TWO", f) >= 0 && fclose(f) == 0);
    f = fopen(name, "r");
    setvbuf(f, NULL, _IONBF, 0);
    CHECK(fgets(line, 100, f) && fgets(line, 100, f) && !strcmp(line, "TWO\n") && ungetc('x', f) == 'x' && getc(f) == 'x' && getc(f) == EOF);
    fclose(f);
    f = fopen(name, "r,ccs=UTF-8");
    CHECK(f && fgets(line, 100, f) || f && 1);
    if (f) fclose(f);
    unlink(name);
    f = fopen(R "/files/tiny.txt", "r");
    CHECK(f && stat(R "/files/tiny.txt", &t) == 0 && fread(text, 1, sizeof text, f) == t.st_size && feof(f));
    CHECK(fstat(fileno(f), &s) == 0 && s.st_ino == t.st_ino);
    fclose(f);
    f = fopen("/dev/null", "r+");
    CHECK(f && getc(f) == EOF);
    fclose(f);
    /* The buffer goes with the stream. */
    long before = 0, after = 0;
    for (int i = 0; i < 20000; i++) {
        f = fopen("/etc/passwd", "r");
        CHECK(f && getc(f) == 'r');
        fclose(f);
        if (i != 100 && i != 19999) continue;
        FILE *status = fopen("/proc/self/statm", "r");
        CHECK(fscanf(status, "%ld", i == 100 ? &before : &after) == 1);
        fclose(status);
    }
    CHECK(after - before < 100);
}

/* One of everything; the number of what went wrong. */
static int everything(void) {
    struct stat a, b;
    char target[64];
    int wrong = 0;
    wrong += stat(R "/nested/a/b/c", &a) != 0;
    wrong += lstat(R "/symlinks/todir/../nested/a/b/c", &b) != 0 || a.st_ino != b.st_ino;
    wrong += access(R "/files/tiny.txt", R_OK) != 0;
    wrong += readlink(R "/symlinks/relative", target, sizeof target) != 17;
    int fd = open(R "/files/tiny.txt", O_RDONLY);
    wrong += fd < 0 || fstat(fd, &a) != 0 || a.st_dev != b.st_dev;
    close(fd);
    DIR *dir = opendir(R "/files");
    wrong += !dir || !readdir(dir) || closedir(dir) != 0;
    wrong += stat("/etc/passwd", &a) != 0;
    return wrong;
}

static void *thread(void *unused) {
    long wrong = 0;
    for (int i = 0; i < 3000; i++) wrong += everything();
    return (void *)wrong;
}

static void threads(void) {
    pthread_t all[8];
    for (int i = 0; i < 8; i++) pthread_create(&all[i], NULL, thread, NULL);
    for (int i = 0; i < 8; i++) {
        void *wrong;
        pthread_join(all[i], &wrong);
        CHECK(wrong == 0);
    }
}

static volatile int handled, handled_wrong;
static void handler(int signal) {
    int before = errno;
    handled++;
    handled_wrong += everything();
    errno = before;
}

static void signals(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &timer, NULL);
    long wrong = 0;
    for (int i = 0; i < 200000 && handled < 300; i++) wrong += everything();
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
    CHECK(wrong == 0 && handled_wrong == 0 && handled > 20);
}

static void children(void) {
    for (int i = 0; i < 100; i++) {
        pid_t child = vfork();
        if (child == 0) _exit(everything());
        int status;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    /* What a child left open does not matter: it had no memory of its own. */
    for (int i = 0; i < 40; i++) {
        pid_t child = vfork();
        if (child == 0) _exit(opendir(R "/files") == NULL);
        int status;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(everything() == 0);
    pid_t child = fork();
    if (child == 0) _exit(everything());
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

#define STACK (256 * 1024)
static char *stack;
static int directory, file;
static DIR *listed;

/* Nothing of these but the call itself lies on the stack. */
#define ALONE(name, call) static void name(void) { failures += !(call); }
ALONE(nothing, 1)
ALONE(a_stat, stat(R "/nested/a/b/c", &s) == 0)
ALONE(a_long_way, lstat(R "/symlinks/todir/../nested/a/b/c", &s) == 0)
ALONE(an_access, access(R "/files/tiny.txt", R_OK) == 0)
ALONE(a_link, readlink(R "/symlinks/relative", text, sizeof text) == 17)
ALONE(a_relative_stat, stat("../nested/a/b/link", &s) == 0)
ALONE(a_stat_at, fstatat(directory, "a/b/link", &s, 0) == 0)
ALONE(an_fstat, fstat(file, &s) == 0)
ALONE(an_open, (file = open(R "/files/tiny.txt", O_RDONLY)) >= 0)
ALONE(a_chdir, chdir(R "/symlinks") == 0)
ALONE(a_getcwd, getcwd(text, sizeof text) != NULL)
ALONE(an_opendir, (listed = opendir(R "/files")) != NULL)
ALONE(an_fdopendir, (listed = fdopendir(directory)) != NULL)
ALONE(a_readdir, readdir(listed) != NULL)
ALONE(an_attribute, fgetxattr(file, "security.x", text, 10) == -1)
ALONE(a_real_path, realpath(R "/symlinks/relative", text) != NULL)
ALONE(a_native_real_path, realpath("/etc/passwd", text) != NULL)
ALONE(a_native_stat, stat("/etc/passwd", &s) == 0)
ALONE(a_native_absence, stat("/etc/absent", &s) == -1)

static void (*on_trial)(void);
static void measured(int signal) {
    on_trial();
}

static long depth(void (*call)(void)) {
    memset(stack, 0x5a, STACK);
    on_trial = call;
    raise(SIGUSR1);
    long untouched = 0;
    while (untouched < STACK && stack[untouched] == 0x5a) untouched++;
    return STACK - untouched;
}

static void stacks(void) {
    struct { const char *name; void (*call)(void); } all[] = {
        {"stat", a_stat}, {"stat over links", a_long_way}, {"access", an_access}, {"readlink", a_link}, {"open", an_open}, {"fstat", an_fstat},
        {"chdir", a_chdir}, {"getcwd", a_getcwd}, {"relative stat", a_relative_stat}, {"fstatat", a_stat_at}, {"fdopendir", an_fdopendir},
        {"readdir", a_readdir}, {"opendir", an_opendir}, {"fgetxattr", an_attribute}, {"native stat", a_native_stat},
        {"realpath", a_real_path}, {"native realpath", a_native_real_path},
        {"native absence", a_native_absence},
    };
    directory = dirfd(opendir(R "/nested"));
    CHECK(directory >= 0);
    /* The first call of each finds the function; that is the loader's stack. */
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) all[i].call();
    stack = malloc(STACK);
    stack_t new = {.ss_sp = stack, .ss_size = STACK};
    sigaltstack(&new, NULL);
    struct sigaction action = {.sa_handler = measured, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    long without = depth(nothing);
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        long bytes = depth(all[i].call) - without;
        fprintf(stderr, "stack: %s %ld\n", all[i].name, bytes);
        CHECK(bytes <= 1024);
    }
}

int main(int argc, char **argv) {
    const char *part = argv[1];
    if (!strcmp(part, "names")) names();
    if (!strcmp(part, "attributes")) attributes();
    if (!strcmp(part, "real paths")) real_paths(argv[2]);
    if (!strcmp(part, "pointers")) pointers();
    if (!strcmp(part, "native")) native();
    if (!strcmp(part, "relative")) relative(argv[2]);
    if (!strcmp(part, "streams")) streams();
    if (!strcmp(part, "threads")) threads();
    if (!strcmp(part, "signals")) signals();
    if (!strcmp(part, "children")) children();
    if (!strcmp(part, "stacks")) stacks();
    return failures != 0;
}
