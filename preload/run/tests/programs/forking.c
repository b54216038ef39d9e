/* Forks from the first moment on while other threads use /cvmfs in every way, the first use included. Each child uses it, too;
   what goes wrong is printed. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define D "/cvmfs/demo.example.org"

static volatile int stop;

static void *busy(void *unused) {
    struct stat st;
    char buffer[4096];
    while (!stop) {
        stat(D "/README.txt", &st);
        int fd = open(D "/data/events.csv", O_RDONLY);
        fstat(fd, &st);
        read(fd, buffer, 100);
        close(fd);
        DIR *dir = opendir(D "/bin");
        while (dir && readdir(dir)) {}
        if (dir) closedir(dir);
        FILE *file = fopen(D "/README.txt", "r");
        if (file) {
            fgets(buffer, 100, file);
            fclose(file);
        }
        free(realpath(D "/latest", NULL));
        access("/nowhere/x", R_OK);
        readlink(D "/latest", buffer, 100);
        free(malloc(30000));
    }
    return NULL;
}

static int child(void) {
    struct stat st;
    alarm(60);
    if (stat(D "/README.txt", &st) != 0 || open(D "/README.txt", O_RDONLY) < 0) return 1;
    DIR *dir = opendir(D);
    return fopen(D "/data/events.csv", "r") && dir && readdir(dir) ? 0 : 2;
}

int main(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, busy, NULL);
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(child());
        int status;
        waitpid(pid, &status, 0);
        if (status) printf("fork %d: status %d\n", i, status);
    }
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    return 0;
}
