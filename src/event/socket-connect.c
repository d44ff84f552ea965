/*
 * Connecting without blocking.
 *
 * inet: literal addresses at once; names in a helper thread, whose result comes back to the loop;
 * then each address in turn, waiting for writability. unix: a full backlog (EAGAIN) is tried again
 * by timer, as the kernel gives no event for it.
 */
#include "event/socket-internal.h"

#include <errno.h>
#include <sys/stat.h>
#include <string.h>

#include "base/fd.h"
#include "base/fdset.h"
#include "base/thread.h"
#include "event/clock.h"

#define BACKLOG_RETRY_NS (10 * NS_PER_MS)

typedef struct Lookup {
    SocketAddr addr;
    EventLoop *loop;
    struct addrinfo *list;
    Error *err;
    GMutex lock;
    SocketConnect *attempt; /* lock; NULL: cancelled, and the loop may be gone */
} Lookup;

static void lookup_free(Lookup *lookup)
{
    if (lookup->list) {
        freeaddrinfo(lookup->list);
    }
    error_free(lookup->err);
    socket_addr_release(&lookup->addr);
    g_mutex_clear(&lookup->lock);
    g_free(lookup);
}

struct SocketConnect {
    EventLoop *loop;
    SocketConnectFn *fn;
    void *opaque;
    SocketAddr addr;
    int fd;
    FdWatch *watch;
    Timer *retry;
    Lookup *lookup; /* belongs to its thread */
    struct addrinfo *list, *next;
    Error *last; /* why the previous address failed */
};

typedef enum Progress { CONNECTED, GOING_ON, FAILED } Progress;

void socket_connect_cancel(SocketConnect *attempt)
{
    if (!attempt) {
        return;
    }
    if (attempt->lookup) {
        g_mutex_lock(&attempt->lookup->lock);
        attempt->lookup->attempt = NULL;
        g_mutex_unlock(&attempt->lookup->lock);
    }
    fd_watch_free(attempt->watch);
    timer_free(attempt->retry);
    fd_close(attempt->fd);
    if (attempt->list) {
        freeaddrinfo(attempt->list);
    }
    error_free(attempt->last);
    socket_addr_release(&attempt->addr);
    g_free(attempt);
}

static void finish(SocketConnect *attempt, Error *err)
{
    SocketConnectFn *fn = attempt->fn;
    void *opaque = attempt->opaque;
    int fd = err ? -1 : fd_steal(&attempt->fd);
    socket_connect_cancel(attempt);
    fn(opaque, fd, err);
}

static void set_failure(SocketConnect *attempt, int errnum)
{
    g_autofree char *name = socket_addr_describe(&attempt->addr);
    error_free(attempt->last);
    attempt->last = NULL;
    struct stat st;
    if (errnum == ECONNREFUSED && attempt->addr.kind == SOCKET_UNIX && attempt->addr.path &&
        stat(attempt->addr.path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        error_set(&attempt->last, "Failed to connect to '%s': it is not a socket",
                  attempt->addr.path);
        return;
    }
    error_set_errno(&attempt->last, errnum, "Failed to connect to '%s'",
                    attempt->addr.kind == SOCKET_UNIX ? attempt->addr.path : name);
}

static void writable(void *opaque);

static Progress start_one(SocketConnect *attempt, const struct sockaddr *sa, socklen_t len)
{
    fd_close(attempt->fd);
    attempt->fd = socket_open(sa->sa_family, SOCK_STREAM, attempt->last ? NULL : &attempt->last);
    if (attempt->fd < 0) {
        return FAILED;
    }
    if (connect(attempt->fd, sa, len) == 0) {
        return CONNECTED;
    }
    if (errno == EINPROGRESS) {
        attempt->watch = fd_watch_new(attempt->loop, attempt->fd, NULL, writable, attempt);
        return GOING_ON;
    }
    set_failure(attempt, errno);
    return FAILED;
}

static Progress start_unix(SocketConnect *attempt);

static void retry_unix(void *opaque)
{
    SocketConnect *attempt = opaque;
    Progress progress = start_unix(attempt);
    if (progress != GOING_ON) {
        finish(attempt, progress == FAILED ? g_steal_pointer(&attempt->last) : NULL);
    }
}

static Progress start_unix(SocketConnect *attempt)
{
    struct sockaddr_un un;
    socklen_t len;
    if (!socket_fill_unix(&attempt->addr, &un, &len, &attempt->last)) {
        return FAILED;
    }
    Progress progress = start_one(attempt, (struct sockaddr *)&un, len);
    if (progress == FAILED && error_errno(attempt->last) == EAGAIN) {
        error_free(g_steal_pointer(&attempt->last));
        if (!attempt->retry) {
            attempt->retry = timer_new(attempt->loop, CLK_REALTIME, retry_unix, attempt);
        }
        timer_set(attempt->retry, clock_now(CLK_REALTIME) + BACKLOG_RETRY_NS);
        return GOING_ON;
    }
    return progress;
}

static Progress start_next(SocketConnect *attempt)
{
    while (attempt->next) {
        struct addrinfo *ai = attempt->next;
        attempt->next = ai->ai_next;
        Progress progress = start_one(attempt, ai->ai_addr, ai->ai_addrlen);
        if (progress != FAILED) {
            return progress;
        }
    }
    return FAILED;
}

static void writable(void *opaque)
{
    SocketConnect *attempt = opaque;
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    fd_watch_free(attempt->watch);
    attempt->watch = NULL;
    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &errnum, &len)) {
        errnum = errno;
    }
    if (!errnum) {
        finish(attempt, NULL);
        return;
    }
    set_failure(attempt, errnum);
    Progress progress = start_next(attempt);
    if (progress != GOING_ON) {
        finish(attempt, progress == FAILED ? g_steal_pointer(&attempt->last) : NULL);
    }
}

/* --- Names --- */

static void lookup_done(void *opaque)
{
    Lookup *lookup = opaque;
    g_mutex_lock(&lookup->lock);
    SocketConnect *attempt = lookup->attempt;
    g_mutex_unlock(&lookup->lock);
    if (!attempt) {
        lookup_free(lookup);
        return;
    }
    attempt->lookup = NULL;
    attempt->list = attempt->next = g_steal_pointer(&lookup->list);
    attempt->last = g_steal_pointer(&lookup->err);
    lookup_free(lookup);
    Progress progress = start_next(attempt);
    if (progress != GOING_ON) {
        finish(attempt, progress == FAILED ? g_steal_pointer(&attempt->last) : NULL);
    }
}

static void *lookup_thread(void *opaque)
{
    Lookup *lookup = opaque;
    thread_set_name(pthread_self(), "lookup");
    lookup->list = socket_resolve(&lookup->addr, false, SOCK_STREAM, 0, NULL, &lookup->err);
    g_mutex_lock(&lookup->lock);
    bool wanted = lookup->attempt != NULL;
    if (wanted) {
        bh_run_once(lookup->loop, lookup_done, lookup);
    }
    g_mutex_unlock(&lookup->lock);
    if (!wanted) {
        lookup_free(lookup);
    }
    return NULL;
}

static Progress start_inet(SocketConnect *attempt)
{
    int failure;
    const char *host = attempt->addr.host;
    bool literal = attempt->addr.numeric || !host || !host[0];
    attempt->list = socket_resolve(&attempt->addr, false, SOCK_STREAM, AI_NUMERICHOST, &failure,
                                   &attempt->last);
    if (!attempt->list && failure == EAI_NONAME && !literal) {
        error_free(g_steal_pointer(&attempt->last));
        Lookup *lookup = g_new0(Lookup, 1);
        socket_addr_copy(&lookup->addr, &attempt->addr);
        lookup->loop = attempt->loop;
        g_mutex_init(&lookup->lock);
        lookup->attempt = attempt;
        attempt->lookup = lookup;
        g_thread_unref(g_thread_new(NULL, lookup_thread, lookup));
        return GOING_ON;
    }
    attempt->next = attempt->list;
    return attempt->list ? start_next(attempt) : FAILED;
}

static Progress start_vsock(SocketConnect *attempt)
{
    struct sockaddr_vm vm;
    if (!socket_fill_vsock(&attempt->addr, &vm, &attempt->last)) {
        return FAILED;
    }
    return start_one(attempt, (struct sockaddr *)&vm, sizeof(vm));
}

static Progress start_fd(SocketConnect *attempt)
{
    attempt->fd = fd_from_text(attempt->addr.fd, &attempt->last);
    if (attempt->fd < 0 || !fd_set_nonblock(attempt->fd, true, &attempt->last) ||
        !fd_set_cloexec(attempt->fd, true, &attempt->last)) {
        return FAILED;
    }
    return CONNECTED;
}

int socket_connect(const SocketAddr *addr, EventLoop *loop, SocketConnect **attempt_out,
                   SocketConnectFn *fn, void *opaque, Error **errp)
{
    SocketConnect *attempt = g_new0(SocketConnect, 1);
    attempt->loop = loop;
    attempt->fn = fn;
    attempt->opaque = opaque;
    attempt->fd = -1;
    socket_addr_copy(&attempt->addr, addr);
    *attempt_out = NULL;

    Progress progress = addr->kind == SOCKET_UNIX    ? start_unix(attempt)
                        : addr->kind == SOCKET_INET  ? start_inet(attempt)
                        : addr->kind == SOCKET_VSOCK ? start_vsock(attempt)
                                                     : start_fd(attempt);
    int fd = -1;
    switch (progress) {
    case GOING_ON:
        *attempt_out = attempt;
        return -1;
    case CONNECTED:
        fd = fd_steal(&attempt->fd);
        break;
    case FAILED:
        error_propagate(errp, g_steal_pointer(&attempt->last));
        break;
    }
    socket_connect_cancel(attempt);
    return fd;
}
