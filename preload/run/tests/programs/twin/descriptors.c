/* Descriptors, where they go and what can be learnt from them. */
#include "twin.h"
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>

static void spelled(const char *label, const char *link) {
    char target[PATH_MAX];
    errno = 0;
    ssize_t length = readlink(link, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    say(label, "%s", length < 0 ? error_name(errno) : target);
}

static void described(const char *label, int fd) {
    char link[64], line[20] = "";
    struct stat st;
    sprintf(link, "/proc/self/fd/%d", fd);
    spelled(label, link);
    errno = 0;
    stated(label, fstat(fd, &st), &st);
    errno = 0;
    ssize_t got = pread(fd, line, 10, 0);
    say(label, "%zd %s '%s'", got, got < 0 ? error_name(errno) : "", line);
}

static void in_proc(void) {
    static const struct { const char *path; int flags; } what[] = {
        {R "/README", O_RDONLY}, {R "/big", O_RDONLY}, {R "/dir", O_RDONLY | O_DIRECTORY}, {R, O_RDONLY}, {R "/README", O_PATH}, {R "/dir", O_PATH}, {R "/link", O_PATH | O_NOFOLLOW},
        {R "/nested/inner/file", O_RDONLY}, {R "/abslink", O_RDONLY}, {R "/empty", O_RDONLY}, {R "/hard2", O_RDONLY}, {"/cvmfs", O_RDONLY}, {R "/bin/hello", O_RDONLY},
    };
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        int fd = open(what[i].path, what[i].flags), *again = &(int){0};
        char link[64], path[100], label[200];
        struct stat a, b;
        sprintf(link, "/proc/self/fd/%d", fd);
#define LABEL(text) (sprintf(label, "%s %#o: %s", what[i].path, what[i].flags, text), errno = 0, label)
        LABEL("readlink");
        spelled(label, link);
        LABEL("stat");
        stated(label, stat(link, &a), &a);
        LABEL("fstat is the same");
        said(label, fstat(fd, &b) == 0 && stat(link, &a) == 0 && same_file(&a, &b));
        LABEL("lstat is a link");
        said(label, lstat(link, &a) == 0 && S_ISLNK(a.st_mode));
        LABEL("reopen to read");
        opened(label, open(link, O_RDONLY));
        LABEL("reopen to write");
        opened(label, open(link, O_WRONLY));
        LABEL("reopen to read and write");
        opened(label, open(link, O_RDWR));
        LABEL("reopen to create");
        opened(label, open(link, O_CREAT | O_RDONLY, 0644));
        LABEL("reopen to truncate");
        opened(label, open(link, O_TRUNC | O_RDONLY, 0644));
        LABEL("reopen the path");
        opened(label, open(link, O_PATH));
        LABEL("reopen without following");
        opened(label, open(link, O_NOFOLLOW));
        LABEL("access to write");
        said(label, access(link, W_OK));
        LABEL("access to read");
        said(label, access(link, R_OK));
        sprintf(path, "%s/sub/leaf", link);
        LABEL("below");
        opened(label, open(path, O_RDONLY));
        sprintf(path, "%s/..", link);
        LABEL("above");
        opened(label, open(path, O_RDONLY | O_DIRECTORY));
        sprintf(path, "/dev/fd/%d", fd);
        LABEL("dev");
        opened(label, open(path, O_RDONLY));
        sprintf(path, "/proc/%d/fd/%d", getpid(), fd);
        LABEL("by number");
        spelled(label, path);
        sprintf(path, "/proc/thread-self/fd/%d", fd);
        LABEL("by thread");
        spelled(label, path);
        LABEL("realpath");
        char real[PATH_MAX];
        char *r = realpath(link, real);
        say(label, "%s", r ? real : error_name(errno));
        (void)again;
        close(fd);
    }
    chdir(R "/dir");
    spelled("cwd", "/proc/self/cwd");
    OPEN(open("/proc/self/cwd", O_RDONLY | O_DIRECTORY));
    OPEN(open("/proc/self/cwd/sub/leaf", O_RDONLY));
    OPEN(open("/proc/self/cwd/../README", O_RDONLY));
    STAT(stat("/proc/self/cwd", &st));
    OPEN(open("/proc/self/cwd/new", O_CREAT | O_RDWR, 0644));
    chdir("/");
}

static void copies(void) {
    int fd = open(R "/README", O_RDONLY);
    lseek(fd, 100, SEEK_SET);
    int a = dup(fd), b = dup2(fd, 77), c = fcntl(fd, F_DUPFD_CLOEXEC, 90), d = dup3(fd, 78, O_CLOEXEC);
    CALL(lseek(a, 0, SEEK_CUR));
    close(fd);
    described("dup", a);
    described("dup2", b);
    described("F_DUPFD_CLOEXEC", c);
    described("dup3", d);
    CALL(fcntl(c, F_GETFD));
    CALL(fcntl(a, F_GETFL) & O_ACCMODE);
    CALL(fcntl(a, F_GETFL) & O_NOFOLLOW);
    if (apart("fork")) { described("in a child", a); CALL(lseek(a, 7, SEEK_SET)); leave(); }
    CALL(lseek(b, 0, SEEK_CUR));

    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    if (apart("child sends")) {
        int sent = open(R "/big", O_RDONLY), dir = open(R "/dir", O_RDONLY | O_DIRECTORY);
        union { struct cmsghdr head; char space[CMSG_SPACE(2 * sizeof(int))]; } control = {{0}};
        struct iovec byte = {"x", 1};
        struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(2 * sizeof(int));
        memcpy(CMSG_DATA(c), (int[]){sent, dir}, 2 * sizeof(int));
        CALL(sendmsg(pair[0], &message, 0));
        leave();
    }
    union { struct cmsghdr head; char space[CMSG_SPACE(2 * sizeof(int))]; } control;
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    CALL(recvmsg(pair[1], &message, 0));
    int got[2] = {-1, -1};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head) memcpy(got, CMSG_DATA(head), sizeof got);
    described("received file", got[0]);
    described("received directory", got[1]);
    struct stat one, two;
    CALL(fstat(got[0], &one) == 0 && stat(R "/big", &two) == 0 && same_file(&one, &two));
    OPEN(openat(got[1], "sub/leaf", O_RDONLY));
    OPEN(openat(got[1], "../README", O_RDONLY));
    CALL(fchdir(got[1]));
    spelled("cwd", "/proc/self/cwd");
    chdir("/");
    close(got[0]), close(got[1]), close(pair[0]), close(pair[1]), close(a), close(b), close(c), close(d);
}

static void locks(void) {
    int fd = open(R "/README", O_RDONLY), other = open(R "/README", O_RDONLY), path = open(R "/README", O_PATH);
    CALL(flock(fd, LOCK_SH | LOCK_NB));
    CALL(flock(other, LOCK_SH | LOCK_NB));
    CALL(flock(other, LOCK_EX | LOCK_NB));
    CALL(flock(fd, LOCK_UN) | flock(other, LOCK_UN));
    CALL(flock(other, LOCK_EX | LOCK_NB));
    CALL(flock(fd, LOCK_SH | LOCK_NB));
    CALL(flock(other, LOCK_UN));
    CALL(flock(path, LOCK_SH));
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    CALL(fcntl(fd, F_SETLK, &lock));
    lock.l_type = F_WRLCK;
    CALL(fcntl(fd, F_SETLK, &lock));
    CALL(fcntl(fd, F_GETLK, &lock));
    lock.l_type = F_UNLCK;
    CALL(fcntl(fd, F_SETLK, &lock));
    lock.l_type = F_RDLCK, lock.l_pid = 0;
    CALL(fcntl(fd, F_OFD_SETLK, &lock));
    CALL(lockf(fd, F_TEST, 5));
    close(fd), close(other), close(path);
}

static void special(void) {
    int dir = open(R, O_RDONLY | O_DIRECTORY);
    int watcher = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    CALL(inotify_add_watch(watcher, R "/dir", IN_ALL_EVENTS) > 0);
    CALL(inotify_add_watch(watcher, R "/README", IN_MODIFY | IN_DELETE_SELF) > 0);
    CALL(inotify_add_watch(watcher, R "/absent", IN_ALL_EVENTS) > 0);
    CALL(inotify_add_watch(watcher, R "/README", IN_ONLYDIR | IN_ALL_EVENTS) > 0);
    CALL(inotify_add_watch(watcher, R "/link", IN_DONT_FOLLOW | IN_MODIFY) > 0);
    CALL(inotify_add_watch(watcher, R "/README", 0) > 0);
    CALL(inotify_add_watch(54321, R "/README", IN_MODIFY) > 0);
    char events[1000];
    CALL(read(watcher, events, sizeof events));
    close(watcher);
#ifdef __GLIBC__
    struct { struct file_handle head; char bytes[128]; } handle;
    int mount;
    handle.head.handle_bytes = 0;
    CALL(name_to_handle_at(dir, "absent", &handle.head, &mount, 0));
    handle.head.handle_bytes = 128;
    CALL(name_to_handle_at(dir, "README", &handle.head, &mount, 0) == 0);
#endif
    char parameters[120] = {0};
    int ring = syscall(425, 2, parameters);
    say("io_uring_setup", "%s", ring < 0 ? error_name(errno) : "a ring");
    if (ring >= 0) close(ring);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = R "/new"};
    int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    CALL(bind(socket_, (void *)&address, sizeof address));
    strcpy(address.sun_path, R "/README");
    CALL(bind(socket_, (void *)&address, sizeof address));
    CALL(connect(socket_, (void *)&address, sizeof address));
    strcpy(address.sun_path, R "/absent");
    CALL(connect(socket_, (void *)&address, sizeof address));
    close(socket_), close(dir);
}

void probe_descriptors(void) {
    in_proc();
    copies();
    locks();
    special();
}
