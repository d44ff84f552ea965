/*
 * A virtqueue from the device's side, in memory that a front end shares: split and packed rings,
 * indirect descriptors, event index. VIRTIO 1.3 sections 2.7 and 2.8.
 *
 * The driver isn't trusted: indices, chains and addresses are bounded, descriptors are read once.
 */
#ifndef VHOST_NET_RING_H
#define VHOST_NET_RING_H

#include <sys/uio.h>

#include "shared-memory.h"

#define RING_SIZE_MAX    32768u
#define RING_BUFFERS_MAX 1024 /* of one vector */

typedef struct Ring {
    SharedMemory *memory; /* borrowed */
    bool packed, event_index;
    uint32_t size;           /* entries */
    VhostUserVringAddr addr; /* as the front end gave it */
    bool log_used;           /* writes to the used ring belong into the dirty log */

    /* Mapped areas; NULL: none. */
    void *desc, *driver, *device;
    uint16_t avail, used; /* split: free running; packed: positions */
    bool avail_wrap, used_wrap;
    /* Entries that were made used since the driver was asked whether it wants to know; and whether
     * there was a first answer. */
    uint16_t signalled;
    bool signalled_valid;
} Ring;

/* Buffers of one or several elements. */
typedef struct RingVector {
    unsigned count;
    struct iovec iov[RING_BUFFERS_MAX];
    uint64_t guest[RING_BUFFERS_MAX]; /* their addresses, for the log */
} RingVector;

/* One chain of the driver's. Its buffers in the vector: `out` readable ones, then `in` writable. */
typedef struct RingElement {
    uint16_t id;
    uint16_t slots;   /* entries of the ring that it takes */
    uint32_t written; /* bytes; the device's to fill in */
    unsigned first, out, in;
} RingElement;

typedef enum RingPop { RING_EMPTY, RING_POPPED, RING_BROKEN } RingPop;

/* Look the areas up again after the memory or the address has changed. False: not all shared. */
MUST_CHECK bool ring_map(Ring *r, Error **errp);
void ring_unmap(Ring *r);
/* Positions as SET_VRING_BASE gives and GET_VRING_BASE takes them. */
void ring_set_base(Ring *r, uint32_t base);
uint32_t ring_base(const Ring *r);

/* The next element; its buffers are added to the vector. */
RingPop ring_pop(Ring *r, RingVector *v, RingElement *e);
/* Give the last `count` popped elements back, as if they had not been popped. */
void ring_unpop(Ring *r, const RingElement *e, unsigned count);
/* Hand elements back to the driver, all at once. */
void ring_push(Ring *r, const RingElement *e, unsigned count);
/* Does the driver want to hear of what was pushed since the last call? */
bool ring_wants_call(Ring *r);
/* Ask the driver to kick for new elements, or not to. After asking, look once more. */
void ring_want_kicks(Ring *r, bool on);

#endif
