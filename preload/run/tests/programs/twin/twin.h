/* What the files of the twin program share. Each probe prints one line, `label => result`. */
#ifndef TWIN_H
#define TWIN_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* The repository. */
#define R "/cvmfs/twin.test.example"

/* A path in a directory of the local disk that may be changed. */
const char *S(const char *name);

const char *error_name(int number);
void say(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number, or -1 and errno. */
void said(const char *label, long result);
/* Success or errno; what was opened is described, then closed. */
void opened(const char *label, int fd);
/* Type, permissions, owner, size, links and time, as far as they are the same on every file system. */
const char *facts(const struct stat *st);
void stated(const char *label, int result, const struct stat *st);
int same_file(const struct stat *a, const struct stat *b);
/* Forks; true in the child. The child ends with `leave`, the parent has waited when this returns false. */
int apart(const char *label);
void leave(void) __attribute__((noreturn));

/* What a call answers. A kernel that begins a path anew, as when something is mounted meanwhile, goes on counting links:
 * where it says that there are too many it is asked again. */
#define ANSWER(expression) ({ \
        long a_; int n_ = 50; \
        do { errno = 0; a_ = (long)(expression); } while (a_ < 0 && errno == ELOOP && --n_); \
        a_; \
    })
/* The text of the call is its label. */
#define CALL_AS(label, expression) do { long r_ = ANSWER(expression); said(label, r_); } while (0)
#define CALL(expression) CALL_AS(#expression, expression)
#define OPEN(expression) do { int r_ = (int)ANSWER(expression); opened(#expression, r_); } while (0)
#define STAT(expression) do { struct stat st; memset(&st, 0, sizeof st); int r_ = (int)ANSWER(expression); stated(#expression, r_, &st); } while (0)
/* In a process of its own, because it may crash. */
#define APART(expression) do { if (apart(#expression)) { CALL_AS(#expression, expression); leave(); } } while (0)

void probe_open(void);
void probe_stat(void);
void probe_names(void);
void probe_directories(void);
void probe_changes(void);
void probe_descriptors(void);
void probe_reading(void);
void probe_exec(void);

#endif
