/* Handing queues over to a vhost back end and taking them back. */
#include "devices/virtio/virtio-vhost.h"

#include "devices/virtio/in-flight.h"
#include "devices/virtio/transport.h"
#include "devices/virtio/virtqueue-internal.h"

static const char *guest_name(void *guest)
{
    VirtioDevice *vdev = guest;
    return vdev->parent.id ? vdev->parent.id : vdev->name;
}

static uint64_t guest_features(void *guest)
{
    return ((VirtioDevice *)guest)->guest_features;
}

static void guest_set_foreign(VirtioDevice *vdev, unsigned first, unsigned count, bool foreign)
{
    bool running = vdev->ioeventfd_started;
    /* Watches of taken queues must end and those of released ones begin. */
    virtio_stop_ioeventfd(vdev);
    for (unsigned i = first; i < first + count; i++) {
        vdev->queues[i].foreign = foreign;
    }
    if (running) {
        virtio_start_ioeventfd(vdev);
    }
}

static void guest_take(void *guest, unsigned first, unsigned count)
{
    guest_set_foreign(guest, first, count, true);
}

static void guest_release(void *guest, unsigned first, unsigned count)
{
    guest_set_foreign(guest, first, count, false);
}

static bool guest_notifiers_start(void *guest, unsigned count, Error **errp)
{
    VirtioDevice *vdev = guest;
    VirtioBusClass *t = virtio_transport(vdev);
    if (!t->set_guest_notifiers || !t->ioeventfd_assign) {
        error_set(errp, "%s: this transport has no notifiers, so vhost can't work",
                  guest_name(guest));
        return false;
    }
    if (!t->set_guest_notifiers(virtio_proxy(vdev), count, true, errp)) {
        return false;
    }
    if (!virtio_force_ioeventfd(vdev, errp)) {
        /* Taking them away can't fail. */
        (void)t->set_guest_notifiers(virtio_proxy(vdev), count, false, NULL);
        return false;
    }
    return true;
}

static void guest_notifiers_stop(void *guest, unsigned count)
{
    VirtioDevice *vdev = guest;
    virtio_unforce_ioeventfd(vdev);
    (void)virtio_transport(vdev)->set_guest_notifiers(virtio_proxy(vdev), count, false, NULL);
}

static EventNotifier *guest_kick(void *guest, unsigned index)
{
    return virtio_queue_host_notifier(guest, index);
}

static EventNotifier *guest_call(void *guest, int index)
{
    VirtioDevice *vdev = guest;
    return index == VHOST_GUEST_CONFIG ? &vdev->config_notifier
                                       : virtio_queue_guest_notifier(vdev, index);
}

static void guest_ring(void *guest, unsigned index, VhostGuestRing *ring)
{
    VirtioDevice *vdev = guest;
    const Virtqueue *vq = &vdev->queues[index];
    uint32_t sizes[3];
    bool packed = virtqueue_is_packed(vq);
    if (packed) {
        ring_packed_area_sizes(vq, vq->size, sizes);
    } else {
        ring_split_area_sizes(vq, vq->size, sizes);
    }
    *ring = (VhostGuestRing){
        .enabled = vq->enabled,
        .packed = packed,
        .size = vq->size,
        .desc = vq->desc,
        .driver = vq->driver,
        .device = vq->device,
        .desc_bytes = sizes[0],
        .driver_bytes = sizes[1],
        .device_bytes = sizes[2],
        .space = vdev->dma_as,
    };
}

static uint32_t guest_base(void *guest, unsigned index)
{
    VirtioDevice *vdev = guest;
    Virtqueue *vq = &vdev->queues[index];
    if (!virtqueue_is_packed(vq)) {
        if (vdev->out_of_order) {
            in_flight_begin(vq, vq->avail_idx);
        }
        return vq->avail_idx;
    }
    uint32_t avail = vq->avail_idx | (vq->avail_wrap ? VIRTQ_EVENT_WRAP : 0);
    uint32_t used = vq->used_idx | (vq->used_wrap ? VIRTQ_EVENT_WRAP : 0);
    return avail | used << 16;
}

static void guest_set_base(void *guest, unsigned index, uint32_t base)
{
    Virtqueue *vq = &((VirtioDevice *)guest)->queues[index];
    if (virtqueue_is_packed(vq)) {
        uint16_t avail = base & 0x7fff;
        uint16_t used = base >> 16 & 0x7fff;
        /* A back end's word: out of range would index past the ring. */
        if (avail >= vq->size || used >= vq->size) {
            virtio_error(vq->vdev, "queue %u: the back end stopped at impossible position 0x%x",
                         index, base);
            return;
        }
        vq->avail_idx = avail;
        vq->avail_wrap = base & VIRTQ_EVENT_WRAP;
        vq->used_idx = used;
        vq->used_wrap = base >> 16 & VIRTQ_EVENT_WRAP;
    } else {
        vq->avail_idx = base;
        vq->used_idx = base; /* a stopped back end has used all it took */
    }
    virtqueue_recover(vq);
}

static bool guest_restore_base(void *guest, unsigned index, bool recorded)
{
    VirtioDevice *vdev = guest;
    Virtqueue *vq = &vdev->queues[index];
    bool known = true;
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    if (!map) {
        return true;
    }
    if (!virtqueue_is_packed(vq)) {
        vq->used_idx = ring_area_load16(&map->device, VIRTQ_USED_IDX);
        vq->avail_idx = vq->used_idx;
        if (!recorded && vdev->out_of_order) {
            known = in_flight_restore(vq);
        }
    } else {
        /* 2.8: used entries lie over the chains they answer, so the ring does not tell. */
        vq->avail_idx = vq->used_idx;
        vq->avail_wrap = vq->used_wrap;
        known = recorded;
    }
    virtqueue_recover(vq);
    return known;
}

static void guest_lent(void *guest, bool lent)
{
    virtio_set_lent(guest, lent);
}

static bool guest_host_notifier(void *guest, unsigned index, void *host, uint64_t len, Error **errp)
{
    VirtioDevice *vdev = guest;
    VirtioBusClass *t = virtio_transport(vdev);
    if (!t->set_doorbell) {
        error_set(errp, "%s: this transport has no room for doorbells of others",
                  guest_name(guest));
        return false;
    }
    return t->set_doorbell(virtio_proxy(vdev), index, host, len, errp);
}

static void guest_interrupt(void *guest, int index)
{
    if (index == VHOST_GUEST_CONFIG) {
        virtio_config_interrupt(guest);
    } else {
        virtio_queue_interrupt(guest, index);
    }
}

static void guest_config_changed(void *guest)
{
    virtio_notify_config(guest);
}

static void guest_broken(void *guest, const char *why)
{
    virtio_error(guest, "%s", why);
}

static const VhostGuestOps guest_ops = {
    .name = guest_name,
    .features = guest_features,
    .take = guest_take,
    .release = guest_release,
    .notifiers_start = guest_notifiers_start,
    .notifiers_stop = guest_notifiers_stop,
    .kick = guest_kick,
    .call = guest_call,
    .ring = guest_ring,
    .base = guest_base,
    .set_base = guest_set_base,
    .restore_base = guest_restore_base,
    .lent = guest_lent,
    .host_notifier = guest_host_notifier,
    .interrupt = guest_interrupt,
    .config_changed = guest_config_changed,
    .broken = guest_broken,
};

VhostGuest virtio_vhost_guest(VirtioDevice *vdev)
{
    return (VhostGuest){ .ops = &guest_ops, .opaque = vdev };
}
