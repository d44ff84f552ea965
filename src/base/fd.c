#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void fd_close(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        close(fd);
        errno = saved;
    }
}

bool fd_set_nonblock(int fd, bool nonblock, Error **errp)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) {
        flags = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        if (fcntl(fd, F_SETFL, flags) == 0) {
            return true;
        }
    }
    error_set_errno(errp, errno, "cannot change blocking mode of file descriptor %d", fd);
    return false;
}

bool fd_set_cloexec(int fd, bool cloexec, Error **errp)
{
    if (fcntl(fd, F_SETFD, cloexec ? FD_CLOEXEC : 0) == 0) {
        return true;
    }
    error_set_errno(errp, errno, "cannot change close-on-exec of file descriptor %d", fd);
    return false;
}

bool fd_read_all(int fd, void *buf, size_t len, Error **errp)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, (char *)buf + done, len - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            error_set_errno(errp, errno, "cannot read");
            return false;
        }
        if (n == 0) {
            error_set(errp, "unexpected end of file after %zu of %zu bytes", done, len);
            return false;
        }
        done += n;
    }
    return true;
}

bool fd_write_all(int fd, const void *buf, size_t len, Error **errp)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, (const char *)buf + done, len - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            error_set_errno(errp, errno, "cannot write");
            return false;
        }
        done += n;
    }
    return true;
}

ssize_t fd_sendmsg(int sock, const struct iovec *iov, unsigned count, const int *fds, unsigned nfds)
{
    assert(nfds <= FD_PASS_MAX);
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    } control;
    struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = count };
    if (nfds) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    ssize_t n;
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* Take the descriptors of one control message: into fds while there is room, the rest is closed. */
static bool fd_take(const struct cmsghdr *c, int *fds, unsigned *used, unsigned room)
{
    unsigned n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    bool fits = true;
    for (unsigned i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        if (*used < room) {
            fds[(*used)++] = fd;
        } else {
            fd_close(fd);
            fits = false;
        }
    }
    return fits;
}

ssize_t fd_recvmsg(int sock, const struct iovec *iov, unsigned count, int *fds, unsigned *nfds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    } control;
    struct msghdr msg = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = count,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n;
    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return n;
    }
    unsigned room = nfds ? *nfds : 0, used = 0;
    bool fits = !(msg.msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            fits &= fd_take(c, fds, &used, room);
        }
    }
    if (!fits) {
        while (used) {
            fd_close(fds[--used]);
        }
        if (nfds) {
            *nfds = 0;
        }
        errno = EMSGSIZE;
        return -1;
    }
    if (nfds) {
        *nfds = used;
    }
    return n;
}
