/* Becomes a daemon by the book (fork, setsid, fork, chdir, closed descriptors), reads a file, writes what it found. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argc;
    if (fork() > 0) return 0;
    setsid();
    if (fork() > 0) _exit(0);
    chdir("/");
    umask(0);
    for (int fd = 0; fd < 256; fd++) close(fd);
    open("/dev/null", O_RDWR);
    dup(0);
    dup(0);
    usleep(300000);
    FILE *in = fopen(argv[1], "r"), *out = fopen(argv[2], "w");
    char line[256], done[4096];
    while (in && fgets(line, sizeof line, in)) fputs(line, out);
    if (!in) fprintf(out, "nothing to read\n");
    fclose(out);
    snprintf(done, sizeof done, "%s.done", argv[2]);
    out = fopen(done, "w");
    fputs("done\n", out);
    fclose(out);
    return 0;
}
