/* virtio entropy device (VIRTIO 1.3 section 5.4). */
#include "base/iov.h"
#include "devices/virtio/rng/backend.h"
#include "devices/virtio/rng/rng.h"

enum { QUEUE_SIZE = 8, REQUEST_MAX = 4096 };

static VirtioRng *virtio_rng_cast(void *obj)
{
    return (VirtioRng *)object_cast((Object *)obj, TYPE_VIRTIO_RNG);
}

static void rng_process(VirtioRng *r);

/* Bytes came: into the next buffer. */
static void rng_receive(void *opaque, const uint8_t *buf, size_t len)
{
    VirtioRng *r = opaque;
    VirtqElement *e = g_steal_pointer(&r->waiting);
    r->asked = false;
    if (!e) {
        return;
    }
    size_t n = iov_from_buf(e->in_sg, e->in_num, 0, buf, len);
    virtqueue_push(r->vq, e, n);
    g_free(e);
    virtio_notify(&r->parent, r->vq);
    r->quota -= MIN_OF(r->quota, n);
    rng_process(r);
}

/* One buffer at a time, as far as the quota goes. */
static void rng_process(VirtioRng *r)
{
    if (!virtio_is_running(&r->parent) || r->asked) {
        return;
    }
    if (!r->waiting) {
        r->waiting = virtqueue_pop(r->vq, sizeof(*r->waiting));
    }
    if (!r->waiting) {
        return;
    }
    if (!r->waiting->in_size) {
        virtio_error(&r->parent, "a buffer that can't be written");
        return;
    }
    if (!r->quota) {
        if (!timer_pending(r->timer)) {
            timer_set(r->timer, clock_now(CLK_VIRTUAL) + r->period * NS_PER_MS);
        }
        return;
    }
    uint64_t want = MIN_OF(r->waiting->in_size, REQUEST_MAX);
    r->asked = true;
    rng_backend_request(r->backend, MIN_OF(want, r->quota), rng_receive, r);
    if (r->max_bytes != INT64_MAX && !timer_pending(r->timer)) {
        timer_set(r->timer, clock_now(CLK_VIRTUAL) + r->period * NS_PER_MS);
    }
}

/* A new period. */
static void rng_refill(void *opaque)
{
    VirtioRng *r = opaque;
    r->quota = r->max_bytes;
    rng_process(r);
}

static void rng_handle(VirtioDevice *vdev, Virtqueue *vq)
{
    rng_process(virtio_rng_cast(vdev));
}

static void rng_set_status(VirtioDevice *vdev, uint8_t status)
{
    rng_process(virtio_rng_cast(vdev));
}

static void rng_give_up(VirtioRng *r)
{
    VirtqElement *e = g_steal_pointer(&r->waiting);
    rng_backend_cancel(r->backend, r);
    r->asked = false;
    if (e) {
        virtqueue_detach(r->vq, e);
        g_free(e);
    }
}

static void rng_reset(VirtioDevice *vdev)
{
    rng_give_up(virtio_rng_cast(vdev));
}

static void rng_queue_reset(VirtioDevice *vdev, Virtqueue *vq)
{
    rng_give_up(virtio_rng_cast(vdev));
}

static bool rng_realize(VirtioDevice *vdev, Error **errp)
{
    VirtioRng *r = virtio_rng_cast(vdev);
    if (!r->max_bytes || r->max_bytes > INT64_MAX) {
        error_set(errp, "max-bytes must be between 1 and 2^63 - 1, got %" G_GUINT64_FORMAT,
                  r->max_bytes);
        return false;
    }
    if (!r->period) {
        error_set(errp, "period must be at least 1 ms");
        return false;
    }
    if (r->rng) {
        r->backend = rng_backend_cast(r->rng);
        object_ref(r->rng);
    } else {
        r->backend = rng_backend_cast(object_new(TYPE_RNG_BUILTIN));
    }
    virtio_init(vdev, "virtio-rng", VIRTIO_ID_RNG, 0);
    r->vq = virtio_add_queue(vdev, QUEUE_SIZE, rng_handle);
    r->quota = r->max_bytes;
    r->timer = timer_new(event_loop_main(), CLK_VIRTUAL, rng_refill, r);
    return true;
}

static void rng_unrealize(VirtioDevice *vdev)
{
    VirtioRng *r = virtio_rng_cast(vdev);
    rng_give_up(r);
    timer_free(g_steal_pointer(&r->timer));
    object_unref(&r->backend->parent);
    r->backend = NULL;
    virtio_finish(vdev);
}

/* --- state: a buffer that waits is available again --- */

static bool rng_pre_save(void *opaque, Error **errp)
{
    VirtioRng *r = opaque;
    r->held = r->waiting != NULL;
    return true;
}

static bool rng_pre_load(void *opaque, Error **errp)
{
    rng_give_up(opaque);
    return true;
}

static bool rng_post_load(void *opaque, int version, Error **errp)
{
    VirtioRng *r = opaque;
    if (r->held) {
        virtqueue_rewind_one(r->vq);
    }
    if (r->quota > r->max_bytes) {
        r->quota = r->max_bytes;
    }
    return true;
}

static const VmStateField rng_fields[] = { VMSTATE_VIRTIO(VirtioRng),
                                           VMSTATE_BOOL(held, VirtioRng),
                                           VMSTATE_UINT64(quota, VirtioRng),
                                           VMSTATE_TIMER(timer, VirtioRng),
                                           {} };
static const VmState rng_vmstate = {
    .name = "virtio-rng",
    .version = 1,
    .minimum_version = 1,
    .pre_save = rng_pre_save,
    .pre_load = rng_pre_load,
    .post_load = rng_post_load,
    .fields = rng_fields,
};

static const Field rng_properties[] = {
    PROP_LINK("rng", VirtioRng, rng, TYPE_RNG_BACKEND,
              .help = "source of the bytes; the host's kernel by default"),
    PROP_UINT64("max-bytes", VirtioRng, max_bytes, INT64_MAX, .help = "bytes in each period"),
    PROP_UINT32("period", VirtioRng, period, 65536, .help = "milliseconds"),
    VIRTIO_COMMON_PROPERTIES(VirtioRng),
    {}
};

static void rng_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_MISC;
    dc->vmstate = &rng_vmstate;
    k->realize = rng_realize;
    k->unrealize = rng_unrealize;
    k->set_status = rng_set_status;
    k->reset = rng_reset;
    k->queue_reset = rng_queue_reset;
}

static const TypeInfo rng_info = {
    .name = TYPE_VIRTIO_RNG,
    .parent = TYPE_VIRTIO_DEVICE,
    .help = "virtio entropy source",
    .instance_size = sizeof(VirtioRng),
    .properties = rng_properties,
    .class_init = rng_class_init,
};
OBJECT_TYPE(virtio_rng, rng_info)
