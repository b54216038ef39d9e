/* The working directory, and what names are made of. */
#include "twin.h"

static void here(const char *label) {
    char buffer[PATH_MAX], link[PATH_MAX];
    errno = 0;
    char *cwd = getcwd(buffer, sizeof buffer);
    ssize_t length = readlink("/proc/self/cwd", link, sizeof link - 1);
    link[length < 0 ? 0 : length] = 0;
    say(label, "%s and %s", cwd ? cwd : error_name(errno), link);
}

#define GO(call) do { CALL_AS(#call, call); here("then"); } while (0)

void probe_names(void) {
    char buffer[PATH_MAX];
    int dir = open(R "/dir", O_RDONLY | O_DIRECTORY), file = open(R "/README", O_RDONLY), path = open(R "/bin", O_PATH);
    int native = open("/usr", O_PATH | O_DIRECTORY);
    GO(chdir(R));
    GO(chdir("dir"));
    OPEN(open("sub/leaf", O_RDONLY));
    OPEN(open("../README", O_RDONLY));
    OPEN(open("../../twin.test.example/README", O_RDONLY));
    OPEN(open("leaf", O_RDWR | O_CREAT, 0644));
    STAT(stat(".", &st));
    STAT(lstat("..", &st));
    STAT(stat("../../..", &st));
    GO(chdir("sub"));
    GO(chdir(".."));
    GO(chdir("../.."));
    GO(chdir(".."));
    OPEN(open("cvmfs/twin.test.example/README", O_RDONLY));
    GO(chdir("cvmfs/twin.test.example/dirlink"));
    GO(chdir("sub/../sub/./"));
    GO(chdir(R "/absent"));
    GO(chdir(R "/README"));
    GO(chdir(R "/dangling"));
    GO(chdir(R "/loop1"));
    GO(chdir(R "/locked"));
    GO(chdir(""));
    APART(syscall(SYS_chdir, (void *)8));
    GO(fchdir(dir));
    OPEN(open("sub/leaf", O_RDONLY));
    GO(fchdir(path));
    OPEN(open("hello", O_RDONLY));
    OPEN(openat(AT_FDCWD, "../README", O_RDONLY));
    GO(fchdir(file));
    GO(fchdir(54321));
    GO(fchdir(native));
    OPEN(open("../cvmfs/twin.test.example/README", O_RDONLY));
    GO(chdir("../cvmfs"));
    OPEN(open("twin.test.example/README", O_RDONLY));
    STAT(stat("twin.test.example", &st));
    STAT(stat("absent.test.example", &st));
    GO(chdir(R "/nested/inner"));
    OPEN(open("file", O_RDONLY));
    GO(chdir("../.."));
    int length = strlen(R) + 1;
    chdir(R);
    CALL(getcwd(buffer, length) != NULL);
    CALL(getcwd(buffer, length - 1) != NULL);
    CALL(getcwd(buffer, 1) != NULL);
    CALL(getcwd(buffer, 0) != NULL);
    CALL(syscall(SYS_getcwd, buffer, (long)sizeof buffer));
    CALL(syscall(SYS_getcwd, buffer, (long)length));
    CALL(syscall(SYS_getcwd, buffer, (long)length - 1));
    CALL(syscall(SYS_getcwd, buffer, 0L));
    APART(syscall(SYS_getcwd, (void *)8, 100L));
    char *fresh = getcwd(NULL, 0);
    say("getcwd NULL", "%s", fresh);
    free(fresh);
    if (apart("child")) { here("a child"); chdir("bin"); here("a child elsewhere"); leave(); }
    here("the parent");

    /* Names that go in and out of both worlds. */
    static const char *names[] = {
        R "/dirlink/sub/leaf", R "/link", R "/abslink", R "/outlink", R "/dangling", R "/absent", R "/README/x", R "/loop1", R "/bin/../dir/./sub/..", R "/../../etc/passwd",
        "/proc/self/root" R "/link", "/cvmfs/", "/cvmfs/..", ".", "..", "dirlink", "absent/..", "", R "/nested/inner/../inner/file",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char label[200];
        sprintf(label, "realpath %s", names[i]);
        errno = 0;
        char *real = realpath(names[i], buffer);
        say(label, "%s", real ? real : error_name(errno));
    }

    /* Links of the host that lead in. */
    symlink(R, S("in"));
    symlink(R "/link", S("in-file"));
    symlink("in/dir", S("in-in"));
    symlink("/cvmfs", S("above"));
    OPEN(open(S("in"), O_RDONLY | O_DIRECTORY));
    OPEN(open(S("in/README"), O_RDONLY));
    OPEN(open(S("in-file"), O_RDONLY));
    OPEN(open(S("in-file"), O_RDONLY | O_NOFOLLOW));
    OPEN(open(S("in-in/sub/leaf"), O_RDONLY));
    OPEN(open(S("above/twin.test.example/README"), O_RDONLY));
    OPEN(open(S("in/../README"), O_RDONLY));
    OPEN(open(S("in/README"), O_RDWR));
    OPEN(open(S("in/absent"), O_RDWR | O_CREAT, 0644));
    STAT(stat(S("in/secret"), &st));
    STAT(stat(S("in-file"), &st));
    CALL(readlink(S("in"), buffer, sizeof buffer));
    CALL(readlink(S("in/link"), buffer, sizeof buffer));
    CALL(mkdir(S("in/absent"), 0755));
    GO(chdir(S("in-in")));
    GO(chdir(".."));
    chdir(S(""));
    OPEN(open("in/README", O_RDONLY));
    CALL(unlink(S("in")) | unlink(S("in-file")) | unlink(S("in-in")) | unlink(S("above")));
    close(dir), close(file), close(path), close(native);

    /* A working directory that is a long way down. */
    char deep[PATH_MAX] = R "/deep";
    int count = 0;
    for (chdir(deep); chdir("ddddddddddddddddddddddddddddddddddddddd") == 0; count++) {}
    say("deep", "%d", count);
    here("deep");
    OPEN(open("bottom", O_RDONLY));
    for (int i = 0; i < count; i++) chdir("..");
    here("up again");
}
