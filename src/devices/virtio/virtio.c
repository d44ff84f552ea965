/*
 * The virtio device: status, features, configuration, queue registers, notifiers, reset
 * (VIRTIO 1.3, chapters 2 and 3).
 */
#include "devices/virtio/virtio.h"

#include <inttypes.h>
#include <stdarg.h>

#include "base/log.h"
#include "base/report.h"
#include "cpu/cpu.h"
#include "devices/virtio/in-flight.h"
#include "devices/virtio/transport.h"
#include "devices/virtio/virtqueue-internal.h"
#include "event/call.h"
#include "event/lock.h"

/* --- the bus --- */

Device *virtio_proxy(const VirtioDevice *vdev)
{
    Bus *bus = vdev->parent.parent_bus;
    return bus ? bus->owner : NULL;
}

VirtioBusClass *virtio_transport(const VirtioDevice *vdev)
{
    return virtio_bus_class_of(vdev->parent.parent_bus);
}

VirtioDevice *virtio_bus_device(const VirtioBus *bus)
{
    return bus->parent.devices && bus->parent.devices->len
               ? virtio_device_cast(g_ptr_array_index(bus->parent.devices, 0))
               : NULL;
}

static char *virtio_bus_device_path(Device *dev)
{
    Device *proxy = dev->parent_bus->owner;
    if (!proxy || !proxy->parent_bus) {
        return NULL;
    }
    BusClass *k = bus_class_of(proxy->parent_bus);
    return k->device_path ? k->device_path(proxy) : NULL;
}

/* The unit below the transport, by what firmware looks for. */
static char *virtio_bus_device_fw_path(Device *dev)
{
    switch (((VirtioDevice *)dev)->device_id) {
    case VIRTIO_ID_NET:
        return g_strdup("ethernet-phy@0");
    case VIRTIO_ID_BLOCK:
        return g_strdup("disk@0,0");
    default:
        return NULL;
    }
}

static void virtio_bus_class_init(ObjectClass *klass, const void *data)
{
    BusClass *k = bus_class_cast(klass);
    k->max_devices = 1;
    k->device_path = virtio_bus_device_path;
    k->device_fw_path = virtio_bus_device_fw_path;
}

static const TypeInfo virtio_bus_info = {
    .name = TYPE_VIRTIO_BUS,
    .parent = TYPE_BUS,
    .instance_size = sizeof(VirtioBus),
    .class_size = sizeof(VirtioBusClass),
    .abstract = true,
    .class_init = virtio_bus_class_init,
};
OBJECT_TYPE(virtio_bus, virtio_bus_info)

/* --- state --- */

bool virtio_is_broken(const VirtioDevice *vdev)
{
    return __atomic_load_n(&vdev->broken, __ATOMIC_RELAXED);
}

bool virtio_is_running(const VirtioDevice *vdev)
{
    return vdev->vm_running && !virtio_is_broken(vdev) &&
           (vdev->started || (vdev->status & VIRTIO_STATUS_DRIVER_OK));
}

static void virtio_tell_broken(void *opaque)
{
    VirtioDevice *vdev = opaque;
    if (!virtio_is_broken(vdev)) {
        return; /* reset in between */
    }
    if (virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        vdev->status |= VIRTIO_STATUS_NEEDS_RESET;
        virtio_notify_config(vdev);
    }
}

void virtio_error(VirtioDevice *vdev, const char *fmt, ...)
{
    if (__atomic_exchange_n(&vdev->broken, true, __ATOMIC_RELAXED)) {
        return;
    }
    if (log_enabled(LOG_GUEST_ERRORS)) {
        va_list ap;
        va_start(ap, fmt);
        g_autofree char *text = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        log_printf("%s%s%s: %s; the device waits for a reset\n", vdev->name,
                   vdev->parent.id ? " " : "", vdev->parent.id ? vdev->parent.id : "", text);
    }
    bh_schedule(vdev->broken_bh);
}

/* 2.4.2: status reads 0 once a reset is over; until then it shows that one is needed. */
uint8_t virtio_status(VirtioDevice *vdev)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    bool pending = !vdev->status && (vdev->lent || (k->reset_pending && k->reset_pending(vdev)));
    return pending ? VIRTIO_STATUS_NEEDS_RESET : vdev->status;
}

void virtio_hold_until_reset(VirtioDevice *vdev)
{
    Cpu *cpu = cpu_current();
    if (vdev->status || !vdev->lent || !cpu) {
        return;
    }
    if (!vdev->held) {
        vdev->held = g_ptr_array_new();
    }
    cpu_hold(cpu);
    g_ptr_array_add(vdev->held, cpu);
}

void virtio_set_lent(VirtioDevice *vdev, bool lent)
{
    vdev->lent = lent;
    if (lent || !vdev->held) {
        return;
    }
    g_autoptr(GPtrArray) held = g_steal_pointer(&vdev->held);
    for (guint i = 0; i < held->len; i++) {
        cpu_release(held->pdata[i]);
    }
}

static void virtio_status_changed(VirtioDevice *vdev)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    if (k->set_status) {
        k->set_status(vdev, vdev->status);
    }
}

static bool virtio_features_valid(VirtioDevice *vdev)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    uint64_t f = vdev->guest_features;
    if (vdev->features_refused) {
        log_guest_error("%s: the driver accepted features that were not offered\n", vdev->name);
        return false;
    }
    if (!(f & BIT64(VIRTIO_F_VERSION_1))) {
        log_guest_error("%s: FEATURES_OK without VERSION_1\n", vdev->name);
        return false;
    }
    /* 6.1: a device that offers it may fail to operate without. */
    if (virtio_host_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM) &&
        !(f & BIT64(VIRTIO_F_ACCESS_PLATFORM))) {
        log_guest_error("%s: the driver does not accept ACCESS_PLATFORM\n", vdev->name);
        return false;
    }
    return !k->validate_features || k->validate_features(vdev, f);
}

void virtio_set_status(VirtioDevice *vdev, uint8_t status)
{
    ASSERT_MACHINE_LOCKED();
    if (!status) {
        virtio_reset(vdev);
        return;
    }
    uint8_t old = vdev->status;
    if ((status & ~old & VIRTIO_STATUS_FEATURES_OK) && !virtio_features_valid(vdev)) {
        status &= ~VIRTIO_STATUS_FEATURES_OK;
    }
    /* Only a reset takes NEEDS_RESET away, and only the device sets it. */
    status = (status & ~VIRTIO_STATUS_NEEDS_RESET) | (old & VIRTIO_STATUS_NEEDS_RESET);
    if ((status & ~old & VIRTIO_STATUS_DRIVER_OK) && virtio_has_feature(vdev, VIRTIO_F_VERSION_1) &&
        !(status & VIRTIO_STATUS_FEATURES_OK)) {
        log_guest_error("%s: DRIVER_OK without FEATURES_OK\n", vdev->name);
        status &= ~VIRTIO_STATUS_DRIVER_OK;
    }
    bool off = old & ~status & VIRTIO_STATUS_DRIVER_OK;
    if (off) {
        virtio_stop_ioeventfd(vdev);
        vdev->started = false;
    }
    vdev->status = status;
    virtio_status_changed(vdev);
    if (status & VIRTIO_STATUS_DRIVER_OK) {
        vdev->started = true;
        if (vdev->vm_running) {
            virtio_start_ioeventfd(vdev);
        }
    }
}

void virtio_reset(VirtioDevice *vdev)
{
    ASSERT_MACHINE_LOCKED();
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    virtio_stop_ioeventfd(vdev);
    vdev->started = false;
    vdev->status = 0;
    virtio_status_changed(vdev);
    if (k->reset) {
        k->reset(vdev);
    }
    __atomic_store_n(&vdev->broken, false, __ATOMIC_RELAXED);
    bh_cancel(vdev->broken_bh);
    vdev->guest_features = 0;
    vdev->features_refused = false;
    vdev->queue_sel = 0;
    vdev->config_vector = VIRTIO_NO_VECTOR;
    vdev->config_pending = false;
    __atomic_store_n(&vdev->isr, 0, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtqueue_clear(&vdev->queues[i]);
    }
    VirtioBusClass *t = virtio_transport(vdev);
    t->notify(virtio_proxy(vdev), VIRTIO_NO_VECTOR); /* lowers the line */
    if (t->device_reset) {
        t->device_reset(virtio_proxy(vdev));
    }
    if (k->set_features) {
        k->set_features(vdev, 0);
    }
}

bool virtio_set_features(VirtioDevice *vdev, uint64_t features)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    if (vdev->status & VIRTIO_STATUS_FEATURES_OK) {
        log_guest_error("%s: features written after FEATURES_OK\n", vdev->name);
        return false;
    }
    vdev->features_refused = features & ~vdev->host_features;
    vdev->guest_features = features & vdev->host_features;
    if (k->set_features) {
        k->set_features(vdev, vdev->guest_features);
    }
    return !vdev->features_refused;
}

static void virtio_vm_state_changed(void *opaque, bool running, RunState state)
{
    VirtioDevice *vdev = opaque;
    bool active = vdev->started;
    if (running) {
        vdev->vm_running = true;
        if (active) {
            virtio_status_changed(vdev);
            virtio_start_ioeventfd(vdev);
        }
        if (vdev->config_pending) {
            vdev->config_pending = false;
            virtio_config_interrupt(vdev);
        }
    } else {
        if (active) {
            virtio_stop_ioeventfd(vdev);
        }
        vdev->vm_running = false;
        if (active) {
            virtio_status_changed(vdev);
        }
    }
}

/* --- configuration space --- */

uint32_t virtio_config_read(VirtioDevice *vdev, uint64_t offset, unsigned size)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    if (size > 4 || offset > vdev->config_len || size > vdev->config_len - offset) {
        return UINT32_MAX >> (32 - 8 * MIN_OF(size, 4));
    }
    if (k->get_config) {
        k->get_config(vdev, vdev->config);
    }
    return ldn_le(vdev->config + offset, size);
}

void virtio_config_write(VirtioDevice *vdev, uint64_t offset, uint32_t value, unsigned size)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    if (size > 4 || offset > vdev->config_len || size > vdev->config_len - offset) {
        log_guest_error("%s: configuration write of %u bytes at %" PRIu64 " is outside its %zu\n",
                        vdev->name, size, offset, vdev->config_len);
        return;
    }
    if (!k->set_config) {
        log_guest_error("%s: the configuration is read-only\n", vdev->name);
        return;
    }
    if (k->get_config) {
        k->get_config(vdev, vdev->config);
    }
    stn_le(vdev->config + offset, size, value);
    k->set_config(vdev, vdev->config);
}

void virtio_notify_config(VirtioDevice *vdev)
{
    vdev->generation++;
    if (!(vdev->status & VIRTIO_STATUS_DRIVER_OK)) {
        return;
    }
    if (!vdev->vm_running) {
        vdev->config_pending = true;
        return;
    }
    virtio_config_interrupt(vdev);
}

void virtio_config_interrupt(VirtioDevice *vdev)
{
    ASSERT_MACHINE_LOCKED();
    __atomic_or_fetch(&vdev->isr, 2, __ATOMIC_SEQ_CST);
    virtio_transport(vdev)->notify(virtio_proxy(vdev), vdev->config_vector);
}

uint8_t virtio_take_isr(VirtioDevice *vdev)
{
    uint8_t v = __atomic_exchange_n(&vdev->isr, 0, __ATOMIC_SEQ_CST);
    virtio_transport(vdev)->notify(virtio_proxy(vdev), VIRTIO_NO_VECTOR);
    return v;
}

/* --- queues: making them --- */

Virtqueue *virtio_queue(VirtioDevice *vdev, unsigned index)
{
    return index < vdev->queue_count && vdev->queues[index].handler ? &vdev->queues[index] : NULL;
}

Virtqueue *virtio_add_queue(VirtioDevice *vdev, unsigned size, VirtioHandleOutput *handler)
{
    assert(size && size <= VIRTQUEUE_MAX_SIZE && vdev->queue_count < vdev->queue_room);
    Virtqueue *vq = &vdev->queues[vdev->queue_count];
    virtqueue_init(vq, vdev, vdev->queue_count, size, handler);
    vdev->queue_count++;
    return vq;
}

void virtio_queue_set_max_size(VirtioDevice *vdev, unsigned index, unsigned size)
{
    Virtqueue *vq = &vdev->queues[index];
    if (vq->max_size != size) {
        vq->max_size = size;
        if (!vq->enabled) {
            vq->size = size;
        }
    }
}

void virtio_del_queue(VirtioDevice *vdev, unsigned index)
{
    assert(index + 1 == vdev->queue_count);
    virtqueue_finish(&vdev->queues[index]);
    vdev->queue_count--;
}

void virtio_init(VirtioDevice *vdev, const char *name, uint16_t device_id, size_t config_len)
{
    assert(config_len <= VIRTIO_CONFIG_MAX);
    vdev->name = name;
    vdev->device_id = device_id;
    vdev->queue_room = VIRTIO_QUEUE_MAX;
    /* Fixed, so that a Virtqueue never moves; untouched pages cost nothing. */
    vdev->queues = g_new0(Virtqueue, vdev->queue_room);
    vdev->queue_count = 0;
    vdev->config = g_malloc0(VIRTIO_CONFIG_MAX);
    vdev->config_len = config_len;
    vdev->config_vector = VIRTIO_NO_VECTOR;
    vdev->config_notifier.fd = -1;
    vdev->broken_bh = bh_new(event_loop_main(), virtio_tell_broken, vdev);
}

void virtio_set_config_len(VirtioDevice *vdev, size_t config_len)
{
    assert(config_len <= VIRTIO_CONFIG_MAX);
    vdev->config_len = config_len;
}

void virtio_finish(VirtioDevice *vdev)
{
    while (vdev->queue_count) {
        virtio_del_queue(vdev, vdev->queue_count - 1);
    }
    g_clear_pointer(&vdev->queues, g_free);
    g_clear_pointer(&vdev->config, g_free);
    bh_free(vdev->broken_bh);
    vdev->broken_bh = NULL;
    vdev->config_len = 0;
}

/* --- queues: registers --- */

unsigned virtio_queue_max_size(const VirtioDevice *vdev, unsigned index)
{
    return vdev->queues[index].max_size;
}

unsigned virtio_queue_size(const VirtioDevice *vdev, unsigned index)
{
    return vdev->queues[index].size;
}

void virtio_queue_set_size(VirtioDevice *vdev, unsigned index, unsigned size)
{
    Virtqueue *vq = &vdev->queues[index];
    /* 2.7: split rings have a power of two. */
    if (vq->enabled || !size || size > vq->max_size ||
        (!virtqueue_is_packed(vq) && !is_power_of_two(size))) {
        log_guest_error("%s: queue %u can't have %u entries\n", vdev->name, index, size);
        return;
    }
    vq->size = size;
}

void virtio_queue_set_rings(VirtioDevice *vdev, unsigned index, hwaddr desc, hwaddr driver,
                            hwaddr device)
{
    Virtqueue *vq = &vdev->queues[index];
    if (vq->enabled) {
        log_guest_error("%s: ring addresses of queue %u changed while it is enabled\n", vdev->name,
                        index);
        return;
    }
    vq->desc = desc;
    vq->driver = driver;
    vq->device = device;
}

void virtio_queue_set_legacy_address(VirtioDevice *vdev, unsigned index, hwaddr addr)
{
    Virtqueue *vq = &vdev->queues[index];
    if (!vq->max_size) {
        return;
    }
    if (!addr) {
        virtio_queue_reset(vdev, index);
        return;
    }
    vq->enabled = false;
    /* 2.7.2 */
    hwaddr avail = addr + vq->size * VIRTQ_DESC_SIZE;
    hwaddr used = ALIGN_UP(avail + VIRTQ_AVAIL_RING + (vq->size + 1) * sizeof(uint16_t),
                           (hwaddr)VIRTIO_LEGACY_QUEUE_ALIGN);
    virtio_queue_set_rings(vdev, index, addr, avail, used);
    virtio_queue_enable(vdev, index);
}

hwaddr virtio_queue_desc_address(const VirtioDevice *vdev, unsigned index)
{
    return vdev->queues[index].desc;
}

void virtio_queue_set_vector(VirtioDevice *vdev, unsigned index, uint16_t vector)
{
    vdev->queues[index].vector = vector;
}

uint16_t virtio_queue_vector(const VirtioDevice *vdev, unsigned index)
{
    return vdev->queues[index].vector;
}

void virtio_queue_enable(VirtioDevice *vdev, unsigned index)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    Virtqueue *vq = &vdev->queues[index];
    if (vq->enabled || !vq->max_size) {
        return;
    }
    if (!virtqueue_is_packed(vq) && !is_power_of_two(vq->size)) {
        virtio_error(vdev, "queue %u: a split ring of %u entries", index, vq->size);
        return;
    }
    if (!virtqueue_remap(vq)) {
        return;
    }
    vq->enabled = true;
    if (k->queue_enable) {
        k->queue_enable(vdev, vq);
    }
    /* After a queue reset kicks must arrive again. */
    if (vdev->ioeventfd_started && vq->host_notifier_ready) {
        event_notifier_set(&vq->host_notifier);
    }
}

bool virtio_queue_is_enabled(const VirtioDevice *vdev, unsigned index)
{
    return vdev->queues[index].enabled;
}

void virtio_queue_reset(VirtioDevice *vdev, unsigned index)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    Virtqueue *vq = &vdev->queues[index];
    uint16_t vector = vq->vector;
    if (k->queue_reset) {
        k->queue_reset(vdev, vq);
    }
    virtqueue_clear(vq);
    /* 2.6.1 speaks of the ring; the vector is the transport's. */
    vq->vector = vector;
}

void virtio_queue_kick(VirtioDevice *vdev, unsigned index, uint32_t data)
{
    Virtqueue *vq = virtio_queue(vdev, index);
    if (!vq) {
        log_guest_error("%s: kick of queue %u, which does not exist\n", vdev->name, index);
        return;
    }
    if (virtio_is_broken(vdev)) {
        return;
    }
    if (!(vdev->status & VIRTIO_STATUS_DRIVER_OK)) {
        if (virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
            log_guest_error("%s: kick of queue %u before DRIVER_OK\n", vdev->name, index);
            return;
        }
        /* 3.1.2: legacy drivers may use queues before they say DRIVER_OK. */
        if (!vdev->started) {
            vdev->started = true;
            virtio_start_ioeventfd(vdev);
        }
    }
    if (vq->host_notifier_ready) {
        event_notifier_set(&vq->host_notifier);
    } else {
        virtqueue_run_handler(vq);
    }
}

/* --- interrupts --- */

void virtio_notify(VirtioDevice *vdev, Virtqueue *vq)
{
    if (!virtqueue_should_notify(vq)) {
        return;
    }
    if (vdev->use_guest_notifiers && vq->guest_notifier_ready) {
        event_notifier_set(&vq->guest_notifier);
    } else {
        virtio_queue_interrupt(vdev, vq->index);
    }
}

void virtio_queue_interrupt(VirtioDevice *vdev, unsigned index)
{
    ASSERT_MACHINE_LOCKED();
    if (vdev->queues[index].foreign && vdev->queues[index].in_flight) {
        in_flight_note(&vdev->queues[index]);
    }
    __atomic_or_fetch(&vdev->isr, 1, __ATOMIC_SEQ_CST);
    virtio_transport(vdev)->notify(virtio_proxy(vdev), vdev->queues[index].vector);
}

Virtqueue *virtqueue_of_guest_notifier(EventNotifier *n)
{
    return CONTAINER_OF(n, Virtqueue, guest_notifier);
}

EventNotifier *virtio_queue_guest_notifier(VirtioDevice *vdev, unsigned index)
{
    return &vdev->queues[index].guest_notifier;
}

void virtio_guest_notifiers_finish(VirtioDevice *vdev, unsigned n)
{
    vdev->use_guest_notifiers = false;
    for (unsigned i = 0; i < n; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (vq->guest_notifier_ready) {
            vq->guest_notifier_ready = false;
            /* One that rang and was not yet seen is not lost. */
            if (event_notifier_test_and_clear(&vq->guest_notifier)) {
                virtio_queue_interrupt(vdev, i);
            }
            event_notifier_finish(&vq->guest_notifier);
        }
    }
    event_notifier_finish(&vdev->config_notifier);
}

bool virtio_guest_notifiers_init(VirtioDevice *vdev, unsigned n, Error **errp)
{
    for (unsigned i = 0; i < n; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (!event_notifier_init(&vq->guest_notifier, false, errp)) {
            virtio_guest_notifiers_finish(vdev, i);
            return false;
        }
        vq->guest_notifier_ready = true;
    }
    if (!event_notifier_init(&vdev->config_notifier, false, errp)) {
        virtio_guest_notifiers_finish(vdev, n);
        return false;
    }
    vdev->use_guest_notifiers = true;
    return true;
}

/* --- doorbells --- */

static void virtio_host_notifier_rang(EventNotifier *n)
{
    Virtqueue *vq = CONTAINER_OF(n, Virtqueue, host_notifier);
    if (event_notifier_test_and_clear(n)) {
        virtqueue_run_handler(vq);
    }
}

/* Watches belong to the thread that runs them. */
static void virtio_watch_here(void *opaque)
{
    Virtqueue *vq = opaque;
    event_notifier_watch(&vq->host_notifier, vq->loop, virtio_host_notifier_rang);
}

static void virtio_unwatch_here(void *opaque)
{
    Virtqueue *vq = opaque;
    event_notifier_watch(&vq->host_notifier, vq->loop, NULL);
}

static void virtio_watch_doorbell(Virtqueue *vq, bool on)
{
    if (vq->loop) {
        event_loop_call(vq->loop, on ? virtio_watch_here : virtio_unwatch_here, vq);
    } else {
        event_notifier_watch(&vq->host_notifier, event_loop_main(),
                             on ? virtio_host_notifier_rang : NULL);
    }
}

EventNotifier *virtio_queue_host_notifier(VirtioDevice *vdev, unsigned index)
{
    return &vdev->queues[index].host_notifier;
}

static void virtio_release_doorbells(VirtioDevice *vdev, unsigned n)
{
    VirtioBusClass *t = virtio_transport(vdev);
    memory_begin();
    for (unsigned i = 0; i < n; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (vq->host_notifier_ready) {
            t->ioeventfd_assign(virtio_proxy(vdev), vq, &vq->host_notifier, false);
        }
    }
    memory_commit();
    for (unsigned i = 0; i < n; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (vq->host_notifier_ready) {
            vq->host_notifier_ready = false;
            bool rang = event_notifier_test_and_clear(&vq->host_notifier);
            event_notifier_finish(&vq->host_notifier);
            if (rang) {
                virtqueue_run_handler(vq);
            }
        }
    }
}

static bool virtio_make_doorbells(VirtioDevice *vdev, Error **errp)
{
    VirtioBusClass *t = virtio_transport(vdev);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (!vq->max_size) {
            continue;
        }
        /* Rings at once: what came before is looked at. */
        if (!event_notifier_init(&vq->host_notifier, true, errp)) {
            error_prepend(errp, "%s queue %u: ", vdev->name, i);
            virtio_release_doorbells(vdev, i);
            return false;
        }
        vq->host_notifier_ready = true;
    }
    memory_begin();
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (vq->host_notifier_ready) {
            t->ioeventfd_assign(virtio_proxy(vdev), vq, &vq->host_notifier, true);
        }
    }
    memory_commit();
    return true;
}

static bool virtio_try_start_ioeventfd(VirtioDevice *vdev, Error **errp)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    if (vdev->ioeventfd_started) {
        return true;
    }
    if (!virtio_make_doorbells(vdev, errp)) {
        return false;
    }
    vdev->ioeventfd_started = true;
    if (k->ioeventfd_start) {
        k->ioeventfd_start(vdev);
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (vq->host_notifier_ready && !vq->foreign) {
            virtio_watch_doorbell(vq, true);
        }
    }
    return true;
}

void virtio_start_ioeventfd(VirtioDevice *vdev)
{
    VirtioBusClass *t = virtio_transport(vdev);
    if (!vdev->vm_running || !t->ioeventfd_assign ||
        !(vdev->ioeventfd_forced ||
          (t->ioeventfd_enabled && t->ioeventfd_enabled(virtio_proxy(vdev))))) {
        return;
    }
    ERROR_AUTO err = NULL;
    if (!virtio_try_start_ioeventfd(vdev, &err)) {
        report_warning("%s; kicks are handled in the vCPU's thread", error_message(err));
    }
}

bool virtio_force_ioeventfd(VirtioDevice *vdev, Error **errp)
{
    if (!virtio_try_start_ioeventfd(vdev, errp)) {
        return false;
    }
    vdev->ioeventfd_forced = true;
    return true;
}

void virtio_unforce_ioeventfd(VirtioDevice *vdev)
{
    VirtioBusClass *t = virtio_transport(vdev);
    vdev->ioeventfd_forced = false;
    if (vdev->ioeventfd_started &&
        !(t->ioeventfd_enabled && t->ioeventfd_enabled(virtio_proxy(vdev)))) {
        virtio_stop_ioeventfd(vdev);
    }
}

void virtio_stop_ioeventfd(VirtioDevice *vdev)
{
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    if (!vdev->ioeventfd_started) {
        return;
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        Virtqueue *vq = &vdev->queues[i];
        if (vq->host_notifier_ready && !vq->foreign) {
            virtio_watch_doorbell(vq, false);
        }
    }
    if (k->ioeventfd_stop) {
        k->ioeventfd_stop(vdev);
    }
    vdev->ioeventfd_started = false;
    virtio_release_doorbells(vdev, vdev->queue_count);
}

/* --- guest memory map --- */

static void virtio_map_begin(MemoryListener *l)
{
    CONTAINER_OF(l, VirtioDevice, listener)->map_changed = false;
}

static void virtio_map_region(MemoryListener *l, const MemorySection *s)
{
    CONTAINER_OF(l, VirtioDevice, listener)->map_changed = true;
}

static void virtio_map_commit(MemoryListener *l)
{
    VirtioDevice *vdev = CONTAINER_OF(l, VirtioDevice, listener);
    if (!vdev->map_changed) {
        return;
    }
    vdev->map_changed = false;
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        if (vdev->queues[i].enabled) {
            /* On failure the device is broken, which is all there is to do. */
            (void)virtqueue_remap(&vdev->queues[i]);
        }
    }
}

/* --- the device --- */

static bool virtio_device_realize(Device *dev, Error **errp)
{
    VirtioDevice *vdev = virtio_device_cast(dev);
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    VirtioBusClass *t = virtio_transport(vdev);
    Device *proxy = virtio_proxy(vdev);
    ERROR_AUTO err = NULL;

    uint64_t user_features = vdev->host_features;
    if (k->realize && !k->realize(vdev, errp)) {
        return false;
    }
    if (t->offered_features) {
        vdev->host_features = t->offered_features(proxy, vdev->host_features);
    }
    if (k->get_features) {
        vdev->host_features = k->get_features(vdev, vdev->host_features, &err);
        if (err) {
            error_propagate(errp, err);
            err = NULL;
            goto fail;
        }
    }
    vdev->dma_as = virtio_host_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM) && t->dma_space
                       ? t->dma_space(proxy)
                       : address_space_memory();
    vdev->vm_running = vm_is_running();
    if (t->device_plugged && !t->device_plugged(proxy, vdev, errp)) {
        goto fail;
    }
    vdev->listener = (MemoryListener){
        .name = "virtio",
        .priority = 20,
        .begin = virtio_map_begin,
        .region_add = virtio_map_region,
        .region_del = virtio_map_region,
        .commit = virtio_map_commit,
    };
    memory_listener_add(&vdev->listener, vdev->dma_as);
    vdev->vm_handler = vm_state_handler_add(virtio_vm_state_changed, 10, vdev);
    return true;

fail:
    if (k->unrealize) {
        k->unrealize(vdev);
    }
    vdev->host_features = user_features;
    return false;
}

static void virtio_device_unrealize(Device *dev)
{
    VirtioDevice *vdev = virtio_device_cast(dev);
    VirtioDeviceClass *k = virtio_device_class_of(vdev);
    VirtioBusClass *t = virtio_transport(vdev);
    vm_state_handler_del(vdev->vm_handler);
    vdev->vm_handler = NULL;
    virtio_stop_ioeventfd(vdev);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtqueue_unmap(&vdev->queues[i]);
        vdev->queues[i].enabled = false;
    }
    memory_listener_del(&vdev->listener);
    if (t->device_unplugged) {
        t->device_unplugged(virtio_proxy(vdev), vdev);
    }
    if (k->unrealize) {
        k->unrealize(vdev);
    }
}

static void virtio_device_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->bus_type = TYPE_VIRTIO_BUS;
    dc->realize = virtio_device_realize;
    dc->unrealize = virtio_device_unrealize;
}

static const TypeInfo virtio_device_info = {
    .name = TYPE_VIRTIO_DEVICE,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(VirtioDevice),
    .class_size = sizeof(VirtioDeviceClass),
    .abstract = true,
    .class_init = virtio_device_class_init,
};
OBJECT_TYPE(virtio_device, virtio_device_info)
