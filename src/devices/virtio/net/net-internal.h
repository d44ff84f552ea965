/* What the files of the network device share. Machine lock held throughout: all queues are handled
 * in the main loop. */
#ifndef DEVICES_VIRTIO_NET_NET_INTERNAL_H
#define DEVICES_VIRTIO_NET_NET_INTERNAL_H

#include "devices/virtio/net/net-spec.h"
#include "devices/virtio/virtio.h"
#include "event/clock.h"
#include "net/nic.h"

#define TYPE_VIRTIO_NET "virtio-net-device"

enum {
    NET_MAC_TABLE_MAX = 64,
    NET_RSS_KEY_MAX = 40,    /* bytes: enough for two IPv6 addresses and ports */
    NET_RSS_TABLE_MAX = 128, /* entries */
    NET_CTRL_QUEUE_SIZE = 64,
    NET_TX_BURST = 256, /* frames sent before others get their turn */
    NET_VLANS = 4096,
};

/* 5.1.6.5.9: interrupts are held back until so many frames or so much time. 0, 0: at once. */
typedef struct NetCoalescing {
    uint32_t max_packets, max_usecs;
    uint32_t pending; /* used since the last interrupt */
    Timer *timer;     /* NULL until one is needed */
} NetCoalescing;

/* A queue pair. */
typedef struct NetPair {
    struct VirtioNet *n;
    unsigned index;
    Virtqueue *rx, *tx;
    /* A frame that waits at the peer; its element is used when it went. */
    VirtqElement *tx_waiting;
    BottomHalf *tx_bh; /* the burst goes on */
    NetCoalescing rx_coal, tx_coal;
} NetPair;

typedef struct NetRss {
    bool enabled, redirect; /* redirect: RSS; else hash reports only */
    uint32_t hash_types;
    uint16_t mask; /* of the indirection table: entries - 1 */
    uint16_t unclassified;
    uint16_t table[NET_RSS_TABLE_MAX];
    uint8_t key[NET_RSS_KEY_MAX];
} NetRss;

typedef struct VirtioNet {
    VirtioDevice parent;

    /* properties */
    NicConf nic_conf;
    uint16_t rx_queue_size, tx_queue_size;
    uint16_t host_mtu;
    int32_t speed; /* Mb/s; -1: unknown */
    char *duplex;
    bool failover;

    Nic *nic;
    unsigned max_pairs; /* the back end's queues */
    unsigned curr_pairs;
    NetPair *pairs;
    uint64_t vhost_wanted; /* features to offer as far as the back end has them */
    bool multiqueue;       /* MQ or RSS negotiated: the control queue is behind all pairs */

    /* the driver's wishes */
    MacAddress mac;
    uint16_t status;
    uint8_t promisc, allmulti, alluni, nomulti, nouni, nobcast;
    uint8_t table_multi_overflow, table_uni_overflow;
    uint32_t table_count, table_first_multi;
    uint8_t table[NET_MAC_TABLE_MAX * 6];
    uint32_t vlans[NET_VLANS / 32];
    uint64_t guest_offloads; /* feature bits */
    NetRss rss;

    unsigned guest_hdr_len; /* bytes, what the driver puts before frames */
    unsigned host_hdr_len;  /* bytes, what the peer does; 0: none */
    bool rx_filter_told;    /* NIC_RX_FILTER_CHANGED was sent and not yet followed by a query */

    /* net-failover.c */
    bool failover_told;  /* the driver accepted STANDBY */
    bool primary_hidden; /* the primary is kept away */
    json_t *primary;     /* what the user said of it; NULL: there is none */
    ValueMode primary_mode;
    DeviceHider hider;
    BottomHalf *failover_bh; /* NULL without failover=on */

    uint32_t curr_pairs_saved; /* state only */
} VirtioNet;

static inline VirtioNet *virtio_net_cast(void *obj)
{
    return (VirtioNet *)object_cast((Object *)obj, TYPE_VIRTIO_NET);
}

/* --- net-rx.c --- */

size_t net_rx_receive(NetClient *nc, const struct iovec *iov, unsigned count);
bool net_rx_can_receive(NetClient *nc);
void net_rx_handle(NetPair *pair);

/* --- net-tx.c --- */

void net_tx_handle(NetPair *pair);
void net_tx_bh(void *pair);
/* The machine stops: what waits at the peer is available again, and sent when it goes on. */
void net_tx_pause(NetPair *pair);
/* Give up what waits (reset). */
void net_tx_drop(NetPair *pair);

/* --- net-ctrl.c --- */

void net_ctrl_handle(VirtioNet *n, Virtqueue *vq);
void net_filter_reset(VirtioNet *n);
json_t *net_rx_filter_info(NetClient *nc);
bool net_filter_accepts(const VirtioNet *n, const uint8_t *frame, size_t len);

/* --- net-failover.c --- */

MUST_CHECK bool net_failover_realize(VirtioNet *n, Error **errp);
void net_failover_unrealize(VirtioNet *n);
/* FEATURES_OK was accepted. */
void net_failover_negotiated(VirtioNet *n);

/* --- net-rss.c --- */

/* The hash of a frame by the enabled types; *report says which type matched. */
uint32_t net_rss_hash(const NetRss *rss, const uint8_t *frame, size_t len, uint8_t *report);
uint32_t net_toeplitz(const uint8_t *key, const uint8_t *data, size_t len);
/* The queue pair for it. */
unsigned net_rss_pair(const NetRss *rss, uint32_t hash, uint8_t report);

/* --- net-vhost.c: each does nothing, or returns false, where no vhost back end is behind the NIC
 * --- */

uint64_t net_vhost_features(VirtioNet *n, uint64_t features, Error **errp);
bool net_vhost_attach(VirtioNet *n, Error **errp); /* true where there is nothing to attach to */
void net_vhost_detach(VirtioNet *n);
bool net_vhost_set_status(VirtioNet *n);
void net_vhost_reset(VirtioNet *n);
bool net_vhost_set_pairs(VirtioNet *n, unsigned pairs);
void net_vhost_mask(VirtioDevice *vdev, int queue, bool mask);
bool net_vhost_pending(VirtioDevice *vdev, int queue);
void net_vhost_announce(VirtioNet *n);

/* --- net.c --- */

void net_used(NetPair *pair, Virtqueue *vq, NetCoalescing *c, unsigned frames);
void net_coalescing_set(NetCoalescing *c, uint32_t max_packets, uint32_t max_usecs);
bool net_set_pairs(VirtioNet *n, unsigned pairs);
void net_apply_offloads(VirtioNet *n);
uint64_t net_guest_offload_features(void);

#endif
