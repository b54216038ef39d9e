/* Linked against jemalloc: allocates between all that it does. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    (void)argc;
    for (int i = 0; i < 200; i++) {
        char *path = strdup(argv[1]);
        FILE *f = fopen(path, "r");
        char *line = NULL;
        size_t room = 0;
        while (getline(&line, &room, f) > 0) {}
        free(line);
        fclose(f);
        *strrchr(path, '/') = 0;
        DIR *d = opendir(path);
        int n = 0;
        while (readdir(d)) n++;
        closedir(d);
        char *real = realpath(path, NULL);
        if (i == 199) printf("%d entries in %s\n", n, real);
        free(real);
        free(path);
    }
    return 0;
}
