/*
 * Virtio devices and their queues (VIRTIO 1.3, chapters 2 and 3), whatever the transport.
 *
 * A device type derives from VirtioDevice and fills a VirtioDeviceClass. Its realize calls
 * virtio_init() and virtio_add_queue(); from then on the driver's kicks arrive at each queue's
 * handler, which pops elements, works on their scatter lists, and pushes them back:
 *
 *     VirtqElement *e;
 *     while ((e = virtqueue_pop(vq, sizeof(*e)))) {
 *         ...
 *         virtqueue_push(vq, e, written);
 *         g_free(e);
 *     }
 *     virtio_notify(vdev, vq);
 *
 * Everything a driver writes is untrusted: each descriptor is read once, checked, and mapped; a
 * ring that breaks the rules marks the device broken (NEEDS_RESET) and the queue yields nothing
 * more until the reset.
 *
 * Threads: devices belong to the machine lock. A queue belongs to the thread that handles it: the
 * main loop, or the event loop given with virtqueue_set_loop(); queue functions are called there.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_H
#define DEVICES_VIRTIO_VIRTIO_H

#include <sys/uio.h>

#include "bus/device.h"
#include "devices/virtio/spec.h"
#include "event/notifier.h"
#include "memory/memory.h"
#include "object/property.h"
#include "object/runstate.h"

#define TYPE_VIRTIO_DEVICE "virtio-device"
#define TYPE_VIRTIO_BUS    "virtio-bus"

#define VIRTIO_QUEUE_MAX   1024   /* queues a device can have */
#define VIRTQUEUE_MAX_SIZE 1024   /* entries of a ring, and segments of one element */
#define VIRTIO_NO_VECTOR   0xffff /* 4.1.5.1.2: VIRTIO_MSI_NO_VECTOR */
#define VIRTIO_CONFIG_MAX  4096   /* bytes of device configuration */

typedef struct VirtioDevice VirtioDevice;
typedef struct VirtioBus VirtioBus;
typedef struct Virtqueue Virtqueue;

/* A buffer the driver made available. Allocated by virtqueue_pop() in one piece, at the front of a
 * struct of the device's own; freed with g_free() after push, unpop or detach. */
typedef struct VirtqElement {
    unsigned out_num, in_num;     /* segments the device reads, writes */
    struct iovec *out_sg, *in_sg; /* host addresses */
    hwaddr *out_addr, *in_addr;   /* the same, as the driver gave them */
    uint32_t out_size, in_size;   /* bytes in total */
    uint16_t id;                  /* descriptor head, or buffer id of a packed ring */
    uint16_t slots;               /* ring entries it takes */
    uint32_t sequence;            /* nth pop of this queue */
    uint32_t epoch;               /* of the queue; a reset makes it stale */
} VirtqElement;

typedef void VirtioHandleOutput(VirtioDevice *vdev, Virtqueue *vq);

struct VirtioDevice {
    Device parent;

    const char *name; /* "virtio-net"; static */
    uint16_t device_id;

    /* Machine lock to write; queue threads read status, broken and features. */
    uint8_t status; /* atomic */
    uint8_t isr;    /* atomic: bit 0 queue, bit 1 configuration */
    bool broken;    /* atomic */
    bool vm_running;
    bool started; /* queues are handled: DRIVER_OK, or a legacy driver's first kick */
    bool ioeventfd_started;
    bool ioeventfd_forced;    /* vhost needs them */
    bool lent;                /* a vhost back end has the queues */
    GPtrArray *held;          /* Cpu, waiting for that; NULL: none */
    bool use_guest_notifiers; /* interrupts go through the queues' guest notifiers */
    bool out_of_order;        /* a vhost back end may use buffers out of order */
    bool config_pending;      /* a change not yet told, while the machine was stopped */
    uint16_t config_vector;
    uint16_t queue_sel;
    uint32_t generation;       /* of the configuration */
    uint64_t host_features;    /* offered */
    uint64_t guest_features;   /* accepted */
    bool features_refused;     /* the driver asked for what was not offered */
    uint64_t backend_features; /* what a vhost back end may get; written by the device type */

    size_t config_len; /* bytes */
    uint8_t *config;   /* owned; scratch for the driver's accesses */

    unsigned queue_count; /* queues 0 … queue_count - 1 exist (some may be unused: size 0) */
    unsigned queue_room;
    Virtqueue *queues;

    AddressSpace *dma_as; /* borrowed; where ring and buffer addresses mean something */
    MemoryListener listener;
    bool listening, map_changed;
    VmStateHandler *vm_handler;
    BottomHalf *broken_bh;
    EventNotifier config_notifier; /* with guest notifiers; fd -1 otherwise */
    uint32_t queue_count_saved;    /* state only */
    uint32_t config_len_saved;     /* state only */
};

typedef struct VirtioDeviceClass {
    DeviceClass parent;
    /* Offered features: `wanted` are the user's bits of device and transport; returns what remains,
     * or sets errp. NULL: all of them. */
    uint64_t (*get_features)(VirtioDevice *vdev, uint64_t wanted, Error **errp);
    bool (*realize)(VirtioDevice *vdev, Error **errp);
    void (*unrealize)(VirtioDevice *vdev);
    /* The driver accepted these; FEATURES_OK is refused where validate returns false. */
    bool (*validate_features)(VirtioDevice *vdev, uint64_t features);
    void (*set_features)(VirtioDevice *vdev, uint64_t features);
    /* config has config_len bytes. set: after the driver wrote some of them. */
    void (*get_config)(VirtioDevice *vdev, uint8_t *config);
    void (*set_config)(VirtioDevice *vdev, const uint8_t *config);
    /* State of the device type back to its beginning; requests in flight are given up. */
    void (*reset)(VirtioDevice *vdev);
    /* The driver wrote status, or the machine starts or stops (virtio_is_running() tells). */
    void (*set_status)(VirtioDevice *vdev, uint8_t status);
    /* The driver's reset isn't over: somebody else still has the queues. Optional. */
    bool (*reset_pending)(VirtioDevice *vdev);
    /* 2.6.1 Queue reset: forget the queue's requests. enable: it comes back. */
    void (*queue_reset)(VirtioDevice *vdev, Virtqueue *vq);
    void (*queue_enable)(VirtioDevice *vdev, Virtqueue *vq);
    /* After the queues' notifiers exist / before they go: hand queues to I/O threads and take them
     * back. */
    void (*ioeventfd_start)(VirtioDevice *vdev);
    void (*ioeventfd_stop)(VirtioDevice *vdev);
    /* While a vhost back end owns the queues: mask its calls, ask for one that was masked. queue
     * VIRTIO_CONFIG_QUEUE is the configuration interrupt. */
    void (*guest_notifier_mask)(VirtioDevice *vdev, int queue, bool mask);
    bool (*guest_notifier_pending)(VirtioDevice *vdev, int queue);
    /* Bits a legacy driver can't be offered. */
    uint64_t legacy_hidden_features;
} VirtioDeviceClass;

#define VIRTIO_CONFIG_QUEUE (-1)

static inline UNUSED VirtioDevice *virtio_device_cast(void *obj)
{
    return (VirtioDevice *)object_cast((Object *)obj, TYPE_VIRTIO_DEVICE);
}
OBJECT_DECLARE_CLASS(VirtioDeviceClass, virtio_device, TYPE_VIRTIO_DEVICE)

/* --- For device types --- */

/* In realize, before queues are added. name is static; config_len at most VIRTIO_CONFIG_MAX. */
void virtio_init(VirtioDevice *vdev, const char *name, uint16_t device_id, size_t config_len);
/* Mirror, at the end of unrealize and on realize's way out. */
void virtio_finish(VirtioDevice *vdev);
/* size: default and largest number of ring entries. The queue is the next index. */
Virtqueue *virtio_add_queue(VirtioDevice *vdev, unsigned size, VirtioHandleOutput *handler);
/* The largest number of entries a driver can choose, while the queue is not enabled; 0: to the
 * driver there is no such queue. */
void virtio_queue_set_max_size(VirtioDevice *vdev, unsigned index, unsigned size);
/* The last queue goes away. */
void virtio_del_queue(VirtioDevice *vdev, unsigned index);
void virtio_set_config_len(VirtioDevice *vdev, size_t config_len);

static inline bool virtio_has_feature(const VirtioDevice *vdev, unsigned bit)
{
    return vdev->guest_features >> bit & 1;
}
static inline bool virtio_host_has_feature(const VirtioDevice *vdev, unsigned bit)
{
    return vdev->host_features >> bit & 1;
}
/* The driver is there, the machine runs, nothing is broken. */
bool virtio_is_running(const VirtioDevice *vdev);
/* Any thread. */
bool virtio_is_broken(const VirtioDevice *vdev);

/* The driver broke the rules: logged once (-d guest_errors), NEEDS_RESET, no more requests. Any
 * thread. */
void virtio_error(VirtioDevice *vdev, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The configuration changed: next generation, interrupt. Machine lock. */
void virtio_notify_config(VirtioDevice *vdev);
/* Interrupt for used buffers, if the driver wants one. The queue's thread. */
void virtio_notify(VirtioDevice *vdev, Virtqueue *vq);

/* Rows for device types' property tables: struct S, whose first member is `VirtioDevice parent`. */
#define VIRTIO_COMMON_PROPERTIES(S)                                                               \
    PROP_BIT("indirect_desc", S, parent.host_features, VIRTIO_F_INDIRECT_DESC, true,              \
             .help = "offer indirect descriptors"),                                               \
        PROP_BIT("event_idx", S, parent.host_features, VIRTIO_F_EVENT_IDX, true,                  \
                 .help = "offer event index notification suppression"),                           \
        PROP_BIT("notify_on_empty", S, parent.host_features, VIRTIO_F_NOTIFY_ON_EMPTY, true,      \
                 .help = "offer interrupts on empty queues to legacy drivers"),                   \
        PROP_BIT("any_layout", S, parent.host_features, VIRTIO_F_ANY_LAYOUT, true,                \
                 .help = "accept any framing from legacy drivers"),                               \
        PROP_BIT("iommu_platform", S, parent.host_features, VIRTIO_F_ACCESS_PLATFORM, false,      \
                 .help = "addresses go through the platform's IOMMU"),                            \
        PROP_BIT("packed", S, parent.host_features, VIRTIO_F_RING_PACKED, false,                  \
                 .help = "offer packed virtqueues"),                                              \
        PROP_BIT("in_order", S, parent.host_features, VIRTIO_F_IN_ORDER, false,                   \
                 .help = "use buffers in the order they were made available"),                    \
        PROP_BIT("notification_data", S, parent.host_features, VIRTIO_F_NOTIFICATION_DATA, false, \
                 .help = "doorbells carry the ring position"),                                    \
        PROP_BIT("queue_reset", S, parent.host_features, VIRTIO_F_RING_RESET, true,               \
                 .help = "offer resetting single queues")

/* First row of a device type's state (DeviceClass.vmstate): status, features, configuration,
 * queues. */
extern const VmState virtio_vmstate;
#define VMSTATE_VIRTIO(S)                                                             \
    {                                                                                 \
        .name = "virtio", .kind = VMSTATE_KIND_STRUCT, .offset = offsetof(S, parent), \
        .size = sizeof(VirtioDevice), .state = &virtio_vmstate                        \
    }

/* --- Queues, for device types --- */

/* The next available buffer at the front of `size` zeroed bytes; NULL when there is none, or the
 * ring is broken. */
void *virtqueue_pop(Virtqueue *vq, size_t size) MUST_CHECK;
/* Done: `written` bytes of in_sg were filled, from the front. Unmaps; the element is still the
 * caller's to free. push = fill + flush. */
void virtqueue_push(Virtqueue *vq, VirtqElement *elem, uint32_t written);
/* Stage several elements and show them to the driver at once. */
void virtqueue_fill(Virtqueue *vq, VirtqElement *elem, uint32_t written);
void virtqueue_flush(Virtqueue *vq);
/* Give the element popped last back, as if it had not been popped. */
void virtqueue_unpop(Virtqueue *vq, VirtqElement *elem);
/* After a state load: the buffer popped last, the only one in flight, is available again. */
void virtqueue_rewind_one(Virtqueue *vq);
/* Drop an element without using it (reset, unrealize): unmap only. */
void virtqueue_detach(Virtqueue *vq, VirtqElement *elem);
/* Mark every available buffer used with length 0. Returns how many. */
unsigned virtqueue_drop_all(Virtqueue *vq);
/* No buffer available right now. */
bool virtqueue_is_empty(Virtqueue *vq);
/* Ask the driver for kicks, or tell it that none are needed (polling). After switching on, look
 * again: a buffer may have come between. */
void virtqueue_set_notification(Virtqueue *vq, bool on);
/* Set and driver-enabled: may be used. */
bool virtqueue_is_ready(const Virtqueue *vq);

unsigned virtqueue_index(const Virtqueue *vq);
unsigned virtqueue_size(const Virtqueue *vq);
Virtqueue *virtio_queue(VirtioDevice *vdev, unsigned index); /* NULL when there is none */
VirtioDevice *virtqueue_device(const Virtqueue *vq);
/* Where kicks of this queue are handled from the next ioeventfd start; NULL: the main loop. */
void virtqueue_set_loop(Virtqueue *vq, EventLoop *loop);
/* Run the queue's handler from its loop soon, as if kicked (after a resume). Any thread. */
void virtqueue_kick_self(Virtqueue *vq);

/* State of elements that are kept over a stop (a request to be retried). pointer rows of one
 * VirtqElementState each; loaded ones are turned back with virtqueue_element_load(). */
typedef struct VirtqElementState {
    uint16_t id, slots;
    uint32_t out_num, in_num;
    uint64_t *addr; /* out segments, then in segments; owned */
    uint32_t *len;
    uint32_t count;
    uint32_t queue;
} VirtqElementState;
extern const VmState virtq_element_vmstate;
void virtqueue_element_save(const Virtqueue *vq, const VirtqElement *elem, VirtqElementState *s);
/* NULL with an error if the addresses don't map; frees nothing of s. */
void *virtqueue_element_load(VirtioDevice *vdev, const VirtqElementState *s, size_t size,
                             Error **errp);
void virtqueue_element_state_clear(VirtqElementState *s);

#endif
