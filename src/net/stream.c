/*
 * Frames over a stream socket: -netdev stream, and -netdev socket with listen, connect or fd. Each
 * frame goes after its length in four bytes, big-endian.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/fdset.h"
#include "base/iov.h"
#include "base/report.h"
#include "event/clock.h"
#include "event/socket-record.h"
#include "event/socket.h"
#include "net/netdev.h"
#include "net/stream.h"

enum { LENGTH_BYTES = 4, IOV_MAX_FRAME = 1024 };

typedef struct StreamClient {
    NetClient client;
    bool server, events; /* events: NETDEV_STREAM_… for -netdev stream */
    SocketAddr addr;
    SocketAddress *record; /* for events; owned, NULL for -netdev socket */
    char *where;           /* for people */
    int listener;          /* -1: none */
    FdWatch *listen_watch;
    int fd; /* -1: not connected */
    FdWatch *watch;
    SocketConnect *attempt;
    Timer *retry;
    uint32_t retry_ms; /* 0: never */
    /* received and not yet handed on */
    uint8_t in[LENGTH_BYTES + NET_FRAME_MAX];
    size_t in_len;
    bool in_blocked; /* the peer has no room */
    /* what the socket did not take of the last frame */
    uint8_t out[LENGTH_BYTES + NET_FRAME_MAX];
    size_t out_len, out_done;
} StreamClient;

static void stream_close(StreamClient *s);
static void stream_start(StreamClient *s);

static void stream_watch(StreamClient *s)
{
    if (s->watch) {
        fd_watch_enable(s->watch, !s->in_blocked, s->out_done < s->out_len);
    }
}

/* --- from the network --- */

static void stream_parse(StreamClient *s);

static void stream_sent(NetClient *nc, size_t len)
{
    StreamClient *s = (StreamClient *)nc;
    s->in_blocked = false;
    stream_parse(s);
    stream_watch(s);
}

/* Hand on whole frames; stops when the peer has no room or the stream is nonsense. */
static void stream_parse(StreamClient *s)
{
    size_t at = 0;
    while (!s->in_blocked && s->in_len - at >= LENGTH_BYTES) {
        uint32_t len = ld32_be(s->in + at);
        if (!len || len > NET_FRAME_MAX) {
            report_warning("netdev '%s': %s sent a frame of %u bytes, at most %d are possible; "
                           "disconnecting",
                           s->client.name, s->where, len, NET_FRAME_MAX);
            stream_close(s);
            return;
        }
        if (s->in_len - at - LENGTH_BYTES < len) {
            break;
        }
        /* The queue copies what it keeps. */
        if (!net_send_buf(&s->client, s->in + at + LENGTH_BYTES, len, stream_sent)) {
            s->in_blocked = true;
        }
        at += LENGTH_BYTES + len;
    }
    s->in_len -= at;
    memmove(s->in, s->in + at, s->in_len);
}

static void stream_readable(void *opaque)
{
    StreamClient *s = opaque;
    ssize_t n = recv(s->fd, s->in + s->in_len, sizeof(s->in) - s->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        stream_close(s);
        return;
    }
    s->in_len += n;
    stream_parse(s);
    stream_watch(s);
}

/* --- to the network --- */

static void stream_writable(void *opaque)
{
    StreamClient *s = opaque;
    ssize_t n = send(s->fd, s->out + s->out_done, s->out_len - s->out_done, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            stream_close(s);
        }
        return;
    }
    s->out_done += n;
    if (s->out_done == s->out_len) {
        s->out_len = s->out_done = 0;
        stream_watch(s);
        net_flush_queued(&s->client);
    }
}

static size_t stream_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    StreamClient *s = (StreamClient *)nc;
    size_t len = iov_size(iov, count);
    if (s->fd < 0 || len > NET_FRAME_MAX || count >= IOV_MAX_FRAME) {
        return len; /* nowhere to go */
    }
    if (s->out_len) {
        return 0;
    }
    uint8_t head[LENGTH_BYTES];
    st32_be(head, len);
    struct iovec parts[IOV_MAX_FRAME];
    parts[0] = (struct iovec){ .iov_base = head, .iov_len = sizeof(head) };
    memcpy(parts + 1, iov, count * sizeof(*iov));
    struct msghdr msg = { .msg_iov = parts, .msg_iovlen = count + 1 };
    ssize_t n = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            stream_close(s);
            return len;
        }
        n = 0;
    }
    if ((size_t)n < LENGTH_BYTES + len) {
        s->out_len = iov_to_buf(parts, count + 1, n, s->out, LENGTH_BYTES + len - n);
        s->out_done = 0;
        stream_watch(s);
    }
    return len;
}

/* --- connections --- */

static void stream_connected(StreamClient *s, int fd)
{
    s->fd = fd;
    s->in_len = 0;
    s->out_len = s->out_done = 0;
    s->in_blocked = false;
    socket_set_nodelay(fd, true);
    s->watch = fd_watch_new(event_loop_main(), fd, stream_readable, stream_writable, s);
    stream_watch(s);
    if (s->events && s->record) {
        qmp_event_netdev_stream_connected(s->client.name, s->record);
    }
    net_flush_queued(&s->client);
}

static void stream_retry_later(StreamClient *s)
{
    if (s->retry_ms && s->retry) {
        timer_set(s->retry, clock_now(CLK_REALTIME) + s->retry_ms * NS_PER_MS);
    }
}

static void stream_close(StreamClient *s)
{
    if (s->fd < 0) {
        return;
    }
    fd_watch_free(s->watch);
    s->watch = NULL;
    fd_close(s->fd);
    s->fd = -1;
    s->in_len = 0;
    s->out_len = s->out_done = 0;
    net_purge_queued(&s->client);
    s->in_blocked = false;
    if (s->events) {
        qmp_event_netdev_stream_disconnected(s->client.name);
    }
    /* What waits for us has nowhere to go any more. */
    net_flush_queued(&s->client);
    if (s->listen_watch) {
        fd_watch_enable(s->listen_watch, true, false);
    } else {
        stream_retry_later(s);
    }
}

static void stream_accept(void *opaque)
{
    StreamClient *s = opaque;
    int fd = socket_accept(s->listener);
    if (fd < 0) {
        return;
    }
    /* One connection at a time. */
    fd_watch_enable(s->listen_watch, false, false);
    stream_connected(s, fd);
}

static void stream_attempt_ended(void *opaque, int fd, Error *err)
{
    StreamClient *s = opaque;
    s->attempt = NULL;
    if (fd >= 0) {
        stream_connected(s, fd);
        return;
    }
    if (s->retry_ms) {
        error_free(err);
        stream_retry_later(s);
    } else {
        error_prepend(&err, "netdev '%s': ", s->client.name);
        error_warn_and_free(err);
    }
}

static bool stream_connect(StreamClient *s, Error **errp)
{
    ERROR_AUTO err = NULL;
    int fd =
        socket_connect(&s->addr, event_loop_main(), &s->attempt, stream_attempt_ended, s, &err);
    if (fd >= 0) {
        stream_connected(s, fd);
    } else if (!s->attempt) {
        if (!s->retry_ms) {
            error_propagate(errp, err);
            err = NULL;
            return false;
        }
        stream_retry_later(s);
    }
    return true;
}

static void stream_start(StreamClient *s)
{
    ERROR_AUTO err = NULL;
    if (s->fd < 0 && !s->attempt && !stream_connect(s, &err)) {
        report_warning("netdev '%s': %s", s->client.name, error_message(err));
    }
}

static void stream_retry(void *opaque)
{
    stream_start(opaque);
}

static void stream_finish(NetClient *nc)
{
    StreamClient *s = (StreamClient *)nc;
    s->retry_ms = 0;
    s->events = false;
    fd_watch_free(s->watch);
    fd_close(s->fd);
    if (s->listener >= 0) {
        fd_watch_free(s->listen_watch);
        fd_close(s->listener);
        socket_unlink(&s->addr);
    }
    socket_connect_cancel(s->attempt);
    timer_free(s->retry);
    socket_addr_release(&s->addr);
    value_free(&value_type_socket_address, s->record);
    g_free(s->where);
}

static void stream_describe(NetClient *nc, GString *out)
{
    StreamClient *s = (StreamClient *)nc;
    g_string_append_printf(out, "%s %s%s", s->server ? "listening on" : "connection to", s->where,
                           s->fd < 0 ? " (disconnected)" : "");
}

static const NetClientOps stream_ops = {
    .type = "stream",
    .size = sizeof(StreamClient),
    .receive = stream_receive,
    .finish = stream_finish,
    .describe = stream_describe,
};

static const NetClientOps socket_ops = {
    .type = "socket",
    .size = sizeof(StreamClient),
    .receive = stream_receive,
    .finish = stream_finish,
    .describe = stream_describe,
};

/* Takes over addr. */
static StreamClient *stream_new(const NetClientOps *ops, const char *id, SocketAddr *addr)
{
    StreamClient *s = (StreamClient *)net_client_new(ops, NULL, id, NULL);
    s->fd = s->listener = -1;
    s->addr = *addr;
    *addr = (SocketAddr){ 0 };
    s->where = socket_addr_describe(&s->addr);
    return s;
}

static bool stream_listen(StreamClient *s, Error **errp)
{
    s->server = true;
    s->listener = socket_listen(&s->addr, 1, errp);
    if (s->listener < 0) {
        return false;
    }
    s->listen_watch = fd_watch_new(event_loop_main(), s->listener, stream_accept, NULL, s);
    return true;
}

static bool stream_adopt(StreamClient *s, Error **errp)
{
    int fd = fd_from_text(s->addr.fd, errp);
    if (fd < 0) {
        return false;
    }
    if (!fd_set_nonblock(fd, true, errp)) {
        fd_close(fd);
        return false;
    }
    stream_connected(s, fd);
    return true;
}

bool net_stream_create(const char *id, const void *options, Error **errp)
{
    const NetdevStreamOptions *o = options;
    bool server = o->server;
    if (server && (o->has_reconnect || o->has_reconnect_ms)) {
        error_set(errp,
                  "'reconnect' is for clients; a server waits for the next connection anyway");
        return false;
    }
    if (o->has_reconnect && o->has_reconnect_ms) {
        error_set(errp, "'reconnect' and 'reconnect-ms' exclude each other");
        return false;
    }
    if (o->has_reconnect && o->reconnect > UINT32_MAX / 1000) {
        error_set(errp, "'reconnect' expects at most %u seconds, got %u", UINT32_MAX / 1000,
                  o->reconnect);
        return false;
    }
    SocketAddr addr;
    if (!socket_addr_from_record(&addr, &o->addr, errp)) {
        socket_addr_release(&addr);
        return false;
    }
    StreamClient *s = stream_new(&stream_ops, id, &addr);
    s->record = g_new0(SocketAddress, 1);
    value_copy(&value_type_socket_address, s->record, &o->addr);
    s->retry_ms = o->has_reconnect_ms ? o->reconnect_ms
                  : o->has_reconnect  ? o->reconnect * 1000
                                      : 0;
    s->retry = timer_new(event_loop_main(), CLK_REALTIME, stream_retry, s);
    s->events = true;
    bool ok = server                      ? stream_listen(s, errp)
              : s->addr.kind == SOCKET_FD ? stream_adopt(s, errp)
                                          : stream_connect(s, errp);
    if (!ok) {
        net_client_free(&s->client);
    }
    return ok;
}

/* "HOST:PORT" of the older option. */
bool net_socket_create_stream(const char *id, const NetdevSocketOptions *o, Error **errp)
{
    SocketAddr addr = { 0 };
    if (o->fd) {
        addr.kind = SOCKET_FD;
        addr.fd = g_strdup(o->fd);
    } else if (!socket_addr_parse(&addr, o->listen ? o->listen : o->connect, errp)) {
        socket_addr_release(&addr);
        return false;
    }
    StreamClient *s = stream_new(&socket_ops, id, &addr);
    bool ok = o->fd       ? stream_adopt(s, errp)
              : o->listen ? stream_listen(s, errp)
                          : stream_connect(s, errp);
    if (!ok) {
        net_client_free(&s->client);
    }
    return ok;
}
