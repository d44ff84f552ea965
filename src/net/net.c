#include "net/net.h"

#include <string.h>

#include "base/iov.h"
#include "net/queue.h"

/* All clients of the machine. Clients outlive no machine: start-up frees them with it, and the list
 * is empty again. */
static NetClient *net_clients;

bool net_is_nic(const NetClient *nc)
{
    return nc->is_nic;
}

static size_t net_deliver(NetClient *sender, const struct iovec *iov, unsigned count, void *opaque)
{
    NetClient *nc = opaque;
    size_t len = iov_size(iov, count);
    if (nc->link_down) {
        return len;
    }
    if (nc->receive_disabled) {
        return 0;
    }
    size_t n = nc->ops->receive(nc, iov, count);
    if (!n) {
        nc->receive_disabled = true;
    }
    return n;
}

static char *net_client_free_name(const char *model)
{
    for (unsigned i = 0;; i++) {
        char *name = g_strdup_printf("%s.%u", model, i);
        if (!net_client_find(name)) {
            return name;
        }
        g_free(name);
    }
}

NetClient *net_client_new(const NetClientOps *ops, const char *model, const char *name,
                          NetClient *peer)
{
    NetClient *nc = g_malloc0(ops->size);
    nc->ops = ops;
    nc->is_nic = !strcmp(ops->type, "nic");
    nc->model = g_strdup(model ? model : ops->type);
    nc->name = name ? g_strdup(name) : net_client_free_name(nc->model);
    nc->incoming = net_queue_new(net_deliver, nc);
    nc->queue_count = 1;
    NetClient **p = &net_clients;
    while (*p) {
        p = &(*p)->next;
    }
    *p = nc;
    if (peer) {
        net_connect(nc, peer);
    }
    return nc;
}

void net_connect(NetClient *a, NetClient *b)
{
    assert(!a->peer && !b->peer);
    a->peer = b;
    b->peer = a;
}

void net_disconnect(NetClient *nc)
{
    NetClient *peer = nc->peer;
    if (!peer) {
        return;
    }
    net_purge_queued(nc);
    net_purge_queued(peer);
    nc->peer = NULL;
    peer->peer = NULL;
    if (peer->ops->link_changed) {
        peer->ops->link_changed(peer);
    }
}

void net_client_free(NetClient *nc)
{
    while (nc->filters && nc->filters->len) {
        NetFilter *f = g_ptr_array_index(nc->filters, nc->filters->len - 1);
        net_filter_detach(f);
        if (f->gone) {
            f->gone(f);
        }
    }
    NetClient **p = &net_clients;
    while (*p != nc) {
        p = &(*p)->next;
    }
    *p = nc->next;
    if (nc->peer && net_is_nic(nc->peer)) {
        nc->peer->link_down = true; /* the NIC's cable leads nowhere now */
    }
    net_disconnect(nc);
    if (nc->ops->finish) {
        nc->ops->finish(nc);
    }
    net_queue_free(nc->incoming);
    if (nc->filters) {
        g_ptr_array_free(nc->filters, true);
    }
    g_free(nc->name);
    g_free(nc->model);
    g_free(nc);
}

NetClient *net_client_find(const char *name)
{
    for (NetClient *nc = net_clients; nc; nc = nc->next) {
        if (!strcmp(nc->name, name)) {
            return nc;
        }
    }
    return NULL;
}

NetClient *net_netdev_find(const char *name)
{
    for (NetClient *nc = net_clients; nc; nc = nc->next) {
        if (!net_is_nic(nc) && !strcmp(nc->name, name)) {
            return nc;
        }
    }
    return NULL;
}

unsigned net_client_queues(const char *name, NetClient **out, unsigned room)
{
    unsigned n = 0;
    for (NetClient *nc = net_clients; nc && n < room; nc = nc->next) {
        if (!net_is_nic(nc) && !strcmp(nc->name, name)) {
            out[n++] = nc;
        }
    }
    return n;
}

bool net_client_foreach(NetClientVisitor *visit, void *opaque)
{
    for (NetClient *nc = net_clients, *next; nc; nc = next) {
        next = nc->next;
        if (!visit(nc, opaque)) {
            return false;
        }
    }
    return true;
}

/* --- frames --- */

/* rx is seen from the netdev's guest: towards the NIC. */
static bool run_filters(NetClient *nc, NetClient *sender, NetDirection direction,
                        const struct iovec *iov, unsigned count)
{
    for (unsigned i = 0; nc->filters && i < nc->filters->len; i++) {
        NetFilter *f = g_ptr_array_index(nc->filters, i);
        if (f->on && (f->direction == NET_DIRECTION_ALL || f->direction == direction) &&
            f->frame(f, sender, iov, count)) {
            return true;
        }
    }
    return false;
}

static bool net_can_receive(NetClient *nc)
{
    if (nc->receive_disabled) {
        return false;
    }
    return !nc->ops->can_receive || nc->ops->can_receive(nc);
}

bool net_can_send(NetClient *nc)
{
    return !nc->peer || nc->peer->link_down || net_can_receive(nc->peer);
}

size_t net_send(NetClient *nc, const struct iovec *iov, unsigned count, NetSentFn *sent)
{
    size_t len = iov_size(iov, count);
    if (nc->link_down || !nc->peer) {
        return len;
    }
    if (run_filters(nc, nc, net_is_nic(nc) ? NET_DIRECTION_TX : NET_DIRECTION_RX, iov, count) ||
        run_filters(nc->peer, nc, net_is_nic(nc->peer) ? NET_DIRECTION_RX : NET_DIRECTION_TX, iov,
                    count)) {
        return len;
    }
    return net_queue_send(nc->peer->incoming, nc, net_can_receive(nc->peer), iov, count, sent);
}

size_t net_send_buf(NetClient *nc, const void *buf, size_t len, NetSentFn *sent)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    return net_send(nc, &iov, 1, sent);
}

bool net_flush_queued(NetClient *nc)
{
    nc->receive_disabled = false;
    return net_queue_flush(nc->incoming);
}

void net_purge_queued(NetClient *sender)
{
    if (sender->peer) {
        net_queue_purge(sender->peer->incoming, sender);
    }
}

/* --- links --- */

void net_set_link(NetClient *nc, bool up)
{
    NetClient *queues[NET_QUEUES_MAX];
    unsigned n = net_is_nic(nc) ? 0 : net_client_queues(nc->name, queues, NET_QUEUES_MAX);
    if (!n) {
        queues[0] = nc;
        n = 1;
    }
    if (nc->link_down == !up) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        queues[i]->link_down = !up;
    }
    if (nc->ops->link_changed) {
        nc->ops->link_changed(nc);
    }
    /* The guest sees the cable of a netdev pulled; a NIC whose own link goes down tells only its
     * own driver. */
    if (!net_is_nic(nc) && nc->peer && nc->peer->ops->link_changed) {
        nc->peer->ops->link_changed(nc->peer);
    }
    if (up) {
        for (unsigned i = 0; i < n; i++) {
            net_flush_queued(queues[i]);
        }
    }
}

bool net_link_is_up(const NetClient *nc)
{
    return !nc->link_down && (!nc->peer || !nc->peer->link_down);
}

bool net_peer_has_vnet_header(const NetClient *nc)
{
    NetClient *peer = nc->peer;
    return peer && peer->ops->has_vnet_header && peer->ops->has_vnet_header(peer);
}

bool net_peer_has_vnet_header_len(const NetClient *nc, unsigned len)
{
    NetClient *peer = nc->peer;
    return peer && peer->ops->has_vnet_header_len && peer->ops->has_vnet_header_len(peer, len);
}

unsigned net_peer_offloads(const NetClient *nc)
{
    NetClient *peer = nc->peer;
    return peer && peer->ops->offloads ? peer->ops->offloads(peer) : 0;
}

void net_client_describe(NetClient *nc, GString *out)
{
    g_string_append_printf(out, "%s: index=%u,type=%s,", nc->name, nc->queue_index, nc->ops->type);
    if (nc->ops->describe) {
        nc->ops->describe(nc, out);
    } else {
        g_string_append(out, nc->model);
    }
}

/* --- filters --- */

void net_filter_attach(NetFilter *f, NetClient *nc)
{
    if (!nc->filters) {
        nc->filters = g_ptr_array_new();
    }
    g_ptr_array_add(nc->filters, f);
    f->nc = nc;
}

void net_filter_detach(NetFilter *f)
{
    if (f->nc) {
        g_ptr_array_remove(f->nc->filters, f);
        f->nc = NULL;
    }
}
