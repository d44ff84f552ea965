/* A port: bytes between its two queues and a chardev. */
#include <string.h>

#include "base/iov.h"
#include "devices/virtio/console/serial-internal.h"
#include "schema/virtio-serial.h"

enum { CHUNK = 4096 };

static VirtioPort *virtio_port_cast(void *obj)
{
    return (VirtioPort *)object_cast((Object *)obj, TYPE_VIRTIO_PORT);
}

static bool port_is_running(const VirtioPort *p)
{
    return p->serial && virtio_is_running(&p->serial->parent);
}

/* --- to the guest --- */

static size_t port_can_receive(void *opaque)
{
    VirtioPort *p = opaque;
    /* A closed port's input waits at the chardev; a console's is never closed. */
    if (!port_is_running(p) || (!p->guest_open && !p->is_console)) {
        return 0;
    }
    if (!p->rx_elem) {
        p->rx_elem = virtqueue_pop(p->rx, sizeof(*p->rx_elem));
    }
    return p->rx_elem ? p->rx_elem->in_size : 0;
}

static void port_receive(void *opaque, const uint8_t *buf, size_t len)
{
    VirtioPort *p = opaque;
    VirtqElement *e = g_steal_pointer(&p->rx_elem);
    if (!e) {
        return; /* it went with a reset */
    }
    size_t n = iov_from_buf(e->in_sg, e->in_num, 0, buf, len);
    virtqueue_push(p->rx, e, n);
    g_free(e);
    virtio_notify(&p->serial->parent, p->rx);
}

void virtio_port_handle_rx(VirtioPort *p)
{
    char_frontend_accept_input(&p->fe);
}

/* --- from the guest --- */

/* True when the whole element went. */
static bool port_write(VirtioPort *p, VirtqElement *e)
{
    uint8_t buf[CHUNK];
    size_t n;
    while ((n = iov_to_buf(e->out_sg, e->out_num, p->tx_done, buf, sizeof(buf)))) {
        size_t went = char_frontend_write(&p->fe, buf, n);
        p->tx_done += went;
        if (went < n) {
            return false;
        }
    }
    return true;
}

void virtio_port_handle_tx(VirtioPort *p)
{
    bool any = false;
    if (!port_is_running(p)) {
        return;
    }
    for (;;) {
        if (!p->tx_elem) {
            p->tx_elem = virtqueue_pop(p->tx, sizeof(*p->tx_elem));
            if (!p->tx_elem) {
                break;
            }
        }
        if (!port_write(p, p->tx_elem)) {
            break; /* port_writable() comes */
        }
        VirtqElement *e = g_steal_pointer(&p->tx_elem);
        p->tx_done = 0;
        virtqueue_push(p->tx, e, 0);
        g_free(e);
        any = true;
    }
    if (any) {
        virtio_notify(&p->serial->parent, p->tx);
    }
}

static void port_writable(void *opaque)
{
    virtio_port_handle_tx(opaque);
}

void virtio_port_drop(VirtioPort *p, Virtqueue *vq)
{
    if (p->rx_elem && (!vq || vq == p->rx)) {
        virtqueue_detach(p->rx, p->rx_elem);
        g_clear_pointer(&p->rx_elem, g_free);
    }
    if (p->tx_elem && (!vq || vq == p->tx)) {
        virtqueue_detach(p->tx, p->tx_elem);
        g_clear_pointer(&p->tx_elem, g_free);
        p->tx_done = 0;
    }
}

/* --- open and closed --- */

void virtio_port_set_guest_open(VirtioPort *p, bool open)
{
    if (p->guest_open == open) {
        return;
    }
    p->guest_open = open;
    char_frontend_set_open(&p->fe, open);
    if (p->parent.id) {
        qmp_event_vserport_change(p->parent.id, open);
    }
    if (open) {
        char_frontend_accept_input(&p->fe);
    }
}

static void port_event(void *opaque, CharEvent event)
{
    VirtioPort *p = opaque;
    if (event != CHAR_EVENT_OPENED && event != CHAR_EVENT_CLOSED) {
        return;
    }
    p->host_open = event == CHAR_EVENT_OPENED;
    if (!p->is_console && p->serial) {
        virtio_serial_send_control(p->serial, p->nr, CONTROL_PORT_OPEN, p->host_open, NULL);
    }
}

static const CharHandlers port_handlers = {
    .can_receive = port_can_receive,
    .receive = port_receive,
    .event = port_event,
    .writable = port_writable,
};

/* --- life --- */

static bool port_choose_number(VirtioPort *p, VirtioSerial *s, Error **errp)
{
    if (p->nr == VIRTIO_PORT_AUTO) {
        /* Number 0 is the console's: drivers without MULTIPORT see only that one. */
        for (uint32_t i = p->is_console ? 0 : 1; i < s->max_ports; i++) {
            if (!s->ports[i]) {
                p->nr = i;
                return true;
            }
        }
        error_set(errp, "all %u ports are taken; raise max_ports of the controller", s->max_ports);
        return false;
    }
    if (p->nr >= s->max_ports) {
        error_set(errp, "nr must be below max_ports (%u), got %u", s->max_ports, p->nr);
        return false;
    }
    if (s->ports[p->nr]) {
        error_set(errp, "port %u is taken", p->nr);
        return false;
    }
    if (!p->nr && !p->is_console) {
        error_set(errp, "port 0 is for a virtconsole; choose nr=1 or higher");
        return false;
    }
    return true;
}

static bool port_realize(Device *dev, Error **errp)
{
    VirtioPort *p = virtio_port_cast(dev);
    VirtioSerial *s = virtio_serial_cast(dev->parent_bus->owner);
    p->is_console = object_dynamic_cast(&dev->parent, TYPE_VIRTCONSOLE) != NULL;
    if (!port_choose_number(p, s, errp)) {
        return false;
    }
    Chardev *chr = p->chardev ? chardev_find_or_error(p->chardev, errp) : NULL;
    if ((p->chardev && !chr) || !char_frontend_init(&p->fe, chr, errp)) {
        return false;
    }
    p->rx = virtio_serial_queue(s, p->nr, false);
    p->tx = virtio_serial_queue(s, p->nr, true);
    p->serial = s;
    s->ports[p->nr] = p;
    char_frontend_set_handlers(&p->fe, &port_handlers, p, NULL);
    virtio_serial_send_control(s, p->nr, CONTROL_PORT_ADD, 1, NULL);
    return true;
}

static void port_unrealize(Device *dev)
{
    VirtioPort *p = virtio_port_cast(dev);
    VirtioSerial *s = p->serial;
    virtio_port_drop(p, NULL);
    virtio_serial_send_control(s, p->nr, CONTROL_PORT_REMOVE, 1, NULL);
    s->ports[p->nr] = NULL;
    p->serial = NULL;
    char_frontend_finish(&p->fe);
}

/* --- state: elements that waited are available again, less the bytes that went --- */

static bool port_pre_save(void *opaque, Error **errp)
{
    VirtioPort *p = opaque;
    p->rx_held = p->rx_elem != NULL;
    p->tx_held = p->tx_elem != NULL;
    return true;
}

static bool port_post_load(void *opaque, int version, Error **errp)
{
    VirtioPort *p = opaque;
    virtio_port_drop(p, NULL);
    if (p->rx_held) {
        virtqueue_rewind_one(p->rx);
    }
    if (p->tx_held) {
        virtqueue_rewind_one(p->tx);
    } else {
        p->tx_done = 0;
    }
    char_frontend_set_open(&p->fe, p->guest_open);
    return true;
}

static const VmStateField port_fields[] = { VMSTATE_BOOL(guest_open, VirtioPort),
                                            VMSTATE_BOOL(rx_held, VirtioPort),
                                            VMSTATE_BOOL(tx_held, VirtioPort),
                                            VMSTATE_UINT32(tx_done, VirtioPort),
                                            {} };
static const VmState port_vmstate = {
    .name = "virtio-serial-port",
    .version = 1,
    .minimum_version = 1,
    .pre_save = port_pre_save,
    .post_load = port_post_load,
    .fields = port_fields,
};

static const Field port_properties[] = {
    PROP_UINT32("nr", VirtioPort, nr, VIRTIO_PORT_AUTO, .help = "number; the first that is free"),
    PROP_STRING("name", VirtioPort, name, NULL, .help = "name that the guest sees"),
    PROP_STRING("chardev", VirtioPort, chardev, NULL, .help = "id of the character device"),
    {}
};

static void port_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->bus_type = TYPE_VIRTIO_SERIAL_BUS;
    dc->category = DEVICE_CATEGORY_INPUT;
    dc->realize = port_realize;
    dc->unrealize = port_unrealize;
    dc->vmstate = &port_vmstate;
}

static const TypeInfo port_info = {
    .name = TYPE_VIRTIO_PORT,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(VirtioPort),
    .abstract = true,
    .properties = port_properties,
    .class_init = port_class_init,
};
OBJECT_TYPE(virtio_port, port_info)

static const TypeInfo serialport_info = {
    .name = TYPE_VIRTSERIALPORT,
    .parent = TYPE_VIRTIO_PORT,
    .help = "virtio serial port",
};
OBJECT_TYPE(virtserialport, serialport_info)

static const TypeInfo console_info = {
    .name = TYPE_VIRTCONSOLE,
    .parent = TYPE_VIRTIO_PORT,
    .help = "virtio console",
};
OBJECT_TYPE(virtconsole, console_info)
