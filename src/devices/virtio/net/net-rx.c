/* Frames towards the guest: filters, RSS, mergeable buffers. */
#include <string.h>

#include "base/iov.h"
#include "base/rcu.h"
#include "devices/virtio/net/net-internal.h"

enum { PEEK = 128 }; /* bytes that filters and RSS look at */

static bool pair_is_ready(const NetPair *p)
{
    VirtioNet *n = p->n;
    return virtio_is_running(&n->parent) && p->index < n->curr_pairs && virtqueue_is_ready(p->rx);
}

bool net_rx_can_receive(NetClient *nc)
{
    VirtioNet *n = nic_opaque(nc);
    return nc->queue_index < n->max_pairs && pair_is_ready(&n->pairs[nc->queue_index]);
}

void net_rx_handle(NetPair *pair)
{
    /* New buffers: what waits can come. */
    virtqueue_set_notification(pair->rx, false);
    if (pair->index < pair->n->nic->count) {
        net_flush_queued(pair->n->nic->queues[pair->index]);
    }
}

/* The header the driver sees; host: what came before the frame (host_hdr_len bytes). */
static void rx_header(const VirtioNet *n, const uint8_t *host, uint32_t hash, uint8_t report,
                      uint8_t header[NET_HDR_HASH])
{
    memset(header, 0, NET_HDR_HASH);
    memcpy(header, host, MIN_OF(n->host_hdr_len, NET_HDR_SMALL));
    if (n->guest_hdr_len == NET_HDR_HASH) {
        st32_le(header + NET_HDR_HASH_VALUE, hash);
        st16_le(header + NET_HDR_HASH_REPORT, report);
    }
}

typedef struct RxBuffers {
    VirtqElement *elements[VIRTQUEUE_MAX_SIZE];
    unsigned count;
} RxBuffers;

static void rx_give_back(NetPair *p, RxBuffers *b)
{
    while (b->count) {
        VirtqElement *e = b->elements[--b->count];
        virtqueue_unpop(p->rx, e);
        g_free(e);
    }
}

/* Pop buffers for `need` bytes: one, or with mergeable buffers as many as it takes. False when
 * there are not enough now. */
static bool rx_take_buffers(NetPair *p, size_t need, RxBuffers *b)
{
    bool mergeable = virtio_has_feature(&p->n->parent, VIRTIO_NET_F_MRG_RXBUF);
    size_t room = 0;
    while (room < need) {
        VirtqElement *e = NULL;
        if (b->count < VIRTQUEUE_MAX_SIZE && (!b->count || mergeable)) {
            e = virtqueue_pop(p->rx, sizeof(*e));
        }
        if (!e) {
            return false;
        }
        b->elements[b->count++] = e;
        room += e->in_size;
        if (e->in_size < p->n->guest_hdr_len) {
            virtio_error(&p->n->parent, "a receive buffer of %u bytes, too small for the header",
                         e->in_size);
            return false;
        }
    }
    return true;
}

static void rx_fill(NetPair *p, RxBuffers *b, const uint8_t *header, const struct iovec *iov,
                    unsigned count, size_t skip, size_t len)
{
    VirtioNet *n = p->n;
    size_t done = 0;
    for (unsigned i = 0; i < b->count; i++) {
        VirtqElement *e = b->elements[i];
        size_t at = 0;
        if (i == 0) {
            at = iov_from_buf(e->in_sg, e->in_num, 0, header, n->guest_hdr_len);
        }
        size_t n_copy = MIN_OF(len - done, e->in_size - at);
        /* Straight from one scatter list into the other. */
        size_t copied = 0;
        struct iovec part[VIRTQUEUE_MAX_SIZE];
        unsigned parts = iov_slice(part, VIRTQUEUE_MAX_SIZE, iov, count, skip + done, n_copy);
        for (unsigned k = 0; k < parts; k++) {
            copied +=
                iov_from_buf(e->in_sg, e->in_num, at + copied, part[k].iov_base, part[k].iov_len);
        }
        done += copied;
        virtqueue_fill(p->rx, e, at + copied);
        g_free(e);
    }
    virtqueue_flush(p->rx);
}

/* There was no room: ask for a kick, and look again in case it has just been made. */
static bool rx_wait(NetPair *p, RxBuffers *b)
{
    rx_give_back(p, b);
    if (virtio_is_broken(&p->n->parent)) {
        return false;
    }
    virtqueue_set_notification(p->rx, true);
    return true;
}

size_t net_rx_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    VirtioNet *n = nic_opaque(nc);
    size_t size = iov_size(iov, count);
    uint8_t peek[NET_HDR_HASH + PEEK];
    RCU_SECTION(); /* one for all that follows */
    if (!net_rx_can_receive(nc)) {
        return 0;
    }
    size_t skip = n->host_hdr_len;
    if (size < skip + sizeof(struct ether_header) || size - skip > NET_FRAME_MAX) {
        return size;
    }
    size_t seen = iov_to_buf(iov, count, 0, peek, MIN_OF(sizeof(peek), skip + PEEK));
    if (!net_filter_accepts(n, peek + skip, seen - skip)) {
        return size;
    }
    NetPair *p = &n->pairs[nc->queue_index];
    uint32_t hash = 0;
    uint8_t report = NET_HASH_REPORT_NONE;
    if (n->rss.enabled) {
        hash = net_rss_hash(&n->rss, peek + skip, seen - skip, &report);
        if (n->rss.redirect) {
            unsigned to = net_rss_pair(&n->rss, hash, report);
            if (to < n->max_pairs && pair_is_ready(&n->pairs[to])) {
                p = &n->pairs[to];
            }
        }
    }
    size_t len = size - skip;
    RxBuffers b; /* large: only what is counted is set */
    b.count = 0;
    bool took = rx_take_buffers(p, len + n->guest_hdr_len, &b);
    if (!took) {
        bool mergeable = virtio_has_feature(&n->parent, VIRTIO_NET_F_MRG_RXBUF);
        bool too_long = !mergeable && b.count == 1;
        if (!rx_wait(p, &b)) {
            return size;
        }
        if (too_long) {
            return size; /* will never fit: as a wire's too long frame */
        }
        if (virtqueue_is_empty(p->rx) || !rx_take_buffers(p, len + n->guest_hdr_len, &b)) {
            rx_give_back(p, &b);
            return 0;
        }
        virtqueue_set_notification(p->rx, false);
    }
    uint8_t header[NET_HDR_HASH];
    rx_header(n, peek, hash, report, header);
    if (n->guest_hdr_len >= NET_HDR_FULL) {
        /* 5.1.6.4: 1 where buffers aren't merged. */
        st16_le(header + NET_HDR_NUM_BUFFERS, b.count);
    }
    rx_fill(p, &b, header, iov, count, skip, len);
    net_used(p, p->rx, &p->rx_coal, 1);
    return size;
}
