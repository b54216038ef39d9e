/* Looks at everything below a directory by every call that can, compares the answers with each other and prints them:
   path NUL line NUL. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failures;
#define CHECK(condition) \
    do { if (!(condition)) { failures++; fprintf(stderr, "%d: %s: %s (%s)\n", __LINE__, path, #condition, strerror(errno)); } } while (0)

static int same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_nlink == b->st_nlink
        && a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_size == b->st_size && a->st_blocks == b->st_blocks
        && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_rdev == b->st_rdev;
}

static void file(const char *path, const struct stat *s) {
    struct stat other;
    char bytes[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if ((s->st_mode & 0444) != 0444) {
        CHECK(fd < 0); /* who may read is for the supervisor to say */
        if (fd >= 0) close(fd);
        return;
    }
    CHECK(fd >= 0);
    if (fd < 0) return;
    CHECK(fstat(fd, &other) == 0 && same(s, &other));
    CHECK(fstatat(fd, "", &other, AT_EMPTY_PATH) == 0 && same(s, &other));
    off_t total = 0;
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;) total += n;
    CHECK(total == s->st_size);
    close(fd);
    errno = 0;
    CHECK(open(path, O_RDONLY | O_DIRECTORY) == -1);
}

static void walk(const char *path, unsigned char type, ino_t ino) {
    struct stat s, other;
    char target[PATH_MAX] = "";
    errno = 4711;
    CHECK(lstat(path, &s) == 0);
    CHECK(errno == 4711);
    if (ino) CHECK(s.st_ino == ino && type == (s.st_mode & S_IFMT) >> 12);
    CHECK(fstatat(AT_FDCWD, path, &other, AT_SYMLINK_NOFOLLOW) == 0 && same(&s, &other));
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (S_ISLNK(s.st_mode)) {
        CHECK(n == s.st_size);
        char shorter[3];
        CHECK(readlink(path, shorter, 3) == (n < 3 ? n : 3) && memcmp(shorter, target, n < 3 ? n : 3) == 0);
    } else {
        CHECK(n == -1 && errno == EINVAL);
        CHECK(stat(path, &other) == 0 && same(&s, &other));
        CHECK(access(path, F_OK) == 0);
        if (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode)) CHECK(access(path, W_OK) == -1 && errno == EROFS);
        if ((s.st_mode & 0444) == 0444) CHECK(access(path, R_OK) == 0);
        if (S_ISREG(s.st_mode) && !(s.st_mode & 0111)) CHECK(access(path, X_OK) == -1 && errno == EACCES);
    }
    printf("%s%c%o %u %u %lu %lld %lld.%09ld %llu %llu %s%c", path, 0, (unsigned)s.st_mode, s.st_uid, s.st_gid, (unsigned long)s.st_nlink,
        (long long)s.st_size, (long long)s.st_mtim.tv_sec, s.st_mtim.tv_nsec, (unsigned long long)s.st_dev, (unsigned long long)s.st_ino, target, 0);
    if (S_ISREG(s.st_mode)) file(path, &s);
    if (!S_ISDIR(s.st_mode) || (s.st_mode & 0555) != 0555) return;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    if (!dir) return;
    CHECK(fstat(dirfd(dir), &other) == 0 && same(&s, &other));
    struct dirent *entry;
    int count = 0, again = 0;
    long second = -1;
    char name[PATH_MAX * 2], at_second[256] = "";
    errno = 0;
    while ((entry = readdir(dir))) {
        count++;
        if (second >= 0 && !*at_second) strcpy(at_second, entry->d_name);
        if (count == 2) second = telldir(dir);
        if (!strcmp(entry->d_name, ".")) { CHECK(entry->d_ino == s.st_ino && entry->d_type == DT_DIR); continue; }
        if (!strcmp(entry->d_name, "..")) continue;
        CHECK(fstatat(dirfd(dir), entry->d_name, &other, AT_SYMLINK_NOFOLLOW) == 0 && other.st_ino == entry->d_ino);
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        walk(name, entry->d_type, entry->d_ino);
        errno = 0;
    }
    CHECK(errno == 0);
    rewinddir(dir);
    while (readdir(dir)) again++;
    CHECK(again == count);
    if (*at_second) {
        seekdir(dir, second);
        CHECK((entry = readdir(dir)) && !strcmp(entry->d_name, at_second));
    }
    snprintf(name, sizeof name, "%s/no such name", path);
    CHECK(lstat(name, &other) == -1 && errno == ENOENT);
    CHECK(closedir(dir) == 0);
}

int main(int argc, char **argv) {
    walk(argv[1], 0, 0);
    return failures != 0;
}
