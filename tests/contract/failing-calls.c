#include "contract/failing-calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Of the one thread that arms. */
static pthread_t armed_thread;
static int countdown;
static const char *failed_call;

void failing_calls_arm(int nth)
{
    armed_thread = pthread_self();
    failed_call = NULL;
    countdown = nth;
}

bool failing_calls_disarm(const char **name)
{
    countdown = 0;
    *name = failed_call;
    return failed_call;
}

/* Libraries may give up where they can't get something; the program may not. */
static bool is_ours(void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname &&
           (strstr(info.dli_fname, "librhea-test") || strstr(info.dli_fname, "/modules/"));
}

static bool fails(const char *name, void *caller, int error)
{
    if (!countdown || !pthread_equal(pthread_self(), armed_thread) || !is_ours(caller)) {
        return false;
    }
    if (--countdown) {
        return false;
    }
    failed_call = name;
    errno = error;
    return true;
}

/* With 64-bit file offsets the names are these. RESULT NAME(PARAMETERS), forwarded as NAME
 * ARGUMENTS unless it is to fail. */
#define CALL(result, name, parameters, arguments, failure, error)            \
    __attribute__((visibility("default"))) result name parameters;           \
    result name parameters                                                   \
    {                                                                        \
        static result(*real) parameters;                                     \
        if (!real) {                                                         \
            real = (result(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name); \
        }                                                                    \
        if (fails(#name, __builtin_return_address(0), error)) {              \
            return failure;                                                  \
        }                                                                    \
        return real arguments;                                               \
    }

CALL(int, eventfd, (unsigned count, int flags), (count, flags), -1, EMFILE)
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE)
CALL(int, socketpair, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds), -1, EMFILE)
CALL(int, pipe2, (int fds[2], int flags), (fds, flags), -1, EMFILE)
CALL(int, timerfd_create, (int clock, int flags), (clock, flags), -1, EMFILE)
CALL(int, epoll_create1, (int flags), (flags), -1, EMFILE)
CALL(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len), -1,
     EADDRINUSE)
CALL(int, listen, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE)
CALL(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len), -1,
     ECONNREFUSED)
CALL(int, ftruncate64, (int fd, off_t size), (fd, size), -1, ENOSPC)
CALL(int, posix_fallocate64, (int fd, off_t from, off_t size), (fd, from, size), ENOSPC, ENOSPC)
CALL(int, posix_openpt, (int flags), (flags), -1, EMFILE)
CALL(int, dup, (int fd), (fd), -1, EMFILE)
CALL(void *, mmap64, (void *addr, size_t len, int prot, int flags, int fd, off_t offset),
     (addr, len, prot, flags, fd, offset), MAP_FAILED, ENOMEM)
CALL(int, mprotect, (void *addr, size_t len, int prot), (addr, len, prot), -1, ENOMEM)

/* The mode is there only where a file may be made. */
#define OPEN(name, head, arguments)                                             \
    __attribute__((visibility("default"))) int name(head, int flags, ...);      \
    int name(head, int flags, ...)                                              \
    {                                                                           \
        va_list list;                                                           \
        va_start(list, flags);                                                  \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, int) : 0;     \
        va_end(list);                                                           \
        if (fails(#name, __builtin_return_address(0), EMFILE)) {                \
            return -1;                                                          \
        }                                                                       \
        static int (*real)(head, int, ...);                                     \
        if (!real) {                                                            \
            real = (int (*)(head, int, ...))(uintptr_t)dlsym(RTLD_NEXT, #name); \
        }                                                                       \
        return real arguments;                                                  \
    }

OPEN(open64, const char *path, (path, flags, mode))
