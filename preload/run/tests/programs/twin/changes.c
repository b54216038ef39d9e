/* What would change something. */
#include "twin.h"
#include <sys/time.h>
#include <sys/xattr.h>
#include <sys/ioctl.h>
#ifndef FS_IOC_SETFLAGS
#define FS_IOC_SETFLAGS _IOW('f', 2, long)
#endif
#include <utime.h>

static const char *names[] = {
    "README", "bin", "absent", "absent/x", "README/x", "link", "dangling", "link/", "bin/", "absent/", "loop1", "secret", "dirlink/new", "locked/new", "", ".", "bin/.", "bin/..", "fifo",
};

static void by_name(int dir) {
    struct timespec times[2] = {{1, 2}, {3, 4}}, bad[2] = {{1, -7}, {3, 4}}, omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_MAX], label[200];
        const char *name = names[i];
        sprintf(path, R "%s%s", *name ? "/" : "", name);
#define ASK(call) do { sprintf(label, #call " '%s'", name); errno = 0; said(label, call); } while (0)
        ASK(mkdir(path, 0755));
        ASK(mkdirat(dir, name, 0755));
        ASK(symlink("target", path));
        ASK(symlinkat("target", dir, name));
        ASK(mknod(path, S_IFREG | 0644, 0));
        ASK(mknodat(dir, name, S_IFIFO | 0644, 0));
        ASK(mkfifo(path, 0644));
        ASK(unlink(path));
        ASK(unlinkat(dir, name, 0));
        ASK(unlinkat(dir, name, AT_REMOVEDIR));
        ASK(rmdir(path));
        ASK(remove(path));
        ASK(chmod(path, 0777));
        ASK(fchmodat(dir, name, 0777, 0));
        ASK(chown(path, 7, 7));
        ASK(lchown(path, 7, 7));
        ASK(fchownat(dir, name, 7, 7, AT_SYMLINK_NOFOLLOW));
        ASK(chown(path, -1, -1));
        ASK(truncate(path, 1));
        ASK(truncate(path, -1));
        ASK(utimensat(dir, name, times, 0));
        ASK(utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW));
        ASK(utimensat(AT_FDCWD, path, bad, 0));
        ASK(utimensat(AT_FDCWD, path, omit, 0));
        ASK(utime(path, NULL));
        ASK(utimes(path, NULL));
        ASK(lutimes(path, NULL));
        ASK(setxattr(path, "user.new", "1", 1, 0));
        ASK(lsetxattr(path, "user.new", "1", 1, XATTR_REPLACE));
        ASK(removexattr(path, "user.new"));
        ASK(rename(path, R "/new"));
        ASK(rename(R "/hard1", path));
        ASK(renameat(dir, name, dir, "README"));
        ASK(rename(path, path));
        ASK(link(path, R "/new"));
        ASK(link(R "/hard1", path));
        ASK(linkat(dir, name, dir, "new", AT_SYMLINK_FOLLOW));
        ASK(rename(path, S("out")));
        ASK(link(path, S("out")));
        ASK(rename(S("mine"), path));
        ASK(link(S("mine"), path));
    }
}

static void by_flags(int dir) {
    CALL(syscall(SYS_renameat2, dir, "README", dir, "new", 1));
    CALL(syscall(SYS_renameat2, dir, "README", dir, "hard1", 1));
    CALL(syscall(SYS_renameat2, dir, "README", dir, "hard1", 2));
    CALL(syscall(SYS_renameat2, dir, "README", dir, "new", 2));
    CALL(syscall(SYS_renameat2, dir, "README", dir, "new", 3));
    CALL(syscall(SYS_renameat2, dir, "README", dir, "new", 64));
    CALL(unlinkat(dir, "README", 0x4000));
    CALL(linkat(dir, "README", dir, "new", 0x4000));
    CALL(fchownat(dir, "README", 7, 7, 0x4000));
    CALL(utimensat(dir, "README", NULL, 0x4000));
    CALL(setxattr(R "/README", "user.new", "1", 1, 77));
    CALL(setxattr(R "/README", "nonsense", "1", 1, 0));
    CALL(setxattr(R "/README", "", "1", 1, 0));
    CALL(setxattr(R "/README", "user.new", "1", 100000, 0));
    CALL(mkdirat(54321, "x", 0755));
    CALL(unlinkat(54321, "x", 0));
    CALL(renameat(54321, "x", dir, "y"));
    CALL(mknod(R "/new", S_IFDIR | 0755, 0));
    CALL(mknod(R "/new", S_IFSOCK | 0755, 0));
    CALL(mknod(R "/new", 0170000 | 0755, 0));
    CALL(symlink("", R "/new"));
    CALL(symlink("", R "/README"));
    CALL(linkat(dir, "", dir, "new", AT_EMPTY_PATH));
    CALL(rename(R, S("out")));
    CALL(rename(R, "/cvmfs/other.test.example"));
    CALL(rmdir(R));
    CALL(mkdir("/cvmfs", 0755));
    CALL(rmdir("/cvmfs/twin.test.example/"));
    CALL(chroot(R "/absent"));
    CALL(chroot(R "/README"));
    APART(syscall(SYS_mkdir, (void *)8, 0755));
    APART(syscall(SYS_rename, R "/README", (void *)8));
    APART(syscall(SYS_symlink, (void *)8, R "/new"));
    char name[] = R "/nameXXXXXX", directory[] = R "/nameXXXXXX";
    CALL(mkstemp(name));
    CALL(mkdtemp(directory) != NULL);
}

static void by_descriptor(int dir) {
    int file = open(R "/README", O_RDONLY), path = open(R "/README", O_PATH), link = open(R "/link", O_PATH | O_NOFOLLOW);
    struct stat before, after;
    CALL(fstat(file, &before));
    CALL(fchmod(file, 0777));
    CALL(fchmod(dir, 0777));
    CALL(fchmod(path, 0777));
    long attributes = 0;
    CALL(ioctl(file, FS_IOC_SETFLAGS, &attributes));
    CALL(ioctl(dir, FS_IOC_SETFLAGS, &attributes));
    CALL(ioctl(path, FS_IOC_SETFLAGS, &attributes));
    CALL(fchmod(54321, 0777));
    CALL(fchown(file, 7, 7));
    CALL(fchown(path, 7, 7));
    CALL(fchown(dir, 7, 7));
    CALL(fchownat(file, "", 7, 7, AT_EMPTY_PATH));
    CALL(fchownat(path, "", 7, 7, AT_EMPTY_PATH));
    CALL(fchownat(link, "", 7, 7, AT_EMPTY_PATH));
    CALL(futimens(file, NULL));
    CALL(futimens(path, NULL));
    CALL(futimens(dir, NULL));
    CALL(futimes(file, NULL));
    CALL(syscall(SYS_utimensat, file, NULL, NULL, 0));
    CALL(utimensat(path, "", NULL, AT_EMPTY_PATH));
    CALL(ftruncate(file, 0));
    CALL(ftruncate(path, 0));
    CALL(ftruncate(dir, 0));
    CALL(fallocate(file, 0, 0, 100));
    CALL(fsetxattr(file, "user.new", "1", 1, 0));
    CALL(fsetxattr(path, "user.new", "1", 1, 0));
    CALL(fremovexattr(file, "user.new"));
    CALL(write(file, "x", 1));
    CALL(pwrite(file, "x", 1, 0));
    CALL(write(path, "x", 1));
    CALL(fsync(file));
    CALL(fdatasync(dir));
    CALL(syscall(SYS_fchmodat, dir, "README", 0777));
    CALL(syscall(452, dir, "README", 0777, 0));
    CALL(syscall(452, dir, "link", 0777, AT_SYMLINK_NOFOLLOW));
    CALL(syscall(452, file, "", 0777, AT_EMPTY_PATH));
    char proc[40];
    sprintf(proc, "/proc/self/fd/%d", file);
    CALL(chmod(proc, 0777));
    CALL(chown(proc, 7, 7));
    CALL(truncate(proc, 0));
    CALL(utimensat(AT_FDCWD, proc, NULL, 0));
    CALL(setxattr(proc, "user.new", "1", 1, 0));
    CALL(linkat(AT_FDCWD, proc, AT_FDCWD, S("out"), AT_SYMLINK_FOLLOW));
    CALL(access(proc, W_OK));
    sprintf(proc, "/proc/self/fd/%d", dir);
    CALL(chmod(proc, 0777));
    strcat(proc, "/new");
    CALL(mkdir(proc, 0755));
    CALL(open(proc, O_CREAT | O_RDWR, 0644));
    CALL(fstat(file, &after));
    CALL(same_file(&before, &after));
    close(file), close(path), close(link);
}

void probe_changes(void) {
    int dir = open(R, O_RDONLY | O_DIRECTORY);
    int mine = open(S("mine"), O_CREAT | O_RDWR, 0644);
    write(mine, "mine", 4);
    by_name(dir);
    by_flags(dir);
    by_descriptor(dir);
    /* None of it did anything. */
    struct stat of_mine;
    CALL(fstat(mine, &of_mine) == 0 && of_mine.st_size == 4 && of_mine.st_nlink == 1);
    CALL(access(S("out"), F_OK));
    STAT(stat(R "/README", &st));
    STAT(stat(R, &st));
    STAT(stat(R "/bin", &st));
    CALL(access(R "/new", F_OK));
    close(mine), close(dir);
    unlink(S("mine"));
}
