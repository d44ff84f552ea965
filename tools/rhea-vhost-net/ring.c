#include "ring.h"

#include <inttypes.h>

#include "base/bits.h"
#include "devices/virtio/spec.h"

/* --- Layout: VIRTIO 1.3 sections 2.7.5 to 2.7.8 and 2.8.13 to 2.8.14 --- */

typedef struct SplitDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} SplitDesc;

typedef struct SplitAvail {
    uint16_t flags, idx, ring[]; /* then used_event */
} SplitAvail;

typedef struct SplitUsedElem {
    uint32_t id, len;
} SplitUsedElem;

typedef struct SplitUsed {
    uint16_t flags, idx;
    SplitUsedElem ring[]; /* then avail_event */
} SplitUsed;

typedef struct PackedDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t id, flags;
} PackedDesc;

typedef struct PackedEvent {
    uint16_t off_wrap, flags;
} PackedEvent;

static uint16_t load16(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store16(uint16_t *p, uint16_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* --- Mapping --- */

bool ring_map(Ring *r, Error **errp)
{
    uint64_t desc = (uint64_t)r->size * VIRTQ_DESC_SIZE;
    uint64_t driver = r->packed ? sizeof(PackedEvent) : sizeof(SplitAvail) + 2 * r->size + 2;
    uint64_t device =
        r->packed ? sizeof(PackedEvent) : sizeof(SplitUsed) + sizeof(SplitUsedElem) * r->size + 2;
    ring_unmap(r);
    if (!r->size || r->size > RING_SIZE_MAX || (!r->packed && (r->size & (r->size - 1)))) {
        error_set(errp, "ring %u: a size of %u entries is impossible", r->addr.index, r->size);
        return false;
    }
    if (!IS_ALIGNED(r->addr.desc, VIRTQ_DESC_ALIGN) ||
        !IS_ALIGNED(r->addr.avail, r->packed ? VIRTQ_EVENT_ALIGN : VIRTQ_AVAIL_ALIGN) ||
        !IS_ALIGNED(r->addr.used, VIRTQ_USED_ALIGN)) {
        error_set(errp, "ring %u: its areas are not aligned", r->addr.index);
        return false;
    }
    r->desc = shared_memory_user(r->memory, r->addr.desc, desc);
    r->driver = shared_memory_user(r->memory, r->addr.avail, driver);
    r->device = shared_memory_user(r->memory, r->addr.used, device);
    if (!r->desc || !r->driver || !r->device) {
        ring_unmap(r);
        error_set(errp,
                  "ring %u: the areas at 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64
                  " are not all in shared memory",
                  r->addr.index, (uint64_t)r->addr.desc, (uint64_t)r->addr.avail,
                  (uint64_t)r->addr.used);
        return false;
    }
    return true;
}

void ring_unmap(Ring *r)
{
    r->desc = r->driver = r->device = NULL;
}

void ring_set_base(Ring *r, uint32_t base)
{
    r->signalled_valid = false;
    if (r->packed) {
        r->avail = base & 0x7fff;
        r->avail_wrap = base >> 15 & 1;
        r->used = base >> 16 & 0x7fff;
        r->used_wrap = base >> 31;
    } else {
        r->avail = base;
        r->used = r->device ? load16(&((SplitUsed *)r->device)->idx) : base;
    }
}

uint32_t ring_base(const Ring *r)
{
    return r->packed ? r->avail | (uint32_t)r->avail_wrap << 15 | (uint32_t)r->used << 16 |
                           (uint32_t)r->used_wrap << 31
                     : r->avail;
}

/* --- Buffers --- */

typedef struct Buffer {
    uint64_t addr;
    uint32_t len;
    bool writable;
} Buffer;

/* Add a buffer, in as many pieces as it has regions. */
static bool add_buffer(Ring *r, RingVector *v, RingElement *e, const Buffer *b)
{
    if (!b->writable && e->in) {
        return false; /* 2.7.4.2: readable ones come first */
    }
    for (uint64_t addr = b->addr, left = b->len; left;) {
        uint64_t len = left;
        void *host = shared_memory_guest(r->memory, addr, &len);
        if (!host || v->count == RING_BUFFERS_MAX) {
            return false;
        }
        v->iov[v->count] = (struct iovec){ host, len };
        v->guest[v->count] = addr;
        v->count++;
        *(b->writable ? &e->in : &e->out) += 1;
        addr += len;
        left -= len;
    }
    return true;
}

/* An indirect table, in one piece. NULL: it isn't one. */
static const void *indirect_table(Ring *r, uint64_t addr, uint32_t len)
{
    uint64_t got = len;
    const void *table = len ? shared_memory_guest(r->memory, addr, &got) : NULL;
    return table && got == len && len % VIRTQ_DESC_SIZE == 0 && IS_ALIGNED((uintptr_t)table, 8)
               ? table
               : NULL;
}

static bool split_chain(Ring *r, RingVector *v, RingElement *e, const SplitDesc *table,
                        uint32_t size, uint16_t index, bool indirect)
{
    for (uint32_t steps = 0; steps < size; steps++) {
        if (index >= size) {
            return false;
        }
        SplitDesc d = *(const volatile SplitDesc *)&table[index];
        if (d.flags & VIRTQ_DESC_F_INDIRECT) {
            const SplitDesc *inner = indirect_table(r, d.addr, d.len);
            return !indirect && inner && !(d.flags & VIRTQ_DESC_F_NEXT) &&
                   split_chain(r, v, e, inner, d.len / VIRTQ_DESC_SIZE, 0, true);
        }
        if (!add_buffer(r, v, e, &(Buffer){ d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE })) {
            return false;
        }
        if (!(d.flags & VIRTQ_DESC_F_NEXT)) {
            return true;
        }
        index = d.next;
    }
    return false; /* a loop */
}

static RingPop split_pop(Ring *r, RingVector *v, RingElement *e)
{
    const SplitAvail *avail = r->driver;
    uint16_t waiting = load16(&avail->idx) - r->avail;
    if (!waiting) {
        return RING_EMPTY;
    }
    e->id = load16(&avail->ring[r->avail % r->size]);
    e->slots = 1;
    if (waiting > r->size || !split_chain(r, v, e, r->desc, r->size, e->id, false)) {
        return RING_BROKEN;
    }
    r->avail++;
    return RING_POPPED;
}

/* --- Packed rings --- */

static bool packed_is_available(const Ring *r, uint16_t flags)
{
    bool avail = flags & VIRTQ_DESC_F_AVAIL, used = flags & VIRTQ_DESC_F_USED;
    return avail == r->avail_wrap && used != r->avail_wrap;
}

/* Forward n entries round the ring. */
static void packed_step(const Ring *r, uint16_t *position, bool *wrap, unsigned n)
{
    unsigned next = *position + n;
    if (next >= r->size) {
        next -= r->size;
        *wrap = !*wrap;
    }
    *position = next;
}

static void packed_step_back(const Ring *r, uint16_t *position, bool *wrap, unsigned n)
{
    if (*position < n) {
        *position += r->size;
        *wrap = !*wrap;
    }
    *position -= n;
}

static bool packed_table(Ring *r, RingVector *v, RingElement *e, const PackedDesc *table,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        PackedDesc d = *(const volatile PackedDesc *)&table[i];
        if (d.flags & VIRTQ_DESC_F_INDIRECT ||
            !add_buffer(r, v, e, &(Buffer){ d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE })) {
            return false;
        }
    }
    return true;
}

static RingPop packed_pop(Ring *r, RingVector *v, RingElement *e)
{
    PackedDesc *ring = r->desc;
    if (r->avail >= r->size) {
        return RING_BROKEN;
    }
    if (!packed_is_available(r, load16(&ring[r->avail].flags))) {
        return RING_EMPTY;
    }
    uint16_t position = r->avail;
    for (e->slots = 1; e->slots <= r->size; e->slots++) {
        PackedDesc d = *(const volatile PackedDesc *)&ring[position];
        e->id = d.id; /* of the last one: 2.8.6 */
        if (d.flags & VIRTQ_DESC_F_INDIRECT) {
            const PackedDesc *inner = indirect_table(r, d.addr, d.len);
            if (!inner || e->slots > 1 || d.flags & VIRTQ_DESC_F_NEXT ||
                !packed_table(r, v, e, inner, d.len / VIRTQ_DESC_SIZE)) {
                return RING_BROKEN;
            }
        } else if (!add_buffer(r, v, e, &(Buffer){ d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE })) {
            return RING_BROKEN;
        }
        if (!(d.flags & VIRTQ_DESC_F_NEXT)) {
            packed_step(r, &r->avail, &r->avail_wrap, e->slots);
            return RING_POPPED;
        }
        position = (position + 1) % r->size;
    }
    return RING_BROKEN;
}

/* --- Both --- */

RingPop ring_pop(Ring *r, RingVector *v, RingElement *e)
{
    *e = (RingElement){ .first = v->count };
    return !r->desc ? RING_EMPTY : r->packed ? packed_pop(r, v, e) : split_pop(r, v, e);
}

void ring_unpop(Ring *r, const RingElement *e, unsigned count)
{
    while (count--) {
        if (r->packed) {
            packed_step_back(r, &r->avail, &r->avail_wrap, e[count].slots);
        } else {
            r->avail--;
        }
    }
}

static void log_used(Ring *r, const void *at, size_t len)
{
    if (r->log_used) {
        const uint8_t *base = r->packed ? r->desc : r->device;
        shared_memory_log(r->memory, r->addr.log + ((const uint8_t *)at - base), len);
    }
}

static void split_push(Ring *r, const RingElement *e, unsigned count)
{
    SplitUsed *used = r->device;
    for (unsigned i = 0; i < count; i++) {
        SplitUsedElem *slot = &used->ring[(uint16_t)(r->used + i) % r->size];
        *slot = (SplitUsedElem){ e[i].id, e[i].written };
        log_used(r, slot, sizeof(*slot));
    }
    r->used += count;
    store16(&used->idx, r->used);
    log_used(r, used, sizeof(*used));
}

static void packed_push(Ring *r, const RingElement *e, unsigned count)
{
    PackedDesc *ring = r->desc, *first = &ring[r->used];
    uint16_t first_flags = 0;
    for (unsigned i = 0; i < count; i++) {
        PackedDesc *d = &ring[r->used];
        uint16_t flags = (r->used_wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) |
                         (e[i].written ? VIRTQ_DESC_F_WRITE : 0);
        d->id = e[i].id;
        d->len = e[i].written;
        if (d == first) {
            first_flags = flags; /* last of all: only then the driver sees any of them */
        } else {
            store16(&d->flags, flags);
        }
        log_used(r, d, sizeof(*d));
        packed_step(r, &r->used, &r->used_wrap, e[i].slots);
    }
    store16(&first->flags, first_flags);
}

void ring_push(Ring *r, const RingElement *e, unsigned count)
{
    if (count && r->desc) {
        (r->packed ? packed_push : split_push)(r, e, count);
    }
}

/* Did `value` pass `event` on its way from `old`? 2.7.10.1 */
static bool passed(uint16_t event, uint16_t value, uint16_t old)
{
    return (uint16_t)(value - event - 1) < (uint16_t)(value - old);
}

static bool split_wants_call(Ring *r)
{
    const SplitAvail *avail = r->driver;
    uint16_t old = r->signalled;
    bool valid = r->signalled_valid;
    r->signalled = r->used;
    r->signalled_valid = true;
    if (!r->event_index) {
        return !(load16(&avail->flags) & VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
    return !valid || passed(load16(&avail->ring[r->size]), r->used, old);
}

static bool packed_wants_call(Ring *r)
{
    const PackedEvent *event = r->driver;
    uint16_t old = r->signalled;
    bool valid = r->signalled_valid;
    r->signalled = r->used;
    r->signalled_valid = true;
    uint16_t flags = load16(&event->flags), off_wrap = load16(&event->off_wrap);
    if (flags != VIRTQ_EVENT_DESC || !r->event_index) {
        return flags != VIRTQ_EVENT_DISABLE;
    }
    /* 2.8.10: positions become comparable by taking a round off those of the round before. */
    uint16_t at = off_wrap & ~VIRTQ_EVENT_WRAP;
    if ((bool)(off_wrap & VIRTQ_EVENT_WRAP) != r->used_wrap) {
        at -= r->size;
    }
    if (old >= r->used) { /* at least one entry has been pushed */
        old -= r->size;
    }
    return !valid || passed(at, r->used, old);
}

bool ring_wants_call(Ring *r)
{
    if (!r->desc) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return r->packed ? packed_wants_call(r) : split_wants_call(r);
}

void ring_want_kicks(Ring *r, bool on)
{
    if (!r->desc) {
        return;
    }
    if (r->packed) {
        PackedEvent *event = r->device;
        store16(&event->flags, on ? VIRTQ_EVENT_ENABLE : VIRTQ_EVENT_DISABLE);
    } else {
        SplitUsed *used = r->device;
        if (r->event_index && on) {
            /* avail_event, behind the ring */
            store16((uint16_t *)&used->ring[r->size], r->avail);
        } else if (!r->event_index) {
            store16(&used->flags, on ? 0 : VIRTQ_USED_F_NO_NOTIFY);
            log_used(r, &used->flags, sizeof(used->flags));
        }
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
