/* File descriptors: whole reads and writes, passing over unix sockets, ownership. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/error.h"

/* The most descriptors one message may carry (vhost-user: 8 regions; SCM_MAX_FD is 253). */
#define FD_PASS_MAX 32

/* close() that keeps errno; -1 is allowed. */
void fd_close(int fd);

static inline void fd_cleanup(int *fd)
{
    fd_close(*fd);
}

/* For locals: `FD_AUTO fd = -1;` is closed when it goes out of scope. */
#define FD_AUTO UNUSED __attribute__((cleanup(fd_cleanup))) int

/* Give up ownership: returns *fd and leaves -1. */
static inline int fd_steal(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

MUST_CHECK bool fd_set_nonblock(int fd, bool nonblock, Error **errp);
MUST_CHECK bool fd_set_cloexec(int fd, bool cloexec, Error **errp);

/* All bytes or an error; retries EINTR. fd must be blocking. read: false with "unexpected end of
 * file" on a short file. */
MUST_CHECK bool fd_read_all(int fd, void *buf, size_t len, Error **errp);
MUST_CHECK bool fd_write_all(int fd, const void *buf, size_t len, Error **errp);

/*
 * sendmsg/recvmsg with SCM_RIGHTS. Return the bytes moved, 0 at end of file (recv), or -1 with
 * errno. Received descriptors are close-on-exec and owned by the caller; *nfds is the room on
 * entry and the count on return; more than fit are closed and errno is EMSGSIZE.
 */
ssize_t fd_sendmsg(int sock, const struct iovec *iov, unsigned count, const int *fds,
                   unsigned nfds);
ssize_t fd_recvmsg(int sock, const struct iovec *iov, unsigned count, int *fds, unsigned *nfds);

#endif
