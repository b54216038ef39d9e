/* Directories as streams and as descriptors, and what walks them. */
#include "twin.h"
#include <ftw.h>
#include <glob.h>
#ifdef __GLIBC__
#include <fts.h>
#endif

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorted names with types, in one line; tells if the inode numbers are those of stat. */
static void listed(const char *label, DIR *dir) {
    if (!dir) {
        said(label, -1);
        return;
    }
    static char *names[5000];
    int count = 0, numbers = 0;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir)) && count < 5000) {
        struct stat st;
        int there = fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (there && st.st_ino == entry->d_ino) numbers++;
        names[count] = malloc(strlen(entry->d_name) + 20);
        sprintf(names[count++], "%s:%d%s", entry->d_name, entry->d_type, there && entry->d_type == IFTODT(st.st_mode) ? "" : "?");
    }
    int number = errno;
    qsort(names, count, sizeof *names, by_name);
    static char text[100000];
    char *end = text;
    *end = 0;
    for (int i = 0; i < count; i++) end += sprintf(end, " %s", names[i]), free(names[i]);
    for (char *c = text; *c; c++) if (*c == '\n') *c = '~';
    say(label, "%d entries, %s:%s", count, number ? error_name(number) : "no error", count > 50 ? " ..." : text);
    char other[200];
    sprintf(other, "%s, numbers of '.' aside as those of stat", label);
    say(other, "%d", numbers);
    closedir(dir);
}

static void streams(void) {
    listed("opendir root", opendir(R));
    listed("opendir dir", opendir(R "/dir"));
    listed("opendir dirlink", opendir(R "/dirlink/"));
    listed("opendir many", opendir(R "/many"));
    listed("opendir nested", opendir(R "/nested"));
    listed("opendir inner", opendir(R "/nested/inner"));
    listed("opendir vacant", opendir(R "/vacant"));
    listed("opendir absent", opendir(R "/absent"));
    listed("opendir file", opendir(R "/README"));
    listed("opendir locked", opendir(R "/locked"));
    int dir = open(R, O_RDONLY | O_DIRECTORY);
    listed("fdopendir openat", fdopendir(openat(dir, "dir", O_RDONLY)));
    /* What is refused stays open. */
    static const struct { const char *label, *name; int flags; } odd[] = {{"fdopendir path", "dir", O_PATH}, {"fdopendir file", "README", O_RDONLY}};
    for (int i = 0; i < 2; i++) {
        int fd = openat(dir, odd[i].name, odd[i].flags);
        listed(odd[i].label, fdopendir(fd));
        close(fd);
    }
    chdir(R "/dir");
    listed("opendir .", opendir("."));
    listed("opendir ..", opendir(".."));
    chdir("/");
    /* Opened before anything else has looked at it, after a fork, and twice. */
    if (apart("fork")) { listed("fdopendir in a child", fdopendir(dir)); leave(); }
    close(dir);

    DIR *stream = opendir(R "/many");
    long places[400];
    char names[400][20];
    int count = 0;
    struct dirent *entry;
    for (; count < 400; count++) {
        places[count] = telldir(stream);
        if (!(entry = readdir(stream))) break;
        strcpy(names[count], entry->d_name);
    }
    say("names", "%d", count);
    int right = 0;
    for (int i = count - 1; i >= 0; i -= 7) {
        seekdir(stream, places[i]);
        right += (entry = readdir(stream)) && !strcmp(entry->d_name, names[i]);
    }
    say("seekdir finds the same", "%d of %d", right, (count + 6) / 7);
    rewinddir(stream);
    CALL((entry = readdir(stream)) && !strcmp(entry->d_name, names[0]));
    seekdir(stream, places[count]);
    CALL(readdir(stream) == NULL);
    closedir(stream);
}

struct raw { uint64_t ino; int64_t off; unsigned short length; unsigned char type; char name[]; };

static int counted(int fd, size_t size, char *first) {
    static char buffer[65536] __attribute__((aligned(8)));
    int count = 0;
    long got;
    while ((got = syscall(SYS_getdents64, fd, buffer, size)) > 0)
        for (long at = 0; at < got; at += ((struct raw *)(buffer + at))->length)
            if (count++ == 0 && first) strcpy(first, ((struct raw *)(buffer + at))->name);
    return got < 0 ? -1 : count;
}

static void raw(void) {
    static const size_t sizes[] = {1, 24, 64, 280, 1024, 65536};
    static const char *names[] = {R, R "/dir", R "/many", R "/nested/inner", R "/vacant"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            char label[100];
            /* With the smallest buffers it depends on the file system where it stops. */
            if (sizes[s] < 280 && n > 0) continue;
            int fd = open(names[n], O_RDONLY | O_DIRECTORY);
            sprintf(label, "getdents64 %s by %zu", names[n], sizes[s]);
            errno = 0;
            int r = counted(fd, sizes[s], NULL);
            if (sizes[s] == 64 && r < 0) r = 0;
            said(label, r);
            close(fd);
        }
    int fd = open(R "/many", O_RDONLY | O_DIRECTORY);
    char first[300], again[300], byte;
    CALL(counted(fd, 4096, first));
    CALL(counted(fd, 4096, again));
    CALL(lseek(fd, 0, SEEK_SET));
    CALL(counted(fd, 4096, again));
    CALL(strcmp(first, again));
    CALL(read(fd, &byte, 1));
    CALL(pread(fd, &byte, 1, 0));
    CALL(write(fd, "x", 1));
    APART(syscall(SYS_getdents64, fd, (void *)8, 4096));
    int copy = dup(fd);
    lseek(fd, 0, SEEK_SET);
    CALL(counted(copy, 4096, NULL));
    CALL(counted(fd, 4096, NULL));
    close(fd), close(copy);
    fd = open(R "/README", O_RDONLY);
    CALL(counted(fd, 4096, NULL));
    close(fd);
    fd = open(R "/dir", O_PATH);
    CALL(counted(fd, 4096, NULL));
    close(fd);
}

static int files, dirs, links, others;
static long bytes;
static int visit(const char *path, const struct stat *st, int kind, struct FTW *place) {
    if (kind == FTW_F) files++, bytes += S_ISREG(st->st_mode) ? st->st_size : 0;
    else if (kind == FTW_D || kind == FTW_DP) dirs++;
    else if (kind == FTW_SL || kind == FTW_SLN) links++;
    else others++;
    return 0;
}

static void walk(const char *label, const char *path, int flags) {
    files = dirs = links = others = bytes = 0;
    errno = 0;
    int r = nftw(path, visit, 8, flags);
    say(label, "%d %s: %d files of %ld bytes, %d directories, %d links, %d others", r, r ? error_name(errno) : "", files, bytes, dirs, links, others);
}

static int not_hidden(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void walking(void) {
    walk("nftw physical", R, FTW_PHYS);
    walk("nftw depth", R "/dir", FTW_PHYS | FTW_DEPTH);
    walk("nftw chdir", R, FTW_PHYS | FTW_CHDIR);
    walk("nftw mount", R, FTW_PHYS | FTW_MOUNT);
    walk("nftw follow", R "/nested", 0);
    walk("nftw absent", R "/absent", FTW_PHYS);
    walk("nftw file", R "/README", FTW_PHYS);
    struct dirent **list;
    CALL(scandir(R "/dir", &list, not_hidden, alphasort));
    CALL(scandir(R "/absent", &list, NULL, NULL));
#ifdef __GLIBC__
    int dir = open(R, O_PATH);
    CALL(scandirat(dir, "dir", &list, not_hidden, alphasort));
    close(dir);
    static const int ways[] = {FTS_PHYSICAL, FTS_LOGICAL | FTS_NOCHDIR, FTS_PHYSICAL | FTS_NOSTAT, FTS_PHYSICAL | FTS_XDEV | FTS_SEEDOT};
    for (int i = 0; i < 4; i++) {
        char *roots[] = {R "/dir", R "/nested", R "/bin", NULL}, label[40];
        int kinds[20] = {0};
        FTS *walk = fts_open(roots, ways[i], NULL);
        for (FTSENT *entry; walk && (entry = fts_read(walk));) kinds[entry->fts_info % 20]++;
        if (walk) fts_close(walk);
        sprintf(label, "fts %#x", ways[i]);
        say(label, "%d directories, %d files, %d links, %d bare, %d errors", kinds[FTS_D], kinds[FTS_F], kinds[FTS_SL], kinds[FTS_NSOK], kinds[FTS_DNR] + kinds[FTS_ERR] + kinds[FTS_NS]);
    }
#endif
    static const char *patterns[] = {R "/*", R "/*/", R "/d*/s*/*", R "/[rR]*", R "/absent*", R "/{bin,dir}/*", R "/*/hello", "/cvm*/twin.test.exampl?/README", R "/nested/*/*"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        glob_t found;
        char label[100], text[300] = "";
        int r = glob(patterns[i], 0, NULL, &found);
        if (r == 0) strncat(text, found.gl_pathv[0], 299);
        sprintf(label, "glob %s", patterns[i]);
        say(label, "%d %zu %s", r, r == 0 ? (size_t)found.gl_pathc : 0, text);
        if (r == 0) globfree(&found);
    }
}

void probe_directories(void) {
    /* First, while nobody has opened them. */
    raw();
    streams();
    walking();
}
