/* Frames over datagram sockets: -netdev dgram, and -netdev socket with mcast or udp. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/fdset.h"
#include "base/iov.h"
#include "base/text.h"
#include "event/socket-record.h"
#include "event/socket.h"
#include "net/netdev.h"
#include "net/stream.h"

enum { FRAMES_A_TURN = 32 }; /* so that one busy back end doesn't starve the loop */

typedef struct DgramClient {
    NetClient client;
    int fd;
    FdWatch *watch;
    bool connected;           /* the socket knows where to send */
    struct sockaddr_in group; /* else: the multicast group */
    bool has_group;
    char *where;
    char *unlink_path; /* a unix socket file of ours */
    uint8_t in[NET_FRAME_MAX];
} DgramClient;

static void dgram_sent(NetClient *nc, size_t len)
{
    fd_watch_enable(((DgramClient *)nc)->watch, true, false);
}

static void dgram_readable(void *opaque)
{
    DgramClient *d = opaque;
    for (int i = 0; i < FRAMES_A_TURN; i++) {
        ssize_t n = recv(d->fd, d->in, sizeof(d->in), MSG_DONTWAIT);
        if (n < 0) {
            return; /* nothing there, or a late ECONNREFUSED of what we sent */
        }
        if (n > 0 && !net_send_buf(&d->client, d->in, n, dgram_sent)) {
            fd_watch_enable(d->watch, false, false);
            return;
        }
    }
}

static void dgram_writable(void *opaque)
{
    DgramClient *d = opaque;
    fd_watch_enable(d->watch, true, false);
    net_flush_queued(&d->client);
}

static size_t dgram_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    DgramClient *d = (DgramClient *)nc;
    size_t len = iov_size(iov, count);
    if (!d->connected && !d->has_group) {
        return len;
    }
    struct msghdr msg = {
        .msg_name = d->has_group ? &d->group : NULL,
        .msg_namelen = d->has_group ? sizeof(d->group) : 0,
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = count,
    };
    ssize_t n;
    do {
        n = sendmsg(d->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        fd_watch_enable(d->watch, true, true);
        return 0;
    }
    return len; /* nobody there: lost, as on a wire */
}

static void dgram_finish(NetClient *nc)
{
    DgramClient *d = (DgramClient *)nc;
    fd_watch_free(d->watch);
    fd_close(d->fd);
    if (d->unlink_path) {
        unlink(d->unlink_path);
    }
    g_free(d->unlink_path);
    g_free(d->where);
}

static void dgram_describe(NetClient *nc, GString *out)
{
    g_string_append(out, ((DgramClient *)nc)->where);
}

static const NetClientOps dgram_ops = {
    .type = "dgram",
    .size = sizeof(DgramClient),
    .receive = dgram_receive,
    .finish = dgram_finish,
    .describe = dgram_describe,
};

static const NetClientOps dgram_socket_ops = {
    .type = "socket",
    .size = sizeof(DgramClient),
    .receive = dgram_receive,
    .finish = dgram_finish,
    .describe = dgram_describe,
};

/* Takes over fd and where. */
static DgramClient *dgram_new(const NetClientOps *ops, const char *id, int fd, char *where)
{
    DgramClient *d = (DgramClient *)net_client_new(ops, NULL, id, NULL);
    d->fd = fd;
    d->where = where;
    d->watch = fd_watch_new(event_loop_main(), fd, dgram_readable, dgram_writable, d);
    fd_watch_enable(d->watch, true, false);
    return d;
}

/* --- multicast --- */

static bool parse_ipv4(const char *host, const char *port, struct sockaddr_in *sin, Error **errp)
{
    uint64_t p = 0;
    *sin = (struct sockaddr_in){ .sin_family = AF_INET };
    if (!host || inet_pton(AF_INET, host, &sin->sin_addr) != 1) {
        error_set(errp, "multicast needs an IPv4 address, got '%s'", host ? host : "");
        return false;
    }
    if (port && (!text_to_u64(port, &p) || p > UINT16_MAX)) {
        error_set(errp, "multicast needs a port below 65536, got '%s'", port);
        return false;
    }
    sin->sin_port = htons(p);
    return true;
}

static int open_multicast(const struct sockaddr_in *group, const struct in_addr *interface,
                          Error **errp)
{
    if (FAULT("multicast socket", errp)) {
        return -1;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    struct ip_mreq join = { .imr_multiaddr = group->sin_addr };
    if (interface) {
        join.imr_interface = *interface;
    }
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        bind(fd, (const struct sockaddr *)group, sizeof(*group)) ||
        setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)) ||
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &on, sizeof(on)) ||
        (interface && setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, interface, sizeof(*interface)))) {
        error_set_errno(errp, errno, "cannot join the multicast group %s",
                        inet_ntoa(group->sin_addr));
        fd_close(fd);
        return -1;
    }
    return fd;
}

static bool create_multicast(const NetClientOps *ops, const char *id,
                             const struct sockaddr_in *group, const struct in_addr *interface,
                             Error **errp)
{
    int fd = open_multicast(group, interface, errp);
    if (fd < 0) {
        return false;
    }
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &group->sin_addr, text, sizeof(text));
    DgramClient *d =
        dgram_new(ops, id, fd, g_strdup_printf("mcast=%s:%u", text, ntohs(group->sin_port)));
    d->group = *group;
    d->has_group = true;
    return true;
}

/* --- options --- */

static bool dgram_open(const NetClientOps *ops, const char *id, const SocketAddr *local,
                       const SocketAddr *remote, Error **errp)
{
    int fd = socket_dgram(local, remote, errp);
    if (fd < 0) {
        return false;
    }
    g_autofree char *from = local ? socket_addr_describe(local) : NULL;
    g_autofree char *to = remote ? socket_addr_describe(remote) : NULL;
    DgramClient *d = dgram_new(
        ops, id, fd, g_strdup_printf("local=%s,remote=%s", from ? from : "any", to ? to : "none"));
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    d->connected = remote || getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
    if (local && local->kind == SOCKET_UNIX && !local->abstract) {
        d->unlink_path = g_strdup(local->path);
    }
    return true;
}

static bool is_multicast(const SocketAddress *a)
{
    struct in_addr in;
    return a->type == SOCKET_ADDRESS_TYPE_INET && inet_pton(AF_INET, a->u.inet.host, &in) == 1 &&
           IN_MULTICAST(ntohl(in.s_addr));
}

static bool create_dgram_multicast(const char *id, const NetdevDgramOptions *o, Error **errp)
{
    struct sockaddr_in group, local;
    const InetSocketAddress *r = &o->remote->u.inet;
    if (!parse_ipv4(r->host, r->port, &group, errp)) {
        return false;
    }
    if (o->local && o->local->type != SOCKET_ADDRESS_TYPE_INET) {
        error_set(errp, "'local' of a multicast group must be an inet address");
        return false;
    }
    if (o->local && !parse_ipv4(o->local->u.inet.host, NULL, &local, errp)) {
        return false;
    }
    return create_multicast(&dgram_ops, id, &group, o->local ? &local.sin_addr : NULL, errp);
}

bool net_dgram_create(const char *id, const void *options, Error **errp)
{
    const NetdevDgramOptions *o = options;
    if (!o->local && !o->remote) {
        error_set(errp, "give 'local', 'remote', or both");
        return false;
    }
    if (o->remote && is_multicast(o->remote)) {
        return create_dgram_multicast(id, o, errp);
    }
    if (o->local && o->remote && o->local->type != o->remote->type) {
        error_set(errp, "'local' and 'remote' must be of one type");
        return false;
    }
    SocketAddr local = { 0 }, remote = { 0 };
    bool ok =
        (!o->local || socket_addr_from_record(&local, o->local, errp)) &&
        (!o->remote || socket_addr_from_record(&remote, o->remote, errp)) &&
        dgram_open(&dgram_ops, id, o->local ? &local : NULL, o->remote ? &remote : NULL, errp);
    socket_addr_release(&local);
    socket_addr_release(&remote);
    return ok;
}

static bool create_socket_mcast(const char *id, const NetdevSocketOptions *o, Error **errp)
{
    SocketAddr addr = { 0 };
    struct sockaddr_in group;
    struct in_addr interface;
    bool ok =
        socket_addr_parse(&addr, o->mcast, errp) && parse_ipv4(addr.host, addr.port, &group, errp);
    socket_addr_release(&addr);
    if (!ok) {
        return false;
    }
    if (o->localaddr && inet_pton(AF_INET, o->localaddr, &interface) != 1) {
        error_set(errp, "'localaddr' expects an IPv4 address, got '%s'", o->localaddr);
        return false;
    }
    return create_multicast(&dgram_socket_ops, id, &group, o->localaddr ? &interface : NULL, errp);
}

bool net_socket_create(const char *id, const void *options, Error **errp)
{
    const NetdevSocketOptions *o = options;
    int given = !!o->fd + !!o->listen + !!o->connect + !!o->mcast + !!o->udp;
    if (given != 1) {
        error_set(errp, "give exactly one of 'fd', 'listen', 'connect', 'mcast', 'udp'");
        return false;
    }
    if (o->localaddr && !o->mcast && !o->udp) {
        error_set(errp, "'localaddr' is for 'mcast' and 'udp'");
        return false;
    }
    if (o->mcast) {
        return create_socket_mcast(id, o, errp);
    }
    if (!o->udp) {
        return net_socket_create_stream(id, o, errp);
    }
    if (!o->localaddr) {
        error_set(errp, "'udp' needs 'localaddr' too, where answers come in");
        return false;
    }
    SocketAddr local = { 0 }, remote = { 0 };
    bool ok = socket_addr_parse(&local, o->localaddr, errp) &&
              socket_addr_parse(&remote, o->udp, errp) &&
              dgram_open(&dgram_socket_ops, id, &local, &remote, errp);
    socket_addr_release(&local);
    socket_addr_release(&remote);
    return ok;
}
