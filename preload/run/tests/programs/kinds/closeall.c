/* Closes all that it has not opened itself, as daemons do, and goes on. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void look(const char *when, const char *path) {
    struct stat st;
    char line[64] = "";
    int fd = open(path, O_RDONLY);
    printf("%s: descriptor %d, ", when, fd);
    printf("%d bytes, fstat %d\n", (int)read(fd, line, sizeof line), fstat(fd, &st));
    fflush(stdout);
    close(fd);
}

int main(int argc, char **argv) {
    (void)argc;
    for (int fd = 3; fd < 1024; fd++) close(fd);
    look("closed one by one", argv[1]);
    closefrom(3);
    look("closefrom", argv[1]);
    syscall(SYS_close_range, 3, ~0U, 0);
    look("close_range", argv[1]);
    pid_t pid = fork();
    if (pid == 0) {
        for (int fd = 3; fd < 1024; fd++) close(fd);
        execl(argv[2], argv[2], "after close", NULL);
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("child: %d\n", status);
    /* A number that is taken on purpose. */
    int high = fcntl(open(argv[1], O_RDONLY), F_DUPFD, 900);
    dup2(high, 100);
    closefrom(101);
    char name[256] = "";
    readlink("/proc/self/fd/100", name, sizeof name - 1);
    printf("%s\n", name);
    return 0;
}
