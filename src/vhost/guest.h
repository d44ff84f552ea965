/*
 * What a vhost device needs of the virtio device whose queues it takes over, and nothing more. The
 * virtio core implements this (devices/virtio/virtio-vhost.c); a vhost device gets a VhostGuest
 * from the device type that owns it.
 *
 * Order of a start: take() the queues, notifiers_start(), then per queue ring() and base(), hand
 * kick_fd() and call_fd() to the back end. A stop is the reverse: get the base from the back end,
 * set_base(), notifiers_stop(), release(). Machine lock held.
 */
#ifndef VHOST_GUEST_H
#define VHOST_GUEST_H

#include "event/notifier.h"
#include "memory/memory.h"

/* One ring as the driver set it up; addresses are the device's (guest-physical without an IOMMU).
 */
typedef struct VhostGuestRing {
    bool enabled;
    bool packed;
    uint32_t size; /* entries */
    hwaddr desc, driver, device;
    uint32_t desc_bytes, driver_bytes, device_bytes;
    AddressSpace *space;
} VhostGuestRing;

/* The queue index of the configuration interrupt, where one is taken. */
#define VHOST_GUEST_CONFIG (-1)

typedef struct VhostGuestOps {
    const char *(*name)(void *guest);
    /* Features the driver accepted. */
    uint64_t (*features)(void *guest);
    /* Queues first … first + count - 1 are worked by somebody else from now on: the core neither
     * pops nor handles their kicks. */
    void (*take)(void *guest, unsigned first, unsigned count);
    void (*release)(void *guest, unsigned first, unsigned count);
    /* Make the eventfds: kicks ring kick_fd() whatever the user's ioeventfd setting, and what rings
     * call_fd() becomes an interrupt. count: queues from 0 that need call notifiers. */
    bool (*notifiers_start)(void *guest, unsigned count, Error **errp);
    void (*notifiers_stop)(void *guest, unsigned count);
    EventNotifier *(*kick)(void *guest, unsigned index);
    EventNotifier *(*call)(void *guest, int index);
    void (*ring)(void *guest, unsigned index, VhostGuestRing *ring);
    /* Where the ring stands: split: the available index; packed: available index and wrap counter
     * in bits 0-15, used in bits 16-31. */
    uint32_t (*base)(void *guest, unsigned index);
    void (*set_base)(void *guest, unsigned index, uint32_t base);
    /* The back end can't say: take it from the used ring in guest memory (split), so that what was
     * in flight is done again. recorded: the next back end has a record of what that was; otherwise
     * what can be told from the rings is put in order for it, and false is what can't be told. */
    bool (*restore_base)(void *guest, unsigned index, bool recorded);
    /* The rings are in the back end's hands, or are back: until then the driver's reset is not
     * over. */
    void (*lent)(void *guest, bool lent);
    /* Put `len` bytes of the back end's memory at the queue's doorbell, so that the driver rings
     * there directly; host NULL takes them away. False where the transport has no room for it. */
    bool (*host_notifier)(void *guest, unsigned index, void *host, uint64_t len, Error **errp);
    /* Raise the queue's interrupt, or the configuration's, here and now. */
    void (*interrupt)(void *guest, int index);
    void (*config_changed)(void *guest);
    /* The back end reported an error it can't go on from. */
    void (*broken)(void *guest, const char *why);
} VhostGuestOps;

typedef struct VhostGuest {
    const VhostGuestOps *ops;
    void *opaque;
} VhostGuest;

#endif
