/* Marks a directory by fanotify, which without rights or file system support is refused, and goes on. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argc;
    int group = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_NONBLOCK, O_RDONLY);
    int marked = fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN | FAN_CREATE | FAN_ONDIR, AT_FDCWD, argv[1]);
    printf("mark: %s\n", marked == 0 ? "made" : strerror(errno));
    close(group);
    return access(argv[1], R_OK);
}
