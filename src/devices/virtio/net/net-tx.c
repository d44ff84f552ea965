/* Frames from the guest. */
#include <string.h>

#include "base/iov.h"
#include "base/rcu.h"
#include "devices/virtio/net/net-internal.h"

static NetClient *pair_client(NetPair *p)
{
    return p->index < p->n->nic->count ? p->n->nic->queues[p->index] : NULL;
}

static bool tx_is_ready(const NetPair *p)
{
    return virtio_is_running(&p->n->parent) && virtqueue_is_ready(p->tx);
}

static void tx_done(NetPair *p, VirtqElement *e)
{
    virtqueue_push(p->tx, e, 0);
    g_free(e);
}

static void tx_flush(NetPair *p);

static void tx_sent(NetClient *nc, size_t len)
{
    VirtioNet *n = nic_opaque(nc);
    NetPair *p = &n->pairs[nc->queue_index];
    VirtqElement *e = g_steal_pointer(&p->tx_waiting);
    if (!e) {
        return;
    }
    tx_done(p, e);
    net_used(p, p->tx, &p->tx_coal, 1);
    tx_flush(p);
}

/* 5.1.6.2: the ones' complement sum from csum_start to the end, stored at csum_start + csum_offset.
 * The driver left the pseudo header's sum there. */
static void checksum_fill(uint8_t *frame, size_t len, uint16_t start, uint16_t offset)
{
    if (start >= len || start + offset + 2u > len) {
        return; /* nonsense goes out as it is */
    }
    uint64_t sum = 0;
    size_t i = start;
    for (; i + 1 < len; i += 2) {
        sum += ld16_be(frame + i);
    }
    if (i < len) {
        sum += frame[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    uint16_t v = ~sum;
    st16_be(frame + start + offset, v ? v : 0xffff);
}

/* The peer takes frames without headers, but the driver left the checksum to us. */
static size_t tx_send_checksummed(NetPair *p, NetClient *nc, const VirtqElement *e,
                                  const uint8_t *header)
{
    size_t len = e->out_size - p->n->guest_hdr_len;
    g_autofree uint8_t *frame = g_malloc(len);
    iov_to_buf(e->out_sg, e->out_num, p->n->guest_hdr_len, frame, len);
    checksum_fill(frame, len, ld16_le(header + NET_HDR_CSUM_START),
                  ld16_le(header + NET_HDR_CSUM_OFFSET));
    return net_send_buf(nc, frame, len, tx_sent);
}

/* 0: the frame waits, and tx_sent() comes. */
static size_t tx_send(NetPair *p, VirtqElement *e)
{
    VirtioNet *n = p->n;
    NetClient *nc = pair_client(p);
    size_t len = e->out_size - n->guest_hdr_len;
    if (!nc || !len || len > NET_FRAME_MAX) {
        return e->out_size; /* swallowed */
    }
    uint8_t header[NET_HDR_HASH] = { 0 };
    if (n->host_hdr_len == n->guest_hdr_len) {
        return net_send(nc, e->out_sg, e->out_num, tx_sent);
    }
    iov_to_buf(e->out_sg, e->out_num, 0, header, n->guest_hdr_len);
    if (!n->host_hdr_len && header[NET_HDR_FLAGS] & NET_HDR_F_NEEDS_CSUM) {
        return tx_send_checksummed(p, nc, e, header);
    }
    struct iovec parts[VIRTQUEUE_MAX_SIZE + 1];
    unsigned count = 0;
    if (n->host_hdr_len) {
        memset(header + NET_HDR_SMALL, 0, sizeof(header) - NET_HDR_SMALL);
        parts[count++] = (struct iovec){ header, n->host_hdr_len };
    }
    count +=
        iov_slice(parts + count, VIRTQUEUE_MAX_SIZE, e->out_sg, e->out_num, n->guest_hdr_len, len);
    return net_send(nc, parts, count, tx_sent);
}

static void tx_flush(NetPair *p)
{
    VirtioNet *n = p->n;
    unsigned frames = 0;
    RCU_SECTION(); /* one for the burst, instead of several for each frame */
    if (!tx_is_ready(p) || p->tx_waiting) {
        return;
    }
    for (;;) {
        if (frames >= NET_TX_BURST) {
            bh_schedule(p->tx_bh); /* others' turn */
            break;
        }
        VirtqElement *e = virtqueue_pop(p->tx, sizeof(*e));
        if (!e) {
            virtqueue_set_notification(p->tx, true);
            if (virtqueue_is_empty(p->tx)) {
                break;
            }
            virtqueue_set_notification(p->tx, false);
            continue;
        }
        if (e->out_size < n->guest_hdr_len) {
            virtio_error(&n->parent, "a frame of %u bytes, shorter than its header", e->out_size);
            virtqueue_detach(p->tx, e);
            g_free(e);
            break;
        }
        if (p->index >= n->curr_pairs) {
            tx_done(p, e); /* a pair that is not in use swallows frames */
            frames++;
            continue;
        }
        if (!tx_send(p, e)) {
            p->tx_waiting = e;
            break;
        }
        tx_done(p, e);
        frames++;
    }
    if (frames) {
        net_used(p, p->tx, &p->tx_coal, frames);
    }
}

void net_tx_bh(void *opaque)
{
    tx_flush(opaque);
}

void net_tx_handle(NetPair *pair)
{
    if (pair->tx_waiting) {
        return;
    }
    virtqueue_set_notification(pair->tx, false);
    if (pair->n->parent.ioeventfd_started) {
        tx_flush(pair);
    } else {
        bh_schedule(pair->tx_bh); /* let the vCPU go on */
    }
}

void net_tx_pause(NetPair *pair)
{
    bh_cancel(pair->tx_bh);
    VirtqElement *e = g_steal_pointer(&pair->tx_waiting);
    if (e) {
        net_purge_queued(pair_client(pair));
        /* The last that was taken: nothing is taken while one waits. */
        virtqueue_unpop(pair->tx, e);
        g_free(e);
    }
}

void net_tx_drop(NetPair *pair)
{
    bh_cancel(pair->tx_bh);
    VirtqElement *e = g_steal_pointer(&pair->tx_waiting);
    NetClient *nc = pair_client(pair);
    if (nc) {
        net_purge_queued(nc);
    }
    if (e) {
        virtqueue_detach(pair->tx, e);
        g_free(e);
    }
}
