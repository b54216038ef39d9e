/* Reads a file with the calls that every program makes, from a process, a thread and a child. */
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int lines(const char *path) {
    FILE *f = fopen(path, "r");
    if (!f) { perror(path); return -1; }
    int n = 0, c;
    while ((c = getc(f)) != EOF) n += c == '\n';
    fclose(f);
    return n;
}

static void *thread(void *path) { return (void *)(long)lines(path); }

int main(int argc, char **argv) {
    (void)argc;
    struct stat st;
    void *from_thread;
    pthread_t t;
    if (stat(argv[1], &st) != 0) { perror(argv[1]); return 1; }
    pthread_create(&t, NULL, thread, argv[1]);
    pthread_join(t, &from_thread);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) _exit(lines(argv[1]));
    int status;
    waitpid(pid, &status, 0);
    printf("int main: %d lines, %ld in a thread, %d in a child, %ld bytes\n", lines(argv[1]), (long)from_thread, WEXITSTATUS(status), (long)st.st_size);
    return 0;
}
