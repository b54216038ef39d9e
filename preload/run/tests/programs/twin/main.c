/* Some hundred system calls below /cvmfs/twin.test.example with good and bad arguments: one line for each, to be
   compared with the lines from a tree that is really mounted. Usage: twin SCRATCH [FAMILY...] */
#include "twin.h"
#include <stdarg.h>

static char scratch[PATH_MAX];

const char *S(const char *name) {
    static char paths[8][PATH_MAX + 300];
    static int next;
    char *path = paths[next++ % 8];
    sprintf(path, "%s/%s", scratch, name);
    return path;
}

const char *error_name(int number) {
    static const struct { int number; const char *name; } names[] = {
#define N(name) {name, #name}
        N(EPERM), N(ENOENT), N(EIO), N(ENXIO), N(E2BIG), N(ENOEXEC), N(EBADF), N(EAGAIN), N(ENOMEM), N(EACCES), N(EFAULT), N(EBUSY),
        N(EEXIST), N(EXDEV), N(ENODEV), N(ENOTDIR), N(EISDIR), N(EINVAL), N(EMFILE), N(ENOTTY), N(ETXTBSY), N(EFBIG), N(ENOSPC),
        N(ESPIPE), N(EROFS), N(EMLINK), N(EPIPE), N(ERANGE), N(ENAMETOOLONG), N(ENOSYS), N(ENOTEMPTY), N(ELOOP), N(ENODATA),
        N(EOVERFLOW), N(EOPNOTSUPP), N(ESTALE), N(EINTR), N(ESRCH), N(ECHILD), N(ENOTBLK), N(ELIBBAD),
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) if (names[i].number == number) return names[i].name;
    static char text[20];
    sprintf(text, "error %d", number);
    return text;
}

void say(const char *label, const char *format, ...) {
    va_list list;
    printf("%s => ", label);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
}

void said(const char *label, long result) {
    int number = errno;
    if (result == -1) say(label, "%s", error_name(number));
    else say(label, "%ld%s%s", result, number ? " and errno " : "", number ? error_name(number) : "");
}

const char *facts(const struct stat *st) {
    static char text[300];
    static const char types[] = "?pc?d?b?-?l?s???";
    char *end = text + sprintf(text, "%c%04o %d:%d", types[st->st_mode >> 12 & 15], st->st_mode & 07777, st->st_uid, st->st_gid);
    /* Devices are the host's own; sizes and links of directories are the file system's business. */
    if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode) || S_ISFIFO(st->st_mode))
        end += sprintf(end, " %lld x%d", (long long)st->st_size, (int)st->st_nlink);
    if (!S_ISCHR(st->st_mode)) sprintf(end, " @%lld.%09ld", (long long)st->st_mtim.tv_sec, (long)st->st_mtim.tv_nsec);
    return text;
}

void stated(const char *label, int result, const struct stat *st) {
    if (result == 0) say(label, "%s", facts(st));
    else said(label, result);
}

int same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_nlink == b->st_nlink &&
           a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_size == b->st_size && a->st_rdev == b->st_rdev &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void opened(const char *label, int fd) {
    if (fd < 0) {
        said(label, fd);
        return;
    }
    struct stat st;
    char link[64], target[PATH_MAX];
    sprintf(link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    int status = fstat(fd, &st);
    const char *what = status == 0 ? facts(&st) : error_name(errno);
    /* O_LARGEFILE is the C library's. O_NOFOLLOW is asked for once, in descriptors.c. */
    say(label, "%s flags %#o%s %s", what, fcntl(fd, F_GETFL) & ~(0100000 | O_NOFOLLOW), fcntl(fd, F_GETFD) & FD_CLOEXEC ? " cloexec" : "", target);
    close(fd);
}

int apart(const char *label) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) return 1;
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) say(label, "signal %d", WTERMSIG(status));
    return 0;
}

void leave(void) {
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(void); } families[] = {
        {"open", probe_open}, {"stat", probe_stat}, {"names", probe_names}, {"directories", probe_directories},
        {"changes", probe_changes}, {"descriptors", probe_descriptors}, {"reading", probe_reading}, {"exec", probe_exec},
    };
    if (argc < 2 || !realpath(argv[1], scratch)) return 2;
    umask(022);
    alarm(60);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        int wanted = argc == 2;
        for (int j = 2; j < argc; j++) wanted |= !strcmp(argv[j], families[i].name);
        if (!wanted || chdir(scratch) != 0) continue;
        printf("== %s\n", families[i].name);
        families[i].run();
    }
    puts("== end");
    return 0;
}
