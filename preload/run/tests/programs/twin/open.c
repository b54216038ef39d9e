/* Opening: every flag with every kind of name, in every way to name it. */
#include "twin.h"

static const struct { const char *name; int flags; } ways[] = {
#define F(flags) {#flags, flags}
    F(O_RDONLY), F(O_WRONLY), F(O_RDWR), F(O_ACCMODE), F(O_TRUNC), F(O_RDWR | O_TRUNC), F(O_CREAT), F(O_CREAT | O_WRONLY),
    F(O_CREAT | O_EXCL), F(O_CREAT | O_EXCL | O_RDWR), F(O_CREAT | O_NOFOLLOW), F(O_CREAT | O_TRUNC | O_WRONLY),
    F(O_CREAT | O_DIRECTORY), F(O_EXCL), F(O_PATH), F(O_PATH | O_NOFOLLOW), F(O_PATH | O_DIRECTORY), F(O_PATH | O_RDWR | O_CREAT),
    F(O_PATH | O_NOFOLLOW | O_DIRECTORY), F(O_PATH | O_CLOEXEC), F(O_DIRECTORY), F(O_DIRECTORY | O_RDWR), F(O_NOFOLLOW),
    F(O_DIRECTORY | O_NOFOLLOW), F(O_TMPFILE | O_RDWR), F(O_TMPFILE | O_WRONLY | O_EXCL), F(O_TMPFILE), F(O_APPEND),
    F(O_WRONLY | O_APPEND), F(O_NONBLOCK), F(O_CLOEXEC), F(O_NOATIME), F(O_SYNC), F(O_NOCTTY | O_NONBLOCK),
#undef F
};

/* A write to what lies behind `outlink` harms nobody: it is /dev/null. */
static const char *names[] = {
    "README", "bin", "absent", "link", "dirlink", "dangling", "README/", "bin/", "README/x", "absent/x", "link/", "dirlink/", "dangling/",
    "loop1", "secret", "outlink", "outlink/x", "locked/file", "bin/.", "bin/..", "dirlink/sub/leaf", "nested", "nested/inner/file", "xattr", ".",
    "absent/", "empty", "hard2",
};

static void every_flag(int dir) {
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            char label[200], path[PATH_MAX];
            sprintf(label, "open %s %s", names[n], ways[w].name);
            sprintf(path, R "/%s", names[n]);
            errno = 0;
            opened(label, open(path, ways[w].flags, 0644));
            /* The rarer way with fewer names: it goes the same way. */
            if (n % 3 != 0) continue;
            sprintf(label, "openat dir %s %s", names[n], ways[w].name);
            errno = 0;
            opened(label, openat(dir, names[n], ways[w].flags, 0644));
        }
}

static int open_how(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve, size_t size) {
    struct { uint64_t flags, mode, resolve, more; } how = {flags, mode, resolve, 0};
    return syscall(437, dir, path, &how, size);
}

static void by_how(int dir) {
    enum { no_xdev = 1, no_magic = 2, no_links = 4, beneath = 8, in_root = 16 };
    OPEN(open_how(dir, "README", O_RDONLY, 0, 0, 24));
    OPEN(open_how(AT_FDCWD, R "/README", O_RDONLY | O_CLOEXEC, 0, 0, 24));
    OPEN(open_how(dir, "README", O_RDWR, 0, 0, 24));
    OPEN(open_how(dir, "absent", O_RDONLY | O_CREAT, 0644, 0, 24));
    OPEN(open_how(dir, "README", O_RDONLY, 0644, 0, 24));
    OPEN(open_how(dir, "README", O_RDONLY, 0, 0, 8));
    OPEN(open_how(dir, "README", O_RDONLY, 0, 0, 32));
    OPEN(open_how(dir, "README", O_RDONLY, 0, 1 << 20, 24));
    OPEN(open_how(dir, "README", 1ull << 40, 0, 0, 24));
    OPEN(open_how(dir, "link", O_RDONLY, 0, no_links, 24));
    OPEN(open_how(dir, "link", O_RDONLY, 0, beneath, 24));
    OPEN(open_how(dir, "abslink", O_RDONLY, 0, beneath, 24));
    OPEN(open_how(dir, "outlink", O_RDONLY, 0, beneath, 24));
    OPEN(open_how(dir, "outlink", O_RDONLY, 0, no_xdev, 24));
    OPEN(open_how(dir, "../twin.test.example/README", O_RDONLY, 0, beneath, 24));
    OPEN(open_how(dir, "bin/../README", O_RDONLY, 0, beneath, 24));
    OPEN(open_how(dir, "../../README", O_RDONLY, 0, in_root, 24));
    OPEN(open_how(dir, "/README", O_RDONLY, 0, in_root, 24));
    OPEN(open_how(dir, "dir", O_PATH | O_DIRECTORY, 0, no_magic, 24));
    OPEN(open_how(dir, "dir", O_TMPFILE | O_RDWR, 0600, 0, 24));
    OPEN(open_how(12345, "README", O_RDONLY, 0, 0, 24));
}

static void numbers(int dir) {
    int file = open(R "/README", O_RDONLY), path = open(R, O_PATH | O_DIRECTORY), readme = open(R "/README", O_PATH);
    OPEN(openat(path, "README", O_RDONLY));
    OPEN(openat(path, "dir/sub/leaf", O_RDONLY));
    OPEN(openat(path, "..", O_RDONLY | O_DIRECTORY));
    OPEN(openat(path, "../twin.test.example/bin/../README", O_RDONLY));
    OPEN(openat(path, "", O_RDONLY));
    OPEN(openat(file, "README", O_RDONLY));
    OPEN(openat(file, R "/README", O_RDONLY));
    OPEN(openat(-7, R "/README", O_RDONLY));
    OPEN(openat(-7, "README", O_RDONLY));
    OPEN(openat(54321, "README", O_RDONLY));
    OPEN(openat(file, "..", O_RDONLY));
    OPEN(openat(readme, "x", O_RDONLY));
    OPEN(open("", O_RDONLY));
    OPEN(open(R, O_RDONLY));
    OPEN(open(R "/", O_RDONLY | O_DIRECTORY));
    OPEN(open("//cvmfs//twin.test.example///README", O_RDONLY));
    OPEN(open("/./cvmfs/./twin.test.example/./bin/.././README", O_RDONLY));
    OPEN(open(R "/dirlink/../README", O_RDONLY));
    OPEN(open(R "/dirlink/../../twin.test.example/README", O_RDONLY));
    OPEN(open(R "/bin/../../../cvmfs/twin.test.example/README", O_RDONLY));
    OPEN(open("/usr/../cvmfs/twin.test.example/README", O_RDONLY));
    OPEN(open("/proc/self/root/cvmfs/twin.test.example/README", O_RDONLY));
    OPEN(open("/cvmfs", O_RDONLY | O_DIRECTORY));
    OPEN(open("/cvmfs", O_WRONLY));
    OPEN(open("/cvmfs/absent.test.example", O_RDONLY));
    OPEN(open("/cvmfsx", O_RDONLY));
    OPEN(open(R "/fifo", O_RDONLY | O_NONBLOCK));
    OPEN(open(R "/fifo", O_WRONLY | O_NONBLOCK));
    OPEN(open(R "/fifo", O_RDWR | O_NONBLOCK));
    OPEN(open(R "/fifo", O_PATH));
    OPEN(open(R "/chain40", O_RDONLY));
    OPEN(open(R "/chain41", O_RDONLY));
    OPEN(open(R "/chain41", O_RDONLY | O_NOFOLLOW));
    OPEN(open(R "/name with blanks\n", O_RDONLY));
    OPEN(open(R "/\xff\xfe", O_RDONLY));
    OPEN(open64(R "/README", O_RDONLY));
    OPEN(openat64(dir, "README", O_RDONLY));
    OPEN(creat(R "/README", 0644));
    OPEN(creat(R "/absent", 0644));
    OPEN(syscall(SYS_open, R "/README", O_RDONLY, 0));
    OPEN(syscall(SYS_openat, dir, "README", O_RDONLY, 0));
    OPEN(syscall(SYS_creat, R "/README", 0644));
    close(file), close(path), close(readme);
    struct { const char *name, *mode; } streams[] = {
        {"README", "r"}, {"README", "re"}, {"README", "r+"}, {"README", "w"}, {"README", "wx"}, {"absent", "r"}, {"absent", "w"}, {"absent", "a+"}, {"bin", "r"}, {"bin", "w"},
        {"README", "rm"}, {"link", "r"},
    };
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        char name[PATH_MAX], label[100], line[100] = "";
        sprintf(name, R "/%s", streams[i].name);
        sprintf(label, "fopen %s %s", streams[i].name, streams[i].mode);
        errno = 0;
        FILE *f = fopen(name, streams[i].mode);
        int number = errno;
        if (f) {
            errno = 0;
            char *read = fgets(line, sizeof line, f);
            say(label, "%s", read ? line : error_name(errno));
            fclose(f);
        } else say(label, "%s", error_name(number));
    }
}

static void pointers(void) {
    APART(open((char *)8, O_RDONLY));
    APART(open((char *)-4096, O_RDONLY));
    APART(syscall(SYS_openat, AT_FDCWD, (char *)8, O_RDONLY, 0));
    APART(syscall(437, AT_FDCWD, R "/README", (void *)8, 24));
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    /* A path that ends with its page, and one that does not end. */
    char *tight = strcpy(page + 4096 - sizeof R "/README", R "/README");
    OPEN(open(tight, O_RDONLY));
    memset(page, '/', 4096);
    memcpy(page + 4096 - strlen(R "/README"), R "/README", strlen(R "/README"));
    APART(open(page + 4000, O_RDONLY));
    munmap(page, 4096);
}

static void lengths(int dir) {
    char path[2 * PATH_MAX], label[60];
    static const int components[] = {254, 255, 256, 300};
    for (int i = 0; i < 4; i++) {
        strcpy(path, R "/");
        memset(path + strlen(R "/"), 'n', components[i]);
        path[strlen(R "/") + components[i]] = 0;
        sprintf(label, "open name of %d", components[i]);
        errno = 0;
        opened(label, open(path, O_RDONLY));
        sprintf(label, "openat name of %d", components[i]);
        errno = 0;
        opened(label, openat(dir, path + strlen(R "/"), O_RDONLY));
    }
    /* Slashes fill the path up to its limit. */
    static const int totals[] = {4000, 4094, 4095, 4096, 5000};
    for (int i = 0; i < 5; i++) {
        memset(path, '/', totals[i]);
        memcpy(path, R, strlen(R));
        memcpy(path + totals[i] - 6, "README", 7);
        sprintf(label, "open path of %d", totals[i]);
        errno = 0;
        opened(label, open(path, O_RDONLY));
        struct stat st;
        sprintf(label, "stat path of %d", totals[i]);
        errno = 0;
        stated(label, stat(path, &st), &st);
    }
}

void probe_open(void) {
    int dir = open(R, O_RDONLY | O_DIRECTORY);
    CALL(dir >= 0);
    every_flag(dir);
    by_how(dir);
    numbers(dir);
    pointers();
    lengths(dir);
    close(dir);
}
