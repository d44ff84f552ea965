/* The socket device, whoever carries its packets: VIRTIO 1.3 section 5.10. */
#ifndef DEVICES_VIRTIO_VSOCK_VSOCK_SPEC_H
#define DEVICES_VIRTIO_VSOCK_VSOCK_SPEC_H

#include "base/iov.h"
#include "devices/virtio/virtio.h"

/* 5.10.2 */
enum { VSOCK_RX_QUEUE, VSOCK_TX_QUEUE, VSOCK_EVENT_QUEUE, VSOCK_QUEUES };
enum { VSOCK_QUEUE_SIZE = 128 };

/* 5.10.3 */
enum {
    VIRTIO_VSOCK_F_STREAM = 0,
    VIRTIO_VSOCK_F_SEQPACKET = 1,
    VIRTIO_VSOCK_F_NO_IMPLIED_STREAM = 2,
};

/* 5.10.4: the guest's context id is all; 0, 1, 2 and 0xffffffff mean others. */
enum { VSOCK_CONFIG_SIZE = 8, VSOCK_CID_FIRST = 3 };
#define VSOCK_CID_LAST 0xfffffffeu

static inline bool vsock_cid_is_valid(uint64_t cid)
{
    return cid >= VSOCK_CID_FIRST && cid <= VSOCK_CID_LAST;
}

/* 5.10.6.6: every connection is gone. Without a buffer from the driver it is not told. */
static inline UNUSED void vsock_send_transport_reset(VirtioDevice *vdev, Virtqueue *events)
{
    static const uint8_t event[4] = { 0 }; /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET */
    VirtqElement *e = virtqueue_pop(events, sizeof(*e));
    if (e) {
        size_t n = iov_from_buf(e->in_sg, e->in_num, 0, event, sizeof(event));
        virtqueue_push(events, e, n);
        g_free(e);
        virtio_notify(vdev, events);
    }
}

#endif
