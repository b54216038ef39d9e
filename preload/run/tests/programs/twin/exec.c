/* Starting programs in every way, good ones and others. `hello` tells how it was started. */
#include "twin.h"
#include <pthread.h>
#include <spawn.h>

#define B R "/bin/"

extern char **environ;
static char *words[] = {"zeroth", "first", NULL};
static char *some[] = {"TWIN=1", "PATH=" R "/bin:/usr/bin:/bin", NULL};
static char *nothing[] = {NULL};

static void ended(const char *label, pid_t pid) {
    int status = 0;
    if (pid <= 0 || waitpid(pid, &status, 0) != pid) said(label, -1);
    else if (WIFSIGNALED(status)) say(label, "signal %d", WTERMSIG(status));
    else say(label, "exit %d", WEXITSTATUS(status));
}

/* In a child: the call, and what it says if it comes back. */
#define EXEC(expression) do { fflush(stdout); pid_t pid_ = fork(); if (pid_ == 0) { CALL_AS(#expression, expression); fflush(stdout); _exit(99); } ended("end of " #expression, pid_); } while (0)

static int at(int dir, const char *path, int flags) { return syscall(SYS_execveat, dir, path, words, some, flags); }

static void by_name(void) {
    static const char *names[] = {
        "hello", "hello-static", "script", "cscript", "chain", "argless", "nested-static", "loop", "dangling", "plain", "shell", "link", "link-static", "outside", "absent",
        ".", "", "hello/", "hello/x", "script/", "../README", "../locked/hello", "../empty", "../fifo", "../dangling", "../loop1", "empty", "noread",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_MAX], label[100];
        sprintf(path, B "%s", names[i]);
        sprintf(label, "execve %s", names[i]);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            errno = 0;
            said(label, execve(path, words, some));
            leave();
        }
        ended(label, pid);
    }
}

static void by_descriptor(void) {
    int dir = open(R "/bin", O_RDONLY | O_DIRECTORY | O_CLOEXEC), hello = open(B "hello", O_RDONLY | O_CLOEXEC), path = open(B "hello", O_PATH | O_CLOEXEC);
    int script = open(B "script", O_RDONLY | O_CLOEXEC), kept = open(B "script", O_RDONLY), plain = open(B "plain", O_RDONLY), fixed = open(B "hello-static", O_RDONLY | O_CLOEXEC);
    EXEC(at(dir, "hello", 0));
    EXEC(at(dir, "hello-static", 0));
    EXEC(at(dir, "script", 0));
    EXEC(at(dir, "../bin/hello", 0));
    EXEC(at(dir, "link", 0));
    EXEC(at(dir, "link", AT_SYMLINK_NOFOLLOW));
    EXEC(at(dir, "hello", AT_SYMLINK_NOFOLLOW));
    EXEC(at(dir, "hello", 0x40000000));
    EXEC(at(dir, "", 0));
    EXEC(at(dir, "", AT_EMPTY_PATH));
    EXEC(at(dir, "absent", 0));
    EXEC(at(hello, "", AT_EMPTY_PATH));
    EXEC(at(path, "", AT_EMPTY_PATH));
    EXEC(at(fixed, "", AT_EMPTY_PATH));
    EXEC(at(script, "", AT_EMPTY_PATH));
    EXEC(at(plain, "", AT_EMPTY_PATH));
    EXEC(at(54321, "", AT_EMPTY_PATH));
    EXEC(at(54321, B "hello", 0));
    EXEC(at(AT_FDCWD, B "hello", 0));
    EXEC(fexecve(hello, words, some));
    EXEC(fexecve(fixed, words, nothing));
    EXEC(fexecve(script, words, some));
    EXEC(fexecve(plain, words, some));
    char proc[40];
    sprintf(proc, "/proc/self/fd/%d", hello);
    EXEC(execve(proc, words, some));
    sprintf(proc, "/proc/self/fd/%d", dir);
    strcat(proc, "/hello");
    EXEC(execve(proc, words, some));
    /* Descriptors cross, or do not. */
    dup2(hello, 9);
    EXEC(execve(B "hello", words, some));
    fcntl(9, F_SETFD, FD_CLOEXEC);
    EXEC(execve(B "hello", words, some));
    close(9), close(dir), close(hello), close(path), close(script), close(kept), close(plain), close(fixed);
}

static void from_here(void) {
    chdir(R "/bin");
    EXEC(execve("./hello", words, some));
    EXEC(execve("hello-static", words, some));
    EXEC(execve("./script", words, some));
    EXEC(execve("./cscript", words, some));
    EXEC(execve("../bin/hello", words, some));
    EXEC(execve("absent", words, some));
    EXEC(execve(".", words, some));
    EXEC(execve("..", words, some));
    EXEC(execve("", words, some));
    EXEC(system("./hello from sh"));
    chdir(R "/dir");
    EXEC(execve("/bin/pwd", (char *[]){"pwd", "-P", NULL}, some));
    EXEC(execve("/bin/sh", (char *[]){"sh", "-c", "cd ..; pwd; cd /cvmfs; pwd; cd twin.test.example/nested; exec ../bin/hello sh", NULL}, some));
    chdir(S(""));
}

static void searched(void) {
    setenv("PATH", "/absent:" R "/dir:" R "/bin:/usr/bin:/bin", 1);
    EXEC(execvp("hello", words));
    EXEC(execvp("script", words));
    EXEC(execvp("shell", words));
    EXEC(execvp("plain", words));
    EXEC(execvp("absent", words));
    EXEC(execlp("hello-static", "zeroth", "b", NULL));
    EXEC(execl(B "hello", "zeroth", "1", "2", "3", "4", "5", "6", "7", NULL));
    EXEC(execle(B "hello", "zeroth", NULL, nothing));
    EXEC(execv(B "hello", words));
    EXEC(execvp("env", (char *[]){"env", "-i", B "hello", "cleared", NULL}));
    EXEC(execvp("env", (char *[]){"env", "-i", "PATH=" R "/bin", "hello-static", NULL}));
    EXEC(execvp("sh", (char *[]){"sh", "-c", "env -i /bin/sh -c 'exec " B "hello'", NULL}));
    FILE *p = popen("hello popen", "r");
    char line[PATH_MAX];
    while (p && fgets(line, sizeof line, p)) fputs(line, stdout);
    if (p) CALL(pclose(p));
}

static void spawned(void) {
    pid_t pid;
/* It is said after the child has ended: both print. */
#define SPAWN(call) do { fflush(stdout); errno = 0; pid = 0; int r_ = (call); if (r_ == 0) ended("end of " #call, pid); say(#call, "%s", r_ ? error_name(r_) : "spawned"); } while (0)
    SPAWN(posix_spawn(&pid, B "hello", NULL, NULL, words, some));
    SPAWN(posix_spawn(&pid, B "hello-static", NULL, NULL, words, nothing));
    SPAWN(posix_spawn(&pid, B "script", NULL, NULL, words, some));
    SPAWN(posix_spawn(&pid, B "absent", NULL, NULL, words, some));
    SPAWN(posix_spawn(&pid, B "plain", NULL, NULL, words, some));
    SPAWN(posix_spawn(&pid, R, NULL, NULL, words, some));
    SPAWN(posix_spawnp(&pid, "hello", NULL, NULL, words, environ));
    SPAWN(posix_spawnp(&pid, "absent", NULL, NULL, words, environ));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 9, R "/README", O_RDONLY, 0);
    SPAWN(posix_spawn(&pid, B "hello", &actions, NULL, words, some));
    posix_spawn_file_actions_addopen(&actions, 8, R "/README", O_RDWR, 0);
    SPAWN(posix_spawn(&pid, B "hello", &actions, NULL, words, some));
#ifdef __GLIBC__
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, R "/bin");
    SPAWN(posix_spawn(&pid, "./hello", &actions, NULL, words, some));
    SPAWN(posix_spawn(&pid, "./script", &actions, NULL, words, some));
#endif
    fflush(stdout);
    pid = vfork();
    if (pid == 0) {
        execve(B "hello", words, some);
        _exit(99);
    }
    ended("vfork", pid);
    pid = vfork();
    if (pid == 0) {
        execve(B "absent", words, some);
        _exit(errno == ENOENT ? 42 : 99);
    }
    ended("vfork absent", pid);
    pid = vfork();
    if (pid == 0) {
        int fd = open(R "/README", O_RDONLY);
        dup2(fd, 9);
        execve(B "script", words, some);
        _exit(99);
    }
    ended("vfork open", pid);
}

static void *starts(void *unused) {
    execve(B "hello", words, some);
    return NULL;
}
static void *waits(void *unused) {
    struct stat st;
    for (;;) stat(R "/README", &st);
    return NULL;
}

static void strange(void) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t threads[3];
        for (int i = 0; i < 2; i++) pthread_create(threads + i, NULL, waits, NULL);
        pthread_create(threads + 2, NULL, starts, NULL);
        for (;;) pause();
    }
    ended("exec by a thread", pid);
    EXEC(execve(B "hello", nothing, some));
    EXEC(execve(B "hello", words, nothing));
    EXEC(syscall(SYS_execve, B "hello", words, NULL));
    EXEC(syscall(SYS_execve, B "hello", NULL, some));
    EXEC(syscall(SYS_execve, (char *)8, words, some));
    EXEC(syscall(SYS_execve, B "hello", (char *)8, some));
    EXEC(syscall(SYS_execve, B "hello", ((char *[]){"a", (char *)8, NULL}), some));
    EXEC(syscall(SYS_execve, B "script", (char *)8, some));
    char *large = malloc(200001);
    memset(large, 'x', 200000), large[200000] = 0;
    EXEC(execve(B "hello", ((char *[]){"zeroth", large, NULL}), some));
    large[100000] = 0;
    EXEC(execve(B "hello-static", ((char *[]){"zeroth", large, NULL}), some));
    free(large);
    char **many = calloc(10001, sizeof *many);
    for (int i = 0; i < 10000; i++) many[i] = "an argument";
    EXEC(execve(B "hello", many, some));
    EXEC(execve(B "script", many, some));
    free(many);
    /* The program starts itself again. */
    EXEC(execve(B "hello", ((char *[]){"zeroth", "again", NULL}), some));
    EXEC(execve(B "hello-static", ((char *[]){"zeroth", "again", NULL}), some));
    EXEC(execve(B "hello", ((char *[]){"zeroth", "fd", NULL}), some));
}

static void outside(void) {
    FILE *f = fopen(S("script"), "w");
    fprintf(f, "#!" B "hello from outside\n");
    fclose(f);
    chmod(S("script"), 0755);
    f = fopen(S("deeper"), "w");
    fprintf(f, "#!%s\n", S("script"));
    fclose(f);
    chmod(S("deeper"), 0755);
    symlink(B "hello", S("in"));
    symlink(R "/bin", S("bin"));
    chdir(S(""));
    EXEC(execve("./script", words, some));
    EXEC(execve("./deeper", words, some));
    EXEC(execve("./in", words, some));
    EXEC(execve("bin/hello", words, some));
    EXEC(execve("bin/script", words, some));
    EXEC(execve("/usr/bin/env", (char *[]){"env", B "hello", NULL}, some));
    unlink(S("script")), unlink(S("deeper")), unlink(S("in")), unlink(S("bin"));
}

void probe_exec(void) {
    by_name();
    by_descriptor();
    from_here();
    searched();
    spawned();
    strange();
    outside();
}
