/*
 * Packed virtqueues (VIRTIO 1.3 section 2.8).
 *
 * One ring of descriptors, written by driver and device in turn. A descriptor's AVAIL and USED
 * flags are compared with wrap counters that flip each time a side passes the ring's end. The
 * driver area and the device area are event suppression structures.
 */
#include "devices/virtio/virtqueue-internal.h"

void ring_packed_area_sizes(const Virtqueue *vq, unsigned size, uint32_t sizes[3])
{
    sizes[0] = size * VIRTQ_DESC_SIZE;
    sizes[1] = VIRTQ_EVENT_SIZE;
    sizes[2] = VIRTQ_EVENT_SIZE;
}

enum { DESC_LEN = 8, DESC_ID = 12, DESC_FLAGS = 14 };

static bool flags_available(uint16_t flags, bool wrap)
{
    bool avail = flags & VIRTQ_DESC_F_AVAIL;
    bool used = flags & VIRTQ_DESC_F_USED;
    return avail == wrap && used != wrap;
}

bool ring_packed_is_empty(Virtqueue *vq, const RingMap *map)
{
    uint16_t flags = ring_area_load16(&map->desc, vq->avail_idx * VIRTQ_DESC_SIZE + DESC_FLAGS);
    return !flags_available(flags, vq->avail_wrap);
}

/* The rest of a descriptor whose flags were read before. */
static RingDesc packed_desc_read(const RingMap *map, uint16_t slot, uint16_t flags)
{
    uint8_t raw[DESC_FLAGS];
    ring_area_read(&map->desc, slot * VIRTQ_DESC_SIZE, raw, sizeof(raw));
    return (RingDesc){
        .addr = ld64_le(raw),
        .len = ld32_le(raw + DESC_LEN),
        .flags = flags,
        .id_or_next = ld16_le(raw + DESC_ID),
    };
}

static void packed_store_event(const RingMap *map, uint16_t idx, bool wrap)
{
    ring_area_store16(&map->device, VIRTQ_EVENT_OFF_WRAP, idx | (wrap ? VIRTQ_EVENT_WRAP : 0));
}

int ring_packed_take(Virtqueue *vq, const RingMap *map, RingChain *chain)
{
    uint16_t slot = vq->avail_idx;
    bool wrap = vq->avail_wrap;
    uint16_t flags = ring_area_load16_acquire(&map->desc, slot * VIRTQ_DESC_SIZE + DESC_FLAGS);
    if (!flags_available(flags, wrap)) {
        return RING_EMPTY;
    }
    chain->slots = 0;
    for (;;) {
        RingDesc desc = packed_desc_read(map, slot, flags);
        chain->slots++;
        if (++slot == vq->size) {
            slot = 0;
            wrap = !wrap;
        }
        /* 2.8.6: only the last descriptor's id counts. */
        chain->id = desc.id_or_next;
        if (flags & VIRTQ_DESC_F_INDIRECT) {
            /* 2.8.19: the table stands for the whole buffer. */
            if (chain->slots > 1 || flags & VIRTQ_DESC_F_NEXT) {
                virtio_error(vq->vdev, "queue %u: an indirect descriptor inside a chain",
                             vq->index);
                return RING_BROKEN;
            }
            if (!ring_chain_add_indirect(vq, chain, &desc)) {
                return RING_BROKEN;
            }
            break;
        }
        if (!ring_chain_add(vq, chain, &desc)) {
            return RING_BROKEN;
        }
        if (!(flags & VIRTQ_DESC_F_NEXT)) {
            break;
        }
        if (UNLIKELY(chain->slots >= vq->size)) {
            virtio_error(vq->vdev, "queue %u: descriptor chain longer than its %u entries",
                         vq->index, vq->size);
            return RING_BROKEN;
        }
        flags = ring_area_load16(&map->desc, slot * VIRTQ_DESC_SIZE + DESC_FLAGS);
    }
    if (UNLIKELY(chain->id >= vq->size && virtio_has_feature(vq->vdev, VIRTIO_F_IN_ORDER))) {
        virtio_error(vq->vdev, "queue %u: buffer id %u is not below %u", vq->index, chain->id,
                     vq->size);
        return RING_BROKEN;
    }
    vq->avail_idx = slot;
    vq->avail_wrap = wrap;
    if (vq->notification && virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        packed_store_event(map, vq->avail_idx, vq->avail_wrap);
    }
    return RING_OK;
}

void ring_packed_rewind(Virtqueue *vq, unsigned slots)
{
    if (vq->avail_idx < slots) {
        vq->avail_idx += vq->size;
        vq->avail_wrap = !vq->avail_wrap;
    }
    vq->avail_idx -= slots;
}

void ring_packed_flush(Virtqueue *vq, const RingMap *map)
{
    uint16_t slot = vq->used_idx;
    bool wrap = vq->used_wrap;
    uint16_t first_slot = slot;
    uint16_t first_flags = 0;
    for (unsigned i = 0; i < vq->staged_count; i++) {
        const UsedEntry *u = &vq->staged[i];
        uint8_t raw[6];
        st32_le(raw, u->len);
        st16_le(raw + 4, u->id);
        ring_area_write(&map->desc, slot * VIRTQ_DESC_SIZE + DESC_LEN, raw, sizeof(raw));
        uint16_t flags = wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
        if (u->len) {
            flags |= VIRTQ_DESC_F_WRITE;
        }
        if (i == 0) {
            first_flags = flags; /* comes last: it shows the whole batch */
        } else {
            ring_area_store16_release(&map->desc, slot * VIRTQ_DESC_SIZE + DESC_FLAGS, flags);
        }
        vq->unsignalled += u->slots;
        slot += u->slots;
        if (slot >= vq->size) {
            slot -= vq->size;
            wrap = !wrap;
        }
    }
    ring_area_store16_release(&map->desc, first_slot * VIRTQ_DESC_SIZE + DESC_FLAGS, first_flags);
    vq->used_idx = slot;
    vq->used_wrap = wrap;
}

void ring_packed_set_notification(Virtqueue *vq, const RingMap *map, bool on)
{
    uint16_t flags;
    if (!on) {
        flags = VIRTQ_EVENT_DISABLE;
    } else if (virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        packed_store_event(map, vq->avail_idx, vq->avail_wrap);
        flags = VIRTQ_EVENT_DESC;
    } else {
        flags = VIRTQ_EVENT_ENABLE;
    }
    ring_area_store16_release(&map->device, VIRTQ_EVENT_FLAGS, flags);
    if (on) {
        /* The caller looks at the ring again after this. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
}

bool ring_packed_wants_interrupt(Virtqueue *vq, const RingMap *map)
{
    /* The used descriptors must be visible before the driver's wish is read. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint16_t flags = ring_area_load16_acquire(&map->driver, VIRTQ_EVENT_FLAGS);
    uint16_t off_wrap = ring_area_load16(&map->driver, VIRTQ_EVENT_OFF_WRAP);
    uint32_t fresh = vq->unsignalled;
    bool valid = vq->signalled_valid;
    vq->unsignalled = 0;
    vq->signalled_valid = true;
    switch (flags & 3) {
    case VIRTQ_EVENT_DISABLE:
        return false;
    case VIRTQ_EVENT_DESC:
        if (!virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
            return true;
        }
        break;
    default:
        return true;
    }
    /* 2.8.14: is the event among the slots used since? An event of the other wrap lies one turn
     * below the used index's own. */
    int event = off_wrap & ~VIRTQ_EVENT_WRAP;
    if (!!(off_wrap & VIRTQ_EVENT_WRAP) != vq->used_wrap) {
        event -= vq->size;
    }
    return !valid || (uint16_t)(vq->used_idx - event - 1) < fresh;
}
