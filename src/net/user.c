/*
 * User-mode network: libslirp plays router, DHCP, DNS forwarder and TFTP server, and turns the
 * guest's connections into sockets of this process. Built as the module net-slirp.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/bits.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/module.h"
#include "base/text.h"
#include "event/clock.h"
#include "net/netdev.h"
#include "net/user-internal.h"
#include "object/vmstate.h"

/* libslirp's defaults are documented as 10.0.2.0/24; these are the addresses in it. */
enum {
    DEFAULT_NET = 0x0a000200,
    DEFAULT_BITS = 24,
    HOST_OFFSET = 2,
    DNS_OFFSET = 3,
    DHCP_OFFSET = 15
};
#define DEFAULT_PREFIX6 "fec0::"
enum { DEFAULT_PREFIX6_BITS = 64 };
enum { SLIRP_CONFIG = 4, POLL_MAX_MS = 1000 };
enum { STATE_MAX = 16 * 1024 * 1024 }; /* bytes of saved connections */

static const VmState user_vmstate;

/* --- the event loop's side: one source with as many descriptors as libslirp has sockets --- */

typedef struct UserSource {
    GSource source;
    UserClient *user;
    GPtrArray *polls; /* GPollFD, owned; the first `used` are in the source */
    guint used;
} UserSource;

static int user_add_poll(int fd, int events, void *opaque)
{
    UserSource *us = opaque;
    gushort cond = 0;
    cond |= events & SLIRP_POLL_IN ? G_IO_IN : 0;
    cond |= events & SLIRP_POLL_OUT ? G_IO_OUT : 0;
    cond |= events & SLIRP_POLL_PRI ? G_IO_PRI : 0;
    cond |= events & SLIRP_POLL_ERR ? G_IO_ERR : 0;
    cond |= events & SLIRP_POLL_HUP ? G_IO_HUP : 0;
    guint index = us->used++;
    GPollFD *p;
    if (index < us->polls->len) {
        p = g_ptr_array_index(us->polls, index);
        if (p->fd != fd) {
            g_source_remove_poll(&us->source, p);
            p->fd = fd;
            g_source_add_poll(&us->source, p);
        }
    } else {
        p = g_new0(GPollFD, 1);
        p->fd = fd;
        g_ptr_array_add(us->polls, p);
        g_source_add_poll(&us->source, p);
    }
    p->events = cond;
    p->revents = 0;
    return index;
}

static void user_trim_polls(UserSource *us)
{
    while (us->polls->len > us->used) {
        GPollFD *p = g_ptr_array_index(us->polls, us->polls->len - 1);
        g_source_remove_poll(&us->source, p);
        g_ptr_array_set_size(us->polls, us->polls->len - 1);
    }
}

static gboolean user_prepare(GSource *source, gint *timeout)
{
    UserSource *us = (UserSource *)source;
    uint32_t ms = POLL_MAX_MS;
    us->used = 0;
    slirp_pollfds_fill(us->user->slirp, &ms, user_add_poll, us);
    user_trim_polls(us);
    *timeout = MIN_OF(ms, POLL_MAX_MS);
    return false;
}

static gboolean user_check(GSource *source)
{
    return true; /* its timers want to be looked at each time */
}

static int user_revents(int index, void *opaque)
{
    UserSource *us = opaque;
    const GPollFD *p = g_ptr_array_index(us->polls, index);
    int events = 0;
    events |= p->revents & G_IO_IN ? SLIRP_POLL_IN : 0;
    events |= p->revents & G_IO_OUT ? SLIRP_POLL_OUT : 0;
    events |= p->revents & G_IO_PRI ? SLIRP_POLL_PRI : 0;
    events |= p->revents & G_IO_ERR ? SLIRP_POLL_ERR : 0;
    events |= p->revents & G_IO_HUP ? SLIRP_POLL_HUP : 0;
    return events;
}

static gboolean user_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    UserSource *us = (UserSource *)source;
    slirp_pollfds_poll(us->user->slirp, false, user_revents, us);
    user_guest_forwards_poll(us->user);
    return G_SOURCE_CONTINUE;
}

static void user_source_finalize(GSource *source)
{
    g_ptr_array_free(((UserSource *)source)->polls, true);
}

static GSourceFuncs user_source_funcs = {
    .prepare = user_prepare,
    .check = user_check,
    .dispatch = user_dispatch,
    .finalize = user_source_finalize,
};

/* --- what libslirp calls --- */

static ssize_t user_send_packet(const void *buf, size_t len, void *opaque)
{
    UserClient *u = opaque;
    net_send_buf(&u->client, buf, len, NULL);
    return len;
}

static void user_guest_error(const char *msg, void *opaque)
{
    log_guest_error("netdev '%s': %s\n", ((UserClient *)opaque)->client.name, msg);
}

static int64_t user_clock(void *opaque)
{
    return clock_now(CLK_VIRTUAL);
}

typedef struct UserTimer {
    Timer *timer;
    UserClient *user;
    SlirpTimerId id;
    void *opaque;
} UserTimer;

static void user_timer_fired(void *opaque)
{
    UserTimer *t = opaque;
    slirp_handle_timer(t->user->slirp, t->id, t->opaque);
}

static void *user_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    UserTimer *t = g_new0(UserTimer, 1);
    t->user = opaque;
    t->id = id;
    t->opaque = cb_opaque;
    t->timer = timer_new(event_loop_main(), CLK_VIRTUAL, user_timer_fired, t);
    return t;
}

static void user_timer_free(void *timer, void *opaque)
{
    UserTimer *t = timer;
    timer_free(t->timer);
    g_free(t);
}

static void user_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    timer_set(((UserTimer *)timer)->timer, expire_ms * NS_PER_MS);
}

static void user_register_fd(int fd, void *opaque)
{
}

static void user_notify(void *opaque)
{
    g_main_context_wakeup(event_loop_context(event_loop_main()));
}

static const SlirpCb user_callbacks = {
    .send_packet = user_send_packet,
    .guest_error = user_guest_error,
    .clock_get_ns = user_clock,
    .timer_free = user_timer_free,
    .timer_mod = user_timer_mod,
    .register_poll_fd = user_register_fd,
    .unregister_poll_fd = user_register_fd,
    .notify = user_notify,
    .timer_new_opaque = user_timer_new,
};

/* --- the client --- */

static size_t user_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    size_t len = iov_size(iov, count);
    if (len > NET_FRAME_MAX) {
        return len;
    }
    if (count == 1) {
        slirp_input(((UserClient *)nc)->slirp, iov->iov_base, len);
    } else {
        g_autofree uint8_t *flat = g_malloc(len);
        iov_to_buf(iov, count, 0, flat, len);
        slirp_input(((UserClient *)nc)->slirp, flat, len);
    }
    return len;
}

static void user_finish(NetClient *nc)
{
    UserClient *u = (UserClient *)nc;
    vmstate_unregister(&user_vmstate, u);
    user_guest_forwards_finish(u);
    if (u->source) {
        g_source_destroy(u->source);
        g_source_unref(u->source);
    }
    if (u->slirp) {
        slirp_cleanup(u->slirp);
    }
}

static void user_describe(NetClient *nc, GString *out)
{
    UserClient *u = (UserClient *)nc;
    char net[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &u->net, net, sizeof(net));
    inet_ntop(AF_INET, &u->mask, mask, sizeof(mask));
    g_string_append_printf(out, "net=%s,mask=%s", net, mask);
}

static void user_print_connections(NetClient *nc, GString *out)
{
    char *text = slirp_connection_info(((UserClient *)nc)->slirp);
    g_string_append_printf(out, "%s:\n%s", nc->name, text);
    g_free(text);
}

static bool user_set_forward(NetClient *nc, const char *text, bool add, Error **errp)
{
    return user_host_forward((UserClient *)nc, text, add, errp);
}

static const NetClientOps user_ops = {
    .type = "user",
    .size = sizeof(UserClient),
    .receive = user_receive,
    .finish = user_finish,
    .describe = user_describe,
    .set_forward = user_set_forward,
    .print_connections = user_print_connections,
};

/* --- state: libslirp's own, as the bytes that it reads and writes --- */

static ssize_t state_write(const void *buf, size_t len, void *opaque)
{
    UserClient *u = opaque;
    u->state = g_realloc(u->state, u->state_len + len);
    memcpy(u->state + u->state_len, buf, len);
    u->state_len += len;
    return len;
}

/* Past the end: zeros, and libslirp is told of nothing; the length is looked at afterwards. */
static ssize_t state_read(void *buf, size_t len, void *opaque)
{
    UserClient *u = opaque;
    size_t n = MIN_OF(len, u->state_len - u->state_done);
    memcpy(buf, u->state + u->state_done, n);
    memset((uint8_t *)buf + n, 0, len - n);
    u->state_done += n;
    u->state_short |= n < len;
    return len;
}

static bool user_pre_save(void *opaque, Error **errp)
{
    UserClient *u = opaque;
    u->state_version = slirp_state_version();
    u->state_len = 0;
    slirp_state_save(u->slirp, state_write, u);
    return true;
}

static void user_post_save(void *opaque)
{
    UserClient *u = opaque;
    g_clear_pointer(&u->state, g_free);
    u->state_len = 0;
}

static bool user_pre_load(void *opaque, Error **errp)
{
    UserClient *u = opaque;
    u->state = g_malloc(STATE_MAX);
    return true;
}

static bool user_post_load(void *opaque, int version, Error **errp)
{
    UserClient *u = opaque;
    u->state_done = 0;
    u->state_short = false;
    bool ok = u->state_version <= (uint32_t)slirp_state_version() &&
              slirp_state_load(u->slirp, u->state_version, state_read, u) == 0 && !u->state_short &&
              u->state_done == u->state_len;
    user_post_save(u);
    if (!ok) {
        error_set(errp, "netdev '%s': the saved connections can't be read", u->client.name);
    }
    return ok;
}

static const VmStateField user_fields[] = { VMSTATE_UINT32(state_version, UserClient),
                                            VMSTATE_UINT32(state_len, UserClient),
                                            { .name = "state",
                                              .kind = VMSTATE_KIND_UINT,
                                              .offset = offsetof(UserClient, state),
                                              .size = 1,
                                              .count = STATE_MAX,
                                              .pointer = true,
                                              .count_offset = offsetof(UserClient, state_len),
                                              .count_size = 4 },
                                            {} };
static const VmState user_vmstate = {
    .name = "slirp",
    .version = 1,
    .minimum_version = 1,
    .pre_save = user_pre_save,
    .post_save = user_post_save,
    .pre_load = user_pre_load,
    .post_load = user_post_load,
    .fields = user_fields,
};

/* --- options --- */

static bool parse_address(const char *name, const char *text, struct in_addr *addr, Error **errp)
{
    if (text && inet_pton(AF_INET, text, addr) != 1) {
        error_set(errp, "'%s' expects an IPv4 address, got '%s'", name, text);
        return false;
    }
    return true;
}

static bool parse_address6(const char *name, const char *text, struct in6_addr *addr, Error **errp)
{
    if (text && inet_pton(AF_INET6, text, addr) != 1) {
        error_set(errp, "'%s' expects an IPv6 address, got '%s'", name, text);
        return false;
    }
    return true;
}

static bool parse_network(const char *text, SlirpConfig *c, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    uint64_t bits;
    if (inet_pton(AF_INET, parts[0], &c->vnetwork) != 1) {
        error_set(errp, "'net' expects ADDRESS, ADDRESS/BITS or ADDRESS/MASK, got '%s'", text);
        return false;
    }
    if (!parts[1]) {
        /* Classes, as addresses without a mask have always been read. */
        uint32_t a = ntohl(c->vnetwork.s_addr);
        c->vnetmask.s_addr = htonl(IN_CLASSA(a)   ? IN_CLASSA_NET
                                   : IN_CLASSB(a) ? IN_CLASSB_NET
                                                  : IN_CLASSC_NET);
    } else if (text_to_u64(parts[1], &bits)) {
        if (bits < 4 || bits > 29) {
            error_set(errp, "'net' expects 4 to 29 bits of network, got '%s'", text);
            return false;
        }
        c->vnetmask.s_addr = htonl(UINT32_MAX << (32 - bits));
    } else if (inet_pton(AF_INET, parts[1], &c->vnetmask) != 1 ||
               (~ntohl(c->vnetmask.s_addr) & (~ntohl(c->vnetmask.s_addr) + 1))) {
        error_set(errp, "'net' expects a network mask like 255.255.255.0, got '%s'", parts[1]);
        return false;
    }
    c->vnetwork.s_addr &= c->vnetmask.s_addr;
    return true;
}

static struct in_addr in_network(const SlirpConfig *c, uint32_t offset)
{
    uint32_t host_mask = ~ntohl(c->vnetmask.s_addr);
    return (struct in_addr){ htonl(ntohl(c->vnetwork.s_addr) | (offset & host_mask)) };
}

static bool check_in_network(const char *name, struct in_addr a, const SlirpConfig *c, Error **errp)
{
    if ((a.s_addr & c->vnetmask.s_addr) != c->vnetwork.s_addr) {
        char text[INET_ADDRSTRLEN];
        error_set(errp, "'%s' %s is outside the network; choose one inside 'net'", name,
                  inet_ntop(AF_INET, &a, text, sizeof(text)));
        return false;
    }
    return true;
}

static bool config_ipv4(const NetdevUserOptions *o, SlirpConfig *c, Error **errp)
{
    c->vnetwork.s_addr = htonl(DEFAULT_NET);
    c->vnetmask.s_addr = htonl(UINT32_MAX << (32 - DEFAULT_BITS));
    if (o->net && !parse_network(o->net, c, errp)) {
        return false;
    }
    c->vhost = in_network(c, HOST_OFFSET);
    c->vnameserver = in_network(c, DNS_OFFSET);
    c->vdhcp_start = in_network(c, DHCP_OFFSET);
    if (!parse_address("host", o->host, &c->vhost, errp) ||
        !parse_address("dns", o->dns, &c->vnameserver, errp) ||
        !parse_address("dhcpstart", o->dhcpstart, &c->vdhcp_start, errp) ||
        !check_in_network("host", c->vhost, c, errp) ||
        !check_in_network("dns", c->vnameserver, c, errp) ||
        !check_in_network("dhcpstart", c->vdhcp_start, c, errp)) {
        return false;
    }
    if (c->vhost.s_addr == c->vnameserver.s_addr) {
        error_set(errp, "'host' and 'dns' must be different addresses");
        return false;
    }
    return true;
}

/* Prefix and length in one. */
static bool parse_network6(const NetdevUserOptions *o, SlirpConfig *c, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(o->ipv6_net, "/", 2);
    uint64_t bits = DEFAULT_PREFIX6_BITS;
    if (o->ipv6_prefix || o->has_ipv6_prefixlen) {
        error_set(errp, "'ipv6-net' and 'ipv6-prefix' or 'ipv6-prefixlen' exclude each other");
        return false;
    }
    if (inet_pton(AF_INET6, parts[0], &c->vprefix_addr6) != 1 ||
        (parts[1] && (!text_to_u64(parts[1], &bits) || bits < 1 || bits > 126))) {
        error_set(errp, "'ipv6-net' expects PREFIX or PREFIX/BITS with 1 to 126 bits, got '%s'",
                  o->ipv6_net);
        return false;
    }
    c->vprefix_len = bits;
    return true;
}

static bool config_ipv6(const NetdevUserOptions *o, SlirpConfig *c, Error **errp)
{
    if (!parse_address6("ipv6-prefix", o->ipv6_prefix ? o->ipv6_prefix : DEFAULT_PREFIX6,
                        &c->vprefix_addr6, errp)) {
        return false;
    }
    c->vprefix_len = o->has_ipv6_prefixlen ? o->ipv6_prefixlen : DEFAULT_PREFIX6_BITS;
    if (o->ipv6_net && !parse_network6(o, c, errp)) {
        return false;
    }
    c->vhost6 = c->vnameserver6 = c->vprefix_addr6;
    c->vhost6.s6_addr[15] |= HOST_OFFSET;
    c->vnameserver6.s6_addr[15] |= DNS_OFFSET;
    return parse_address6("ipv6-host", o->ipv6_host, &c->vhost6, errp) &&
           parse_address6("ipv6-dns", o->ipv6_dns, &c->vnameserver6, errp);
}

static bool add_forwards(UserClient *u, const NetdevUserOptions *o, Error **errp)
{
    for (size_t i = 0; i < o->hostfwd.len; i++) {
        if (!user_host_forward(u, o->hostfwd.items[i].str, true, errp)) {
            return false;
        }
    }
    for (size_t i = 0; i < o->guestfwd.len; i++) {
        if (!user_guest_forward(u, o->guestfwd.items[i].str, errp)) {
            return false;
        }
    }
    return true;
}

static bool user_create(const char *id, const void *options, Error **errp)
{
    const NetdevUserOptions *o = options;
    bool ipv4 = o->has_ipv4 ? o->ipv4 : !(o->has_ipv6 && o->ipv6);
    bool ipv6 = o->has_ipv6 ? o->ipv6 : !(o->has_ipv4 && o->ipv4);
    if (!ipv4 && !ipv6) {
        error_set(errp, "ipv4=off and ipv6=off together leave nothing");
        return false;
    }
    if (o->smb || o->smbserver) {
        error_set(errp, "'smb' is not possible, there is no file server in here; share a folder "
                        "with a vhost-user-fs device, or serve it on the host");
        return false;
    }
    const char *search[64];
    if (o->dnssearch.len >= ARRAY_LEN(search)) {
        error_set(errp, "'dnssearch' takes at most %zu domains", ARRAY_LEN(search) - 1);
        return false;
    }
    for (size_t i = 0; i < o->dnssearch.len; i++) {
        search[i] = o->dnssearch.items[i].str;
    }
    search[o->dnssearch.len] = NULL;
    SlirpConfig c = {
        .version = SLIRP_CONFIG,
        .restricted = o->has_restrict_ && o->restrict_,
        .in_enabled = ipv4,
        .in6_enabled = ipv6,
        .vhostname = o->hostname,
        .tftp_server_name = o->tftp_server_name,
        .tftp_path = o->tftp,
        .bootfile = o->bootfile,
        .vdnssearch = o->dnssearch.len ? search : NULL,
        .vdomainname = o->domainname,
    };
    if (!config_ipv4(o, &c, errp) || !config_ipv6(o, &c, errp)) {
        return false;
    }
    UserClient *u = (UserClient *)net_client_new(&user_ops, NULL, id, NULL);
    u->net = c.vnetwork;
    u->mask = c.vnetmask;
    u->slirp = slirp_new(&c, &user_callbacks, u);
    if (!u->slirp) {
        error_set(errp, "libslirp refuses these settings");
        net_client_free(&u->client);
        return false;
    }
    if (!add_forwards(u, o, errp)) {
        net_client_free(&u->client);
        return false;
    }
    vmstate_register("slirp", -1, &user_vmstate, u);
    u->source = g_source_new(&user_source_funcs, sizeof(UserSource));
    UserSource *us = (UserSource *)u->source;
    us->user = u;
    us->polls = g_ptr_array_new_with_free_func(g_free);
    g_source_attach(u->source, event_loop_context(event_loop_main()));
    return true;
}

static void user_register(void)
{
    netdev_set_creator(NETDEV_TYPE_USER, user_create);
}
MODULE_INIT(MODULE_SUBSYSTEM, user_register)
