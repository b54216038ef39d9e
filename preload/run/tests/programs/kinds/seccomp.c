/* Installs filters of its own, as sandboxes do: one that forbids ptrace and mounting, then one that answers getppid with
   an error; tries a listener of its own; then goes on opening and starting. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int forbid(int number, int flags) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void look(const char *when, char **argv) {
    char line[64] = "";
    int fd = open(argv[1], O_RDONLY);
    int n = read(fd, line, sizeof line);
    printf("%s: %d bytes, ", when, n);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execl(argv[2], argv[2], when, NULL);
        perror("exec");
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("status %d\n", status);
    close(fd);
}

int main(int argc, char **argv) {
    (void)argc;
    printf("no new privileges: %d\n", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    look("before", argv);
    printf("filter: %d\n", forbid(SYS_ptrace, 0));
    look("without ptrace", argv);
    printf("filter: %d\n", forbid(SYS_getppid, SECCOMP_FILTER_FLAG_TSYNC));
    errno = 0;
    printf("getppid: %d\n", (int)syscall(SYS_getppid));
    look("without getppid", argv);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    look("undumpable", argv);
    return 0;
}
