/*
 * socket: a stream socket, as server or as client.
 *
 *   server:  listen ── accept ─→ handshake ──→ open ── hang-up ─→ listen …
 *   client:  connect ──────────→ handshake ──→ open ── hang-up ─→ (wait, connect …)
 *
 * A server talks to one client at a time; others wait in the backlog. A client with reconnect tries
 * for ever, as a whole (connection and handshake), with growing pauses up to the given one; for a
 * unix socket it also watches the folder, so that a server that comes back is met at once.
 */
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/report.h"
#include "chardev/channel.h"
#include "chardev/chardev-address.h"
#include "chardev/chardev-internal.h"
#include "crypto/tls-creds.h"
#include "event/socket.h"
#include "trace/chardev-events.h"

#define SOCKET_BACKLOG       16
#define READ_CHUNK           16384
#define RECONNECT_FIRST_NS   (1 * NS_PER_MS)
#define CONNECTION_STABLE_NS NS_PER_SECOND /* one that lasted resets the pauses */

typedef enum SocketState { STATE_IDLE, STATE_CONNECTING, STATE_HANDSHAKE, STATE_OPEN } SocketState;

/* Loop's thread, but for what open sets once. */
typedef struct CharSocket {
    Chardev parent;
    SocketAddr addr;
    bool server, wait, nodelay, telnet, websocket;
    TlsCreds *tls_creds;  /* reference; NULL: plain */
    int64_t reconnect_ns; /* longest pause; 0: no reconnection */

    int listener;
    FdWatch *listen_watch;

    SocketState state;
    int fd;
    bool is_unix;
    Channel *channel; /* NULL: plain */
    FdWatch *in_watch, *out_watch;
    bool want_output;     /* the core waits for writability */
    int fds[FD_PASS_MAX]; /* received, not yet taken */
    unsigned nfds;
    int64_t opened_at;     /* ns */
    bool handshake_failed; /* the last one, and it was said */
    int peer_pid;          /* atomic; -1: not known */
    BottomHalf *drop_bh;   /* chardev_disconnect(), write errors */
    BottomHalf *input_bh;  /* input left in the channel */

    SocketConnect *attempt;
    Timer *retry;
    int64_t pause_ns; /* before the next attempt */
    int inotify;
    FdWatch *inotify_watch;

    bool was_connected; /* atomic: at least once */
    bool first_failed;  /* atomic; first_error is then fixed */
    Error *first_error; /* why a client without reconnect never got its connection */
} CharSocket;

static void start_connecting(CharSocket *sock);
static void drop_connection(CharSocket *sock);

/* --- Open connections, for those who must not wait for any other lock --- */

typedef struct OpenConnection {
    const char *id; /* of the chardev; borrowed, the chardev removes itself */
    int fd;
} OpenConnection;

/* All sockets' connections of the process: yank comes from any thread and knows only ids. */
static GMutex open_lock;
static GArray *open_connections; /* open_lock; NULL while empty */

static void remember_open(CharSocket *sock)
{
    OpenConnection open = { sock->parent.id, sock->fd };
    if (!open.id) {
        return;
    }
    g_mutex_lock(&open_lock);
    if (!open_connections) {
        open_connections = g_array_new(FALSE, FALSE, sizeof(OpenConnection));
    }
    g_array_append_val(open_connections, open);
    g_mutex_unlock(&open_lock);
}

static void forget_open(CharSocket *sock)
{
    g_mutex_lock(&open_lock);
    for (unsigned i = 0; open_connections && i < open_connections->len; i++) {
        if (g_array_index(open_connections, OpenConnection, i).id == sock->parent.id) {
            g_array_remove_index_fast(open_connections, i);
            break;
        }
    }
    if (open_connections && !open_connections->len) {
        g_clear_pointer(&open_connections, g_array_unref);
    }
    g_mutex_unlock(&open_lock);
}

bool chardev_yank(const char *id, bool cut)
{
    bool found = false;
    g_mutex_lock(&open_lock);
    for (unsigned i = 0; open_connections && i < open_connections->len; i++) {
        const OpenConnection *open = &g_array_index(open_connections, OpenConnection, i);
        if (strcmp(open->id, id) == 0) {
            found = true;
            if (cut) {
                /* Whoever reads or writes it sees its end. */
                shutdown(open->fd, SHUT_RDWR);
            }
        }
    }
    g_mutex_unlock(&open_lock);
    return found;
}

void chardev_yank_foreach(void (*visit)(const char *id, void *opaque), void *opaque)
{
    g_mutex_lock(&open_lock);
    for (unsigned i = 0; open_connections && i < open_connections->len; i++) {
        visit(g_array_index(open_connections, OpenConnection, i).id, opaque);
    }
    g_mutex_unlock(&open_lock);
}

/* --- Names --- */

static void update_filename(CharSocket *sock)
{
    bool open = sock->state == STATE_OPEN;
    g_autofree char *addr = NULL;
    g_autofree char *peer = NULL;
    if (sock->listener >= 0) {
        addr = sock->addr.kind == SOCKET_UNIX ? NULL : socket_local_name(sock->listener);
    }
    if (!addr) {
        addr = socket_addr_describe(&sock->addr);
    }
    if (open && !sock->is_unix) {
        peer = socket_peer_name(sock->fd);
    }
    const char *peer_rest = peer && g_str_has_prefix(peer, "tcp:") ? peer + 4 : peer;
    const char *kind = sock->telnet      ? "telnet:"
                       : sock->websocket ? "websocket:"
                       : sock->tls_creds ? "tls:"
                                         : NULL;
    bool tcp = g_str_has_prefix(addr, "tcp:");
    chardev_set_filename(&sock->parent, "%s%s%s%s%s%s",
                         open ? "" : "disconnected:", kind && tcp ? kind : "",
                         kind && tcp ? addr + 4 : addr, sock->server ? ",server=on" : "",
                         peer_rest ? " <-> " : "", peer_rest ? peer_rest : "");
}

/* --- Descriptors that came --- */

static void drop_fds(CharSocket *sock)
{
    for (unsigned i = 0; i < sock->nfds; i++) {
        fd_close(sock->fds[i]);
    }
    sock->nfds = 0;
}

static unsigned socket_take_fds(Chardev *base, int *fds, unsigned max)
{
    CharSocket *sock = (CharSocket *)base;
    unsigned n = MIN_OF(sock->nfds, max);
    memcpy(fds, sock->fds, n * sizeof(*fds));
    memmove(sock->fds, sock->fds + n, (sock->nfds - n) * sizeof(*fds));
    sock->nfds -= n;
    drop_fds(sock);
    return n;
}

/* --- Open connection --- */

static ssize_t receive(CharSocket *sock, void *buf, size_t len)
{
    if (!sock->is_unix || sock->channel) {
        return channel_recv(sock->channel, sock->fd, buf, len);
    }
    int fds[FD_PASS_MAX];
    unsigned nfds = FD_PASS_MAX;
    struct iovec iov = { buf, len };
    ssize_t n = fd_recvmsg(sock->fd, &iov, 1, fds, &nfds);
    if (n > 0 && nfds) {
        /* Nobody asked for the earlier ones. */
        drop_fds(sock);
        memcpy(sock->fds, fds, nfds * sizeof(*fds));
        sock->nfds = nfds;
    }
    return n;
}

static void socket_readable(void *opaque)
{
    CharSocket *sock = opaque;
    Chardev *base = &sock->parent;
    uint8_t buf[READ_CHUNK];
    size_t room = chardev_input_room(base);
    if (!room) {
        fd_watch_enable(sock->in_watch, false, false);
        return;
    }
    ssize_t n = receive(sock, buf, MIN_OF(room, sizeof(buf)));
    if (n > 0) {
        object_ref(&base->parent);
        chardev_input(base, buf, n);
        if (sock->state == STATE_OPEN && channel_has_input(sock->channel)) {
            bh_schedule(sock->input_bh);
        }
        object_unref(&base->parent);
    } else if (n == 0 || errno != EAGAIN) {
        drop_connection(sock);
    }
}

static void input_bh(void *opaque)
{
    CharSocket *sock = opaque;
    if (sock->state == STATE_OPEN && channel_has_input(sock->channel)) {
        socket_readable(sock);
    }
}

static void update_out_watch(CharSocket *sock)
{
    if (sock->out_watch) {
        fd_watch_enable(sock->out_watch, false,
                        sock->want_output || channel_has_output(sock->channel));
    }
}

static void socket_writable(void *opaque)
{
    CharSocket *sock = opaque;
    if (channel_flush(sock->channel) < 0) {
        if (errno != EAGAIN) {
            drop_connection(sock);
        }
        return;
    }
    object_ref(&sock->parent.parent);
    if (sock->want_output) {
        chardev_writable(&sock->parent);
    }
    update_out_watch(sock);
    object_unref(&sock->parent.parent);
}

static ssize_t socket_write(Chardev *base, const void *buf, size_t len, const int *fds,
                            unsigned nfds)
{
    CharSocket *sock = (CharSocket *)base;
    ssize_t n;
    if (sock->state != STATE_OPEN) {
        errno = ENOTCONN;
        return -1;
    }
    if (nfds) {
        struct iovec iov = { (void *)buf, len };
        n = fd_sendmsg(sock->fd, &iov, 1, fds, nfds);
    } else {
        n = channel_send(sock->channel, sock->fd, buf, len);
    }
    if (n < 0 && errno != EAGAIN) {
        int errnum = errno;
        /* What the other side sent before it went is still to be read; reading finds the end. */
        if (!chardev_input_room(base)) {
            bh_schedule(sock->drop_bh);
        }
        errno = errnum;
    }
    if (sock->channel) {
        update_out_watch(sock);
    }
    return n;
}

static void socket_watch_writable(Chardev *base, bool on)
{
    CharSocket *sock = (CharSocket *)base;
    sock->want_output = on;
    if (sock->state == STATE_OPEN) {
        update_out_watch(sock);
    }
}

static void socket_accept_input(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    if (sock->state == STATE_OPEN && sock->in_watch) {
        fd_watch_enable(sock->in_watch, true, false);
        if (channel_has_input(sock->channel)) {
            bh_schedule(sock->input_bh);
        }
    }
}

/* --- Beginning and end of a connection --- */

static void drop_watches(CharSocket *sock)
{
    fd_watch_free(sock->in_watch);
    fd_watch_free(sock->out_watch);
    sock->in_watch = sock->out_watch = NULL;
}

static void watch_open(CharSocket *sock)
{
    drop_watches(sock);
    sock->in_watch = fd_watch_new(sock->parent.loop, sock->fd, socket_readable, NULL, sock);
    sock->out_watch = fd_watch_new(sock->parent.loop, sock->fd, NULL, socket_writable, sock);
    update_out_watch(sock);
}

static void schedule_retry(CharSocket *sock)
{
    if (sock->server || !sock->reconnect_ns || !sock->parent.attached) {
        return;
    }
    trace_chardev_retry(chardev_name(&sock->parent), sock->pause_ns / NS_PER_MS);
    timer_set(sock->retry, clock_now(CLK_REALTIME) + sock->pause_ns);
    sock->pause_ns = MIN_OF(sock->pause_ns * 2, sock->reconnect_ns);
}

static void drop_connection(CharSocket *sock)
{
    SocketState was = sock->state;
    if (sock->fd < 0) {
        return;
    }
    drop_watches(sock);
    forget_open(sock);
    channel_free(g_steal_pointer(&sock->channel));
    fd_close(fd_steal(&sock->fd));
    drop_fds(sock);
    bh_cancel(sock->drop_bh);
    bh_cancel(sock->input_bh);
    __atomic_store_n(&sock->peer_pid, -1, __ATOMIC_RELAXED);
    sock->state = STATE_IDLE;
    update_filename(sock);

    if (was == STATE_OPEN && clock_now(CLK_REALTIME) - sock->opened_at >= CONNECTION_STABLE_NS) {
        sock->pause_ns = MIN_OF(RECONNECT_FIRST_NS, sock->reconnect_ns);
    }
    if (sock->listen_watch) {
        fd_watch_enable(sock->listen_watch, true, false);
    }
    schedule_retry(sock);
    if (was == STATE_OPEN) {
        chardev_set_connected(&sock->parent, false);
    }
}

static void drop_bh(void *opaque)
{
    drop_connection(opaque);
}

static void socket_disconnect(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    if (sock->fd >= 0) {
        shutdown(sock->fd, SHUT_RDWR);
        bh_schedule(sock->drop_bh);
    }
}

static void fail_first(CharSocket *sock, Error *err)
{
    if (!sock->reconnect_ns && !sock->was_connected && !sock->first_error && !sock->server) {
        sock->first_error = err;
        __atomic_store_n(&sock->first_failed, true, __ATOMIC_RELEASE);
        chardev_state_changed();
    } else {
        error_free(err);
    }
}

static void become_open(CharSocket *sock)
{
    sock->state = STATE_OPEN;
    sock->handshake_failed = false;
    sock->opened_at = clock_now(CLK_REALTIME);
    __atomic_store_n(&sock->was_connected, true, __ATOMIC_RELEASE);
    update_filename(sock);
    watch_open(sock);
    if (!chardev_input_room(&sock->parent)) {
        fd_watch_enable(sock->in_watch, false, false);
    }
    chardev_set_connected(&sock->parent, true);
    if (sock->state == STATE_OPEN && sock->in_watch) {
        socket_accept_input(&sock->parent);
    }
}

static void fail_handshake(CharSocket *sock, Error *err)
{
    trace_chardev_connect_failed(chardev_name(&sock->parent), error_message(err));
    if (!sock->handshake_failed) {
        /* Once: it is tried again many times a second. */
        sock->handshake_failed = true;
        report_warning("chardev '%s': handshake failed: %s", chardev_name(&sock->parent),
                       error_message(err));
    }
    drop_connection(sock);
    fail_first(sock, err);
}

static void continue_handshake(void *opaque)
{
    CharSocket *sock = opaque;
    bool want_write;
    Error *err = NULL;
    switch (channel_handshake(sock->channel, &want_write, &err)) {
    case CHANNEL_READY:
        become_open(sock);
        break;
    case CHANNEL_GOES_ON:
        fd_watch_enable(sock->out_watch, false, want_write);
        break;
    case CHANNEL_FAILED:
        fail_handshake(sock, err);
        break;
    }
}

static bool make_channel(CharSocket *sock, Error **errp)
{
    if (sock->tls_creds) {
        const char *host = sock->server || sock->addr.kind != SOCKET_INET ? NULL : sock->addr.host;
        sock->channel = channel_tls_new(sock->fd, sock->tls_creds, host, errp);
        if (!sock->channel) {
            return false;
        }
    }
    if (sock->websocket) {
        sock->channel = channel_websocket_new(sock->channel, sock->fd);
    }
    if (sock->telnet) {
        sock->channel = channel_telnet_new(sock->channel, sock->fd, sock->server);
    }
    return true;
}

/* Takes ownership of fd. */
static void use_connection(CharSocket *sock, int fd)
{
    sock->fd = fd;
    sock->is_unix = socket_is_unix(fd);
    if (sock->is_unix) {
        struct ucred cred;
        socklen_t len = sizeof(cred);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
            __atomic_store_n(&sock->peer_pid, cred.pid, __ATOMIC_RELAXED);
        }
    } else {
        socket_set_nodelay(fd, sock->nodelay);
        if (sock->addr.keep_alive) {
            socket_set_keep_alive(fd, true);
        }
    }
    if (sock->listen_watch) {
        fd_watch_enable(sock->listen_watch, false, false);
    }
    sock->state = STATE_HANDSHAKE;
    remember_open(sock);
    Error *err = NULL;
    if (!make_channel(sock, &err)) {
        fail_handshake(sock, err);
        return;
    }
    if (!sock->channel) {
        become_open(sock);
        return;
    }
    sock->in_watch = fd_watch_new(sock->parent.loop, fd, continue_handshake, NULL, sock);
    sock->out_watch = fd_watch_new(sock->parent.loop, fd, NULL, continue_handshake, sock);
    continue_handshake(sock);
}

/* --- Server --- */

static void socket_acceptable(void *opaque)
{
    CharSocket *sock = opaque;
    int fd = socket_accept(sock->listener);
    if (fd >= 0) {
        use_connection(sock, fd);
    }
}

/* --- Client --- */

static void connected(void *opaque, int fd, Error *err)
{
    CharSocket *sock = opaque;
    sock->attempt = NULL;
    sock->state = STATE_IDLE;
    if (fd >= 0) {
        use_connection(sock, fd);
        return;
    }
    trace_chardev_connect_failed(chardev_name(&sock->parent), error_message(err));
    schedule_retry(sock);
    fail_first(sock, err);
}

static void start_connecting(CharSocket *sock)
{
    Error *err = NULL;
    timer_cancel(sock->retry);
    sock->state = STATE_CONNECTING;
    int fd = socket_connect(&sock->addr, sock->parent.loop, &sock->attempt, connected, sock, &err);
    if (!sock->attempt) {
        connected(sock, fd, err);
    }
}

static void retry_now(void *opaque)
{
    CharSocket *sock = opaque;
    if (sock->state == STATE_IDLE) {
        start_connecting(sock);
    }
}

/* Something in the socket's folder was made or renamed: if it has our name, don't wait. */
static void folder_changed(void *opaque)
{
    CharSocket *sock = opaque;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    g_autofree char *name = g_path_get_basename(sock->addr.path);
    bool ours = false;
    ssize_t n;
    while ((n = read(sock->inotify, events, sizeof(events))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(events + at);
            ours |= event->len && strcmp(event->name, name) == 0;
            at += sizeof(*event) + event->len;
        }
    }
    if (ours && sock->state == STATE_IDLE) {
        sock->pause_ns = MIN_OF(RECONNECT_FIRST_NS, sock->reconnect_ns);
        schedule_retry(sock);
    }
}

static void watch_folder(CharSocket *sock)
{
    if (sock->server || !sock->reconnect_ns || sock->addr.kind != SOCKET_UNIX ||
        sock->addr.abstract) {
        return;
    }
    /* Without inotify the pauses alone have to do. */
    sock->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    g_autofree char *folder = g_path_get_dirname(sock->addr.path);
    if (sock->inotify >= 0 &&
        inotify_add_watch(sock->inotify, folder, IN_CREATE | IN_MOVED_TO | IN_ATTRIB) < 0) {
        fd_close(fd_steal(&sock->inotify));
    }
}

/* --- What the core asks --- */

static void socket_attach(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    sock->drop_bh = bh_new(base->loop, drop_bh, sock);
    sock->input_bh = bh_new(base->loop, input_bh, sock);
    sock->retry = timer_new(base->loop, CLK_REALTIME, retry_now, sock);
    if (sock->inotify >= 0) {
        sock->inotify_watch = fd_watch_new(base->loop, sock->inotify, folder_changed, NULL, sock);
    }
    if (sock->listener >= 0) {
        sock->listen_watch =
            fd_watch_new(base->loop, sock->listener, socket_acceptable, NULL, sock);
        fd_watch_enable(sock->listen_watch, sock->fd < 0, false);
    }
    switch (sock->state) {
    case STATE_OPEN:
        watch_open(sock);
        socket_accept_input(base);
        break;
    case STATE_HANDSHAKE:
        sock->in_watch = fd_watch_new(base->loop, sock->fd, continue_handshake, NULL, sock);
        sock->out_watch = fd_watch_new(base->loop, sock->fd, NULL, continue_handshake, sock);
        continue_handshake(sock);
        break;
    default:
        if (!sock->server && (sock->reconnect_ns || !sock->was_connected) && !sock->first_error) {
            start_connecting(sock);
        }
        break;
    }
}

static void socket_detach(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    drop_watches(sock);
    fd_watch_free(sock->listen_watch);
    fd_watch_free(sock->inotify_watch);
    sock->listen_watch = sock->inotify_watch = NULL;
    bh_free(g_steal_pointer(&sock->drop_bh));
    bh_free(g_steal_pointer(&sock->input_bh));
    timer_free(g_steal_pointer(&sock->retry));
    if (sock->attempt) {
        socket_connect_cancel(g_steal_pointer(&sock->attempt));
        sock->state = STATE_IDLE;
    }
}

static bool socket_passes_fds(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    if (sock->state == STATE_OPEN) {
        return sock->is_unix && !sock->channel;
    }
    bool plain = !sock->telnet && !sock->websocket && !sock->tls_creds;
    return plain && (sock->addr.kind == SOCKET_UNIX || sock->addr.kind == SOCKET_FD);
}

static bool socket_reconnects(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    return sock->server || sock->reconnect_ns > 0;
}

static bool socket_is_server(Chardev *base)
{
    return ((CharSocket *)base)->server;
}

static bool socket_is_waiting(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    bool was_connected = __atomic_load_n(&sock->was_connected, __ATOMIC_ACQUIRE);
    if (sock->server) {
        return sock->wait && !was_connected;
    }
    return !sock->reconnect_ns && !was_connected &&
           !__atomic_load_n(&sock->first_failed, __ATOMIC_ACQUIRE);
}

static bool socket_check_started(Chardev *base, Error **errp)
{
    CharSocket *sock = (CharSocket *)base;
    if (!__atomic_load_n(&sock->first_failed, __ATOMIC_ACQUIRE)) {
        return true;
    }
    error_propagate(errp, error_copy(sock->first_error));
    error_prepend(errp, "chardev '%s': ", chardev_name(base));
    return false;
}

static int socket_peer_pid(Chardev *base)
{
    return __atomic_load_n(&((CharSocket *)base)->peer_pid, __ATOMIC_RELAXED);
}

static bool check_options(const Chardev *base, const ChardevSocket *options, const SocketAddr *addr,
                          Error **errp)
{
    bool server = !options->has_server || options->server;
    bool reconnect = (options->has_reconnect && options->reconnect) ||
                     (options->has_reconnect_ms && options->reconnect_ms);
    const char *wrong = NULL;
    if (server && reconnect) {
        wrong = "'reconnect' is for clients, and this is a server";
    } else if (!server && options->has_wait) {
        wrong = "'wait' is for servers, and this is a client";
    } else if (options->has_reconnect && options->has_reconnect_ms) {
        wrong = "give either 'reconnect' or 'reconnect-ms'";
    } else if (reconnect && addr->kind == SOCKET_FD) {
        wrong = "a passed descriptor can't be connected again; leave 'reconnect' out";
    } else if ((options->has_reconnect && options->reconnect < 0) ||
               (options->has_reconnect_ms && options->reconnect_ms < 0)) {
        wrong = "the time between connections can't be negative";
    } else if (options->has_tn3270 && options->tn3270) {
        wrong = "'tn3270' is not available";
    } else if (options->has_websocket && options->websocket && !server) {
        wrong = "'websocket' is for servers, and this is a client";
    } else if (options->has_websocket && options->websocket && options->has_telnet &&
               options->telnet) {
        wrong = "'websocket' and 'telnet' exclude each other";
    } else if (options->tls_authz) {
        wrong = "'tls-authz' is not available";
    } else if (options->tls_creds && addr->kind == SOCKET_UNIX) {
        wrong = "TLS is for TCP, and this is a unix socket";
    }
    if (wrong) {
        error_set(errp, "chardev '%s': %s", chardev_name(base), wrong);
    }
    return !wrong;
}

static bool socket_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharSocket *sock = (CharSocket *)base;
    const ChardevSocket *options = &record->u.socket.data;
    if (!socket_addr_from_legacy_record(&sock->addr, &options->addr, errp) ||
        !check_options(base, options, &sock->addr, errp)) {
        return false;
    }
    sock->server = !options->has_server || options->server;
    sock->wait = options->has_wait && options->wait;
    sock->nodelay = options->has_nodelay && options->nodelay;
    sock->telnet = options->has_telnet && options->telnet;
    sock->websocket = options->has_websocket && options->websocket;
    if (options->tls_creds) {
        sock->tls_creds = tls_creds_find(
            options->tls_creds, sock->server ? TLS_ENDPOINT_SERVER : TLS_ENDPOINT_CLIENT, errp);
        if (!sock->tls_creds) {
            error_prepend(errp, "chardev '%s': ", chardev_name(base));
            return false;
        }
        object_ref(&sock->tls_creds->parent);
    }
    sock->reconnect_ns = options->has_reconnect      ? options->reconnect * NS_PER_SECOND
                         : options->has_reconnect_ms ? options->reconnect_ms * NS_PER_MS
                                                     : 0;
    sock->pause_ns = MIN_OF(RECONNECT_FIRST_NS, sock->reconnect_ns);
    if (!chardev_open_log(base, (const ChardevCommon *)options, errp)) {
        return false;
    }
    if (sock->server) {
        sock->listener = socket_listen(&sock->addr, SOCKET_BACKLOG, errp);
        if (sock->listener < 0) {
            error_prepend(errp, "chardev '%s': ", chardev_name(base));
            return false;
        }
    }
    /* A client connects when the core attaches it to its loop. */
    watch_folder(sock);
    update_filename(sock);
    return true;
}

static void socket_close(Chardev *base)
{
    CharSocket *sock = (CharSocket *)base;
    channel_free(g_steal_pointer(&sock->channel));
    drop_fds(sock);
    forget_open(sock);
    fd_close(fd_steal(&sock->fd));
    fd_close(fd_steal(&sock->inotify));
    if (sock->listener >= 0) {
        fd_close(fd_steal(&sock->listener));
        socket_unlink(&sock->addr);
    }
    if (sock->tls_creds) {
        object_unref(&sock->tls_creds->parent);
    }
    error_free(sock->first_error);
    socket_addr_release(&sock->addr);
}

static void socket_instance_init(Object *obj)
{
    CharSocket *sock = (CharSocket *)obj;
    sock->listener = sock->fd = sock->inotify = sock->peer_pid = -1;
}

static void socket_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "socket";
    chardev->loops = true;
    chardev->open = socket_open;
    chardev->close = socket_close;
    chardev->attach = socket_attach;
    chardev->detach = socket_detach;
    chardev->write = socket_write;
    chardev->watch_writable = socket_watch_writable;
    chardev->accept_input = socket_accept_input;
    chardev->take_fds = socket_take_fds;
    chardev->passes_fds = socket_passes_fds;
    chardev->disconnect = socket_disconnect;
    chardev->reconnects = socket_reconnects;
    chardev->is_server = socket_is_server;
    chardev->is_waiting = socket_is_waiting;
    chardev->check_started = socket_check_started;
    chardev->peer_pid = socket_peer_pid;
}

static const TypeInfo socket_type = {
    .name = TYPE_CHARDEV_SOCKET,
    .parent = TYPE_CHARDEV,
    .help = "a stream socket, TCP or unix",
    .instance_size = sizeof(CharSocket),
    .instance_init = socket_instance_init,
    .class_init = socket_class_init,
};
OBJECT_TYPE(char_socket, socket_type)
