/*
 * virtio console device (VIRTIO 1.3 section 5.3) with many ports: the controller owns a bus on
 * which ports sit, "virtconsole" and "virtserialport". Machine lock held.
 */
#ifndef DEVICES_VIRTIO_CONSOLE_SERIAL_H
#define DEVICES_VIRTIO_CONSOLE_SERIAL_H

#include "chardev/chardev.h"
#include "devices/virtio/virtio.h"

#define TYPE_VIRTIO_SERIAL     "virtio-serial-device"
#define TYPE_VIRTIO_SERIAL_BUS "virtio-serial-bus"
#define TYPE_VIRTIO_PORT       "virtio-serial-port"
#define TYPE_VIRTSERIALPORT    "virtserialport"
#define TYPE_VIRTCONSOLE       "virtconsole"

#define VIRTIO_PORT_AUTO    UINT32_MAX
#define VIRTIO_PORTS_MAX    511 /* two queues each, two for control */
#define VIRTIO_PORT_DEFAULT 31

typedef struct VirtioPort VirtioPort;

typedef struct VirtioSerial {
    VirtioDevice parent;
    Bus *bus;
    uint32_t max_ports;
    Virtqueue *control_in, *control_out;
    GQueue pending;     /* GBytes: control messages without a buffer yet */
    VirtioPort **ports; /* max_ports, borrowed; NULL: free */
    bool driver_ready;  /* the driver of the control queue */

    /* state only: pending in one piece, each message behind its length */
    uint8_t *saved; /* owned */
    uint32_t saved_len;
} VirtioSerial;

struct VirtioPort {
    Device parent;

    /* properties */
    uint32_t nr;
    char *name, *chardev;

    VirtioSerial *serial; /* NULL while not plugged */
    bool is_console;
    CharFrontend fe;
    Virtqueue *rx, *tx;
    VirtqElement *rx_elem; /* takes the next input */
    VirtqElement *tx_elem; /* waits for room in the chardev */
    uint32_t tx_done;      /* bytes of it that went */
    bool guest_open, host_open;
    bool rx_held, tx_held; /* state only */
};

#endif
