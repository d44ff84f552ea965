/* What controller and ports share. */
#ifndef DEVICES_VIRTIO_CONSOLE_SERIAL_INTERNAL_H
#define DEVICES_VIRTIO_CONSOLE_SERIAL_INTERNAL_H

#include "devices/virtio/console/serial.h"
#include "devices/virtio/transport.h"

/* 5.3.3 Feature bits */
enum {
    VIRTIO_CONSOLE_F_SIZE = 0,
    VIRTIO_CONSOLE_F_MULTIPORT = 1,
    VIRTIO_CONSOLE_F_EMERG_WRITE = 2,
};
/* 5.3.4 Device configuration: offsets */
enum { CONSOLE_CONFIG_PORTS = 4, CONSOLE_CONFIG_EMERGENCY = 8, CONSOLE_CONFIG_SIZE = 12 };
/* 5.3.6.2 Control messages */
enum {
    CONTROL_DEVICE_READY = 0,
    CONTROL_PORT_ADD = 1,
    CONTROL_PORT_REMOVE = 2,
    CONTROL_PORT_READY = 3,
    CONTROL_CONSOLE_PORT = 4,
    CONTROL_RESIZE = 5,
    CONTROL_PORT_OPEN = 6,
    CONTROL_PORT_NAME = 7,
    CONTROL_SIZE = 8, /* bytes: port, event, value */
};

VirtioSerial *virtio_serial_cast(void *obj);
Virtqueue *virtio_serial_queue(VirtioSerial *s, uint32_t port, bool tx);
/* text NULL: none. Waits where the driver has no buffer. */
void virtio_serial_send_control(VirtioSerial *s, uint32_t port, uint16_t event, uint16_t value,
                                const char *text);

void virtio_port_handle_rx(VirtioPort *p);
void virtio_port_handle_tx(VirtioPort *p);
void virtio_port_set_guest_open(VirtioPort *p, bool open);
/* Give up the elements of one queue; NULL: of both. */
void virtio_port_drop(VirtioPort *p, Virtqueue *vq);

#endif
