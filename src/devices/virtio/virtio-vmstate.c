/*
 * State of the virtio core: what every device type's description begins with. Ring contents are
 * guest memory; here are the registers and where each side stood in the rings.
 */
#include <inttypes.h>

#include "devices/virtio/transport.h"
#include "devices/virtio/virtqueue-internal.h"

static const VmStateField queue_fields[] = {
    VMSTATE_UINT32(size, Virtqueue),       VMSTATE_UINT64(desc, Virtqueue),
    VMSTATE_UINT64(driver, Virtqueue),     VMSTATE_UINT64(device, Virtqueue),
    VMSTATE_BOOL(enabled, Virtqueue),      VMSTATE_UINT16(vector, Virtqueue),
    VMSTATE_UINT16(avail_idx, Virtqueue),  VMSTATE_UINT16(used_idx, Virtqueue),
    VMSTATE_BOOL(avail_wrap, Virtqueue),   VMSTATE_BOOL(used_wrap, Virtqueue),
    VMSTATE_BOOL(notification, Virtqueue), {}
};

static const VmState queue_vmstate = {
    .name = "virtqueue",
    .version = 1,
    .minimum_version = 1,
    .fields = queue_fields,
};

/* The numbers that must agree before the rest is read. */
static bool shape_pre_save(void *opaque, Error **errp)
{
    VirtioDevice *vdev = opaque;
    vdev->queue_count_saved = vdev->queue_count;
    vdev->config_len_saved = vdev->config_len;
    return true;
}

static bool shape_post_load(void *opaque, int version, Error **errp)
{
    VirtioDevice *vdev = opaque;
    if (vdev->queue_count_saved != vdev->queue_count ||
        vdev->config_len_saved != vdev->config_len) {
        error_set(errp,
                  "%s: the saved device has %u queues and %u bytes of configuration, this one %u "
                  "and %zu; give it the same properties",
                  vdev->name, vdev->queue_count_saved, vdev->config_len_saved, vdev->queue_count,
                  vdev->config_len);
        return false;
    }
    return true;
}

static const VmStateField shape_fields[] = { VMSTATE_UINT32(queue_count_saved, VirtioDevice),
                                             VMSTATE_UINT32(config_len_saved, VirtioDevice),
                                             {} };

static const VmState shape_vmstate = {
    .name = "virtio-shape",
    .version = 1,
    .minimum_version = 1,
    .pre_save = shape_pre_save,
    .post_load = shape_post_load,
    .fields = shape_fields,
};

/* A ring position that the saved numbers can't have: the state is refused, not repaired. */
static bool queue_check(const Virtqueue *vq, bool packed, Error **errp)
{
    const char *name = vq->vdev->name;
    if (vq->size > vq->max_size || (vq->enabled && !vq->size) ||
        (vq->enabled && !packed && !is_power_of_two(vq->size))) {
        error_set(errp, "%s: queue %u was saved with %u entries, it can have %u", name, vq->index,
                  vq->size, vq->max_size);
        return false;
    }
    if (!vq->enabled) {
        return true;
    }
    int inuse;
    if (packed) {
        inuse = vq->avail_idx - vq->used_idx + (vq->avail_wrap != vq->used_wrap ? vq->size : 0);
    } else {
        inuse = (uint16_t)(vq->avail_idx - vq->used_idx);
    }
    if ((packed && (vq->avail_idx >= vq->size || vq->used_idx >= vq->size)) || inuse < 0 ||
        inuse > (int)vq->size) {
        error_set(errp, "%s: queue %u was saved at impossible positions (%u and %u of %u)", name,
                  vq->index, vq->avail_idx, vq->used_idx, vq->size);
        return false;
    }
    return true;
}

static bool virtio_post_load(void *opaque, int version, Error **errp)
{
    VirtioDevice *vdev = opaque;
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    if (vdev->guest_features & ~vdev->host_features) {
        error_set(errp,
                  "%s: the saved driver uses features 0x%" PRIx64
                  " that this device does not offer (0x%" PRIx64 ")",
                  vdev->name, vdev->guest_features & ~vdev->host_features, vdev->host_features);
        return false;
    }
    /* Features decide which queues there are; the sizes that the driver chose stay. */
    if (k->set_features) {
        g_autofree uint32_t *sizes = g_new(uint32_t, vdev->queue_count);
        for (unsigned i = 0; i < vdev->queue_count; i++) {
            sizes[i] = vdev->queues[i].size;
        }
        k->set_features(vdev, vdev->guest_features);
        for (unsigned i = 0; i < vdev->queue_count; i++) {
            vdev->queues[i].size = sizes[i];
        }
    }
    bool packed = virtio_has_feature(vdev, VIRTIO_F_RING_PACKED);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        if (!queue_check(&vdev->queues[i], packed, errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        Virtqueue *vq = &vdev->queues[i];
        virtqueue_unmap(vq);
        vq->epoch++;
        if (!vq->enabled) {
            continue;
        }
        virtqueue_recover(vq);
        if (!vdev->broken && !virtqueue_remap(vq)) {
            error_set(errp, "%s: the rings of queue %u do not lie in memory", vdev->name, i);
            return false;
        }
    }
    VirtioBusClass *t = virtio_transport(vdev);
    if (t->device_loaded) {
        t->device_loaded(virtio_proxy(vdev), vdev);
    }
    return true;
}

static const VmStateField virtio_fields[] = { { .name = "shape",
                                                .kind = VMSTATE_KIND_STRUCT,
                                                .size = sizeof(VirtioDevice),
                                                .state = &shape_vmstate },
                                              VMSTATE_UINT8(status, VirtioDevice),
                                              VMSTATE_UINT8(isr, VirtioDevice),
                                              VMSTATE_BOOL(broken, VirtioDevice),
                                              VMSTATE_BOOL(started, VirtioDevice),
                                              VMSTATE_BOOL(config_pending, VirtioDevice),
                                              VMSTATE_BOOL(features_refused, VirtioDevice),
                                              VMSTATE_UINT16(config_vector, VirtioDevice),
                                              VMSTATE_UINT16(queue_sel, VirtioDevice),
                                              VMSTATE_UINT32(generation, VirtioDevice),
                                              VMSTATE_UINT64(guest_features, VirtioDevice),
                                              { .name = "queues",
                                                .kind = VMSTATE_KIND_STRUCT,
                                                .offset = offsetof(VirtioDevice, queues),
                                                .size = sizeof(Virtqueue),
                                                .count = VIRTIO_QUEUE_MAX,
                                                .count_offset = offsetof(VirtioDevice, queue_count),
                                                .count_size =
                                                    MEMBER_SIZE(VirtioDevice, queue_count),
                                                .pointer = true,
                                                .state = &queue_vmstate },
                                              {} };

const VmState virtio_vmstate = {
    .name = "virtio",
    .version = 1,
    .minimum_version = 1,
    .post_load = virtio_post_load,
    .fields = virtio_fields,
};
