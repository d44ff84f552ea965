/* Frames between a machine's queues and the switch. */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/iov.h"
#include "devices/virtio/net/net-spec.h"
#include "devices/virtio/spec.h"
#include "machine-internal.h"
#include "net/net.h"

enum {
    TX_BUDGET = 64,      /* frames of one queue before others have their turn */
    RX_ELEMENTS_MAX = 64 /* buffers that one frame may be spread over */
};

static void (*room_notify)(void *opaque); /* one uplink per process */
static void *room_opaque;

void machine_set_room_notify(void (*room)(void *opaque), void *opaque)
{
    room_notify = room;
    room_opaque = opaque;
}

static size_t header_size(const Machine *m)
{
    return machine_has(m, VIRTIO_F_VERSION_1) || machine_has(m, VIRTIO_NET_F_MRG_RXBUF)
               ? NET_HDR_FULL
               : NET_HDR_SMALL;
}

static void ring_doorbell(int fd)
{
    uint64_t one = 1;
    if (fd >= 0) {
        (void)!write(fd, &one, sizeof(one));
    }
}

static void call(MachineQueue *q)
{
    if (ring_wants_call(&q->ring)) {
        ring_doorbell(q->call);
    }
}

static void broken(MachineQueue *q)
{
    Error *err = NULL;
    error_set(&err, "queue %u: the driver's ring is broken", q->index);
    ring_doorbell(q->err);
    machine_fail(q->machine, err);
}

/* --- From the driver --- */

/* False: the ring is broken. */
static bool transmit_one(MachineQueue *q, const RingVector *v, RingElement *e)
{
    Machine *m = q->machine;
    struct iovec frame[RING_BUFFERS_MAX];
    size_t header = header_size(m), len = iov_size(v->iov, v->count);
    if (e->in || len < header) {
        return false;
    }
    unsigned count = iov_slice(frame, ARRAY_LEN(frame), v->iov, v->count, header, len - header);
    if (!q->enabled || len - header > NET_FRAME_MAX) {
        m->frames.dropped++;
    } else if (switch_forward(m->port, frame, count)) {
        m->frames.in++;
    } else {
        m->frames.dropped++; /* its receiver has no room: lost, as in any switch */
    }
    return true;
}

static void transmit(MachineQueue *q)
{
    RingElement done[TX_BUDGET];
    unsigned count = 0;
    RingPop got = RING_POPPED;
    while (count < TX_BUDGET) {
        RingVector v;
        v.count = 0;
        got = ring_pop(&q->ring, &v, &done[count]);
        if (got == RING_EMPTY) {
            ring_want_kicks(&q->ring, true);
            got = ring_pop(&q->ring, &v, &done[count]);
        }
        if (got != RING_POPPED) {
            break;
        }
        if (!transmit_one(q, &v, &done[count++])) {
            got = RING_BROKEN;
            break;
        }
    }
    if (got == RING_BROKEN) {
        broken(q);
        return;
    }
    if (count) {
        ring_push(&q->ring, done, count);
        call(q);
    }
    if (got == RING_POPPED) {
        bh_schedule(q->more);
    }
}

/* --- To the driver --- */

/* Packets of a connection stay on one queue. */
static unsigned flow_of(const struct iovec *iov, unsigned count)
{
    uint8_t head[64] = { 0 };
    size_t len = iov_to_buf(iov, count, 0, head, sizeof(head));
    unsigned flow = 0;
    size_t from = 2 * ETH_ALEN, to = MIN_OF(len, (size_t)38); /* addresses and ports of IPv4 */
    if (len >= 14 && head[12] == 0x08 && head[13] == 0x00) {
        from = 26;
    }
    for (size_t i = from; i < to; i++) {
        flow = flow * 31 + head[i];
    }
    return flow;
}

static bool is_usable(const MachineQueue *q)
{
    return q->started && q->enabled && q->ring.desc;
}

static MachineQueue *receive_queue(Machine *m, const struct iovec *iov, unsigned count)
{
    MachineQueue *usable[MACHINE_QUEUE_PAIRS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < 2 * m->settings->queue_pairs; i += 2) {
        if (is_usable(&m->queues[i])) {
            usable[n++] = &m->queues[i];
        }
    }
    return n > 1 ? usable[flow_of(iov, count) % n] : n ? usable[0] : NULL;
}

/* Elements with room for `need` bytes. Returns how many, 0 when there aren't enough, -1 when the
 * ring is broken. */
static int take_room(MachineQueue *q, RingVector *v, RingElement *elements, size_t need)
{
    unsigned most = machine_has(q->machine, VIRTIO_NET_F_MRG_RXBUF) ? RX_ELEMENTS_MAX : 1;
    bool asked = false;
    unsigned n = 0;
    size_t room = 0;
    while (n < most && room < need) {
        RingElement *e = &elements[n];
        switch (ring_pop(&q->ring, v, e)) {
        case RING_BROKEN:
            return -1;
        case RING_EMPTY:
            if (!asked) {
                asked = true;
                ring_want_kicks(&q->ring, true);
                continue;
            }
            ring_unpop(&q->ring, elements, n);
            return 0;
        case RING_POPPED:
            if (e->out || !e->in) {
                return -1;
            }
            room += iov_size(v->iov + e->first, e->in);
            n++;
        }
    }
    if (room < need) { /* and no number of kicks will help */
        ring_unpop(&q->ring, elements, n);
        n = 0;
    }
    return n;
}

/* What goes into each element, and into the log. */
static void account(MachineQueue *q, const RingVector *v, RingElement *elements, unsigned n,
                    size_t total)
{
    for (unsigned i = 0; i < n; i++) {
        RingElement *e = &elements[i];
        size_t room = iov_size(v->iov + e->first, e->in);
        e->written = MIN_OF(room, total);
        total -= e->written;
        size_t left = e->written;
        for (unsigned b = e->first; left; b++) {
            size_t part = MIN_OF(left, v->iov[b].iov_len);
            shared_memory_log(q->machine->memory, v->guest[b], part);
            left -= part;
        }
    }
}

bool machine_deliver(void *opaque, const struct iovec *iov, unsigned count)
{
    Machine *m = opaque;
    MachineQueue *q = receive_queue(m, iov, count);
    if (!q) {
        m->frames.dropped++;
        return true; /* its driver isn't there: nothing to wait for */
    }
    RingElement elements[RX_ELEMENTS_MAX];
    RingVector v;
    v.count = 0;
    size_t header = header_size(m), len = iov_size(iov, count);
    int n = take_room(q, &v, elements, header + len);
    if (n < 0) {
        broken(q);
        return true;
    }
    if (n == 0) {
        return false;
    }
    uint8_t hdr[NET_HDR_FULL] = { 0 };
    st16_le(hdr + NET_HDR_NUM_BUFFERS, n);
    iov_from_buf(v.iov, v.count, 0, hdr, header);
    size_t at = header;
    for (unsigned i = 0; i < count; i++) {
        at += iov_from_buf(v.iov, v.count, at, iov[i].iov_base, iov[i].iov_len);
    }
    account(q, &v, elements, n, header + len);
    ring_push(&q->ring, elements, n);
    call(q);
    m->frames.out++;
    return true;
}

void machine_announce(Machine *m, const uint8_t mac[6])
{
    /* RFC 903: a request for one's own address, to everybody. */
    struct {
        struct ether_header eth;
        struct arphdr arp;
        uint8_t sender[ETH_ALEN], sender_ip[4], target[ETH_ALEN], target_ip[4];
        uint8_t padding[18];
    } __attribute__((packed)) frame = { 0 };
    memset(frame.eth.ether_dhost, 0xff, ETH_ALEN);
    memcpy(frame.eth.ether_shost, mac, ETH_ALEN);
    frame.eth.ether_type = htons(ETHERTYPE_REVARP);
    frame.arp.ar_hrd = htons(ARPHRD_ETHER);
    frame.arp.ar_pro = htons(ETHERTYPE_IP);
    frame.arp.ar_hln = ETH_ALEN;
    frame.arp.ar_pln = 4;
    frame.arp.ar_op = htons(ARPOP_RREQUEST);
    memcpy(frame.sender, mac, ETH_ALEN);
    memcpy(frame.target, mac, ETH_ALEN);
    switch_forward(m->port, &(struct iovec){ &frame, sizeof(frame) }, 1);
}

/* --- Life --- */

static void work(void *opaque)
{
    MachineQueue *q = opaque;
    if (!q->started || !q->ring.desc) {
        return;
    }
    if (q->index & 1) {
        ring_want_kicks(&q->ring, false);
        transmit(q);
    } else if (q->enabled) {
        ring_want_kicks(&q->ring, false);
        if (room_notify) {
            room_notify(room_opaque);
        }
    }
}

static void kicked(void *opaque)
{
    MachineQueue *q = opaque;
    uint64_t count;
    if (read(q->kick, &count, sizeof(count)) == sizeof(count)) {
        work(q);
    }
}

void machine_queue_init(Machine *m, unsigned index)
{
    MachineQueue *q = &m->queues[index];
    *q = (MachineQueue){
        .machine = m,
        .index = index,
        .ring = { .memory = m->memory, .addr.index = index },
        .kick = -1,
        .call = -1,
        .err = -1,
        .more = bh_new(event_loop_main(), work, q),
    };
}

void machine_queue_reset(MachineQueue *q)
{
    machine_queue_stop(q);
    machine_queue_set_call(q, -1);
    machine_queue_set_err(q, -1);
    q->enabled = false;
}

void machine_queue_finish(MachineQueue *q)
{
    machine_queue_reset(q);
    bh_free(q->more);
}

bool machine_queue_start(MachineQueue *q, Error **errp)
{
    Ring *r = &q->ring;
    r->packed = machine_has(q->machine, VIRTIO_F_RING_PACKED);
    r->event_index = machine_has(q->machine, VIRTIO_F_EVENT_IDX);
    if (!ring_map(r, errp)) {
        return false;
    }
    ring_set_base(r, q->base);
    q->started = true;
    if (!machine_has(q->machine, VHOST_USER_F_PROTOCOL_FEATURES)) {
        q->enabled = true; /* "Ring states" */
    }
    bh_schedule(q->more); /* a kick may have been lost with the last connection */
    return true;
}

void machine_queue_stop(MachineQueue *q)
{
    if (q->started) {
        q->base = ring_base(&q->ring);
    }
    q->started = false;
    bh_cancel(q->more);
    ring_unmap(&q->ring);
    machine_queue_set_kick(q, -1);
}

bool machine_queue_remap(MachineQueue *q, Error **errp)
{
    return !q->started || ring_map(&q->ring, errp);
}

void machine_queue_set_kick(MachineQueue *q, int fd)
{
    fd_watch_free(q->watch);
    fd_close(q->kick);
    q->kick = fd;
    q->watch = fd >= 0 ? fd_watch_new(event_loop_main(), fd, kicked, NULL, q) : NULL;
}

void machine_queue_set_call(MachineQueue *q, int fd)
{
    fd_close(q->call);
    q->call = fd;
    if (q->started) {
        ring_doorbell(fd); /* what was to be told to the one before */
    }
}

void machine_queue_set_err(MachineQueue *q, int fd)
{
    fd_close(q->err);
    q->err = fd;
}

void machine_queue_enable(MachineQueue *q, bool on)
{
    q->enabled = on;
    if (on && q->started) {
        bh_schedule(q->more);
    }
}
