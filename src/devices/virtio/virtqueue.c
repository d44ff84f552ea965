/*
 * Queue elements: from a checked chain of descriptors to mapped scatter lists and back, and what
 * both ring formats share.
 */
#include "devices/virtio/in-flight.h"
#include "devices/virtio/virtqueue-internal.h"

#include <inttypes.h>

#include "base/log.h"
#include "devices/virtio/transport.h"
#include "event/lock.h"

/* --- ring areas --- */

uint16_t ring_area_load16_slow(const RingArea *a, uint32_t offset)
{
    uint8_t raw[2] = { 0 };
    ring_area_read(a, offset, raw, sizeof(raw));
    return ld16_le(raw);
}

void ring_area_store16_slow(const RingArea *a, uint32_t offset, uint16_t value)
{
    uint8_t raw[2];
    st16_le(raw, value);
    ring_area_write(a, offset, raw, sizeof(raw));
}

void ring_area_read(const RingArea *a, uint32_t offset, void *buf, uint32_t len)
{
    if (LIKELY(a->host)) {
        memcpy(buf, a->host + offset, len);
    } else if (address_space_read(a->as, a->addr + offset, MEMTXATTRS_UNSPECIFIED, buf, len) !=
               MEMTX_OK) {
        memset(buf, 0, len);
    }
}

void ring_area_write(const RingArea *a, uint32_t offset, const void *buf, uint32_t len)
{
    if (LIKELY(a->host)) {
        memcpy(a->host + offset, buf, len);
        ram_block_mark_dirty(a->block, a->ram_offset + offset, len);
    } else if (address_space_write(a->as, a->addr + offset, MEMTXATTRS_UNSPECIFIED, buf, len) !=
               MEMTX_OK) {
        log_guest_error("virtio: ring write at 0x%" PRIx64 " went nowhere\n", a->addr + offset);
    }
}

/* Look an area up. False when not all of it is memory (devices are never accessed: a queue's thread
 * doesn't have the machine lock). In an RCU section. */
static bool ring_area_init(RingArea *a, AddressSpace *as, hwaddr addr, uint32_t len, bool writable)
{
    *a = (RingArea){ .as = as, .addr = addr, .len = len };
    if (addr + len < addr) {
        return false;
    }
    for (uint32_t done = 0; done < len;) {
        MemoryMapping m =
            address_space_translate(as, addr + done, len - done, writable, MEMTXATTRS_UNSPECIFIED);
        if (!m.host || !m.length || (writable && m.readonly)) {
            return false;
        }
        if (m.length >= len) {
            a->host = m.host;
            a->block = m.block;
            a->ram_offset = m.ram_offset;
            return true;
        }
        done += m.length;
    }
    return true;
}

static void ring_map_free(struct rcu_head *head)
{
    g_free(CONTAINER_OF(head, RingMap, rcu));
}

static void virtqueue_set_map(Virtqueue *vq, RingMap *map)
{
    RingMap *old = vq->map;
    rcu_assign_pointer(vq->map, map);
    if (old) {
        rcu_defer(&old->rcu, ring_map_free);
    }
}

void virtqueue_unmap(Virtqueue *vq)
{
    virtqueue_set_map(vq, NULL);
}

bool virtqueue_remap(Virtqueue *vq)
{
    VirtioDevice *vdev = vq->vdev;
    bool packed = virtqueue_is_packed(vq);
    uint32_t sizes[3];
    if (packed) {
        ring_packed_area_sizes(vq, vq->size, sizes);
    } else {
        ring_split_area_sizes(vq, vq->size, sizes);
    }
    unsigned driver_align = packed ? VIRTQ_EVENT_ALIGN : VIRTQ_AVAIL_ALIGN;
    unsigned device_align = packed ? VIRTQ_EVENT_ALIGN : VIRTQ_USED_ALIGN;
    if (!IS_ALIGNED(vq->desc, VIRTQ_DESC_ALIGN) || !IS_ALIGNED(vq->driver, driver_align) ||
        !IS_ALIGNED(vq->device, device_align)) {
        virtqueue_unmap(vq);
        virtio_error(vdev,
                     "queue %u: ring areas 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64
                     " are not aligned",
                     vq->index, vq->desc, vq->driver, vq->device);
        return false;
    }
    RingMap *map = g_new0(RingMap, 1);
    RCU_SECTION();
    /* A packed ring's descriptors are written by the device, a split ring's are not. */
    if (!ring_area_init(&map->desc, vdev->dma_as, vq->desc, sizes[0], packed) ||
        !ring_area_init(&map->driver, vdev->dma_as, vq->driver, sizes[1], false) ||
        !ring_area_init(&map->device, vdev->dma_as, vq->device, sizes[2], true)) {
        g_free(map);
        virtqueue_unmap(vq);
        virtio_error(vdev,
                     "queue %u: ring areas 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64
                     " are not all in memory",
                     vq->index, vq->desc, vq->driver, vq->device);
        return false;
    }
    virtqueue_set_map(vq, map);
    return true;
}

/* --- life --- */

void virtqueue_init(Virtqueue *vq, VirtioDevice *vdev, unsigned index, unsigned size,
                    VirtioHandleOutput *handler)
{
    *vq = (Virtqueue){
        .vdev = vdev,
        .index = index,
        .handler = handler,
        .max_size = size,
        .host_notifier.fd = -1,
        .guest_notifier.fd = -1,
    };
    virtqueue_clear(vq);
}

void virtqueue_finish(Virtqueue *vq)
{
    virtqueue_unmap(vq);
    if (vq->kick_bh) {
        bh_free(vq->kick_bh);
    }
    in_flight_free(vq->in_flight);
    g_free(vq->order);
    g_free(vq->staged);
    g_free(vq->segments);
    g_free(vq->iov);
    g_free(vq->iov_addr);
    *vq = (Virtqueue){ .host_notifier.fd = -1, .guest_notifier.fd = -1 };
}

void virtqueue_clear(Virtqueue *vq)
{
    virtqueue_unmap(vq);
    vq->size = vq->max_size;
    vq->desc = vq->driver = vq->device = 0;
    vq->enabled = false;
    vq->vector = VIRTIO_NO_VECTOR;
    vq->avail_idx = vq->used_idx = vq->shadow_avail = 0;
    vq->avail_wrap = vq->used_wrap = true;
    vq->unsignalled = 0;
    vq->signalled_valid = false;
    vq->notification = true;
    vq->inuse = 0;
    vq->sequence = vq->order_head = 0;
    vq->staged_count = 0;
    vq->epoch++;
}

/* The working arrays are made when a queue is first used: most of the 1024 possible never are. */
static void virtqueue_need_scratch(Virtqueue *vq)
{
    if (LIKELY(vq->segments)) {
        return;
    }
    vq->segments = g_new(RingSegment, VIRTQUEUE_MAX_SIZE);
    vq->iov = g_new(struct iovec, VIRTQUEUE_MAX_SIZE);
    vq->iov_addr = g_new(hwaddr, VIRTQUEUE_MAX_SIZE);
    vq->order = g_new0(UsedEntry, VIRTQUEUE_MAX_SIZE);
    vq->staged = g_new(UsedEntry, VIRTQUEUE_MAX_SIZE);
}

void virtqueue_recover(Virtqueue *vq)
{
    RCU_SECTION();
    vq->signalled_valid = false;
    vq->unsignalled = 0;
    vq->staged_count = 0;
    vq->shadow_avail = vq->avail_idx;
    if (virtqueue_is_packed(vq)) {
        int inuse = vq->avail_idx - vq->used_idx;
        if (vq->avail_wrap != vq->used_wrap) {
            inuse += vq->size;
        }
        vq->inuse = inuse;
    } else {
        vq->inuse = (uint16_t)(vq->avail_idx - vq->used_idx);
    }
}

bool virtqueue_is_ready(const Virtqueue *vq)
{
    return vq->enabled && vq->map && !vq->foreign && !virtio_is_broken(vq->vdev);
}

/* --- reading chains --- */

bool ring_chain_add(Virtqueue *vq, RingChain *chain, const RingDesc *desc)
{
    VirtioDevice *vdev = vq->vdev;
    unsigned count = chain->out_num + chain->in_num;
    if (UNLIKELY(count >= VIRTQUEUE_MAX_SIZE)) {
        virtio_error(vdev, "queue %u: more than %u segments in a buffer", vq->index,
                     VIRTQUEUE_MAX_SIZE);
        return false;
    }
    if (UNLIKELY(!desc->len)) {
        virtio_error(vdev, "queue %u: a descriptor of length 0", vq->index);
        return false;
    }
    uint32_t *total = desc->flags & VIRTQ_DESC_F_WRITE ? &chain->in_size : &chain->out_size;
    /* 2.7.5: a chain's total length is below 4 GiB. */
    if (UNLIKELY(*total + desc->len < desc->len || desc->addr + desc->len < desc->addr)) {
        virtio_error(vdev, "queue %u: descriptor 0x%" PRIx64 "+0x%x makes the buffer too long",
                     vq->index, desc->addr, desc->len);
        return false;
    }
    if (desc->flags & VIRTQ_DESC_F_WRITE) {
        chain->in_num++;
    } else if (UNLIKELY(chain->in_num)) {
        virtio_error(vdev, "queue %u: a readable descriptor after a writable one", vq->index);
        return false;
    } else {
        chain->out_num++;
    }
    *total += desc->len;
    chain->segments[count] = (RingSegment){ .addr = desc->addr, .len = desc->len };
    return true;
}

static bool indirect_chain(Virtqueue *vq, RingChain *chain, const RingArea *table, unsigned count,
                           bool packed)
{
    unsigned i = 0;
    for (unsigned seen = 0; seen < count; seen++) {
        uint8_t raw[VIRTQ_DESC_SIZE];
        ring_area_read(table, i * VIRTQ_DESC_SIZE, raw, sizeof(raw));
        RingDesc desc = { .addr = ld64_le(raw), .len = ld32_le(raw + 8) };
        if (packed) {
            /* 2.8.7: id and then flags; only WRITE means something, the order is the table's. */
            desc.flags = ld16_le(raw + 14) & VIRTQ_DESC_F_WRITE;
        } else {
            desc.flags = ld16_le(raw + 12);
            desc.id_or_next = ld16_le(raw + 14);
        }
        if (UNLIKELY(desc.flags & VIRTQ_DESC_F_INDIRECT)) {
            virtio_error(vq->vdev, "queue %u: an indirect descriptor inside an indirect table",
                         vq->index);
            return false;
        }
        if (!ring_chain_add(vq, chain, &desc)) {
            return false;
        }
        if (packed) {
            i++;
            continue;
        }
        if (!(desc.flags & VIRTQ_DESC_F_NEXT)) {
            return true;
        }
        i = desc.id_or_next;
        if (UNLIKELY(i >= count)) {
            virtio_error(vq->vdev, "queue %u: next descriptor %u of an indirect table of %u",
                         vq->index, i, count);
            return false;
        }
    }
    if (!packed) {
        virtio_error(vq->vdev, "queue %u: the chain in an indirect table loops", vq->index);
    }
    return packed;
}

bool ring_chain_add_indirect(Virtqueue *vq, RingChain *chain, const RingDesc *desc)
{
    VirtioDevice *vdev = vq->vdev;
    if (UNLIKELY(!virtio_has_feature(vdev, VIRTIO_F_INDIRECT_DESC))) {
        virtio_error(vdev, "queue %u: an indirect descriptor, which was not negotiated", vq->index);
        return false;
    }
    if (UNLIKELY(!desc->len || desc->len % VIRTQ_DESC_SIZE)) {
        virtio_error(vdev, "queue %u: an indirect table of %u bytes", vq->index, desc->len);
        return false;
    }
    unsigned count = desc->len / VIRTQ_DESC_SIZE;
    if (UNLIKELY(count > VIRTQUEUE_MAX_SIZE)) {
        virtio_error(vdev, "queue %u: an indirect table of %u descriptors, more than %u", vq->index,
                     count, VIRTQUEUE_MAX_SIZE);
        return false;
    }
    RingArea table;
    if (UNLIKELY(!ring_area_init(&table, vdev->dma_as, desc->addr, desc->len, false))) {
        virtio_error(vdev, "queue %u: the indirect table at 0x%" PRIx64 " is not in memory",
                     vq->index, desc->addr);
        return false;
    }
    return indirect_chain(vq, chain, &table, count, virtqueue_is_packed(vq));
}

/* --- mapping --- */

static void element_unmap(VirtioDevice *vdev, VirtqElement *elem, uint32_t written)
{
    for (unsigned i = 0; i < elem->in_num; i++) {
        size_t n = MIN_OF(written, elem->in_sg[i].iov_len);
        address_space_unmap(vdev->dma_as, elem->in_sg[i].iov_base, elem->in_sg[i].iov_len, true, n);
        written -= n;
    }
    for (unsigned i = 0; i < elem->out_num; i++) {
        address_space_unmap(vdev->dma_as, elem->out_sg[i].iov_base, elem->out_sg[i].iov_len, false,
                            0);
    }
}

/* Map one guest range into *count.. entries; false when it is not all memory, or there is no room.
 */
static bool segment_map(VirtioDevice *vdev, struct iovec *iov, hwaddr *addrs, unsigned *count,
                        RingSegment seg, bool writable)
{
    uint64_t left = seg.len;
    hwaddr addr = seg.addr;
    while (left) {
        if (*count == VIRTQUEUE_MAX_SIZE) {
            return false;
        }
        uint64_t len = left;
        void *host = address_space_map(vdev->dma_as, addr, &len, writable, MEMTXATTRS_UNSPECIFIED);
        if (!host || !len) {
            return false;
        }
        iov[*count] = (struct iovec){ .iov_base = host, .iov_len = len };
        addrs[*count] = addr;
        (*count)++;
        addr += len;
        left -= len;
    }
    return true;
}

static void iov_unmap(VirtioDevice *vdev, const struct iovec *iov, unsigned from, unsigned to,
                      bool writable)
{
    for (unsigned i = from; i < to; i++) {
        address_space_unmap(vdev->dma_as, iov[i].iov_base, iov[i].iov_len, writable, 0);
    }
}

/* An element of out_num + in_num segments behind `size` bytes of the caller's struct. */
static VirtqElement *element_new(size_t size, unsigned out_num, unsigned in_num)
{
    size_t head = ALIGN_UP(size, sizeof(void *));
    unsigned n = out_num + in_num;
    assert(size >= sizeof(VirtqElement));
    VirtqElement *e = g_malloc(head + n * (sizeof(struct iovec) + sizeof(hwaddr)));
    memset(e, 0, size);
    e->out_num = out_num;
    e->in_num = in_num;
    e->out_sg = (struct iovec *)((char *)e + head);
    e->in_sg = e->out_sg + out_num;
    e->out_addr = (hwaddr *)(e->out_sg + n);
    e->in_addr = e->out_addr + out_num;
    return e;
}

/* Map out_count readable, then the writable segments. NULL when they don't map. */
static VirtqElement *element_map(VirtioDevice *vdev, const RingSegment *segs, unsigned out_count,
                                 unsigned in_count, struct iovec *iov, hwaddr *addrs, size_t size)
{
    unsigned out_num = 0;
    for (unsigned i = 0; i < out_count; i++) {
        if (!segment_map(vdev, iov, addrs, &out_num, segs[i], false)) {
            iov_unmap(vdev, iov, 0, out_num, false);
            return NULL;
        }
    }
    unsigned total = out_num;
    for (unsigned i = 0; i < in_count; i++) {
        if (!segment_map(vdev, iov, addrs, &total, segs[out_count + i], true)) {
            iov_unmap(vdev, iov, 0, out_num, false);
            iov_unmap(vdev, iov, out_num, total, true);
            return NULL;
        }
    }
    VirtqElement *e = element_new(size, out_num, total - out_num);
    memcpy(e->out_sg, iov, total * sizeof(*iov));
    memcpy(e->out_addr, addrs, total * sizeof(*addrs));
    return e;
}

/* --- pop and push --- */

void *virtqueue_pop(Virtqueue *vq, size_t size)
{
    VirtioDevice *vdev = vq->vdev;
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    if (UNLIKELY(!map || !virtqueue_is_ready(vq))) {
        return NULL;
    }
    virtqueue_need_scratch(vq);
    RingChain chain = { .segments = vq->segments };
    int r = virtqueue_is_packed(vq) ? ring_packed_take(vq, map, &chain)
                                    : ring_split_take(vq, map, &chain);
    if (r != RING_OK) {
        return NULL;
    }
    if (UNLIKELY(vq->inuse + chain.slots > vq->size)) {
        virtio_error(vdev, "queue %u: more than its %u entries are in use", vq->index, vq->size);
        return NULL;
    }
    VirtqElement *e =
        element_map(vdev, vq->segments, chain.out_num, chain.in_num, vq->iov, vq->iov_addr, size);
    if (UNLIKELY(!e)) {
        virtio_error(vdev, "queue %u: buffer %u does not lie in memory", vq->index, chain.id);
        return NULL;
    }
    e->out_size = chain.out_size;
    e->in_size = chain.in_size;
    e->id = chain.id;
    e->slots = chain.slots;
    e->epoch = vq->epoch;
    e->sequence = vq->sequence++;
    vq->inuse += chain.slots;
    if (virtio_has_feature(vdev, VIRTIO_F_IN_ORDER)) {
        vq->order[e->sequence % VIRTQUEUE_MAX_SIZE].done = false;
    }
    return e;
}

static void virtqueue_stage(Virtqueue *vq, UsedEntry entry)
{
    /* No more can be staged than are in use, and those fit the ring. */
    assert(vq->staged_count < VIRTQUEUE_MAX_SIZE);
    vq->staged[vq->staged_count++] = entry;
    vq->inuse -= entry.slots;
}

void virtqueue_fill(Virtqueue *vq, VirtqElement *elem, uint32_t written)
{
    assert(written <= elem->in_size);
    element_unmap(vq->vdev, elem, written);
    /* The queue was reset since: the driver has forgotten this buffer. */
    if (elem->epoch != vq->epoch || virtio_is_broken(vq->vdev)) {
        return;
    }
    UsedEntry entry = { .len = written, .id = elem->id, .slots = elem->slots, .done = true };
    if (!virtio_has_feature(vq->vdev, VIRTIO_F_IN_ORDER)) {
        virtqueue_stage(vq, entry);
        return;
    }
    vq->order[elem->sequence % VIRTQUEUE_MAX_SIZE] = entry;
    while (vq->order_head != vq->sequence) {
        UsedEntry *head = &vq->order[vq->order_head % VIRTQUEUE_MAX_SIZE];
        if (!head->done) {
            break;
        }
        head->done = false;
        virtqueue_stage(vq, *head);
        vq->order_head++;
    }
}

void virtqueue_flush(Virtqueue *vq)
{
    if (!vq->staged_count) {
        return;
    }
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    if (map && virtqueue_is_ready(vq)) {
        if (virtqueue_is_packed(vq)) {
            ring_packed_flush(vq, map);
        } else {
            ring_split_flush(vq, map);
        }
    }
    vq->staged_count = 0;
}

void virtqueue_push(Virtqueue *vq, VirtqElement *elem, uint32_t written)
{
    virtqueue_fill(vq, elem, written);
    virtqueue_flush(vq);
}

void virtqueue_unpop(Virtqueue *vq, VirtqElement *elem)
{
    element_unmap(vq->vdev, elem, 0);
    if (elem->epoch != vq->epoch) {
        return;
    }
    assert(elem->sequence == vq->sequence - 1);
    vq->sequence--;
    vq->inuse -= elem->slots;
    if (virtqueue_is_packed(vq)) {
        ring_packed_rewind(vq, elem->slots);
    } else {
        ring_split_rewind(vq, elem->slots);
    }
}

void virtqueue_detach(Virtqueue *vq, VirtqElement *elem)
{
    element_unmap(vq->vdev, elem, 0);
    if (elem->epoch == vq->epoch) {
        vq->inuse -= elem->slots;
    }
}

void virtqueue_rewind_one(Virtqueue *vq)
{
    /* What is in flight is all of it, however many slots a packed ring's buffer took. */
    unsigned slots = vq->inuse;
    if (!slots) {
        return;
    }
    vq->inuse = 0;
    if (virtqueue_is_packed(vq)) {
        ring_packed_rewind(vq, slots);
    } else {
        ring_split_rewind(vq, slots);
    }
    vq->shadow_avail = vq->avail_idx;
}

unsigned virtqueue_drop_all(Virtqueue *vq)
{
    unsigned n = 0;
    VirtqElement *e;
    while ((e = virtqueue_pop(vq, sizeof(*e)))) {
        virtqueue_fill(vq, e, 0);
        g_free(e);
        /* A driver that refills without end does not hold us here. */
        if (++n >= vq->size) {
            break;
        }
    }
    virtqueue_flush(vq);
    return n;
}

bool virtqueue_is_empty(Virtqueue *vq)
{
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    if (!map || !virtqueue_is_ready(vq)) {
        return true;
    }
    return virtqueue_is_packed(vq) ? ring_packed_is_empty(vq, map) : ring_split_is_empty(vq, map);
}

void virtqueue_set_notification(Virtqueue *vq, bool on)
{
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    vq->notification = on;
    if (!map || !virtqueue_is_ready(vq)) {
        return;
    }
    if (virtqueue_is_packed(vq)) {
        ring_packed_set_notification(vq, map, on);
    } else {
        ring_split_set_notification(vq, map, on);
    }
}

bool virtqueue_should_notify(Virtqueue *vq)
{
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    if (!map || !virtqueue_is_ready(vq)) {
        return false;
    }
    return virtqueue_is_packed(vq) ? ring_packed_wants_interrupt(vq, map)
                                   : ring_split_wants_interrupt(vq, map);
}

/* --- small readers --- */

unsigned virtqueue_index(const Virtqueue *vq)
{
    return vq->index;
}

unsigned virtqueue_size(const Virtqueue *vq)
{
    return vq->size;
}

VirtioDevice *virtqueue_device(const Virtqueue *vq)
{
    return vq->vdev;
}

void virtqueue_set_loop(Virtqueue *vq, EventLoop *loop)
{
    vq->loop = loop;
}

void virtqueue_run_handler(Virtqueue *vq)
{
    if (vq->handler && virtqueue_is_ready(vq) && vq->vdev->vm_running) {
        vq->handler(vq->vdev, vq);
    }
}

static void virtqueue_kick_bh(void *opaque)
{
    virtqueue_run_handler(opaque);
}

void virtqueue_kick_self(Virtqueue *vq)
{
    if (vq->host_notifier_ready) {
        event_notifier_set(&vq->host_notifier);
        return;
    }
    if (!vq->kick_bh) {
        vq->kick_bh = bh_new(event_loop_main(), virtqueue_kick_bh, vq);
    }
    bh_schedule(vq->kick_bh);
}

/* --- elements over a stop --- */

void virtqueue_element_save(const Virtqueue *vq, const VirtqElement *elem, VirtqElementState *s)
{
    unsigned n = elem->out_num + elem->in_num;
    *s = (VirtqElementState){
        .id = elem->id,
        .slots = elem->slots,
        .out_num = elem->out_num,
        .in_num = elem->in_num,
        .addr = g_new(uint64_t, n),
        .len = g_new(uint32_t, n),
        .count = n,
        .queue = vq->index,
    };
    for (unsigned i = 0; i < n; i++) {
        s->addr[i] = elem->out_addr[i];
        s->len[i] = elem->out_sg[i].iov_len;
    }
}

void *virtqueue_element_load(VirtioDevice *vdev, const VirtqElementState *s, size_t size,
                             Error **errp)
{
    Virtqueue *vq = virtio_queue(vdev, s->queue);
    if (!vq || s->count > VIRTQUEUE_MAX_SIZE || s->out_num > s->count ||
        s->in_num != s->count - s->out_num || !s->slots || s->slots > vq->size) {
        error_set(errp, "%s: saved request of queue %u has impossible sizes", vdev->name, s->queue);
        return NULL;
    }
    virtqueue_need_scratch(vq);
    RingChain chain = { .segments = vq->segments };
    for (unsigned i = 0; i < s->count; i++) {
        RingDesc d = { .addr = s->addr[i],
                       .len = s->len[i],
                       .flags = i < s->out_num ? 0 : VIRTQ_DESC_F_WRITE };
        if (!ring_chain_add(vq, &chain, &d)) {
            error_set(errp, "%s: saved request of queue %u is not valid", vdev->name, s->queue);
            return NULL;
        }
    }
    VirtqElement *e =
        element_map(vdev, vq->segments, chain.out_num, chain.in_num, vq->iov, vq->iov_addr, size);
    if (!e) {
        error_set(errp, "%s: saved request of queue %u does not lie in memory", vdev->name,
                  s->queue);
        return NULL;
    }
    e->out_size = chain.out_size;
    e->in_size = chain.in_size;
    e->id = s->id;
    e->slots = s->slots;
    e->epoch = vq->epoch;
    e->sequence = vq->sequence++;
    return e;
}

void virtqueue_element_state_clear(VirtqElementState *s)
{
    g_free(s->addr);
    g_free(s->len);
    *s = (VirtqElementState){ 0 };
}

static const VmStateField element_fields[] = { VMSTATE_UINT16(id, VirtqElementState),
                                               VMSTATE_UINT16(slots, VirtqElementState),
                                               VMSTATE_UINT32(queue, VirtqElementState),
                                               VMSTATE_UINT32(out_num, VirtqElementState),
                                               VMSTATE_UINT32(in_num, VirtqElementState),
                                               VMSTATE_UINT32(count, VirtqElementState),
                                               { .name = "addr",
                                                 .kind = VMSTATE_KIND_UINT,
                                                 .offset = offsetof(VirtqElementState, addr),
                                                 .size = 8,
                                                 .count = VIRTQUEUE_MAX_SIZE,
                                                 .pointer = true,
                                                 .count_offset = offsetof(VirtqElementState, count),
                                                 .count_size = 4 },
                                               { .name = "len",
                                                 .kind = VMSTATE_KIND_UINT,
                                                 .offset = offsetof(VirtqElementState, len),
                                                 .size = 4,
                                                 .count = VIRTQUEUE_MAX_SIZE,
                                                 .pointer = true,
                                                 .count_offset = offsetof(VirtqElementState, count),
                                                 .count_size = 4 },
                                               {} };

const VmState virtq_element_vmstate = {
    .name = "virtq-element",
    .version = 1,
    .minimum_version = 1,
    .fields = element_fields,
};
