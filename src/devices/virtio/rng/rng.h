/* virtio entropy device. Machine lock held. */
#ifndef DEVICES_VIRTIO_RNG_RNG_H
#define DEVICES_VIRTIO_RNG_RNG_H

#include "devices/virtio/virtio.h"
#include "event/clock.h"

#define TYPE_VIRTIO_RNG "virtio-rng-device"

struct RngBackend;

typedef struct VirtioRng {
    VirtioDevice parent;

    /* properties */
    Object *rng;        /* NULL: a builtin one */
    uint64_t max_bytes; /* in each period */
    uint32_t period;    /* ms */

    struct RngBackend *backend; /* reference */
    Virtqueue *vq;
    VirtqElement *waiting; /* gets the next bytes */
    bool asked;            /* the backend is at it */
    uint64_t quota;        /* bytes left in this period */
    Timer *timer;          /* the next period */
    bool held;             /* state only: waiting was there */
} VirtioRng;

#endif
