/*
 * A vhost back end: whoever works the queues of a virtio device outside the device model. Two
 * kinds: "user" (a process behind a vhost-user socket) and "kernel" (a vhost character device).
 *
 * Everything that takes a message and an answer is asynchronous: done() is called once, from the
 * main loop or before the function returns; with an error the back end is gone or about to go (then
 * `gone` follows). Main thread, machine lock held.
 */
#ifndef VHOST_BACKEND_H
#define VHOST_BACKEND_H

#include "event/notifier.h"
#include "vhost/log.h"
#include "vhost/memory-map.h"

typedef struct VhostBackend VhostBackend;

/* One ring, ready to be handed over. Addresses are this process's. */
typedef struct VhostRing {
    unsigned index; /* as the back end counts */
    uint32_t size;  /* entries */
    uint32_t base;  /* where to go on: VhostGuestOps.base */
    bool enabled;
    bool doorbell;                   /* the driver rings in the back end's memory */
    uint8_t *desc, *driver, *device; /* avail and used ring, or event suppression areas */
    hwaddr device_addr;              /* guest address of `device`, for the log */
    hwaddr iova[3];                  /* desc, driver, device as the driver gave them */
    int kick_fd, call_fd;            /* borrowed */
    EventNotifier *kick, *call;      /* the driver's doorbell and interrupt; borrowed */
} VhostRing;

/* Everything a back end needs to know to work a device. Borrowed for as long as it runs. */
typedef struct VhostPlan {
    uint64_t features; /* accepted by the driver, plus what the socket or kernel needs */
    const VhostMemoryMap *memory;
    VhostRing *rings;
    unsigned count;
    bool packed;
    bool fresh;          /* the driver has reset the device since the last start */
    bool iommu;          /* addresses of rings and buffers are I/O virtual: iova */
    const VhostLog *log; /* where writes are to be noted; NULL: nowhere */
} VhostPlan;

typedef void VhostDoneFn(void *opaque, const Error *err); /* err NULL: it worked */

/* The back end's news, for the VhostDevice on top of it. */
typedef struct VhostBackendEvents {
    void (*ready)(void *opaque);                  /* negotiated; features() is valid */
    void (*gone)(void *opaque, const Error *why); /* not ready any more; nothing runs */
    /* There is a back end, but not one for this device; the connection ends. */
    void (*refused)(void *opaque, const Error *why);
    void (*config_changed)(void *opaque);
    void (*ring_call)(void *opaque, unsigned index); /* in-band notification */
    void (*ring_error)(void *opaque, unsigned index);
    /* It needs the translation of an I/O virtual address. */
    void (*iotlb_miss)(void *opaque, uint64_t iova, bool write);
    /* Memory to be rung directly by the driver (ownership passes), or NULL for none any more.
     * False: not possible here. */
    bool (*host_notifier)(void *opaque, unsigned index, void *host, uint64_t len, Error **errp);
} VhostBackendEvents;

typedef struct VhostBackendOps {
    const char *kind;
    bool (*is_ready)(VhostBackend *b);
    /* Virtio feature bits the back end offers. */
    uint64_t (*features)(VhostBackend *b);
    unsigned (*max_rings)(VhostBackend *b);
    unsigned (*max_regions)(VhostBackend *b);
    /* There is a record of what is in flight, which outlives the back end. */
    bool (*records_in_flight)(VhostBackend *b);
    void (*start)(VhostBackend *b, const VhostPlan *plan, VhostDoneFn *done, void *opaque);
    /* Sets base of every ring of the plan that was given to start. The back end no longer touches
     * guest memory when done() is called, whatever it says. */
    void (*stop)(VhostBackend *b, VhostDoneFn *done, void *opaque);
    /* While running: rings first … first + count - 1. */
    void (*set_enabled)(VhostBackend *b, unsigned first, unsigned count, bool on, VhostDoneFn *done,
                        void *opaque);
    /* While running: the plan's memory map has changed. */
    void (*update_memory)(VhostBackend *b, VhostDoneFn *done, void *opaque);
    /* A running ring's call descriptor: its own, or -1 for none (masked). */
    void (*set_call)(VhostBackend *b, unsigned index, int fd);
    /* Can it note what it writes? The error says what it lacks. */
    bool (*can_log)(VhostBackend *b, Error **errp);
    /* While running: plan.log has changed. Once done() is called nothing is written to the former
     * log any more. */
    void (*update_log)(VhostBackend *b, VhostDoneFn *done, void *opaque);
    /* A translation came (host not NULL), or one went. access: IommuAccess. */
    void (*iotlb_update)(VhostBackend *b, uint64_t iova, uint64_t len, void *host, unsigned access);
    /* The driver has reset the device; not running. Optional. */
    void (*reset)(VhostBackend *b);
    /* Cut the connection here and now: done() of what is under way is not called any more, `gone`
     * follows from the main loop. */
    void (*abort)(VhostBackend *b, const char *why);
    void (*free)(VhostBackend *b);
} VhostBackendOps;

struct VhostBackend {
    const VhostBackendOps *ops;
    const VhostBackendEvents *events; /* set by the VhostDevice */
    void *events_opaque;
};

#endif
