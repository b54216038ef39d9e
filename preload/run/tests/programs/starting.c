/* Starting programs of /cvmfs/demo.example.org in every way that C knows. Each way must print the greeting; what is
   wrong is told on standard error, with exit status 1. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define D "/cvmfs/demo.example.org"
#define HELLO D "/bin/hello.sh"

extern char **environ;
static char *nothing[] = {NULL};
static char *args[] = {"hello.sh", "you", NULL};
static int wrong;

static void ended(const char *way, pid_t pid) {
    int status;
    if (pid <= 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        fprintf(stderr, "%s: status %d\n", way, status);
        wrong = 1;
    }
}

#define FORKED(call) do { fflush(stdout); pid_t pid = fork(); if (pid == 0) { call; fprintf(stderr, "%s: %s\n", #call, strerror(errno)); _exit(99); } ended(#call, pid); } while (0)

static int vforked_path(void) {
    /* The child changes descriptors and directory; the parent must not notice. */
    pid_t pid = vfork();
    if (pid == 0) {
        chdir(D "/bin");
        close(0);
        open(D "/README.txt", O_RDONLY);
        execve("hello.sh", args, environ);
        _exit(99);
    }
    ended("vfork", pid);
    char cwd[4096];
    struct stat st;
    return getcwd(cwd, sizeof cwd) && !strcmp(cwd, "/") && stat("etc", &st) == 0;
}

static volatile int stop;
static void *busy(void *unused) {
    struct stat st;
    while (!stop) {
        stat(D "/README.txt", &st);
        int fd = open(D "/data/events.csv", O_RDONLY);
        close(fd);
    }
    return NULL;
}

int main(void) {
    chdir("/");
    int fd = open(HELLO, O_RDONLY | O_CLOEXEC);
    FORKED(execv(HELLO, args));
    FORKED(execve(HELLO, args, nothing));
    FORKED(execl(HELLO, "hello.sh", "a", "b", "c", "d", "e", "f", "g", NULL));
    FORKED(execle(HELLO, "hello.sh", "a", "b", "c", "d", "e", "f", "g", NULL, nothing));
    setenv("PATH", "/nowhere:" D "/bin:/usr/bin:/bin", 1);
    FORKED(execlp("hello.sh", "hello.sh", NULL));
    FORKED(execvp("hello.sh", args));
    FORKED(execvpe("hello.sh", args, nothing));
    FORKED(fexecve(fd, args, environ));
    FORKED(chdir(D); execv("bin/hello.sh", args));
    pid_t pid;
    fflush(stdout);
    if (posix_spawn(&pid, HELLO, NULL, NULL, args, nothing) == 0) ended("posix_spawn", pid); else wrong = 1;
    if (posix_spawnp(&pid, "hello.sh", NULL, NULL, args, environ) == 0) ended("posix_spawnp", pid); else wrong = 1;
    if (posix_spawn(&pid, D "/absent", NULL, NULL, args, environ) != ENOENT) wrong = 1;
    if (posix_spawn(&pid, D "/README.txt", NULL, NULL, args, environ) != EACCES) wrong = 1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, D "/README.txt", O_RDONLY, 0);
    posix_spawn_file_actions_addchdir_np(&actions, D "/bin");
    char *sh[] = {"sh", "-c", "read -r line && test \"$line\" = demo.example.org && exec ./hello.sh", NULL};
    if (posix_spawnp(&pid, "sh", &actions, NULL, sh, environ) == 0) ended("file actions", pid); else wrong = 1;
    if (!vforked_path()) { fprintf(stderr, "vfork: the parent moved\n"); wrong = 1; }
    if (system(HELLO " you") != 0) wrong = 1;
    FILE *p = popen(HELLO, "r");
    char line[100];
    if (!p || !fgets(line, sizeof line, p) || pclose(p) != 0) wrong = 1;

    /* Forks while other threads are at it. */
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, busy, NULL);
    alarm(60);
    for (int i = 0; i < 100; i++) {
        pid = fork();
        if (pid == 0) {
            struct stat st;
            _exit(stat(D "/README.txt", &st) == 0 && open(D "/README.txt", O_RDONLY) >= 0 ? 0 : 1);
        }
        ended("fork with threads", pid);
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    return wrong;
}
