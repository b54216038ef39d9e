/* Nanoseconds per call, the best of several rounds. Usage: calls FILE LINK DIRECTORY MISSING */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

#define MEASURE(name, count, call) \
    do { \
        double best = 1e18; \
        for (int round = 0; round < 15; round++) { \
            double start = now(); \
            for (int i = 0; i < count; i++) { call; } \
            double time = (now() - start) / count; \
            if (time < best) best = time; \
        } \
        printf("%s %.0f\n", name, best); \
    } while (0)

int main(int argc, char **argv) {
    const char *file = argv[1], *link = argv[2], *directory = argv[3], *missing = argv[4];
    struct stat s;
    char text[4096];
    int fd = open(file, O_RDONLY), failures = fd < 0 || stat(file, &s) || readlink(link, text, sizeof text) < 0;
    MEASURE("getppid", 2000, getppid());
    MEASURE("stat", 2000, failures |= stat(file, &s));
    MEASURE("stat-missing", 2000, failures |= !stat(missing, &s));
    MEASURE("stat-over-link", 2000, failures |= stat(link, &s));
    MEASURE("lstat", 2000, failures |= lstat(link, &s));
    MEASURE("access", 2000, failures |= access(file, R_OK));
    MEASURE("readlink", 2000, failures |= readlink(link, text, sizeof text) < 0);
    MEASURE("fstat", 2000, failures |= fstat(fd, &s));
    MEASURE("getcwd", 2000, failures |= !getcwd(text, sizeof text));
    MEASURE("stat-relative", 2000, failures |= stat(".", &s));
    MEASURE("open+close", 1000, int d = open(file, O_RDONLY); failures |= d < 0; close(d));
    MEASURE("fopen+getc+fclose", 500, FILE *f = fopen(file, "r"); if (!f) break; getc(f); fclose(f));
    MEASURE("opendir+readdir+closedir", 300, DIR *d = opendir(directory); failures |= !d; while (readdir(d)); closedir(d));
    return failures;
}
