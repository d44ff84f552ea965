/* The control queue: what to receive, addresses, queues, offloads, coalescing (5.1.6.5). */
#include <string.h>

#include "base/iov.h"
#include "base/log.h"
#include "devices/virtio/net/net-internal.h"
#include "schema/net.h"

enum { COMMAND_MAX = 64 * 1024 }; /* bytes of one command: two MAC tables of a driver's dreams */

/* What follows class and command; reading past the end yields zeros and is noticed. */
typedef struct CtrlReader {
    const uint8_t *data;
    size_t left;
    bool bad;
} CtrlReader;

static const uint8_t *reader_take(CtrlReader *r, size_t len)
{
    static const uint8_t zeros[8];
    if (len > r->left) {
        r->bad = true;
        r->left = 0;
        return len <= sizeof(zeros) ? zeros : NULL;
    }
    const uint8_t *p = r->data;
    r->data += len;
    r->left -= len;
    return p;
}

static uint8_t reader_u8(CtrlReader *r)
{
    return *reader_take(r, 1);
}

static uint16_t reader_u16(CtrlReader *r)
{
    return ld16_le(reader_take(r, 2));
}

static uint32_t reader_u32(CtrlReader *r)
{
    return ld32_le(reader_take(r, 4));
}

/* Tell monitors once, until they ask (query-rx-filter). */
static void filter_changed(VirtioNet *n)
{
    if (n->rx_filter_told || !n->nic) {
        return;
    }
    n->rx_filter_told = true;
    g_autofree char *path = object_canonical_path(&n->parent.parent.parent);
    qmp_event_nic_rx_filter_changed(n->nic->queues[0]->name, path ? path : "");
}

void net_filter_reset(VirtioNet *n)
{
    n->promisc = 1; /* 5.1.6.5.1: a driver that can't ask gets everything */
    n->allmulti = n->alluni = n->nomulti = n->nouni = n->nobcast = 0;
    n->table_count = n->table_first_multi = 0;
    n->table_multi_overflow = n->table_uni_overflow = 0;
    memset(n->table, 0, sizeof(n->table));
    memset(n->vlans, 0, sizeof(n->vlans));
}

static bool ctrl_rx_mode(VirtioNet *n, uint8_t command, CtrlReader *r)
{
    uint8_t on = reader_u8(r) != 0;
    if (r->bad) {
        return false;
    }
    if (command >= NET_CTRL_RX_ALLUNI &&
        !virtio_has_feature(&n->parent, VIRTIO_NET_F_CTRL_RX_EXTRA)) {
        return false;
    }
    switch (command) {
    case NET_CTRL_RX_PROMISC:
        n->promisc = on;
        break;
    case NET_CTRL_RX_ALLMULTI:
        n->allmulti = on;
        break;
    case NET_CTRL_RX_ALLUNI:
        n->alluni = on;
        break;
    case NET_CTRL_RX_NOMULTI:
        n->nomulti = on;
        break;
    case NET_CTRL_RX_NOUNI:
        n->nouni = on;
        break;
    case NET_CTRL_RX_NOBCAST:
        n->nobcast = on;
        break;
    default:
        return false;
    }
    filter_changed(n);
    return true;
}

/* One of the two tables; a driver's too long one means "all of that kind". */
static bool table_read(VirtioNet *n, CtrlReader *r, uint8_t *overflow)
{
    uint32_t entries = reader_u32(r);
    if (r->bad || entries > r->left / 6) {
        return false;
    }
    const uint8_t *macs = reader_take(r, entries * 6);
    *overflow = n->table_count + entries > NET_MAC_TABLE_MAX;
    if (!*overflow) {
        memcpy(n->table + n->table_count * 6, macs, entries * 6);
        n->table_count += entries;
    }
    return true;
}

static bool ctrl_mac(VirtioNet *n, uint8_t command, CtrlReader *r)
{
    if (command == NET_CTRL_MAC_ADDR_SET) {
        const uint8_t *mac = reader_take(r, 6);
        if (r->bad || r->left) {
            return false;
        }
        memcpy(n->mac.a, mac, 6);
        filter_changed(n);
        return true;
    }
    if (command != NET_CTRL_MAC_TABLE_SET) {
        return false;
    }
    n->table_count = 0;
    bool ok = table_read(n, r, &n->table_uni_overflow);
    n->table_first_multi = n->table_count;
    ok = ok && table_read(n, r, &n->table_multi_overflow) && !r->left;
    if (!ok) {
        n->table_count = n->table_first_multi = 0;
    }
    filter_changed(n);
    return ok;
}

static bool ctrl_vlan(VirtioNet *n, uint8_t command, CtrlReader *r)
{
    uint16_t vid = reader_u16(r);
    if (r->bad || vid >= NET_VLANS || command > NET_CTRL_VLAN_DEL) {
        return false;
    }
    if (command == NET_CTRL_VLAN_ADD) {
        n->vlans[vid / 32] |= BIT32(vid % 32);
    } else {
        n->vlans[vid / 32] &= ~BIT32(vid % 32);
    }
    filter_changed(n);
    return true;
}

static bool rss_read(VirtioNet *n, CtrlReader *r, bool redirect)
{
    NetRss rss = { .redirect = redirect };
    rss.hash_types = reader_u32(r);
    uint16_t pairs = n->curr_pairs;
    if (rss.hash_types & ~(uint32_t)NET_HASH_SUPPORTED) {
        return false;
    }
    if (redirect) {
        rss.mask = reader_u16(r);
        rss.unclassified = reader_u16(r);
        unsigned entries = rss.mask + 1;
        if (!is_power_of_two(entries) || entries > NET_RSS_TABLE_MAX) {
            return false;
        }
        for (unsigned i = 0; i < entries; i++) {
            rss.table[i] = reader_u16(r);
            if (rss.table[i] >= n->max_pairs) {
                return false;
            }
        }
        pairs = reader_u16(r);
    } else {
        (void)reader_take(r, 8); /* reserved */
    }
    uint8_t key_len = reader_u8(r);
    if (key_len > NET_RSS_KEY_MAX || (key_len < NET_RSS_KEY_MAX && rss.hash_types)) {
        return false;
    }
    const uint8_t *key = reader_take(r, key_len);
    if (r->bad || !key || rss.unclassified >= n->max_pairs || !pairs || pairs > n->max_pairs) {
        return false;
    }
    memcpy(rss.key, key, key_len);
    rss.enabled = redirect || rss.hash_types;
    if (redirect && !net_set_pairs(n, pairs)) {
        return false;
    }
    n->rss = rss;
    return true;
}

static bool ctrl_mq(VirtioNet *n, uint8_t command, CtrlReader *r)
{
    VirtioDevice *vdev = &n->parent;
    switch (command) {
    case NET_CTRL_MQ_PAIRS_SET: {
        uint16_t pairs = reader_u16(r);
        if (r->bad || !virtio_has_feature(vdev, VIRTIO_NET_F_MQ) || !pairs ||
            pairs > n->max_pairs) {
            return false;
        }
        n->rss.redirect = false; /* 5.1.6.5.6.1: the driver goes back to automatic steering */
        return net_set_pairs(n, pairs);
    }
    case NET_CTRL_MQ_RSS_CONFIG:
        return virtio_has_feature(vdev, VIRTIO_NET_F_RSS) && rss_read(n, r, true);
    case NET_CTRL_MQ_HASH_CONFIG:
        return virtio_has_feature(vdev, VIRTIO_NET_F_HASH_REPORT) && rss_read(n, r, false);
    default:
        return false;
    }
}

static bool ctrl_offloads(VirtioNet *n, uint8_t command, CtrlReader *r)
{
    const uint8_t *p = reader_take(r, 8);
    uint64_t want = ld64_le(p);
    if (r->bad || command != NET_CTRL_GUEST_OFFLOADS_SET ||
        !virtio_has_feature(&n->parent, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
        want & ~(n->parent.guest_features & net_guest_offload_features())) {
        return false;
    }
    n->guest_offloads = want;
    net_apply_offloads(n);
    return true;
}

/* The coalescing settings of a ring, by its queue number. */
static NetCoalescing *coalescing_of(VirtioNet *n, uint16_t index)
{
    unsigned pair = index / 2;
    if (pair >= n->max_pairs || (pair && !n->multiqueue)) {
        return NULL;
    }
    return index % 2 ? &n->pairs[pair].tx_coal : &n->pairs[pair].rx_coal;
}

static bool ctrl_coalescing(VirtioNet *n, uint8_t command, CtrlReader *r, uint8_t *reply,
                            size_t *reply_len)
{
    VirtioDevice *vdev = &n->parent;
    bool each = command == NET_CTRL_COAL_VQ_SET || command == NET_CTRL_COAL_VQ_GET;
    if (!virtio_has_feature(vdev, each ? VIRTIO_NET_F_VQ_NOTF_COAL : VIRTIO_NET_F_NOTF_COAL)) {
        return false;
    }
    NetCoalescing *one = NULL;
    if (each) {
        one = coalescing_of(n, reader_u16(r));
        (void)reader_u16(r);
        if (!one) {
            return false;
        }
    }
    if (command == NET_CTRL_COAL_VQ_GET) {
        st32_le(reply, one->max_packets);
        st32_le(reply + 4, one->max_usecs);
        *reply_len = 8;
        return !r->bad;
    }
    uint32_t packets = reader_u32(r), usecs = reader_u32(r);
    if (r->bad) {
        return false;
    }
    if (one) {
        net_coalescing_set(one, packets, usecs);
        return true;
    }
    if (command > NET_CTRL_COAL_RX_SET) {
        return false;
    }
    for (unsigned i = 0; i < n->max_pairs; i++) {
        NetPair *p = &n->pairs[i];
        net_coalescing_set(command == NET_CTRL_COAL_TX_SET ? &p->tx_coal : &p->rx_coal, packets,
                           usecs);
    }
    return true;
}

static bool ctrl_run(VirtioNet *n, CtrlReader *r, uint8_t *reply, size_t *reply_len)
{
    VirtioDevice *vdev = &n->parent;
    uint8_t klass = reader_u8(r), command = reader_u8(r);
    switch (klass) {
    case NET_CTRL_RX:
        return virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_RX) && ctrl_rx_mode(n, command, r);
    case NET_CTRL_MAC:
        return ctrl_mac(n, command, r);
    case NET_CTRL_VLAN:
        return virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_VLAN) && ctrl_vlan(n, command, r);
    case NET_CTRL_ANNOUNCE:
        if (command != NET_CTRL_ANNOUNCE_ACK || !(n->status & NET_STATUS_ANNOUNCE)) {
            return false;
        }
        n->status &= ~NET_STATUS_ANNOUNCE;
        return true;
    case NET_CTRL_MQ:
        return ctrl_mq(n, command, r);
    case NET_CTRL_GUEST_OFFLOADS:
        return ctrl_offloads(n, command, r);
    case NET_CTRL_NOTF_COAL:
        return ctrl_coalescing(n, command, r, reply, reply_len);
    default:
        return false;
    }
}

void net_ctrl_handle(VirtioNet *n, Virtqueue *vq)
{
    VirtqElement *e;
    while ((e = virtqueue_pop(vq, sizeof(*e)))) {
        if (e->out_size < 2 || e->in_size < 1 || e->out_size > COMMAND_MAX) {
            virtio_error(&n->parent, "a control command of %u bytes with room for %u", e->out_size,
                         e->in_size);
            virtqueue_detach(vq, e);
            g_free(e);
            return;
        }
        g_autofree uint8_t *data = g_malloc(e->out_size);
        CtrlReader r = { .data = data, .left = e->out_size };
        iov_to_buf(e->out_sg, e->out_num, 0, data, e->out_size);
        /* The result stands behind what the command itself returns. */
        uint8_t reply[16];
        size_t reply_len = 0;
        bool ok = ctrl_run(n, &r, reply, &reply_len);
        if (!ok) {
            log_guest_error("virtio-net: control command %u.%u is refused\n", data[0], data[1]);
            reply_len = 0;
        }
        reply[reply_len++] = ok ? NET_CTRL_OK : NET_CTRL_ERR;
        size_t written = iov_from_buf(e->in_sg, e->in_num, 0, reply, reply_len);
        virtqueue_push(vq, e, written);
        virtio_notify(&n->parent, vq);
        g_free(e);
    }
}

/* --- the filter itself --- */

static bool vlan_accepts(const VirtioNet *n, const uint8_t *frame, size_t len)
{
    if (!virtio_has_feature(&n->parent, VIRTIO_NET_F_CTRL_VLAN) || len < 16 ||
        ld16_be(frame + 12) != 0x8100) {
        return true;
    }
    unsigned vid = ld16_be(frame + 14) & 0xfff;
    return n->vlans[vid / 32] & BIT32(vid % 32);
}

static bool table_has(const VirtioNet *n, const uint8_t *mac, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        if (!memcmp(n->table + i * 6, mac, 6)) {
            return true;
        }
    }
    return false;
}

bool net_filter_accepts(const VirtioNet *n, const uint8_t *frame, size_t len)
{
    static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    if (n->promisc) {
        return true;
    }
    if (!vlan_accepts(n, frame, len)) {
        return false;
    }
    if (frame[0] & 1) {
        if (!memcmp(frame, broadcast, 6)) {
            return !n->nobcast;
        }
        if (n->nomulti) {
            return false;
        }
        return n->allmulti || n->table_multi_overflow ||
               table_has(n, frame, n->table_first_multi, n->table_count);
    }
    if (n->nouni) {
        return false;
    }
    return n->alluni || n->table_uni_overflow || !memcmp(frame, n->mac.a, 6) ||
           table_has(n, frame, 0, n->table_first_multi);
}

/* --- query-rx-filter --- */

static json_t *mac_list(const VirtioNet *n, unsigned from, unsigned to)
{
    json_t *list = json_array();
    for (unsigned i = from; i < to; i++) {
        g_autofree char *text = mac_format(n->table + i * 6);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static const char *rx_state(bool none, bool all)
{
    return enum_name(&enum_rx_state, none ? RX_STATE_NONE : all ? RX_STATE_ALL : RX_STATE_NORMAL);
}

json_t *net_rx_filter_info(NetClient *nc)
{
    VirtioNet *n = nic_opaque(nc);
    bool by_vlan = virtio_has_feature(&n->parent, VIRTIO_NET_F_CTRL_VLAN);
    json_t *vlans = json_array();
    for (unsigned i = 0; by_vlan && i < NET_VLANS; i++) {
        if (n->vlans[i / 32] & BIT32(i % 32)) {
            json_array_append_new(vlans, json_integer(i));
        }
    }
    g_autofree char *mac = mac_format(n->mac.a);
    n->rx_filter_told = false;
    return json_pack("{s:s, s:b, s:s, s:s, s:s, s:b, s:b, s:b, s:s, s:o, s:o, s:o}", "name",
                     nc->name, "promiscuous", n->promisc, "multicast",
                     rx_state(n->nomulti, n->allmulti), "unicast", rx_state(n->nouni, n->alluni),
                     "vlan", rx_state(false, !by_vlan), "broadcast-allowed", !n->nobcast,
                     "multicast-overflow", n->table_multi_overflow, "unicast-overflow",
                     n->table_uni_overflow, "main-mac", mac, "vlan-table", vlans, "unicast-table",
                     mac_list(n, 0, n->table_first_multi), "multicast-table",
                     mac_list(n, n->table_first_multi, n->table_count));
}
