/* Reads through io_uring where it can, else by the plain call: as liburing's users do. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argc;
    struct io_uring ring;
    char buffer[4096];
    int made = io_uring_queue_init(8, &ring, 0), n = -1;
    if (made == 0) {
        struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
        struct io_uring_cqe *done;
        io_uring_prep_openat(entry, AT_FDCWD, argv[1], O_RDONLY, 0);
        io_uring_submit(&ring);
        io_uring_wait_cqe(&ring, &done);
        int fd = done->res;
        io_uring_cqe_seen(&ring, done);
        n = fd < 0 ? fd : (int)read(fd, buffer, sizeof buffer);
    } else {
        int fd = open(argv[1], O_RDONLY);
        n = read(fd, buffer, sizeof buffer);
    }
    printf("%d bytes\n", n);
    return 0;
}
