/* Tries to leave an instance, or to do what programs in it may not do. Prints what worked; nothing is right. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const char *secret; /* a file of the host, by its path there */

static void look(const char *where) {
    char path[8192];
    snprintf(path, sizeof path, "%s%s", where, secret);
    if (access(path, F_OK) == 0)
        printf("found %s\n", path);
}

static void worked(const char *what, long result) {
    if (result >= 0)
        printf("worked: %s\n", what);
}

int main(int argc, char **argv) {
    secret = argv[1];
    look("");
    look("/..");
    look("/../../../../..");
    look("/proc/self/root");
    look("/proc/1/root");
    look("/proc/1/cwd");
    look("/proc/self/cwd/../../..");
    /* Everything that is open, here and in process 1. */
    for (int process = 0; process < 2; process++) {
        const char *directory = process ? "/proc/1/fd" : "/proc/self/fd";
        DIR *open_files = opendir(directory);
        if (!open_files)
            continue;
        struct dirent *entry;
        while ((entry = readdir(open_files))) {
            char path[512];
            struct stat about;
            snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
            if (process || atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(open_files))
                if (entry->d_name[0] != '.')
                    printf("open: %s\n", path);
            look(path);
            if (stat(path, &about) == 0 && S_ISDIR(about.st_mode) && atoi(entry->d_name) != dirfd(open_files) && entry->d_name[0] != '.')
                printf("a directory: %s\n", path);
        }
        closedir(open_files);
    }
    /* The old way out of a changed root. */
    mkdir("/tmp/cage", 0755);
    if (chroot("/tmp/cage") == 0) {
        for (int i = 0; i < 64; i++)
            chdir("..");
        chroot(".");
        look("");
    }
    worked("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    worked("umount", umount2("/proc", MNT_DETACH));
    worked("pivot_root", syscall(SYS_pivot_root, "/", "/tmp"));
    worked("unshare mounts", unshare(CLONE_NEWNS));
    worked("setns", setns(open("/proc/1/ns/mnt", O_RDONLY), 0));
    worked("trace process 1", ptrace(PTRACE_SEIZE, 1, 0, 0));
    worked("memory of process 1", open("/proc/1/mem", O_RDWR));
    worked("environment of process 1", open("/proc/1/environ", O_RDONLY));
    worked("program of process 1", open("/proc/1/exe", O_RDONLY));
    worked("mknod", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
    worked("sethostname", sethostname("other", 5));
    worked("typing", ioctl(0, TIOCSTI, "x"));
    worked("typing, with other upper bits", ioctl(0, TIOCSTI | 0xffffffff00000000UL, "x"));
    worked("pasting", ioctl(0, TIOCLINUX, "\003"));
    worked("chroot is left", prctl(PR_CAPBSET_READ, 21, 0, 0, 0) == 1 ? 0 : -1); /* CAP_SYS_ADMIN */
    worked("new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 ? 0 : -1);
    printf("done\n");
    return 0;
}
