/* Many things at once below /cvmfs/stress.test.example. Usage: stress WHAT SECONDS. Tells what went wrong; exit status 1
   if anything did. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define R "/cvmfs/stress.test.example"
#define FILES 200

static atomic_int wrong, stop;
static atomic_long done, interrupted, signals;

#define WRONG(...) do { if (wrong++ < 10) { printf(__VA_ARGS__); printf(" (%s)\n", strerror(errno)); fflush(stdout); } } while (0)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Opens, reads and looks at one file. `patient`: EINTR is no error. Without SA_RESTART the kernel says so when the signal
   comes before the supervisor has taken the call. */
static void look(unsigned number, int patient) {
    char path[100], wanted[40], got[40] = "";
    struct stat by_path, by_fd;
    unsigned n = number % FILES;
    sprintf(path, R "/d%u/file%u", n % 10, n);
    int length = sprintf(wanted, "content of file %u\n", n);
    int fd;
    while ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 && errno == EINTR && patient) interrupted++;
    if (fd < 0) {
        WRONG("open %s", path);
        return;
    }
    if (read(fd, got, sizeof got - 1) != length || strcmp(got, wanted)) WRONG("%s holds '%s'", path, got);
    int r;
    while ((r = fstat(fd, &by_fd)) != 0 && errno == EINTR && patient) interrupted++;
    if (r != 0) WRONG("fstat %s", path);
    while ((r = stat(path, &by_path)) != 0 && errno == EINTR && patient) interrupted++;
    if (r != 0) WRONG("stat %s", path);
    else if (by_path.st_ino != by_fd.st_ino || by_path.st_size != length) WRONG("%s is something else", path);
    if (close(fd) != 0) WRONG("close %s", path);
    sprintf(path, R "/d%u/absent%u", n % 10, number % 7);
    while ((r = access(path, F_OK)) != 0 && errno == EINTR && patient) interrupted++;
    if (r == 0 || errno != ENOENT) WRONG("access %s", path);
    done++;
}

static void started(pid_t pid, const char *way) {
    int status = 0;
    if (pid <= 0) WRONG("%s", way);
    else if (waitpid(pid, &status, 0) != pid || status != 0) WRONG("%s ended with status %#x", way, status);
    else done++;
}

static char *const words[] = {"script", NULL};
extern char **environ;

static void *looking(void *seed) {
    for (unsigned n = (unsigned)(long)seed * 37; !stop; n += 7) look(n, 0);
    return NULL;
}

static void *listing(void *unused) {
    while (!stop) {
        int count = 0;
        DIR *dir = opendir(R "/d3");
        if (!dir) {
            WRONG("opendir");
            continue;
        }
        while (readdir(dir)) count++;
        closedir(dir);
        if (count != 2 + FILES / 10) WRONG("%d names", count);
    }
    return NULL;
}

static void *spawning(void *unused) {
    while (!stop) {
        pid_t pid = 0;
        if (posix_spawn(&pid, R "/bin/script", NULL, NULL, words, environ) != 0) pid = -1;
        started(pid, "posix_spawn");
    }
    return NULL;
}

/* Threads that look while others fork and exec, and at last one of them becomes another program. */
static void threads(double seconds) {
    pthread_t all[6];
    for (long i = 0; i < 4; i++) pthread_create(&all[i], NULL, looking, (void *)i);
    pthread_create(&all[4], NULL, listing, NULL);
    pthread_create(&all[5], NULL, spawning, NULL);
    for (double end = now() + seconds; now() < end;) {
        pid_t pid = fork();
        if (pid == 0) {
            execve(R "/bin/script", words, environ);
            _exit(99);
        }
        started(pid, "fork and exec");
        pid = fork();
        if (pid == 0) {
            look(5, 0);
            _exit(wrong != 0);
        }
        started(pid, "fork");
        pid = vfork();
        if (pid == 0) {
            execve(R "/bin/script", words, environ);
            _exit(99);
        }
        started(pid, "vfork");
    }
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t busy;
        for (long i = 0; i < 3; i++) pthread_create(&busy, NULL, looking, (void *)i);
        execve(R "/bin/script", words, environ);
        _exit(99);
    }
    started(pid, "exec among threads");
    stop = 1;
    for (int i = 0; i < 6; i++) pthread_join(all[i], NULL);
}

static void count(int number) { signals++; }

/* The calls that the supervisor makes the program make again. Of one thread only: they concern the whole process. */
static void move(unsigned number, int patient) {
    char path[100];
    int fd, r;
    sprintf(path, R "/d%u", number % 10);
    while ((r = chdir(path)) != 0 && errno == EINTR && patient) interrupted++;
    if (r != 0) WRONG("chdir %s", path);
    sprintf(path, "file%u", number % 10);
    while ((fd = open(path, O_PATH | O_CLOEXEC)) < 0 && errno == EINTR && patient) interrupted++;
    if (fd < 0) WRONG("open the path %s", path);
    else close(fd);
}

/* The program has nothing open that it does not know of, but perhaps, for a while, what was given to it for calls that it
   never got the answers of (Linux before 5.19). */
static void nothing_is_left(int spare, int patient) {
    int fd;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0 && errno == EINTR && patient) interrupted++;
    if (fd < 3 || fd > 3 + spare) WRONG("the next descriptor is %d", fd);
    close(fd);
}

/* 5000 signals a second while files are opened for the first and the second time. */
static void alarms(double seconds, int flags) {
    struct sigaction action = {.sa_handler = count, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    double end = now() + seconds;
    for (unsigned n = 0; n < 2 * FILES || now() < end; n++) {
        look(n, !(flags & SA_RESTART));
        if (n % 4 == 0) move(n, !(flags & SA_RESTART));
        if (n % 50 == 0) nothing_is_left(3, !(flags & SA_RESTART));
    }
    setitimer(ITIMER_REAL, &never, NULL);
    if (signals < 10) WRONG("only %ld signals", (long)signals);
}

/* What a program does while somebody else is stopped and goes on: it notices nothing. */
static void calmly(double seconds) {
    double end = now() + seconds;
    for (unsigned n = 0; n < 2 * FILES || now() < end; n++) {
        look(n, 0);
        if (n % 4 == 0) move(n, 0);
        if (n % 50 == 0) nothing_is_left(0, 0);
    }
}

/* Rounds on request, so that somebody can look at the helpers in between: a line in, a line out. */
static void rounds(void) {
    char line[20];
    while (fgets(line, sizeof line, stdin)) {
        for (unsigned n = 0; n < 1000; n++) look(n, 0);
        for (int i = 0; i < 20; i++) {
            pid_t pid = 0;
            if (posix_spawn(&pid, R "/bin/script", NULL, NULL, words, environ) != 0) pid = -1;
            started(pid, "posix_spawn");
        }
        for (int i = 0; i < 100; i++) {
            char cwd[300];
            if (chdir(i % 2 ? R "/d1" : R "/d2") != 0 || !getcwd(cwd, sizeof cwd) || strncmp(cwd, R, strlen(R))) WRONG("chdir");
            DIR *dir = opendir(".");
            if (dir) closedir(dir); else WRONG("opendir");
        }
        puts("done");
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    double seconds = argc > 2 ? atof(argv[2]) : 1;
    if (!strcmp(argv[1], "threads")) threads(seconds);
    else if (!strcmp(argv[1], "restart")) alarms(seconds, SA_RESTART);
    else if (!strcmp(argv[1], "interrupt")) alarms(seconds, 0);
    else if (!strcmp(argv[1], "calmly")) calmly(seconds);
    else if (!strcmp(argv[1], "rounds")) rounds();
    else return 2;
    fprintf(stderr, "%s: %ld done, %ld signals, %ld interrupted\n", argv[1], (long)done, (long)signals, (long)interrupted);
    return wrong != 0;
}
