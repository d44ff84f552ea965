/*
 * Inside of the queues: shared by virtqueue.c (elements and mapping), ring-split.c and
 * ring-packed.c (the two formats), and virtio.c (registers).
 */
#ifndef DEVICES_VIRTIO_VIRTQUEUE_INTERNAL_H
#define DEVICES_VIRTIO_VIRTQUEUE_INTERNAL_H

#include "base/rcu.h"
#include "devices/virtio/virtio.h"

/* One of a ring's three areas. Reads and writes go straight to host memory where all of the area
 * is plain RAM, and through the address space otherwise. */
typedef struct RingArea {
    uint8_t *host; /* NULL: not direct */
    RamBlock *block;
    uint64_t ram_offset; /* of host in block */
    AddressSpace *as;
    hwaddr addr;
    uint32_t len;
} RingArea;

/* Made anew when the memory map changes; readers hold an RCU section. */
typedef struct RingMap {
    struct rcu_head rcu;
    RingArea desc, driver, device;
} RingMap;

/* A used buffer that waits to be shown, or (in-order) for those before it. */
typedef struct UsedEntry {
    uint32_t len;
    uint16_t id;
    uint16_t slots;
    bool done;
} UsedEntry;

/* One descriptor, read once. */
typedef struct RingDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t id_or_next; /* packed: buffer id; split: next */
} RingDesc;

typedef struct RingSegment {
    uint64_t addr;
    uint32_t len;
} RingSegment;

/* A chain as read and checked, before mapping. */
typedef struct RingChain {
    uint16_t id;
    uint16_t slots;
    unsigned out_num, in_num;
    uint32_t out_size, in_size;
    RingSegment *segments; /* VIRTQUEUE_MAX_SIZE of room; out, then in */
} RingChain;

struct Virtqueue {
    VirtioDevice *vdev;
    unsigned index;
    VirtioHandleOutput *handler; /* NULL: no such queue */
    unsigned max_size;           /* machine lock; 0: no such queue */

    /* Registers: machine lock; the queue's thread reads them. */
    uint32_t size;
    hwaddr desc, driver, device;
    bool enabled;
    uint16_t vector;
    RingMap *map; /* RCU; NULL: not mapped */

    /* Ring state: the queue's thread. */
    uint16_t avail_idx;         /* next to take */
    uint16_t used_idx;          /* next to use */
    uint16_t shadow_avail;      /* split: the driver's index as last read */
    bool avail_wrap, used_wrap; /* packed */
    uint32_t unsignalled; /* slots used since the driver's wish for interrupts was last looked at */
    bool signalled_valid; /* false: don't know, so interrupt */
    bool notification;    /* kicks are wanted */
    uint32_t inuse;       /* elements popped and not yet used */
    uint32_t sequence;    /* pops */
    uint32_t order_head;  /* in order: sequence of the oldest element not yet staged */
    uint32_t epoch;       /* resets */
    UsedEntry *order;     /* in order: by sequence % size; size entries */
    UsedEntry *staged;    /* size entries */
    unsigned staged_count;
    RingSegment *segments; /* VIRTQUEUE_MAX_SIZE, scratch of pop */
    struct iovec *iov;     /* VIRTQUEUE_MAX_SIZE, scratch of pop */
    hwaddr *iov_addr;

    EventLoop *loop; /* NULL: main loop */
    EventNotifier host_notifier;
    EventNotifier guest_notifier;
    bool host_notifier_ready, guest_notifier_ready;
    bool foreign; /* a vhost back end works the ring */
    BottomHalf *kick_bh;
    struct InFlight *in_flight; /* machine lock; NULL: not noted */
};

enum { RING_EMPTY = 0, RING_BROKEN = -1, RING_OK = 1 };

/* --- area access --- */

uint16_t ring_area_load16_slow(const RingArea *a, uint32_t offset);
void ring_area_store16_slow(const RingArea *a, uint32_t offset, uint16_t value);
void ring_area_read(const RingArea *a, uint32_t offset, void *buf, uint32_t len);
void ring_area_write(const RingArea *a, uint32_t offset, const void *buf, uint32_t len);

/* Addresses were checked for alignment when the queue was enabled. */
static inline uint16_t ring_area_load16(const RingArea *a, uint32_t offset)
{
    if (LIKELY(a->host)) {
        return le16toh(__atomic_load_n((const uint16_t *)(a->host + offset), __ATOMIC_RELAXED));
    }
    return ring_area_load16_slow(a, offset);
}

/* Everything read after this is at least as new. */
static inline uint16_t ring_area_load16_acquire(const RingArea *a, uint32_t offset)
{
    uint16_t v = ring_area_load16(a, offset);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return v;
}

static inline void ring_area_store16(const RingArea *a, uint32_t offset, uint16_t value)
{
    if (LIKELY(a->host)) {
        __atomic_store_n((uint16_t *)(a->host + offset), htole16(value), __ATOMIC_RELAXED);
        ram_block_mark_dirty(a->block, a->ram_offset + offset, sizeof(value));
    } else {
        ring_area_store16_slow(a, offset, value);
    }
}

/* Everything written before this is seen first. */
static inline void ring_area_store16_release(const RingArea *a, uint32_t offset, uint16_t value)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    ring_area_store16(a, offset, value);
}

/* --- formats: called in an RCU section with vq->map set --- */

/* Sizes of the three areas in bytes. */
void ring_split_area_sizes(const Virtqueue *vq, unsigned size, uint32_t sizes[3]);
void ring_packed_area_sizes(const Virtqueue *vq, unsigned size, uint32_t sizes[3]);

/* Read the next chain and move past it. RING_OK fills chain. */
int ring_split_take(Virtqueue *vq, const RingMap *map, RingChain *chain);
int ring_packed_take(Virtqueue *vq, const RingMap *map, RingChain *chain);
/* Move back over the last `slots` entries taken. */
void ring_split_rewind(Virtqueue *vq, unsigned slots);
void ring_packed_rewind(Virtqueue *vq, unsigned slots);
bool ring_split_is_empty(Virtqueue *vq, const RingMap *map);
bool ring_packed_is_empty(Virtqueue *vq, const RingMap *map);
/* Show the staged entries. */
void ring_split_flush(Virtqueue *vq, const RingMap *map);
void ring_packed_flush(Virtqueue *vq, const RingMap *map);
void ring_split_set_notification(Virtqueue *vq, const RingMap *map, bool on);
void ring_packed_set_notification(Virtqueue *vq, const RingMap *map, bool on);
/* Does the driver want an interrupt for what was used since the last time? */
bool ring_split_wants_interrupt(Virtqueue *vq, const RingMap *map);
bool ring_packed_wants_interrupt(Virtqueue *vq, const RingMap *map);

/* Add a descriptor to chain; false if it breaks a rule (virtio_error() was called). */
bool ring_chain_add(Virtqueue *vq, RingChain *chain, const RingDesc *desc);
/* Read the descriptors of an indirect table (both formats) into chain. */
bool ring_chain_add_indirect(Virtqueue *vq, RingChain *chain, const RingDesc *table);

/* --- virtqueue.c, for virtio.c --- */

static inline bool virtqueue_is_packed(const Virtqueue *vq)
{
    return virtio_has_feature(vq->vdev, VIRTIO_F_RING_PACKED);
}

void virtqueue_init(Virtqueue *vq, VirtioDevice *vdev, unsigned index, unsigned size,
                    VirtioHandleOutput *handler);
void virtqueue_finish(Virtqueue *vq);
/* Registers and ring state back to their beginning. */
void virtqueue_clear(Virtqueue *vq);
/* Look the areas up again. False, with the device broken, if they can't be used. */
bool virtqueue_remap(Virtqueue *vq);
void virtqueue_unmap(Virtqueue *vq);
bool virtqueue_should_notify(Virtqueue *vq);
/* After a state load: what is in flight, from the ring itself. */
void virtqueue_recover(Virtqueue *vq);
/* Call the handler unless there is nothing to handle it with. The queue's thread. */
void virtqueue_run_handler(Virtqueue *vq);

/* A vhost back end has the queues, or has given them back. */
void virtio_set_lent(VirtioDevice *vdev, bool lent);

#endif
