/*
 * virtio network device (VIRTIO 1.3 section 5.1): properties, features, configuration, queues.
 * Frames are in net-rx.c and net-tx.c, the control queue in net-ctrl.c, hashes in net-rss.c.
 */
#include <string.h>

#include "base/log.h"
#include "base/report.h"
#include "devices/virtio/net/net-internal.h"
#include "devices/virtio/transport.h"

/* --- features --- */

typedef struct OffloadBit {
    uint8_t feature;
    unsigned offload;
} OffloadBit;

/* What the peer must be able to do for a feature of either direction. */
static const OffloadBit guest_offload_bits[] = {
    { VIRTIO_NET_F_GUEST_CSUM, NET_OFFLOAD_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, NET_OFFLOAD_TSO4 },
    { VIRTIO_NET_F_GUEST_TSO6, NET_OFFLOAD_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, NET_OFFLOAD_ECN },
    { VIRTIO_NET_F_GUEST_UFO, NET_OFFLOAD_UFO },   { VIRTIO_NET_F_GUEST_USO4, NET_OFFLOAD_USO4 },
    { VIRTIO_NET_F_GUEST_USO6, NET_OFFLOAD_USO6 },
};

static const OffloadBit host_offload_bits[] = {
    { VIRTIO_NET_F_HOST_TSO4, NET_OFFLOAD_TSO4 }, { VIRTIO_NET_F_HOST_TSO6, NET_OFFLOAD_TSO6 },
    { VIRTIO_NET_F_HOST_ECN, NET_OFFLOAD_ECN },   { VIRTIO_NET_F_HOST_UFO, NET_OFFLOAD_UFO },
    { VIRTIO_NET_F_GSO, NET_OFFLOAD_TSO4 },       { VIRTIO_NET_F_HOST_USO, NET_OFFLOAD_USO },
};

/* 5.1.6.5.7: the bits that the driver can switch while it runs are those of its own direction. */
uint64_t net_guest_offload_features(void)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < ARRAY_LEN(guest_offload_bits); i++) {
        bits |= BIT64(guest_offload_bits[i].feature);
    }
    return bits;
}

static uint64_t net_get_features(VirtioDevice *vdev, uint64_t wanted, Error **errp)
{
    VirtioNet *n = virtio_net_cast(vdev);
    unsigned can = net_peer_offloads(n->nic->queues[0]);
    uint64_t f = wanted | BIT64(VIRTIO_NET_F_MAC);
    for (unsigned i = 0; i < ARRAY_LEN(guest_offload_bits); i++) {
        if (!(can & guest_offload_bits[i].offload)) {
            f &= ~BIT64(guest_offload_bits[i].feature);
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(host_offload_bits); i++) {
        if (!(can & host_offload_bits[i].offload)) {
            f &= ~BIT64(host_offload_bits[i].feature);
        }
    }
    if (n->host_mtu) {
        f |= BIT64(VIRTIO_NET_F_MTU);
    }
    if (n->speed >= 0 || n->duplex) {
        f |= BIT64(VIRTIO_NET_F_SPEED_DUPLEX);
    }
    if (n->failover) {
        f |= BIT64(VIRTIO_NET_F_STANDBY);
    }
    if (!(f & BIT64(VIRTIO_NET_F_CTRL_VQ))) {
        f &= ~(BIT64(VIRTIO_NET_F_CTRL_RX) | BIT64(VIRTIO_NET_F_CTRL_RX_EXTRA) |
               BIT64(VIRTIO_NET_F_CTRL_VLAN) | BIT64(VIRTIO_NET_F_CTRL_MAC_ADDR) |
               BIT64(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT64(VIRTIO_NET_F_MQ) |
               BIT64(VIRTIO_NET_F_RSS) | BIT64(VIRTIO_NET_F_HASH_REPORT) |
               BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT64(VIRTIO_NET_F_NOTF_COAL) |
               BIT64(VIRTIO_NET_F_VQ_NOTF_COAL));
    }
    return net_vhost_features(n, f, errp);
}

/* 5.1.3.1: bits that need others. */
static bool net_validate_features(VirtioDevice *vdev, uint64_t f)
{
    static const struct {
        uint8_t bit, needs;
    } rules[] = {
        { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM },
        { VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM },
        { VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM },
        { VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM },
        { VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM },
        { VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM },
        { VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM },
        { VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM },
        { VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM },
        { VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_RSS, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_NOTF_COAL, VIRTIO_NET_F_CTRL_VQ },
        { VIRTIO_NET_F_VQ_NOTF_COAL, VIRTIO_NET_F_CTRL_VQ },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rules); i++) {
        if (f >> rules[i].bit & 1 && !(f >> rules[i].needs & 1)) {
            log_guest_error("virtio-net: feature %u without %u\n", rules[i].bit, rules[i].needs);
            return false;
        }
    }
    return true;
}

void net_apply_offloads(VirtioNet *n)
{
    NetClient *nc = n->nic->queues[0];
    unsigned offloads = 0;
    if (!net_peer_has_vnet_header(nc) || !nc->peer->ops->set_offloads) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(guest_offload_bits); i++) {
        if (n->guest_offloads >> guest_offload_bits[i].feature & 1) {
            offloads |= guest_offload_bits[i].offload;
        }
    }
    nc->peer->ops->set_offloads(nc->peer, offloads);
}

/* The header's length follows from the features, and what the peer can do from the peer. */
static void net_set_headers(VirtioNet *n)
{
    VirtioDevice *vdev = &n->parent;
    n->guest_hdr_len = virtio_has_feature(vdev, VIRTIO_NET_F_HASH_REPORT) ? NET_HDR_HASH
                       : virtio_has_feature(vdev, VIRTIO_F_VERSION_1) ||
                               virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF)
                           ? NET_HDR_FULL
                           : NET_HDR_SMALL;
    unsigned host = MIN_OF(n->guest_hdr_len, NET_HDR_FULL);
    n->host_hdr_len = 0;
    for (unsigned i = 0; i < n->nic->count; i++) {
        NetClient *nc = n->nic->queues[i];
        nc->vnet_header_len = 0;
        if (net_peer_has_vnet_header_len(nc, host)) {
            nc->peer->ops->set_vnet_header_len(nc->peer, host);
            nc->vnet_header_len = host;
            n->host_hdr_len = host;
        }
    }
}

/* 5.1.2: the control queue is behind the pairs that the driver knows of. */
static void net_arrange_queues(VirtioNet *n)
{
    VirtioDevice *vdev = &n->parent;
    n->multiqueue =
        virtio_has_feature(vdev, VIRTIO_NET_F_MQ) || virtio_has_feature(vdev, VIRTIO_NET_F_RSS);
    unsigned pairs = n->multiqueue ? n->max_pairs : 1;
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        unsigned size = i < 2 * pairs    ? (i % 2 ? n->tx_queue_size : n->rx_queue_size)
                        : i == 2 * pairs ? NET_CTRL_QUEUE_SIZE
                                         : 0;
        virtio_queue_set_max_size(vdev, i, size);
    }
}

static bool net_enable_pairs(VirtioNet *n, unsigned pairs)
{
    for (unsigned i = 0; i < n->nic->count; i++) {
        NetClient *peer = n->nic->queues[i]->peer;
        ERROR_AUTO err = NULL;
        if (peer && peer->ops->set_enabled && !peer->ops->set_enabled(peer, i < pairs, &err)) {
            report_warning("%s", error_message(err));
            return false;
        }
    }
    n->curr_pairs = pairs;
    return true;
}

bool net_set_pairs(VirtioNet *n, unsigned pairs)
{
    if (!net_enable_pairs(n, pairs)) {
        return false;
    }
    if (net_vhost_set_pairs(n, pairs)) {
        return true;
    }
    for (unsigned i = 0; i < pairs; i++) {
        net_rx_handle(&n->pairs[i]);
    }
    return true;
}

static void net_set_features(VirtioDevice *vdev, uint64_t features)
{
    VirtioNet *n = virtio_net_cast(vdev);
    net_set_headers(n);
    net_arrange_queues(n);
    n->guest_offloads = features & net_guest_offload_features();
    net_apply_offloads(n);
    if (!virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_RX)) {
        n->promisc = 1;
    }
}

/* --- configuration --- */

static void net_get_config(VirtioDevice *vdev, uint8_t *c)
{
    VirtioNet *n = virtio_net_cast(vdev);
    memset(c, 0, NET_CONFIG_SIZE);
    memcpy(c + NET_CONFIG_MAC, n->mac.a, 6);
    st16_le(c + NET_CONFIG_STATUS, n->status);
    st16_le(c + NET_CONFIG_MAX_PAIRS, n->max_pairs);
    st16_le(c + NET_CONFIG_MTU, n->host_mtu);
    st32_le(c + NET_CONFIG_SPEED, n->speed < 0 ? UINT32_MAX : (uint32_t)n->speed);
    c[NET_CONFIG_DUPLEX] = !n->duplex ? 0xff : !strcmp(n->duplex, "full");
    c[NET_CONFIG_RSS_MAX_KEY] = NET_RSS_KEY_MAX;
    st16_le(c + NET_CONFIG_RSS_MAX_TABLE, NET_RSS_TABLE_MAX);
    st32_le(c + NET_CONFIG_HASH_TYPES, NET_HASH_SUPPORTED);
}

static void net_set_config(VirtioDevice *vdev, const uint8_t *c)
{
    VirtioNet *n = virtio_net_cast(vdev);
    /* 5.1.4: only a legacy driver without CTRL_MAC_ADDR writes, and only the address. */
    if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1) &&
        !virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
        memcpy(n->mac.a, c + NET_CONFIG_MAC, 6);
    }
}

static void net_link_changed(NetClient *nc)
{
    VirtioNet *n = nic_opaque(nc);
    if (!n->nic) {
        return;
    }
    uint16_t old = n->status;
    n->status = net_link_is_up(n->nic->queues[0]) ? n->status | NET_STATUS_LINK_UP
                                                  : n->status & ~NET_STATUS_LINK_UP;
    if (n->status != old) {
        virtio_notify_config(&n->parent);
    }
}

static void net_announce(NetClient *nc)
{
    VirtioNet *n = nic_opaque(nc);
    if (virtio_has_feature(&n->parent, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
        virtio_is_running(&n->parent)) {
        n->status |= NET_STATUS_ANNOUNCE;
        virtio_notify_config(&n->parent);
    }
    net_vhost_announce(n);
}

/* --- queues --- */

static void net_handle(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioNet *n = virtio_net_cast(vdev);
    unsigned index = virtqueue_index(vq);
    unsigned pairs = n->multiqueue ? n->max_pairs : 1;
    if (index < 2 * pairs) {
        NetPair *p = &n->pairs[index / 2];
        if (index % 2) {
            net_tx_handle(p);
        } else {
            net_rx_handle(p);
        }
    } else if (index == 2 * pairs) {
        net_ctrl_handle(n, vq);
    }
}

static void net_coalescing_fire(NetPair *p, Virtqueue *vq, NetCoalescing *c)
{
    c->pending = 0;
    if (c->timer) {
        timer_cancel(c->timer);
    }
    virtio_notify(&p->n->parent, vq);
}

static void net_rx_coalesced(void *opaque)
{
    NetPair *p = opaque;
    net_coalescing_fire(p, p->rx, &p->rx_coal);
}

static void net_tx_coalesced(void *opaque)
{
    NetPair *p = opaque;
    net_coalescing_fire(p, p->tx, &p->tx_coal);
}

void net_used(NetPair *p, Virtqueue *vq, NetCoalescing *c, unsigned frames)
{
    c->pending += frames;
    if (LIKELY(!c->max_usecs) || c->pending >= MAX_OF(c->max_packets, 1)) {
        net_coalescing_fire(p, vq, c);
        return;
    }
    if (!c->timer) {
        c->timer = timer_new(event_loop_main(), CLK_VIRTUAL,
                             c == &p->rx_coal ? net_rx_coalesced : net_tx_coalesced, p);
    }
    if (!timer_pending(c->timer)) {
        timer_set(c->timer, clock_now(CLK_VIRTUAL) + c->max_usecs * NS_PER_US);
    }
}

void net_coalescing_set(NetCoalescing *c, uint32_t max_packets, uint32_t max_usecs)
{
    c->max_packets = max_packets;
    c->max_usecs = max_usecs;
    /* What is held back under the old settings comes at the new ones' next turn at the latest. */
    if (c->pending && c->timer) {
        timer_set(c->timer, clock_now(CLK_VIRTUAL) + max_usecs * NS_PER_US);
    }
}

/* An interrupt that was held back doesn't outlive the machine's run. */
static void net_coalescing_end(NetPair *p, Virtqueue *vq, NetCoalescing *c)
{
    if (c->pending) {
        net_coalescing_fire(p, vq, c);
    }
}

static void net_coalescing_clear(NetCoalescing *c)
{
    timer_free(c->timer);
    *c = (NetCoalescing){ 0 };
}

static void net_queue_reset(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioNet *n = virtio_net_cast(vdev);
    unsigned index = virtqueue_index(vq);
    if (index / 2 < n->max_pairs && index % 2) {
        net_tx_drop(&n->pairs[index / 2]);
    }
}

static void net_queue_enable(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioNet *n = virtio_net_cast(vdev);
    unsigned index = virtqueue_index(vq);
    if (index / 2 < n->max_pairs && index % 2 == 0) {
        net_rx_handle(&n->pairs[index / 2]);
    }
}

static void net_set_status(VirtioDevice *vdev, uint8_t status)
{
    VirtioNet *n = virtio_net_cast(vdev);
    if (status & VIRTIO_STATUS_FEATURES_OK) {
        net_failover_negotiated(n);
    }
    if (net_vhost_set_status(n)) {
        return;
    }
    for (unsigned i = 0; i < n->max_pairs; i++) {
        NetPair *p = &n->pairs[i];
        if (virtio_is_running(vdev)) {
            /* Frames came while nobody took them. */
            net_rx_handle(p);
            bh_schedule(p->tx_bh);
        } else {
            net_tx_pause(p);
            net_coalescing_end(p, p->rx, &p->rx_coal);
            net_coalescing_end(p, p->tx, &p->tx_coal);
        }
    }
}

static void net_reset(VirtioDevice *vdev)
{
    VirtioNet *n = virtio_net_cast(vdev);
    net_vhost_reset(n);
    for (unsigned i = 0; i < n->max_pairs; i++) {
        net_tx_drop(&n->pairs[i]);
        net_coalescing_clear(&n->pairs[i].rx_coal);
        net_coalescing_clear(&n->pairs[i].tx_coal);
    }
    n->status &= ~NET_STATUS_ANNOUNCE;
    n->mac = n->nic_conf.mac;
    n->rss = (NetRss){ 0 };
    n->failover_told = false;
    n->multiqueue = false;
    net_filter_reset(n);
    (void)net_set_pairs(n, 1);
}

/* --- life --- */

static void net_describe(NetClient *nc, GString *out)
{
    VirtioNet *n = nic_opaque(nc);
    g_autofree char *mac = mac_format(n->mac.a);
    g_string_append_printf(out, "model=%s,macaddr=%s", nc->model, mac);
}

static const NetClientOps net_nic_ops = {
    .type = "nic",
    .size = NIC_CLIENT_SIZE,
    .receive = net_rx_receive,
    .can_receive = net_rx_can_receive,
    .link_changed = net_link_changed,
    .announce = net_announce,
    .rx_filter = net_rx_filter_info,
    .describe = net_describe,
};

static bool net_check_properties(const VirtioNet *n, Error **errp)
{
    if (!is_power_of_two(n->rx_queue_size) || n->rx_queue_size < 64 ||
        n->rx_queue_size > VIRTQUEUE_MAX_SIZE) {
        error_set(errp, "rx_queue_size must be a power of two between 64 and %d, got %u",
                  VIRTQUEUE_MAX_SIZE, n->rx_queue_size);
        return false;
    }
    if (!is_power_of_two(n->tx_queue_size) || n->tx_queue_size < 64 ||
        n->tx_queue_size > VIRTQUEUE_MAX_SIZE) {
        error_set(errp, "tx_queue_size must be a power of two between 64 and %d, got %u",
                  VIRTQUEUE_MAX_SIZE, n->tx_queue_size);
        return false;
    }
    if (n->duplex && strcmp(n->duplex, "half") && strcmp(n->duplex, "full")) {
        error_set(errp, "duplex must be 'half' or 'full', got '%s'", n->duplex);
        return false;
    }
    if (n->speed < -1) {
        error_set(errp, "speed must be 0 or more, or -1 for unknown, got %d", n->speed);
        return false;
    }
    if (n->host_mtu && (n->host_mtu < 68)) {
        error_set(errp, "host_mtu must be at least 68, got %u", n->host_mtu);
        return false;
    }
    if (n->nic_conf.peers.count > (VIRTIO_QUEUE_MAX - 1) / 2) {
        error_set(errp, "the netdev has %u queue pairs, more than %d", n->nic_conf.peers.count,
                  (VIRTIO_QUEUE_MAX - 1) / 2);
        return false;
    }
    return true;
}

static void net_unrealize(VirtioDevice *vdev);

static bool net_realize(VirtioDevice *vdev, Error **errp)
{
    VirtioNet *n = virtio_net_cast(vdev);
    if (!net_check_properties(n, errp)) {
        return false;
    }
    Device *proxy = virtio_proxy(vdev);
    const char *id = vdev->parent.id ? vdev->parent.id : proxy ? proxy->id : NULL;
    n->nic = nic_new(&net_nic_ops, &n->nic_conf, (VIRTIO_QUEUE_MAX - 1) / 2,
                     proxy ? object_type_name(&proxy->parent) : TYPE_VIRTIO_NET, id, n, errp);
    if (!n->nic) {
        return false;
    }
    virtio_init(vdev, "virtio-net", VIRTIO_ID_NET, NET_CONFIG_SIZE);
    n->max_pairs = n->nic->count;
    n->pairs = g_new0(NetPair, n->max_pairs);
    for (unsigned i = 0; i < 2 * n->max_pairs + 1; i++) {
        virtio_add_queue(vdev, i % 2 ? n->tx_queue_size : n->rx_queue_size, net_handle);
    }
    for (unsigned i = 0; i < n->max_pairs; i++) {
        NetPair *p = &n->pairs[i];
        *p = (NetPair){ .n = n, .index = i };
        p->rx = virtio_queue(vdev, 2 * i);
        p->tx = virtio_queue(vdev, 2 * i + 1);
        p->tx_bh = bh_new(event_loop_main(), net_tx_bh, p);
    }
    n->mac = n->nic_conf.mac;
    n->status = net_link_is_up(n->nic->queues[0]) ? NET_STATUS_LINK_UP : 0;
    net_filter_reset(n);
    net_set_headers(n);
    net_arrange_queues(n);
    (void)net_set_pairs(n, 1); /* one pair is always enabled */
    if (!net_failover_realize(n, errp) || !net_vhost_attach(n, errp)) {
        net_unrealize(vdev);
        return false;
    }
    return true;
}

static void net_unrealize(VirtioDevice *vdev)
{
    VirtioNet *n = virtio_net_cast(vdev);
    net_failover_unrealize(n);
    net_vhost_detach(n);
    for (unsigned i = 0; i < n->max_pairs; i++) {
        NetPair *p = &n->pairs[i];
        net_tx_drop(p);
        net_coalescing_clear(&p->rx_coal);
        net_coalescing_clear(&p->tx_coal);
        bh_free(p->tx_bh);
    }
    nic_free(g_steal_pointer(&n->nic));
    g_clear_pointer(&n->pairs, g_free);
    n->max_pairs = 0;
    virtio_finish(vdev);
}

/* --- state --- */

static bool net_post_load(void *opaque, int version, Error **errp)
{
    VirtioNet *n = opaque;
    if (n->curr_pairs_saved < 1 || n->curr_pairs_saved > n->max_pairs) {
        error_set(errp, "virtio-net: saved with %u queue pairs in use, there are %u",
                  n->curr_pairs_saved, n->max_pairs);
        return false;
    }
    if (n->table_count > NET_MAC_TABLE_MAX || n->table_first_multi > n->table_count ||
        n->rss.mask >= NET_RSS_TABLE_MAX) {
        error_set(errp, "virtio-net: the saved tables are longer than they can be");
        return false;
    }
    uint64_t offloads = n->guest_offloads;
    if (n->parent.status & VIRTIO_STATUS_FEATURES_OK) {
        net_failover_negotiated(n);
    }
    net_set_headers(n);
    n->guest_offloads = offloads;
    net_apply_offloads(n);
    /* The queues are looked at when the machine runs. */
    if (!net_enable_pairs(n, n->curr_pairs_saved)) {
        error_set(errp, "virtio-net: %u queue pairs can't be enabled", n->curr_pairs_saved);
        return false;
    }
    (void)net_vhost_set_pairs(n, n->curr_pairs);
    return true;
}

static bool net_pre_save(void *opaque, Error **errp)
{
    VirtioNet *n = opaque;
    n->curr_pairs_saved = n->curr_pairs;
    return true;
}

static const VmStateField coalescing_fields[] = { VMSTATE_UINT32(max_packets, NetCoalescing),
                                                  VMSTATE_UINT32(max_usecs, NetCoalescing),
                                                  {} };
static const VmState coalescing_vmstate = {
    .name = "virtio-net/coalescing",
    .version = 1,
    .minimum_version = 1,
    .fields = coalescing_fields,
};

static const VmStateField pair_fields[] = { VMSTATE_STRUCT(rx_coal, NetPair, coalescing_vmstate),
                                            VMSTATE_STRUCT(tx_coal, NetPair, coalescing_vmstate),
                                            {} };
static const VmState pair_vmstate = {
    .name = "virtio-net/pair",
    .version = 1,
    .minimum_version = 1,
    .fields = pair_fields,
};

static const VmStateField rss_fields[] = {
    VMSTATE_BOOL(enabled, NetRss),        VMSTATE_BOOL(redirect, NetRss),
    VMSTATE_UINT32(hash_types, NetRss),   VMSTATE_UINT16(mask, NetRss),
    VMSTATE_UINT16(unclassified, NetRss), VMSTATE_UINT_ARRAY(table, NetRss),
    VMSTATE_BUFFER(key, NetRss),          {}
};
static const VmState rss_vmstate = {
    .name = "virtio-net/rss",
    .version = 1,
    .minimum_version = 1,
    .fields = rss_fields,
};

static const VmStateField net_fields[] = { VMSTATE_VIRTIO(VirtioNet),
                                           VMSTATE_BUFFER(mac, VirtioNet),
                                           VMSTATE_UINT16(status, VirtioNet),
                                           VMSTATE_UINT32(curr_pairs_saved, VirtioNet),
                                           VMSTATE_UINT8(promisc, VirtioNet),
                                           VMSTATE_UINT8(allmulti, VirtioNet),
                                           VMSTATE_UINT8(alluni, VirtioNet),
                                           VMSTATE_UINT8(nomulti, VirtioNet),
                                           VMSTATE_UINT8(nouni, VirtioNet),
                                           VMSTATE_UINT8(nobcast, VirtioNet),
                                           VMSTATE_UINT8(table_multi_overflow, VirtioNet),
                                           VMSTATE_UINT8(table_uni_overflow, VirtioNet),
                                           VMSTATE_UINT32(table_count, VirtioNet),
                                           VMSTATE_UINT32(table_first_multi, VirtioNet),
                                           VMSTATE_BUFFER(table, VirtioNet),
                                           VMSTATE_UINT_ARRAY(vlans, VirtioNet),
                                           VMSTATE_UINT64(guest_offloads, VirtioNet),
                                           VMSTATE_BOOL(multiqueue, VirtioNet),
                                           VMSTATE_STRUCT(rss, VirtioNet, rss_vmstate),
                                           { .name = "pairs",
                                             .kind = VMSTATE_KIND_STRUCT,
                                             .offset = offsetof(VirtioNet, pairs),
                                             .size = sizeof(NetPair),
                                             .count = VIRTIO_QUEUE_MAX / 2,
                                             .count_offset = offsetof(VirtioNet, max_pairs),
                                             .count_size = MEMBER_SIZE(VirtioNet, max_pairs),
                                             .pointer = true,
                                             .state = &pair_vmstate },
                                           {} };
static const VmState net_vmstate = {
    .name = "virtio-net",
    .version = 1,
    .minimum_version = 1,
    .pre_save = net_pre_save,
    .post_load = net_post_load,
    .fields = net_fields,
};

/* --- the type --- */

#define NET_BIT(name, bit, def, text) \
    PROP_BIT(name, VirtioNet, parent.host_features, bit, def, .help = text)

static const Field net_properties[] = {
    NIC_PROPERTIES(VirtioNet, nic_conf),
    NET_BIT("csum", VIRTIO_NET_F_CSUM, true, "take frames without checksum"),
    NET_BIT("guest_csum", VIRTIO_NET_F_GUEST_CSUM, true, "give frames without checksum"),
    NET_BIT("gso", VIRTIO_NET_F_GSO, true, "take segments to cut, for old drivers"),
    NET_BIT("guest_tso4", VIRTIO_NET_F_GUEST_TSO4, true, "give long TCPv4 segments"),
    NET_BIT("guest_tso6", VIRTIO_NET_F_GUEST_TSO6, true, "give long TCPv6 segments"),
    NET_BIT("guest_ecn", VIRTIO_NET_F_GUEST_ECN, true, "give long TCP segments with ECN"),
    NET_BIT("guest_ufo", VIRTIO_NET_F_GUEST_UFO, true, "give long UDP datagrams"),
    NET_BIT("guest_uso4", VIRTIO_NET_F_GUEST_USO4, true, "give UDPv4 segments to cut"),
    NET_BIT("guest_uso6", VIRTIO_NET_F_GUEST_USO6, true, "give UDPv6 segments to cut"),
    NET_BIT("guest_announce", VIRTIO_NET_F_GUEST_ANNOUNCE, true, "ask for announcements"),
    NET_BIT("host_tso4", VIRTIO_NET_F_HOST_TSO4, true, "take long TCPv4 segments"),
    NET_BIT("host_tso6", VIRTIO_NET_F_HOST_TSO6, true, "take long TCPv6 segments"),
    NET_BIT("host_ecn", VIRTIO_NET_F_HOST_ECN, true, "take long TCP segments with ECN"),
    NET_BIT("host_ufo", VIRTIO_NET_F_HOST_UFO, true, "take long UDP datagrams"),
    NET_BIT("host_uso", VIRTIO_NET_F_HOST_USO, true, "take UDP segments to cut"),
    NET_BIT("mrg_rxbuf", VIRTIO_NET_F_MRG_RXBUF, true, "spread frames over several buffers"),
    NET_BIT("status", VIRTIO_NET_F_STATUS, true, "tell the link's state"),
    NET_BIT("ctrl_vq", VIRTIO_NET_F_CTRL_VQ, true, "offer the control queue"),
    NET_BIT("ctrl_rx", VIRTIO_NET_F_CTRL_RX, true, "filter by the driver's modes"),
    NET_BIT("ctrl_vlan", VIRTIO_NET_F_CTRL_VLAN, true, "filter by VLAN"),
    NET_BIT("ctrl_rx_extra", VIRTIO_NET_F_CTRL_RX_EXTRA, true, "offer more receive modes"),
    NET_BIT("ctrl_mac_addr", VIRTIO_NET_F_CTRL_MAC_ADDR, true, "let the driver set the address"),
    NET_BIT("ctrl_guest_offloads", VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, true,
            "let the driver switch offloads"),
    NET_BIT("mq", VIRTIO_NET_F_MQ, false, "offer several queue pairs"),
    NET_BIT("rss", VIRTIO_NET_F_RSS, false, "spread frames over queue pairs by hash"),
    NET_BIT("hash", VIRTIO_NET_F_HASH_REPORT, false, "report frames' hashes"),
    NET_BIT("notf_coal", VIRTIO_NET_F_NOTF_COAL, true, "hold interrupts back as the driver asks"),
    NET_BIT("vq_notf_coal", VIRTIO_NET_F_VQ_NOTF_COAL, true, "the same for each queue"),
    PROP_UINT16("rx_queue_size", VirtioNet, rx_queue_size, 256, .help = "entries; a power of two"),
    PROP_UINT16("tx_queue_size", VirtioNet, tx_queue_size, 256, .help = "entries; a power of two"),
    PROP_UINT16("host_mtu", VirtioNet, host_mtu, 0, .help = "MTU told to the driver; 0: none"),
    PROP_INT32("speed", VirtioNet, speed, -1, .help = "Mb/s told to the driver; -1: unknown"),
    PROP_STRING("duplex", VirtioNet, duplex, NULL, .help = "half or full"),
    PROP_BOOL("failover", VirtioNet, failover, false, .help = "stand by for a primary NIC"),
    VIRTIO_COMMON_PROPERTIES(VirtioNet),
    {}
};

static void net_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_NETWORK;
    dc->vmstate = &net_vmstate;
    k->realize = net_realize;
    k->unrealize = net_unrealize;
    k->get_features = net_get_features;
    k->validate_features = net_validate_features;
    k->set_features = net_set_features;
    k->get_config = net_get_config;
    k->set_config = net_set_config;
    k->set_status = net_set_status;
    k->reset = net_reset;
    k->guest_notifier_mask = net_vhost_mask;
    k->guest_notifier_pending = net_vhost_pending;
    k->queue_reset = net_queue_reset;
    k->queue_enable = net_queue_enable;
}

static const TypeInfo net_info = {
    .name = TYPE_VIRTIO_NET,
    .parent = TYPE_VIRTIO_DEVICE,
    .help = "virtio network device",
    .instance_size = sizeof(VirtioNet),
    .properties = net_properties,
    .class_init = net_class_init,
};
OBJECT_TYPE(virtio_net, net_info)
