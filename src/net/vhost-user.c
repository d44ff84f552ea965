/* -netdev vhost-user: the NIC's queues are worked by a process behind a unix socket. */
#include <string.h>

#include "net/netdev.h"
#include "net/vhost-net.h"
#include "schema/net.h"
#include "vhost/user/await.h"

typedef struct VhostUserNet {
    VhostNet parent;
    char *id;
    VhostUser *vu;
    NetClient **queues; /* pairs of them; NULL once freed */
    unsigned pairs;
    unsigned clients; /* queues that still exist */
    bool connected;
    VhostUserAwait *await; /* NULL: start-up does not wait for it */
} VhostUserNet;

typedef struct VhostClient {
    NetClient client;
    VhostUserNet *net;
} VhostClient;

/* --- The back end comes and goes --- */

static void vhost_net_connected(void *opaque, bool up)
{
    VhostUserNet *net = opaque;
    net->connected = up;
    for (unsigned i = 0; i < net->pairs; i++) {
        if (net->queues[i]) {
            net_set_link(net->queues[i], up);
        }
    }
    if (up) {
        vhost_user_await_met(net->await);
    }
}

static void vhost_net_refused(void *opaque, const Error *why)
{
    vhost_user_await_refused(((VhostUserNet *)opaque)->await, why);
}

static const VhostDeviceOps vhost_net_device_ops = {
    .connected = vhost_net_connected,
    .refused = vhost_net_refused,
};

/* --- Net client --- */

/* Nobody but the back end moves frames: what the NIC sends by itself (announcements) is dropped. */
static size_t vhost_client_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        len += iov[i].iov_len;
    }
    return len;
}

static void vhost_net_free(VhostUserNet *net)
{
    vhost_user_await_free(net->await);
    vhost_device_free(net->parent.dev);
    g_free(net->queues);
    g_free(net->id);
    g_free(net);
}

static void vhost_client_finish(NetClient *nc)
{
    VhostUserNet *net = ((VhostClient *)nc)->net;
    net->queues[nc->queue_index] = NULL;
    nc->vhost = NULL;
    if (!--net->clients) {
        vhost_net_free(net);
    }
}

static void vhost_client_describe(NetClient *nc, GString *out)
{
    VhostUserStatus s;
    vhost_user_status(((VhostClient *)nc)->net->vu, &s);
    g_autofree char *filename = chardev_filename(s.chardev);
    g_string_append_printf(out, "chardev=%s,%s,%s", chardev_id(s.chardev), filename,
                           vhost_user_phase_name(s.phase));
}

/* Header and offloads are between driver and back end; the back end's features decide. */
static bool vhost_client_has_header(NetClient *nc)
{
    return true;
}

static bool vhost_client_has_header_len(NetClient *nc, unsigned len)
{
    return true;
}

static void vhost_client_set_header_len(NetClient *nc, unsigned len)
{
}

static unsigned vhost_client_offloads(NetClient *nc)
{
    return NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN |
           NET_OFFLOAD_UFO | NET_OFFLOAD_USO4 | NET_OFFLOAD_USO6;
}

static void vhost_client_set_offloads(NetClient *nc, unsigned offloads)
{
}

static const NetClientOps vhost_client_ops = {
    .type = "vhost-user",
    .size = sizeof(VhostClient),
    .receive = vhost_client_receive,
    .finish = vhost_client_finish,
    .describe = vhost_client_describe,
    .has_vnet_header = vhost_client_has_header,
    .has_vnet_header_len = vhost_client_has_header_len,
    .set_vnet_header_len = vhost_client_set_header_len,
    .offloads = vhost_client_offloads,
    .set_offloads = vhost_client_set_offloads,
};

/* --- For NICs --- */

static void vhost_user_net_announce(VhostNet *base, const uint8_t mac[6])
{
    VhostUserNet *net = (VhostUserNet *)base;
    if (net->connected) {
        vhost_user_send_rarp(net->vu, mac);
    }
}

static void vhost_user_net_set_mtu(VhostNet *base, uint16_t mtu)
{
    vhost_user_set_mtu(((VhostUserNet *)base)->vu, mtu);
}

/* --- Making it --- */

#define VHOST_NET_PROTOCOL_FEATURES \
    (BIT64(VHOST_USER_PF_MQ) | BIT64(VHOST_USER_PF_RARP) | BIT64(VHOST_USER_PF_NET_MTU))

static VhostUserNet *vhost_net_new(const char *id, const NetdevVhostUserOptions *o, Error **errp)
{
    Chardev *chr = chardev_find_or_error(o->chardev, errp);
    if (!chr) {
        return NULL;
    }
    g_autofree char *label = g_strdup_printf("netdev '%s'", id);
    unsigned pairs = o->has_queues ? o->queues : 1;
    const VhostUserSpec spec = {
        .chardev = chr,
        .name = label,
        .log = o->vhost_log,
        .timeout_ms = o->has_timeout ? o->timeout : 0,
        .virtio_id = 1, /* VIRTIO 1.3 section 5: network device */
        .rings = 2 * pairs,
        .least_rings = 2 * pairs,
        .protocol_features = VHOST_NET_PROTOCOL_FEATURES,
        .front_end_features = ~vhost_net_backend_features,
        .tolerate_lost_features = o->has_lost_features && o->lost_features,
    };
    VhostUser *vu = vhost_user_new(&spec, errp);
    if (!vu) {
        return NULL;
    }
    VhostUserNet *net = g_new0(VhostUserNet, 1);
    net->id = g_strdup(id);
    net->vu = vu;
    net->pairs = pairs;
    net->queues = g_new0(NetClient *, pairs);
    net->parent = (VhostNet){
        .dev = vhost_device_new(vhost_user_backend(vu), label, &vhost_net_device_ops, net),
        .backend_features = vhost_net_backend_features,
        .announce = vhost_user_net_announce,
        .set_mtu = vhost_user_net_set_mtu,
    };
    return net;
}

bool net_vhost_user_create(const char *id, const void *options, Error **errp)
{
    const NetdevVhostUserOptions *o = options;
    VhostUserNet *net = vhost_net_new(id, o, errp);
    if (!net) {
        return false;
    }
    for (unsigned i = 0; i < net->pairs; i++) {
        NetClient *nc = net_client_new(&vhost_client_ops, NULL, id, NULL);
        ((VhostClient *)nc)->net = net;
        nc->vhost = &net->parent;
        nc->queue_index = i;
        nc->link_down = true; /* until the back end is there */
        net->queues[i] = nc;
        net->clients++;
    }
    if (!o->has_wait || o->wait) {
        g_autofree char *what = g_strdup_printf("netdev '%s'", id);
        net->await = vhost_user_await(net->vu, what, o->has_wait_timeout ? o->wait_timeout : 0);
    }
    vhost_user_start(net->vu);
    return true;
}
