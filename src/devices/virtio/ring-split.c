/*
 * Split virtqueues (VIRTIO 1.3 section 2.7).
 *
 * The driver area (available ring) gives heads of chains in the descriptor table; used heads go to
 * the device area (used ring). Both indices run freely modulo 2^16; entries lie at index modulo
 * size, which is a power of two.
 */
#include "devices/virtio/virtqueue-internal.h"

void ring_split_area_sizes(const Virtqueue *vq, unsigned size, uint32_t sizes[3])
{
    uint32_t event = virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX) ? sizeof(uint16_t) : 0;
    sizes[0] = size * VIRTQ_DESC_SIZE;
    sizes[1] = VIRTQ_AVAIL_RING + size * sizeof(uint16_t) + event;
    sizes[2] = VIRTQ_USED_RING + size * VIRTQ_USED_ELEM_SIZE + event;
}

static RingDesc split_desc_decode(const uint8_t raw[VIRTQ_DESC_SIZE])
{
    return (RingDesc){
        .addr = ld64_le(raw),
        .len = ld32_le(raw + 8),
        .flags = ld16_le(raw + 12),
        .id_or_next = ld16_le(raw + 14),
    };
}

/* Refresh what we know of the driver's index; false when it is nonsense. */
static bool split_look(Virtqueue *vq, const RingMap *map)
{
    uint16_t idx = ring_area_load16_acquire(&map->driver, VIRTQ_AVAIL_IDX);
    if (UNLIKELY((uint16_t)(idx - vq->avail_idx) > vq->size)) {
        virtio_error(vq->vdev,
                     "queue %u: available index moved from %u to %u, more than its %u "
                     "entries",
                     vq->index, vq->avail_idx, idx, vq->size);
        return false;
    }
    vq->shadow_avail = idx;
    return true;
}

bool ring_split_is_empty(Virtqueue *vq, const RingMap *map)
{
    if (vq->shadow_avail != vq->avail_idx) {
        return false;
    }
    return ring_area_load16_acquire(&map->driver, VIRTQ_AVAIL_IDX) == vq->avail_idx;
}

static uint32_t avail_event_offset(const Virtqueue *vq)
{
    return VIRTQ_USED_RING + vq->size * VIRTQ_USED_ELEM_SIZE;
}

int ring_split_take(Virtqueue *vq, const RingMap *map, RingChain *chain)
{
    if (vq->shadow_avail == vq->avail_idx) {
        if (!split_look(vq, map)) {
            return RING_BROKEN;
        }
        if (vq->shadow_avail == vq->avail_idx) {
            return RING_EMPTY;
        }
    }
    uint32_t mask = vq->size - 1;
    uint16_t head = ring_area_load16(&map->driver,
                                     VIRTQ_AVAIL_RING + (vq->avail_idx & mask) * sizeof(uint16_t));
    if (UNLIKELY(head >= vq->size)) {
        virtio_error(vq->vdev, "queue %u: available descriptor %u is not below %u", vq->index, head,
                     vq->size);
        return RING_BROKEN;
    }
    chain->id = head;
    chain->slots = 1;

    unsigned left = vq->size;
    uint16_t next = head;
    for (;;) {
        uint8_t raw[VIRTQ_DESC_SIZE];
        ring_area_read(&map->desc, next * VIRTQ_DESC_SIZE, raw, sizeof(raw));
        RingDesc desc = split_desc_decode(raw);
        if (desc.flags & VIRTQ_DESC_F_INDIRECT) {
            /* 2.7.5.3.1: a driver must not set both flags. */
            if (desc.flags & VIRTQ_DESC_F_NEXT) {
                virtio_error(vq->vdev, "queue %u: descriptor %u is indirect and has a next one",
                             vq->index, next);
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
        if (!(desc.flags & VIRTQ_DESC_F_NEXT)) {
            break;
        }
        next = desc.id_or_next;
        if (UNLIKELY(next >= vq->size)) {
            virtio_error(vq->vdev, "queue %u: next descriptor %u is not below %u", vq->index, next,
                         vq->size);
            return RING_BROKEN;
        }
        if (UNLIKELY(--left == 0)) {
            virtio_error(vq->vdev, "queue %u: descriptor chain from %u loops", vq->index, head);
            return RING_BROKEN;
        }
    }
    vq->avail_idx++;
    if (vq->notification && virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        ring_area_store16(&map->device, avail_event_offset(vq), vq->avail_idx);
    }
    return RING_OK;
}

void ring_split_rewind(Virtqueue *vq, unsigned slots)
{
    vq->avail_idx -= slots;
}

void ring_split_flush(Virtqueue *vq, const RingMap *map)
{
    uint32_t mask = vq->size - 1;
    for (unsigned i = 0; i < vq->staged_count; i++) {
        uint8_t raw[VIRTQ_USED_ELEM_SIZE];
        st32_le(raw, vq->staged[i].id);
        st32_le(raw + 4, vq->staged[i].len);
        uint32_t slot = (uint16_t)(vq->used_idx + i) & mask;
        ring_area_write(&map->device, VIRTQ_USED_RING + slot * VIRTQ_USED_ELEM_SIZE, raw,
                        sizeof(raw));
    }
    vq->used_idx += vq->staged_count;
    ring_area_store16_release(&map->device, VIRTQ_USED_IDX, vq->used_idx);
    vq->unsignalled += vq->staged_count;
}

void ring_split_set_notification(Virtqueue *vq, const RingMap *map, bool on)
{
    if (virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        /* Off: leave the event behind, so that the index passes it no more. */
        if (on) {
            uint16_t idx = ring_area_load16(&map->driver, VIRTQ_AVAIL_IDX);
            /* What is known to be available needs no kick. */
            ring_area_store16(&map->device, avail_event_offset(vq), idx);
        }
    } else {
        ring_area_store16(&map->device, VIRTQ_USED_FLAGS, on ? 0 : VIRTQ_USED_F_NO_NOTIFY);
    }
    if (on) {
        /* The caller looks at the ring again after this. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
}

bool ring_split_wants_interrupt(Virtqueue *vq, const RingMap *map)
{
    /* The used index must be visible before the driver's wish is read. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (virtio_has_feature(vq->vdev, VIRTIO_F_NOTIFY_ON_EMPTY) && !vq->inuse &&
        ring_split_is_empty(vq, map)) {
        return true;
    }
    if (!virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        uint16_t flags = ring_area_load16(&map->driver, VIRTQ_AVAIL_FLAGS);
        return !(flags & VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
    uint32_t fresh = vq->unsignalled;
    bool valid = vq->signalled_valid;
    vq->unsignalled = 0;
    vq->signalled_valid = true;
    uint16_t event = ring_area_load16(&map->driver, VIRTQ_AVAIL_RING + vq->size * sizeof(uint16_t));
    /* 2.7.10: is the event among the entries used since? */
    return !valid || (uint16_t)(vq->used_idx - event - 1) < fresh;
}
