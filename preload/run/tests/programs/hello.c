/* Tells how it was started: one line for each thing, `label => value`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static void spelled(const char *label, const char *link) {
    char target[4096];
    ssize_t length = readlink(link, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    printf("%s => %s\n", label, length < 0 ? strerror(errno) : target);
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "again")) {
        execl("/proc/self/exe", "the same", "once more", NULL);
        printf("again => %s\n", strerror(errno));
        return 1;
    }
    if (argc == 2 && !strcmp(argv[1], "fd")) {
        char proc[40];
        sprintf(proc, "/proc/self/fd/%d", open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
        execl(proc, "the same", "by descriptor", NULL);
        printf("again => %s\n", strerror(errno));
        return 1;
    }
    printf("hello argv => %d:", argc);
    for (int i = 0; i < argc && i < 10; i++) printf(" %.60s", argv[i] ? argv[i] : "(null)");
    putchar('\n');
    spelled("hello exe", "/proc/self/exe");
    spelled("hello cwd", "/proc/self/cwd");
    spelled("hello descriptor", "/proc/self/fd/9");
    char comm[40] = "", cwd[4096];
    FILE *f = fopen("/proc/self/comm", "r");
    if (f && fgets(comm, sizeof comm, f)) comm[strcspn(comm, "\n")] = 0;
    printf("hello comm => %s\n", comm);
    printf("hello execfn => %s\n", (const char *)getauxval(AT_EXECFN));
    printf("hello getcwd => %s\n", getcwd(cwd, sizeof cwd) ? cwd : strerror(errno));
    printf("hello variable => %s\n", getenv("TWIN") ? getenv("TWIN") : "none");
    struct stat mine, named;
    int fd = open("/proc/self/exe", O_RDONLY);
    char magic[4] = "";
    read(fd, magic, 4);
    printf("hello itself => %d\n", !memcmp(magic, "\177ELF", 4) && fstat(fd, &mine) == 0 && stat("/proc/self/exe", &named) == 0 && mine.st_ino == named.st_ino);
    printf("hello sees => %d\n", access("/cvmfs/twin.test.example/README", R_OK) == 0);
    fflush(stdout);
    return 7;
}
