/* The controller: queues, control messages, the bus. Ports are in port.c. */
#include "devices/virtio/console/serial-internal.h"

#include <string.h>

#include "base/iov.h"
#include "base/log.h"

enum { QUEUE_SIZE = 128, CONTROL_QUEUE_SIZE = 32, CONTROL_MAX = 256, PENDING_MAX = 4096 };

VirtioSerial *virtio_serial_cast(void *obj)
{
    return (VirtioSerial *)object_cast((Object *)obj, TYPE_VIRTIO_SERIAL);
}

static bool is_multiport(const VirtioSerial *s)
{
    return virtio_has_feature(&s->parent, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* --- control messages --- */

static void control_flush(VirtioSerial *s)
{
    bool any = false;
    while (!g_queue_is_empty(&s->pending)) {
        VirtqElement *e = virtqueue_pop(s->control_in, sizeof(*e));
        if (!e) {
            break;
        }
        g_autoptr(GBytes) msg = g_queue_pop_head(&s->pending);
        gsize len;
        const void *data = g_bytes_get_data(msg, &len);
        size_t n = iov_from_buf(e->in_sg, e->in_num, 0, data, len);
        virtqueue_push(s->control_in, e, n);
        g_free(e);
        any = true;
    }
    if (any) {
        virtio_notify(&s->parent, s->control_in);
    }
}

void virtio_serial_send_control(VirtioSerial *s, uint32_t port, uint16_t event, uint16_t value,
                                const char *text)
{
    if (!is_multiport(s) || !s->driver_ready || s->pending.length >= PENDING_MAX) {
        return;
    }
    size_t len = CONTROL_SIZE + (text ? strlen(text) : 0);
    g_autofree uint8_t *msg = g_malloc(len);
    st32_le(msg, port);
    st16_le(msg + 4, event);
    st16_le(msg + 6, value);
    if (text) {
        memcpy(msg + CONTROL_SIZE, text, len - CONTROL_SIZE);
    }
    g_queue_push_tail(&s->pending, g_bytes_new(msg, len));
    control_flush(s);
}

static void control_port_ready(VirtioSerial *s, VirtioPort *p)
{
    if (p->is_console) {
        virtio_serial_send_control(s, p->nr, CONTROL_CONSOLE_PORT, 1, NULL);
    }
    if (p->name) {
        virtio_serial_send_control(s, p->nr, CONTROL_PORT_NAME, 1, p->name);
    }
    if (p->host_open) {
        virtio_serial_send_control(s, p->nr, CONTROL_PORT_OPEN, 1, NULL);
    }
}

static void control_message(VirtioSerial *s, const uint8_t *msg)
{
    uint32_t nr = ld32_le(msg);
    uint16_t event = ld16_le(msg + 4), value = ld16_le(msg + 6);
    if (event == CONTROL_DEVICE_READY) {
        s->driver_ready = value;
        for (uint32_t i = 0; value && i < s->max_ports; i++) {
            if (s->ports[i]) {
                virtio_serial_send_control(s, i, CONTROL_PORT_ADD, 1, NULL);
            }
        }
        return;
    }
    VirtioPort *p = nr < s->max_ports ? s->ports[nr] : NULL;
    if (!p) {
        log_guest_error("virtio-serial: control message %u for port %u, which does not exist\n",
                        event, nr);
        return;
    }
    if (event == CONTROL_PORT_READY && value) {
        control_port_ready(s, p);
    } else if (event == CONTROL_PORT_OPEN) {
        virtio_port_set_guest_open(p, value);
    }
}

static void serial_handle_control_out(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioSerial *s = virtio_serial_cast(vdev);
    VirtqElement *e;
    while ((e = virtqueue_pop(vq, sizeof(*e)))) {
        uint8_t msg[CONTROL_SIZE];
        bool whole = iov_to_buf(e->out_sg, e->out_num, 0, msg, sizeof(msg)) == sizeof(msg);
        virtqueue_push(vq, e, 0);
        g_free(e);
        virtio_notify(vdev, vq);
        if (whole) {
            control_message(s, msg);
        }
    }
}

static void serial_handle_control_in(VirtioDevice *vdev, Virtqueue *vq)
{
    control_flush(virtio_serial_cast(vdev));
}

/* --- port queues --- */

/* 5.3.2: port 0 has queues 0 and 1, control 2 and 3, port n 2n + 2 and 2n + 3. */
static VirtioPort *port_of_queue(VirtioSerial *s, unsigned index)
{
    unsigned nr = index < 2 ? 0 : index / 2 - 1;
    return nr < s->max_ports ? s->ports[nr] : NULL;
}

static void serial_handle_rx(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioPort *p = port_of_queue(virtio_serial_cast(vdev), virtqueue_index(vq));
    if (p) {
        virtio_port_handle_rx(p);
    }
}

static void serial_handle_tx(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioPort *p = port_of_queue(virtio_serial_cast(vdev), virtqueue_index(vq));
    if (p) {
        virtio_port_handle_tx(p);
    } else if (virtqueue_drop_all(vq)) {
        virtio_notify(vdev, vq); /* nobody listens */
    }
}

Virtqueue *virtio_serial_queue(VirtioSerial *s, uint32_t port, bool tx)
{
    return virtio_queue(&s->parent, (port ? 2 * port + 2 : 0) + tx);
}

/* --- the device --- */

static void serial_get_config(VirtioDevice *vdev, uint8_t *c)
{
    memset(c, 0, CONSOLE_CONFIG_SIZE);
    st32_le(c + CONSOLE_CONFIG_PORTS, virtio_serial_cast(vdev)->max_ports);
}

static void serial_set_config(VirtioDevice *vdev, const uint8_t *c)
{
    VirtioSerial *s = virtio_serial_cast(vdev);
    uint8_t byte = ld32_le(c + CONSOLE_CONFIG_EMERGENCY);
    /* 5.3.5.1: a character for the first console, with nothing set up. */
    if (s->ports[0] && s->ports[0]->is_console) {
        (void)char_frontend_write(&s->ports[0]->fe, &byte, 1);
    }
}

static uint64_t serial_get_features(VirtioDevice *vdev, uint64_t wanted, Error **errp)
{
    VirtioSerial *s = virtio_serial_cast(vdev);
    return s->max_ports > 1 ? wanted | BIT64(VIRTIO_CONSOLE_F_MULTIPORT) : wanted;
}

static void serial_forget_pending(VirtioSerial *s)
{
    g_queue_clear_full(&s->pending, (GDestroyNotify)g_bytes_unref);
}

static void serial_forget_saved(void *opaque)
{
    VirtioSerial *s = opaque;
    g_clear_pointer(&s->saved, g_free);
    s->saved_len = 0;
}

static void serial_reset(VirtioDevice *vdev)
{
    VirtioSerial *s = virtio_serial_cast(vdev);
    s->driver_ready = false;
    serial_forget_pending(s);
    for (uint32_t i = 0; i < s->max_ports; i++) {
        if (s->ports[i]) {
            virtio_port_drop(s->ports[i], NULL);
            virtio_port_set_guest_open(s->ports[i], false);
        }
    }
}

static void serial_queue_reset(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioPort *p = port_of_queue(virtio_serial_cast(vdev), virtqueue_index(vq));
    if (p) {
        virtio_port_drop(p, vq);
    }
}

static void serial_set_status(VirtioDevice *vdev, uint8_t status)
{
    VirtioSerial *s = virtio_serial_cast(vdev);
    for (uint32_t i = 0; virtio_is_running(vdev) && i < s->max_ports; i++) {
        VirtioPort *p = s->ports[i];
        if (!p) {
            continue;
        }
        /* 5.3.5: without MULTIPORT the one console is open from the start. */
        if (p->is_console && !is_multiport(s)) {
            virtio_port_set_guest_open(p, true);
        }
        virtio_port_handle_rx(p);
        virtio_port_handle_tx(p);
    }
}

static bool serial_realize(VirtioDevice *vdev, Error **errp)
{
    VirtioSerial *s = virtio_serial_cast(vdev);
    if (!s->max_ports || s->max_ports > VIRTIO_PORTS_MAX) {
        error_set(errp, "max_ports must be between 1 and %d, got %u", VIRTIO_PORTS_MAX,
                  s->max_ports);
        return false;
    }
    virtio_init(vdev, "virtio-serial", VIRTIO_ID_CONSOLE, CONSOLE_CONFIG_SIZE);
    s->ports = g_new0(VirtioPort *, s->max_ports);
    virtio_add_queue(vdev, QUEUE_SIZE, serial_handle_rx);
    virtio_add_queue(vdev, QUEUE_SIZE, serial_handle_tx);
    s->control_in = virtio_add_queue(vdev, CONTROL_QUEUE_SIZE, serial_handle_control_in);
    s->control_out = virtio_add_queue(vdev, CONTROL_QUEUE_SIZE, serial_handle_control_out);
    for (uint32_t i = 1; i < s->max_ports; i++) {
        virtio_add_queue(vdev, QUEUE_SIZE, serial_handle_rx);
        virtio_add_queue(vdev, QUEUE_SIZE, serial_handle_tx);
    }
    Device *proxy = virtio_proxy(vdev);
    g_autofree char *name = proxy && proxy->id ? g_strdup_printf("%s.0", proxy->id) : NULL;
    s->bus = bus_new(TYPE_VIRTIO_SERIAL_BUS, &vdev->parent, name);
    /* Ports come and go by a message to the driver; nobody has to agree. */
    bus_set_hotplug_handler(s->bus, &vdev->parent.parent);
    return true;
}

static void serial_unrealize(VirtioDevice *vdev)
{
    VirtioSerial *s = virtio_serial_cast(vdev);
    bus_finish(g_steal_pointer(&s->bus));
    serial_forget_pending(s);
    serial_forget_saved(s);
    g_clear_pointer(&s->ports, g_free);
    virtio_finish(vdev);
}

/* --- state: control messages that found no buffer yet --- */

enum { SAVED_MAX = 1024 * 1024, LENGTH_BYTES = 4 };

static bool serial_pre_save(void *opaque, Error **errp)
{
    VirtioSerial *s = opaque;
    GByteArray *all = g_byte_array_new();
    for (GList *l = s->pending.head; l; l = l->next) {
        gsize len;
        const void *data = g_bytes_get_data(l->data, &len);
        uint8_t head[LENGTH_BYTES];
        st32_le(head, len);
        g_byte_array_append(all, head, sizeof(head));
        g_byte_array_append(all, data, len);
    }
    s->saved_len = all->len;
    s->saved = g_byte_array_free(all, false);
    return true;
}

static bool serial_pre_load(void *opaque, Error **errp)
{
    VirtioSerial *s = opaque;
    g_free(s->saved); /* of a load that failed */
    s->saved = g_malloc(SAVED_MAX);
    return true;
}

static bool serial_post_load(void *opaque, int version, Error **errp)
{
    VirtioSerial *s = opaque;
    serial_forget_pending(s);
    bool ok = true;
    for (uint32_t at = 0; ok && at < s->saved_len;) {
        uint32_t left = s->saved_len - at;
        uint32_t len = left >= LENGTH_BYTES ? ld32_le(s->saved + at) : UINT32_MAX;
        ok = len >= CONTROL_SIZE && len <= left - LENGTH_BYTES;
        if (ok) {
            g_queue_push_tail(&s->pending, g_bytes_new(s->saved + at + LENGTH_BYTES, len));
            at += LENGTH_BYTES + len;
        }
    }
    serial_forget_saved(s);
    if (!ok) {
        error_set(errp, "virtio-serial: the saved control messages can't be read");
    }
    return ok;
}

static const VmStateField serial_fields[] = { VMSTATE_VIRTIO(VirtioSerial),
                                              VMSTATE_BOOL(driver_ready, VirtioSerial),
                                              VMSTATE_UINT32(saved_len, VirtioSerial),
                                              { .name = "pending",
                                                .kind = VMSTATE_KIND_UINT,
                                                .offset = offsetof(VirtioSerial, saved),
                                                .size = 1,
                                                .count = SAVED_MAX,
                                                .pointer = true,
                                                .count_offset = offsetof(VirtioSerial, saved_len),
                                                .count_size = 4 },
                                              {} };
static const VmState serial_vmstate = {
    .name = "virtio-serial",
    .version = 1,
    .minimum_version = 1,
    .pre_save = serial_pre_save,
    .post_save = serial_forget_saved,
    .pre_load = serial_pre_load,
    .post_load = serial_post_load,
    .fields = serial_fields,
};

static const Field serial_properties[] = {
    PROP_UINT32("max_ports", VirtioSerial, max_ports, VIRTIO_PORT_DEFAULT,
                .help = "ports it can have"),
    PROP_BIT("emergency-write", VirtioSerial, parent.host_features, VIRTIO_CONSOLE_F_EMERG_WRITE,
             true, .help = "a register that writes to the first console"),
    VIRTIO_COMMON_PROPERTIES(VirtioSerial),
    {}
};

static void serial_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_INPUT;
    dc->vmstate = &serial_vmstate;
    k->realize = serial_realize;
    k->unrealize = serial_unrealize;
    k->get_features = serial_get_features;
    k->get_config = serial_get_config;
    k->set_config = serial_set_config;
    k->set_status = serial_set_status;
    k->reset = serial_reset;
    k->queue_reset = serial_queue_reset;
}

static const char *const serial_interfaces[] = { TYPE_HOTPLUG_HANDLER, NULL };
static const TypeInfo serial_info = {
    .name = TYPE_VIRTIO_SERIAL,
    .parent = TYPE_VIRTIO_DEVICE,
    .help = "virtio serial controller",
    .instance_size = sizeof(VirtioSerial),
    .properties = serial_properties,
    .class_init = serial_class_init,
    .interfaces = serial_interfaces,
};
OBJECT_TYPE(virtio_serial, serial_info)

static const TypeInfo serial_bus_info = {
    .name = TYPE_VIRTIO_SERIAL_BUS,
    .parent = TYPE_BUS,
    .instance_size = sizeof(Bus),
};
OBJECT_TYPE(virtio_serial_bus, serial_bus_info)
