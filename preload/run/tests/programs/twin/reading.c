/* Bytes: by read, by map, and inside the kernel. */
#include "twin.h"
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static unsigned sum(const unsigned char *bytes, long count) {
    unsigned hash = 2166136261u;
    for (long i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

static unsigned char buffer[1 << 20];

static void whole(const char *path) {
    int fd = open(path, O_RDONLY);
    long total = 0, got;
    while ((got = read(fd, buffer + total, 70001)) > 0) total += got;
    say(path, "%ld bytes, sum %u", total, sum(buffer, total));
    unsigned char *map = mmap(NULL, 4096 + total, PROT_READ, MAP_SHARED, fd, 0);
    if (total && map != MAP_FAILED) say(path, "mapped sum %u", sum(map, total));
    close(fd);
}

static void seeking(void) {
    int fd = open(R "/big", O_RDONLY), out = open(S("copy"), O_CREAT | O_RDWR | O_TRUNC, 0644);
    char text[100];
    CALL(lseek(fd, 0, SEEK_END));
    CALL(lseek(fd, 10, SEEK_END));
    CALL(read(fd, text, 10));
    CALL(lseek(fd, -1, SEEK_SET));
    CALL(lseek(fd, 0, SEEK_DATA));
    CALL(lseek(fd, 131071, SEEK_SET));
    CALL(read(fd, text, 10));
    say("over the edge of a chunk", "%u", sum((void *)text, 10));
    CALL(pread(fd, text, 100, 299950));
    CALL(pread(fd, text, 100, 300000));
    CALL(pread(fd, text, 100, -5));
    struct iovec parts[2] = {{text, 30}, {text + 30, 50}};
    CALL(preadv(fd, parts, 2, 1000));
    say("preadv", "%u", sum((void *)text, 80));
    CALL(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    CALL(readahead(fd, 0, 4096));
    CALL(lseek(fd, 0, SEEK_SET));
    off_t from = 5;
    CALL(sendfile(out, fd, &from, 100000));
    CALL((long)from);
    CALL(sendfile(fd, out, NULL, 10));
    from = 5;
    off_t to = 0;
    long copied = copy_file_range(fd, &from, out, &to, 1000, 0);
    /* The kernel copies inside one file system and leaves the rest to the program. */
    say("copy_file_range", "%s", copied == 1000 || (copied < 0 && errno == EXDEV) ? "copied, or another file system" : error_name(errno));
    from = 0, to = 0;
    CALL(copy_file_range(out, &from, fd, &to, 1000, 0));
    int pipes[2];
    pipe(pipes);
    CALL(splice(fd, NULL, pipes[1], NULL, 1000, 0));
    pread(out, buffer, 100000, 0);
    say("what was sent", "%u", sum(buffer, 100000));
    CALL(ioctl(fd, 0x5401, text));
    CALL(fallocate(out, 0, 0, 10));
    close(pipes[0]), close(pipes[1]), close(fd), close(out);
    unlink(S("copy"));
}


static void mapping(void) {
    int fd = open(R "/README", O_RDONLY), path = open(R "/README", O_PATH), dir = open(R, O_RDONLY);
#define MAP(protection, flags, which) do { errno = 0; void *m_ = mmap(NULL, 4096, protection, flags, which, 0); \
    if (m_ == MAP_FAILED) said("mmap " #protection " " #flags " " #which, -1); \
    else { say("mmap " #protection " " #flags " " #which, "%u", sum(m_, 100)); munmap(m_, 4096); } } while (0)
    MAP(PROT_READ, MAP_PRIVATE, fd);
    MAP(PROT_READ, MAP_SHARED, fd);
    MAP(PROT_READ | PROT_EXEC, MAP_PRIVATE, fd);
    MAP(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    MAP(PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    MAP(PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd);
    MAP(PROT_READ, MAP_PRIVATE, path);
    MAP(PROT_READ, MAP_PRIVATE, dir);
    char *mine = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), byte = 0;
    if (mine != MAP_FAILED) mine[0] = '#';
    CALL(pread(fd, &byte, 1, 0));
    CALL(byte != '#');
    char *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CALL(mprotect(shared, 4096, PROT_READ | PROT_WRITE));
    char maps[300], *line = NULL, *found = NULL;
    size_t room = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (getline(&line, &room, f) > 0) if (strstr(line, "README")) found = strchr(line, '/'), snprintf(maps, sizeof maps, "%s", found);
    fclose(f);
    maps[strcspn(maps, "\n")] = 0;
    say("maps", "%s", found ? maps : "no such map");
    close(fd), close(path), close(dir);
}

void probe_reading(void) {
    whole(R "/README");
    whole(R "/empty");
    whole(R "/big");
    whole(R "/nested/inner/file");
    whole(R "/hard2");
    whole(R "/many/file0123");
    seeking();
    mapping();
}
