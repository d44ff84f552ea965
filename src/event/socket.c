/* Addresses and listening; the connecting side is in socket-connect.c. */
#include "event/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/fdset.h"
#include "base/text.h"
#include "event/socket-internal.h"

void socket_addr_release(SocketAddr *addr)
{
    g_free(addr->host);
    g_free(addr->port);
    g_free(addr->path);
    g_free(addr->file);
    g_free(addr->fd);
    *addr = (SocketAddr){ 0 };
}

void socket_addr_copy(SocketAddr *dst, const SocketAddr *src)
{
    *dst = *src;
    dst->host = g_strdup(src->host);
    dst->port = g_strdup(src->port);
    dst->path = g_strdup(src->path);
    dst->file = NULL;
    dst->fd = g_strdup(src->fd);
}

static bool parse_host_port(SocketAddr *addr, const char *text, Error **errp)
{
    const char *colon;
    addr->kind = SOCKET_INET;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || end[1] != ':') {
            error_set(errp, "'%s': an address in brackets is followed by ':PORT'", text);
            return false;
        }
        addr->host = g_strndup(text + 1, end - text - 1);
        colon = end + 1;
    } else {
        colon = strrchr(text, ':');
        if (!colon) {
            error_set(errp, "'%s' has no port; HOST:PORT is expected", text);
            return false;
        }
        addr->host = g_strndup(text, colon - text);
    }
    if (!colon[1]) {
        error_set(errp, "'%s' has no port; HOST:PORT is expected", text);
        return false;
    }
    addr->port = g_strdup(colon + 1);
    return true;
}

static bool parse_vsock(SocketAddr *addr, const char *text, Error **errp)
{
    const char *colon = strchr(text, ':');
    g_autofree char *cid = colon ? g_strndup(text, colon - text) : NULL;
    uint64_t number, port;
    if (!cid || !text_to_u64(cid, &number) || number > UINT32_MAX ||
        !text_to_u64(colon + 1, &port) || port > UINT32_MAX) {
        error_set(errp, "'vsock:%s': vsock:CID:PORT with two numbers is expected", text);
        return false;
    }
    addr->kind = SOCKET_VSOCK;
    addr->cid = number;
    addr->port = g_strdup(colon + 1);
    return true;
}

bool socket_addr_parse(SocketAddr *addr, const char *text, Error **errp)
{
    bool ok = true;
    *addr = (SocketAddr){ 0 };
    if (g_str_has_prefix(text, "unix:")) {
        addr->kind = SOCKET_UNIX;
        addr->path = g_strdup(text + 5);
        if (!text[5]) {
            error_set(errp, "'unix:' needs a path");
            ok = false;
        }
    } else if (g_str_has_prefix(text, "vsock:")) {
        ok = parse_vsock(addr, text + 6, errp);
    } else if (g_str_has_prefix(text, "fd:")) {
        addr->kind = SOCKET_FD;
        addr->fd = g_strdup(text + 3);
    } else {
        ok = parse_host_port(addr, g_str_has_prefix(text, "tcp:") ? text + 4 : text, errp);
    }
    if (!ok) {
        socket_addr_release(addr);
    }
    return ok;
}

char *socket_addr_describe(const SocketAddr *addr)
{
    switch (addr->kind) {
    case SOCKET_UNIX:
        return g_strdup_printf("unix:%s%s", addr->abstract ? "@" : "", addr->path);
    case SOCKET_VSOCK:
        return g_strdup_printf("vsock:%u:%s", addr->cid, addr->port);
    case SOCKET_FD:
        return g_strdup_printf("fd:%s", addr->fd);
    default:
        return g_strdup_printf(addr->host && strchr(addr->host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s",
                               addr->host ? addr->host : "", addr->port);
    }
}

static char *name_of(const struct sockaddr_storage *ss, socklen_t len)
{
    if (ss->ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)ss;
        size_t room = len - offsetof(struct sockaddr_un, sun_path);
        if (len <= offsetof(struct sockaddr_un, sun_path)) {
            return g_strdup("unix:");
        }
        if (!un->sun_path[0]) {
            g_autofree char *name = g_strndup(un->sun_path + 1, room - 1);
            return g_strdup_printf("unix:@%s", name);
        }
        g_autofree char *path = g_strndup(un->sun_path, room);
        return g_strdup_printf("unix:%s", path);
    }
    if (ss->ss_family == AF_VSOCK) {
        const struct sockaddr_vm *vm = (const struct sockaddr_vm *)ss;
        return g_strdup_printf("vsock:%u:%u", vm->svm_cid, vm->svm_port);
    }
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo((const struct sockaddr *)ss, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        return NULL;
    }
    return g_strdup_printf(strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
}

char *socket_local_name(int fd)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);
    return getsockname(fd, (struct sockaddr *)&ss, &len) ? NULL : name_of(&ss, len);
}

char *socket_peer_name(int fd)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);
    return getpeername(fd, (struct sockaddr *)&ss, &len) ? NULL : name_of(&ss, len);
}

bool socket_fill_unix(const SocketAddr *addr, struct sockaddr_un *un, socklen_t *len, Error **errp)
{
    size_t n = strlen(addr->path);
    *un = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (n + 1 > sizeof(un->sun_path)) {
        error_set(errp, "UNIX socket path '%s' is too long; at most %zu bytes are possible",
                  addr->path, sizeof(un->sun_path) - 1);
        return false;
    }
    if (addr->abstract) {
        memcpy(un->sun_path + 1, addr->path, n);
        *len = addr->loose ? sizeof(*un) : offsetof(struct sockaddr_un, sun_path) + 1 + n;
    } else {
        memcpy(un->sun_path, addr->path, n + 1);
        *len = offsetof(struct sockaddr_un, sun_path) + n + 1;
    }
    return true;
}

static int socket_family(const SocketAddr *addr)
{
    if (addr->ipv4 == ON_OFF_AUTO_OFF ||
        (addr->ipv6 == ON_OFF_AUTO_ON && addr->ipv4 != ON_OFF_AUTO_ON)) {
        return AF_INET6;
    }
    if (addr->ipv6 == ON_OFF_AUTO_OFF ||
        (addr->ipv4 == ON_OFF_AUTO_ON && addr->ipv6 != ON_OFF_AUTO_ON)) {
        return AF_INET;
    }
    return AF_UNSPEC;
}

struct addrinfo *socket_resolve(const SocketAddr *addr, bool passive, int type, int flags,
                                int *failure, Error **errp)
{
    struct addrinfo hints = {
        .ai_family = socket_family(addr),
        .ai_socktype = type,
        .ai_flags = (passive ? AI_PASSIVE : 0) | (addr->numeric ? AI_NUMERICHOST : 0) | flags,
    };
    struct addrinfo *list = NULL;
    const char *host = addr->host && addr->host[0] ? addr->host : NULL;
    int rc = getaddrinfo(host, addr->port && addr->port[0] ? addr->port : "0", &hints, &list);
    if (failure) {
        *failure = rc;
    }
    if (rc) {
        error_set(errp, "address resolution failed for %s:%s: %s", host ? host : "",
                  addr->port ? addr->port : "", gai_strerror(rc));
        return NULL;
    }
    return list;
}

static bool set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

void socket_set_nodelay(int fd, bool nodelay)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, nodelay); /* fails harmlessly elsewhere */
}

void socket_set_keep_alive(int fd, bool keep_alive)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keep_alive);
}

static int get_option(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) ? -1 : value;
}

bool socket_is_unix(int fd)
{
    return get_option(fd, SO_DOMAIN) == AF_UNIX;
}

bool socket_is_listening(int fd)
{
    return get_option(fd, SO_ACCEPTCONN) == 1;
}

int socket_open(int family, int type, Error **errp)
{
    if (FAULT("socket", errp)) {
        return -1;
    }
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set_errno(errp, errno, "Failed to create a socket");
    }
    return fd;
}

/* --- Listening --- */

/* A socket file without a listener is left from a process that died; anything else stays. */
static bool remove_stale(const SocketAddr *addr, const struct sockaddr_un *un, socklen_t len)
{
    struct stat st;
    if (addr->abstract || lstat(addr->path, &st) || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    FD_AUTO probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0 || connect(probe, (const struct sockaddr *)un, len) == 0 ||
        errno != ECONNREFUSED) {
        return false;
    }
    return unlink(addr->path) == 0;
}

static int listen_unix(SocketAddr *addr, int backlog, Error **errp)
{
    struct sockaddr_un un;
    socklen_t len;
    if (!socket_fill_unix(addr, &un, &len, errp)) {
        return -1;
    }
    FD_AUTO fd = socket_open(AF_UNIX, SOCK_STREAM, errp);
    if (fd < 0) {
        return -1;
    }
    int rc = bind(fd, (struct sockaddr *)&un, len);
    if (rc && errno == EADDRINUSE && remove_stale(addr, &un, len)) {
        rc = bind(fd, (struct sockaddr *)&un, len);
    }
    if (rc) {
        error_set_errno(errp, errno, "Failed to bind socket to '%s'", addr->path);
        return -1;
    }
    if (!addr->abstract) {
        g_free(addr->file); /* of a listener that was closed without socket_unlink() */
        addr->file = g_canonicalize_filename(addr->path, NULL);
    }
    if (listen(fd, backlog)) {
        error_set_errno(errp, errno, "Failed to listen on '%s'", addr->path);
        socket_unlink(addr);
        return -1;
    }
    return fd_steal(&fd);
}

static void set_port(struct sockaddr *sa, uint16_t port)
{
    if (sa->sa_family == AF_INET) {
        ((struct sockaddr_in *)sa)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
    }
}

static uint16_t get_port(const struct sockaddr *sa)
{
    return ntohs(sa->sa_family == AF_INET ? ((const struct sockaddr_in *)sa)->sin_port
                                          : ((const struct sockaddr_in6 *)sa)->sin6_port);
}

static int listen_one(const SocketAddr *addr, const struct addrinfo *ai, int backlog, Error **errp)
{
    FD_AUTO fd = socket_open(ai->ai_family, SOCK_STREAM, errp);
    if (fd < 0) {
        return -1;
    }
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (ai->ai_family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY,
                   addr->ipv4 == ON_OFF_AUTO_OFF || socket_family(addr) == AF_INET6);
    }
    unsigned port = get_port(ai->ai_addr);
    unsigned last = addr->to > port ? addr->to : port;
    for (;; port++) {
        set_port(ai->ai_addr, port);
        if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0) {
            return fd_steal(&fd);
        }
        if (errno != EADDRINUSE || port >= last) {
            error_set_errno(errp, errno, "Failed to listen on %s:%u",
                            addr->host && addr->host[0] ? addr->host : "*", port);
            return -1;
        }
    }
}

static int listen_inet(const SocketAddr *addr, int backlog, Error **errp)
{
    struct addrinfo *list = socket_resolve(addr, true, SOCK_STREAM, 0, NULL, errp);
    if (!list) {
        return -1;
    }
    int fd = -1;
    Error *first = NULL;
    /* IPv6 first where both are possible: such a socket takes IPv4 clients too. */
    for (int pass = 0; pass < 2 && fd < 0; pass++) {
        for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
            if ((ai->ai_family == AF_INET6) == (pass == 0)) {
                fd = listen_one(addr, ai, backlog, first ? NULL : &first);
            }
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        error_propagate(errp, first);
    } else {
        error_free(first);
    }
    return fd;
}

static int listen_vsock(const SocketAddr *addr, int backlog, Error **errp)
{
    struct sockaddr_vm vm;
    FD_AUTO fd = -1;
    if (!socket_fill_vsock(addr, &vm, errp) ||
        (fd = socket_open(AF_VSOCK, SOCK_STREAM, errp)) < 0) {
        return -1;
    }
    if (bind(fd, (struct sockaddr *)&vm, sizeof(vm)) || listen(fd, backlog)) {
        error_set_errno(errp, errno, "Failed to listen on vsock:%u:%s", addr->cid, addr->port);
        return -1;
    }
    return fd_steal(&fd);
}

bool socket_fill_vsock(const SocketAddr *addr, struct sockaddr_vm *vm, Error **errp)
{
    uint64_t port;
    if (!text_to_u64(addr->port, &port) || port > UINT32_MAX) {
        error_set(errp, "vsock port '%s' is not a number of 32 bits", addr->port);
        return false;
    }
    *vm = (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_cid = addr->cid, .svm_port = port };
    return true;
}

int socket_listen(SocketAddr *addr, int backlog, Error **errp)
{
    switch (addr->kind) {
    case SOCKET_UNIX:
        return listen_unix(addr, backlog, errp);
    case SOCKET_VSOCK:
        return listen_vsock(addr, backlog, errp);
    case SOCKET_FD: {
        FD_AUTO fd = fd_from_text(addr->fd, errp);
        if (fd < 0) {
            return -1;
        }
        if (!socket_is_listening(fd)) {
            error_set(errp, "file descriptor '%s' is not a listening socket", addr->fd);
            return -1;
        }
        if (!fd_set_nonblock(fd, true, errp) || !fd_set_cloexec(fd, true, errp)) {
            return -1;
        }
        return fd_steal(&fd);
    }
    default:
        return listen_inet(addr, backlog, errp);
    }
}

int socket_accept(int listener)
{
    int fd;
    do {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    return fd;
}

void socket_unlink(SocketAddr *addr)
{
    if (addr->file) {
        unlink(addr->file);
        g_clear_pointer(&addr->file, g_free);
    }
}

/* --- Datagrams --- */

static int dgram_unix(const SocketAddr *local, const SocketAddr *remote, Error **errp)
{
    struct sockaddr_un un;
    socklen_t len;
    FD_AUTO fd = socket_open(AF_UNIX, SOCK_DGRAM, errp);
    if (fd < 0) {
        return -1;
    }
    if (local) {
        if (!socket_fill_unix(local, &un, &len, errp)) {
            return -1;
        }
        if (bind(fd, (struct sockaddr *)&un, len)) {
            error_set_errno(errp, errno, "Failed to bind socket to '%s'", local->path);
            return -1;
        }
    }
    if (remote) {
        if (!socket_fill_unix(remote, &un, &len, errp)) {
            return -1;
        }
        if (connect(fd, (struct sockaddr *)&un, len)) {
            error_set_errno(errp, errno, "Failed to connect to '%s'", remote->path);
            return -1;
        }
    }
    return fd_steal(&fd);
}

static int dgram_inet(const SocketAddr *local, const SocketAddr *remote, Error **errp)
{
    SocketAddr any = { .kind = SOCKET_INET };
    struct addrinfo *to = NULL, *from = NULL;
    FD_AUTO fd = -1;
    if (remote && !(to = socket_resolve(remote, false, SOCK_DGRAM, 0, NULL, errp))) {
        return -1;
    }
    any.ipv4 = to && to->ai_family == AF_INET ? ON_OFF_AUTO_ON : ON_OFF_AUTO_AUTO;
    any.ipv6 = to && to->ai_family == AF_INET6 ? ON_OFF_AUTO_ON : ON_OFF_AUTO_AUTO;
    from = socket_resolve(local ? local : &any, true, SOCK_DGRAM, 0, NULL, errp);
    if (from) {
        fd = socket_open(from->ai_family, SOCK_DGRAM, errp);
    }
    if (fd >= 0) {
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (bind(fd, from->ai_addr, from->ai_addrlen)) {
            error_set_errno(errp, errno, "Failed to bind a datagram socket");
            fd_close(fd_steal(&fd));
        } else if (to && connect(fd, to->ai_addr, to->ai_addrlen)) {
            error_set_errno(errp, errno, "Failed to connect a datagram socket to %s:%s",
                            remote->host, remote->port);
            fd_close(fd_steal(&fd));
        }
    }
    if (to) {
        freeaddrinfo(to);
    }
    if (from) {
        freeaddrinfo(from);
    }
    return fd_steal(&fd);
}

int socket_dgram(const SocketAddr *local, const SocketAddr *remote, Error **errp)
{
    SocketKind kind = remote ? remote->kind : local ? local->kind : SOCKET_INET;
    if (local && local->kind != kind) {
        error_set(errp, "local and remote address are of different kinds");
        return -1;
    }
    switch (kind) {
    case SOCKET_UNIX:
        return dgram_unix(local, remote, errp);
    case SOCKET_INET:
        return dgram_inet(local, remote, errp);
    case SOCKET_FD: {
        FD_AUTO fd = fd_from_text((remote ? remote : local)->fd, errp);
        if (fd < 0 || !fd_set_nonblock(fd, true, errp) || !fd_set_cloexec(fd, true, errp)) {
            return -1;
        }
        return fd_steal(&fd);
    }
    default:
        error_set(errp, "datagrams over vsock are not possible");
        return -1;
    }
}
