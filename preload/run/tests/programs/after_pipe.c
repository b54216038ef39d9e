// Opens a pipe, which takes its time, and asks about a file by the very next system call: between the two no register but
// those of the arguments is touched.
#include <stdio.h>
#include <sys/stat.h>

static long open_and_stat(const char *pipe, const char *file, struct stat *found) {
#if defined(__x86_64__)
    long result = 257; // openat
    long directory = -100;
    const char *path = pipe;
    long flags = 0;
    register struct stat *into __asm__("r12") = found;
    __asm__ volatile("xorl %%r10d, %%r10d\n\t"
                     "syscall\n\t"
                     "movl $262, %%eax\n\t" // newfstatat
                     "movq $-100, %%rdi\n\t"
                     "movq %[file], %%rsi\n\t"
                     "movq %[into], %%rdx\n\t"
                     "xorl %%r10d, %%r10d\n\t"
                     "syscall"
                     : "+a"(result), "+D"(directory), "+S"(path), "+d"(flags)
                     : [file] "b"(file), [into] "r"(into)
                     : "rcx", "r10", "r11", "memory");
    return result;
#else
    fopen(pipe, "r");
    return stat(file, found);
#endif
}

int main(int argc, char **argv) {
    struct stat found;
    printf("%ld\n", argc > 2 ? open_and_stat(argv[1], argv[2], &found) : -1);
    return 0;
}
