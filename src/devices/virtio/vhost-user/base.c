/* vhost-user devices in general: connection, features, configuration, queues, waiting. */
#include "devices/virtio/vhost-user/base.h"

#include <string.h>

#include "base/log.h"
#include "devices/virtio/virtio-vhost.h"
#include "event/clock.h"
#include "vhost/user/wire.h"

/* How long a driver's reset waits at most for the first handshake. */
#define HOLD_TIME (2 * NS_PER_SECOND)

static const VhostUserModel *model_of(VhostUserBase *b)
{
    return vhost_user_base_class_of(b)->model;
}

/* --- Features --- */

/* Single rings can't be taken back from the back end while the others run. */
#define NEVER_OFFERED BIT64(VIRTIO_F_RING_RESET)

static uint64_t base_offered(const VhostUserBase *b)
{
    uint64_t has =
        b->was_connected ? b->backend_features : b->shape.assumed | BIT64(VIRTIO_F_VERSION_1);
    return b->wanted & (has | b->shape.own_features) & ~NEVER_OFFERED;
}

/* What the driver has seen stands until it resets the device. */
static void base_update_features(VhostUserBase *b)
{
    if (!(b->parent.status & VIRTIO_STATUS_DRIVER)) {
        b->parent.host_features = base_offered(b);
    }
}

static uint64_t base_get_features(VirtioDevice *vdev, uint64_t wanted, Error **errp)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    b->wanted = wanted | b->shape.features;
    return base_offered(b);
}

/* --- Configuration --- */

static void base_get_config(VirtioDevice *vdev, uint8_t *config)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    const uint8_t *given = vhost_user_config(b->vu);
    memset(config, 0, b->shape.config_size);
    if (given) {
        memcpy(config, given, b->shape.backend_config);
    }
    if (model_of(b)->get_config) {
        model_of(b)->get_config(b, config);
    }
}

static void base_set_config(VirtioDevice *vdev, const uint8_t *config)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    uint8_t before[VHOST_USER_CONFIG_MAX];
    if (!model_of(b)->set_config) {
        log_guest_error("%s: the configuration is read-only\n", vdev->name);
        return;
    }
    base_get_config(vdev, before);
    model_of(b)->set_config(b, before, config);
}

void vhost_user_base_config_changed(VhostUserBase *b)
{
    base_get_config(&b->parent, b->known);
    virtio_notify_config(&b->parent);
}

/* Another back end, or the first one: tell the driver only what is new to it. */
static void base_compare_config(VhostUserBase *b)
{
    uint8_t now[VHOST_USER_CONFIG_MAX];
    base_get_config(&b->parent, now);
    if (memcmp(now, b->known, b->shape.config_size)) {
        vhost_user_base_config_changed(b);
    }
}

unsigned vhost_user_base_queues(const VhostUserBase *b)
{
    VhostBackend *backend = vhost_device_backend(b->dev);
    return b->was_connected && vhost_device_is_connected(b->dev)
               ? MIN_OF(b->shape.queues, backend->ops->max_rings(backend))
               : b->shape.queues;
}

/* --- The back end comes and goes --- */

void vhost_user_base_settled(VhostUserBase *b)
{
    b->settled = true;
    base_compare_config(b);
    vhost_user_await_met(b->await);
}

static void base_connected(void *opaque, bool up)
{
    VhostUserBase *b = opaque;
    const VhostUserModel *m = model_of(b);
    if (!up) {
        if (m->disconnected) {
            m->disconnected(b);
        }
        return;
    }
    VhostBackend *backend = vhost_device_backend(b->dev);
    bool again = b->was_connected;
    b->was_connected = true;
    b->backend_features = backend->ops->features(backend);
    base_update_features(b);
    if (m->connected) {
        m->connected(b, again);
    }
    if (!b->settles_late) {
        vhost_user_base_settled(b);
    }
}

static void base_backend_config_changed(void *opaque)
{
    vhost_user_base_config_changed(opaque);
}

static void base_refused(void *opaque, const Error *why)
{
    vhost_user_await_refused(((VhostUserBase *)opaque)->await, why);
}

static const VhostDeviceOps base_device_ops = {
    .connected = base_connected,
    .config_changed = base_backend_config_changed,
    .refused = base_refused,
};

/* --- The driver's side --- */

/* Kicks of queues that nobody has: what was made available is found when the back end comes. */
static void base_handle(VirtioDevice *vdev, Virtqueue *vq)
{
}

static void base_set_status(VirtioDevice *vdev, uint8_t status)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    vhost_device_set_wanted(b->dev, virtio_is_running(vdev));
}

static void base_reset(VirtioDevice *vdev)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    if (model_of(b)->reset) {
        model_of(b)->reset(b);
    }
    vhost_device_reset(b->dev);
    base_update_features(b);
}

/* The rings' memory isn't the driver's until the back end has let go of them; and a device whose
 * back end is just saying what it can do is not described yet. */
static bool base_reset_pending(VirtioDevice *vdev)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    VhostUserStatus s;
    if (vhost_device_state(b->dev) == VHOST_STOPPING) {
        return true;
    }
    if (b->settled) {
        return false;
    }
    vhost_user_status(b->vu, &s);
    if (s.phase == VHOST_USER_DISCONNECTED) {
        return false;
    }
    if (!b->hold_until) {
        b->hold_until = s.connected_ns + HOLD_TIME;
    }
    return clock_now(CLK_REALTIME) < b->hold_until;
}

static void base_mask(VirtioDevice *vdev, int queue, bool mask)
{
    if (queue >= 0) {
        vhost_device_mask(vhost_user_base_cast(vdev)->dev, queue, mask);
    }
}

static bool base_pending(VirtioDevice *vdev, int queue)
{
    return queue >= 0 && vhost_device_pending(vhost_user_base_cast(vdev)->dev, queue);
}

/* --- Life --- */

bool vhost_user_check_queue_size(const char *property, uint32_t size, Error **errp)
{
    if (is_power_of_two(size) && size <= VIRTQUEUE_MAX_SIZE) {
        return true;
    }
    error_set(errp, "%s must be a power of two up to %d, got %u", property, VIRTQUEUE_MAX_SIZE,
              size);
    return false;
}

static bool base_check_shape(const VhostUserShape *s, Error **errp)
{
    if (!s->queues || s->queues > VIRTIO_QUEUE_MAX) {
        error_set(errp, "a device can have 1 to %d queues, not %u", VIRTIO_QUEUE_MAX, s->queues);
        return false;
    }
    if (s->config_size > VHOST_USER_CONFIG_MAX) {
        error_set(errp, "vhost-user carries up to %d bytes of configuration, not %u",
                  VHOST_USER_CONFIG_MAX, s->config_size);
        return false;
    }
    return true;
}

static bool base_make_shape(VhostUserBase *b, Error **errp)
{
    const VhostUserModel *m = model_of(b);
    VhostUserShape *s = &b->shape;
    *s = m->shape;
    s->virtio_id = m->pci.virtio_id;
    if ((m->make_shape && !m->make_shape(b, s, errp)) || !base_check_shape(s, errp)) {
        return false;
    }
    s->backend_queues = s->backend_queues ?: s->queues;
    s->least_queues = s->least_queues ?: s->backend_queues;
    return true;
}

static bool base_connect(VhostUserBase *b, Chardev *chr, Error **errp)
{
    const VhostUserShape *s = &b->shape;
    const VhostUserSpec spec = {
        .chardev = chr,
        .name = b->label,
        .log = b->log,
        .timeout_ms = b->timeout,
        .virtio_id = s->virtio_id,
        .rings = s->backend_queues,
        .least_rings = s->least_queues,
        .protocol_features =
            model_of(b)->protocol_features |
            (s->backend_config ? BIT64(VHOST_USER_PF_CONFIG) | BIT64(VHOST_USER_PF_BACKEND_REQ)
                               : 0) |
            BIT64(VHOST_USER_PF_MQ),
        .required_protocol_features = s->backend_config ? BIT64(VHOST_USER_PF_CONFIG) : 0,
        .required_features = s->needed,
        .front_end_features = s->own_features,
        .config_size = s->backend_config,
        .tolerate_lost_features = b->lost_features,
    };
    b->vu = vhost_user_new(&spec, errp);
    if (!b->vu) {
        return false;
    }
    b->dev = vhost_device_new(vhost_user_backend(b->vu), b->label, &base_device_ops, b);
    VhostGuest guest = virtio_vhost_guest(&b->parent);
    if (!vhost_device_attach(b->dev, &guest, s->backend_queues, address_space_memory(), errp)) {
        vhost_device_free(b->dev);
        b->dev = NULL;
        b->vu = NULL;
        return false;
    }
    return true;
}

static bool base_realize(VirtioDevice *vdev, Error **errp)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    const VhostUserModel *m = model_of(b);
    if (!b->chardev) {
        error_set(errp, "property 'chardev' is needed; give the id of a socket chardev");
        return false;
    }
    if (virtio_host_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM)) {
        error_set(errp, "iommu_platform=on is not possible: the back end knows guest memory by its "
                        "physical addresses only");
        return false;
    }
    Chardev *chr = chardev_find_or_error(b->chardev, errp);
    if (!chr || !base_make_shape(b, errp)) {
        return false;
    }
    b->label = device_describe(virtio_proxy(vdev));
    virtio_init(vdev, m->pci.name, b->shape.virtio_id, b->shape.config_size);
    vdev->out_of_order = true;
    for (unsigned i = 0; i < b->shape.queues; i++) {
        virtio_add_queue(vdev, b->shape.queue_size, base_handle);
    }
    if (!base_connect(b, chr, errp)) {
        virtio_finish(vdev);
        g_clear_pointer(&b->label, g_free);
        return false;
    }
    base_get_config(vdev, b->known);
    if (b->wait) {
        b->await = vhost_user_await(b->vu, b->label, b->wait_timeout);
    }
    vhost_user_start(b->vu);
    return true;
}

static void base_unrealize(VirtioDevice *vdev)
{
    VhostUserBase *b = vhost_user_base_cast(vdev);
    b->finishing = true;
    vhost_user_await_free(b->await);
    b->await = NULL;
    vhost_device_free(b->dev);
    b->dev = NULL;
    b->vu = NULL;
    if (model_of(b)->unrealize) {
        model_of(b)->unrealize(b);
    }
    virtio_finish(vdev);
    g_clear_pointer(&b->label, g_free);
    b->was_connected = b->settled = b->finishing = false;
    b->hold_until = 0;
}

/* --- The types --- */

const VmStateField vhost_user_base_fields[] = { VMSTATE_VIRTIO(VhostUserBase), {} };
const VmState vhost_user_base_vmstate = VHOST_USER_VMSTATE("vhost-user");

static const Field base_properties[] = {
    PROP_STRING("chardev", VhostUserBase, chardev, NULL,
                .help = "id of the socket character device that leads to the back end"),
    PROP_BOOL("wait", VhostUserBase, wait, true,
              .help = "start-up waits until the back end is there"),
    PROP_UINT32("wait-timeout", VhostUserBase, wait_timeout, 0, PROP_RANGE(0, 86400),
                .help = "seconds after which that waiting is an error; 0: never"),
    PROP_UINT32("timeout", VhostUserBase, timeout, VHOST_USER_DEFAULT_TIMEOUT_MS,
                PROP_RANGE(1, 600000),
                .help = "milliseconds that the back end has for each answer"),
    PROP_STRING("vhost-log", VhostUserBase, log, NULL,
                .help = "file for the protocol, decoded, a line a message"),
    PROP_BOOL("lost-features", VhostUserBase, lost_features, false,
              .help = "go on with a back end that came back with fewer features"),
    VIRTIO_COMMON_PROPERTIES(VhostUserBase),
    {}
};

static void base_class_init(ObjectClass *klass, const void *data)
{
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    k->realize = base_realize;
    k->unrealize = base_unrealize;
    k->get_features = base_get_features;
    k->get_config = base_get_config;
    k->set_config = base_set_config;
    k->set_status = base_set_status;
    k->reset = base_reset;
    k->reset_pending = base_reset_pending;
    k->guest_notifier_mask = base_mask;
    k->guest_notifier_pending = base_pending;
}

static const TypeInfo base_info = {
    .name = TYPE_VHOST_USER_BASE,
    .parent = TYPE_VIRTIO_DEVICE,
    .help = "virtio device that a process behind a vhost-user socket works",
    .instance_size = sizeof(VhostUserBase),
    .class_size = sizeof(VhostUserBaseClass),
    .abstract = true,
    .properties = base_properties,
    .class_init = base_class_init,
};
OBJECT_TYPE(vhost_user_base, base_info)

static void model_class_init(ObjectClass *klass, const void *data)
{
    const VhostUserModel *m = data;
    DeviceClass *dc = device_class_cast(klass);
    dc->category = m->pci.category;
    dc->vmstate = m->vmstate;
    ((VhostUserBaseClass *)klass)->model = m;
}

void vhost_user_model_register(const VhostUserModel *m)
{
    /* The registry keeps the row for ever. */
    TypeInfo *row = g_new(TypeInfo, 1);
    *row = (TypeInfo){
        .name = m->type,
        .parent = TYPE_VHOST_USER_BASE,
        .help = m->pci.help,
        .instance_size = m->instance_size,
        .properties = m->properties,
        .class_init = model_class_init,
        .class_data = m,
    };
    type_register(row);
    virtio_pci_register_types(&m->pci);
}
