/*
 * Forwards of the user-mode network: from ports of the host to the guest, and from addresses that
 * the guest sees to programs, unix sockets and character devices of the host.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/text.h"
#include "chardev/chardev-record.h"
#include "chardev/chardev.h"
#include "net/user-internal.h"

typedef union Endpoint {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
} Endpoint;

static socklen_t endpoint_len(const Endpoint *e)
{
    return e->sa.sa_family == AF_INET6 ? sizeof(e->in6) : sizeof(e->in);
}

static unsigned endpoint_port(const Endpoint *e)
{
    return ntohs(e->sa.sa_family == AF_INET6 ? e->in6.sin6_port : e->in.sin_port);
}

/* "[ADDR]:PORT" with IPv4, or with IPv6 in brackets; ADDR may be empty. */
static bool parse_endpoint(const char *text, Endpoint *e)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    *e = (Endpoint){ 0 };
    if (!colon || !text_to_u64(colon + 1, &port) || port > UINT16_MAX) {
        return false;
    }
    g_autofree char *host = g_strndup(text, colon - text);
    size_t len = strlen(host);
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = 0;
        e->in6.sin6_family = AF_INET6;
        e->in6.sin6_port = htons(port);
        return inet_pton(AF_INET6, host + 1, &e->in6.sin6_addr) == 1;
    }
    e->in.sin_family = AF_INET;
    e->in.sin_port = htons(port);
    return !len || inet_pton(AF_INET, host, &e->in.sin_addr) == 1;
}

/* --- from the host --- */

static bool forward_bad(const char *text, const char *why, Error **errp)
{
    error_set(errp, "'%s': %s; the form is [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT",
              text, why);
    return false;
}

/* The text behind the protocol; NULL: there is none. */
static const char *parse_protocol(const char *text, int *flags)
{
    *flags = 0;
    if (g_str_has_prefix(text, "tcp:")) {
        return text + 4;
    }
    if (g_str_has_prefix(text, "udp:")) {
        *flags = SLIRP_HOSTFWD_UDP;
        return text + 4;
    }
    return *text == ':' ? text + 1 : NULL;
}

bool user_host_forward(UserClient *u, const char *text, bool add, Error **errp)
{
    int flags;
    const char *rest = parse_protocol(text, &flags);
    Endpoint host, guest;
    if (!rest) {
        return forward_bad(text, "neither tcp nor udp", errp);
    }
    g_auto(GStrv) ends = g_strsplit(rest, "-", 2);
    if (!parse_endpoint(ends[0] ? ends[0] : "", &host)) {
        return forward_bad(
            text, ends[0] && ends[1] ? "the host's side is not ADDR:PORT" : "there is no '-'",
            errp);
    }
    if (!add) {
        if (slirp_remove_hostxfwd(u->slirp, &host.sa, endpoint_len(&host), flags) < 0) {
            error_set(errp, "netdev '%s' has no forward '%s'", u->client.name, text);
            return false;
        }
        return true;
    }
    if (!ends[1]) {
        return forward_bad(text, "there is no '-'", errp);
    }
    if (!parse_endpoint(ends[1], &guest) || !endpoint_port(&guest)) {
        return forward_bad(text, "the guest's side is not ADDR:PORT", errp);
    }
    if (host.sa.sa_family != guest.sa.sa_family) {
        return forward_bad(text, "one side is IPv4 and the other IPv6", errp);
    }
    if (slirp_add_hostxfwd(u->slirp, &host.sa, endpoint_len(&host), &guest.sa, endpoint_len(&guest),
                           flags) < 0) {
        error_set_errno(errp, errno, "cannot listen for the forward '%s'", text);
        return false;
    }
    return true;
}

/* --- from the guest --- */

typedef struct GuestForward {
    UserClient *user;
    struct in_addr server;
    int port;
    CharFrontend fe;
    char *made; /* id of a chardev of its own; NULL: the user's */
} GuestForward;

static ssize_t forward_write(const void *buf, size_t len, void *opaque)
{
    GuestForward *f = opaque;
    /* What a slow device does not take is lost, as on an unplugged line; the queue is bounded. */
    return char_frontend_write_all(&f->fe, buf, len, NULL) ? (ssize_t)len : -1;
}

static size_t forward_can_receive(void *opaque)
{
    GuestForward *f = opaque;
    return slirp_socket_can_recv(f->user->slirp, f->server, f->port);
}

static void forward_receive(void *opaque, const uint8_t *buf, size_t len)
{
    GuestForward *f = opaque;
    slirp_socket_recv(f->user->slirp, f->server, f->port, buf, len);
}

static const CharHandlers forward_handlers = {
    .can_receive = forward_can_receive,
    .receive = forward_receive,
};

static void guest_forward_free(void *p)
{
    GuestForward *f = p;
    char_frontend_finish(&f->fe);
    if (f->made) {
        /* False where all of them went before us. */
        bool removed = chardev_remove(f->made, NULL);
        (void)removed;
        g_free(f->made);
    }
    g_free(f);
}

void user_guest_forwards_poll(UserClient *u)
{
    for (guint i = 0; u->forwards && i < u->forwards->len; i++) {
        GuestForward *f = u->forwards->pdata[i];
        char_frontend_accept_input(&f->fe);
    }
}

void user_guest_forwards_finish(UserClient *u)
{
    g_clear_pointer(&u->forwards, g_ptr_array_unref);
}

static bool forward_refused(const char *text, Error **errp)
{
    error_set(errp, "'%s': the server's address must be in the network, free, and none of its own",
              text);
    return false;
}

/* To a character device: one of the user's ("chardev:ID"), or one made from what -serial takes. */
static bool guest_forward_chardev(UserClient *u, const char *text, const char *where,
                                  const Endpoint *server, Error **errp)
{
    g_autofree char *id =
        g_strdup_printf("%s-guestfwd%u", u->client.name, u->forwards ? u->forwards->len : 0);
    Chardev *chr;
    if (!chardev_new_from_text(id, where, NULL, &chr, errp)) {
        return false;
    }
    if (!chr) {
        error_set(errp,
                  "'%s': after '-' comes unix:PATH, cmd:COMMAND, chardev:ID or a character "
                  "device",
                  text);
        return false;
    }
    GuestForward *f = g_new0(GuestForward, 1);
    f->user = u;
    f->server = server->in.sin_addr;
    f->port = endpoint_port(server);
    f->made = g_str_has_prefix(where, "chardev:") ? NULL : g_steal_pointer(&id);
    if (!char_frontend_init(&f->fe, chr, errp)) {
        guest_forward_free(f);
        return false;
    }
    if (slirp_add_guestfwd(u->slirp, forward_write, f, &f->server, f->port) < 0) {
        guest_forward_free(f);
        return forward_refused(text, errp);
    }
    if (!u->forwards) {
        u->forwards = g_ptr_array_new_with_free_func(guest_forward_free);
    }
    g_ptr_array_add(u->forwards, f);
    char_frontend_set_handlers(&f->fe, &forward_handlers, f, NULL);
    char_frontend_set_open(&f->fe, true);
    return true;
}

bool user_guest_forward(UserClient *u, const char *text, Error **errp)
{
    const char *rest = g_str_has_prefix(text, "tcp:") ? text + 4 : *text == ':' ? text + 1 : NULL;
    g_auto(GStrv) ends = rest ? g_strsplit(rest, "-", 2) : NULL;
    Endpoint server;
    if (!ends || !ends[0] || !ends[1] || !parse_endpoint(ends[0], &server) ||
        server.sa.sa_family != AF_INET || !endpoint_port(&server)) {
        error_set(errp,
                  "'%s': the form is [tcp]:SERVER:PORT-unix:PATH, -cmd:COMMAND, "
                  "-chardev:ID or -tcp:HOST:PORT",
                  text);
        return false;
    }
    int port = endpoint_port(&server), r;
    if (g_str_has_prefix(ends[1], "cmd:")) {
        r = slirp_add_exec(u->slirp, ends[1] + 4, &server.in.sin_addr, port);
    } else if (g_str_has_prefix(ends[1], "unix:")) {
        r = slirp_add_unix(u->slirp, ends[1] + 5, &server.in.sin_addr, port);
    } else {
        return guest_forward_chardev(u, text, ends[1], &server, errp);
    }
    return r < 0 ? forward_refused(text, errp) : true;
}
