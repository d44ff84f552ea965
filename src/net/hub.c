/* A hub repeats each frame that comes in at one port to all others. */
#include "net/netdev.h"

typedef struct HubPort {
    NetClient client;
    int hub;
} HubPort;

typedef struct HubSend {
    HubPort *from;
    const struct iovec *iov;
    unsigned count;
} HubSend;

static const NetClientOps hub_ops;

static bool is_other_port(NetClient *nc, const HubPort *from)
{
    return nc->ops == &hub_ops && nc != &from->client && ((HubPort *)nc)->hub == from->hub;
}

static bool hub_repeat(NetClient *nc, void *opaque)
{
    HubSend *s = opaque;
    if (is_other_port(nc, s->from)) {
        /* A slow port must not hold the others: what it has no room for waits or is dropped. */
        net_send(nc, s->iov, s->count, NULL);
    }
    return true;
}

static size_t hub_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    HubSend s = { .from = (HubPort *)nc, .iov = iov, .count = count };
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        len += iov[i].iov_len;
    }
    net_client_foreach(hub_repeat, &s);
    return len;
}

static void hub_describe(NetClient *nc, GString *out)
{
    g_string_append_printf(out, "hub=%d", ((HubPort *)nc)->hub);
    if (nc->peer) {
        g_string_append_printf(out, ",peer=%s", nc->peer->name);
    }
}

static const NetClientOps hub_ops = {
    .type = "hubport",
    .size = sizeof(HubPort),
    .receive = hub_receive,
    .describe = hub_describe,
};

NetClient *net_hub_add_port(int hub, const char *name, NetClient *peer)
{
    NetClient *nc = net_client_new(&hub_ops, NULL, name, peer);
    ((HubPort *)nc)->hub = hub;
    return nc;
}

bool net_hubport_create(const char *id, const void *options, Error **errp)
{
    const NetdevHubPortOptions *o = options;
    NetClient *peer = NULL;
    if (o->netdev) {
        peer = net_netdev_find(o->netdev);
        if (!peer) {
            error_set(errp, "there is no netdev '%s' to connect to the hub", o->netdev);
            return false;
        }
        if (peer->peer) {
            error_set(errp, "netdev '%s' is in use by '%s'", o->netdev, peer->peer->name);
            return false;
        }
    }
    net_hub_add_port(o->hubid, id, peer);
    return true;
}
