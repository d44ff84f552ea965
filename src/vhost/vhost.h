/*
 * A virtio device whose queues a vhost back end works.
 *
 * The device type says what it wants (start when the driver is there, stop when it goes); the back
 * end comes and goes as it likes. A VhostDevice brings the two together: whenever both are there
 * the queues are handed over, whenever one goes they are taken back at the right place. While the
 * back end is away the driver's kicks stay in their eventfds and nothing is lost.
 *
 * Stopping is asynchronous, since the back end has a say in it: until it is over, guest memory that
 * the rings lie in must not be given to anybody else (vhost_device_is_idle). Main thread or a vCPU
 * thread, machine lock held.
 */
#ifndef VHOST_VHOST_H
#define VHOST_VHOST_H

#include "vhost/backend.h"
#include "vhost/guest.h"

typedef struct VhostDevice VhostDevice;

typedef enum VhostState {
    VHOST_IDLE,
    VHOST_STARTING,
    VHOST_RUNNING,
    VHOST_STOPPING,
} VhostState;

typedef struct VhostDeviceOps {
    /* The back end is negotiated (up) or gone. */
    void (*connected)(void *opaque, bool up);
    /* It works the queues, or no longer does. */
    void (*running)(void *opaque, bool on);
    void (*config_changed)(void *opaque);
    /* It is there, but won't do, or the device can't be started with it; said once per attempt. */
    void (*refused)(void *opaque, const Error *why);
} VhostDeviceOps;

/* backend: ownership passes. label: for messages; copied. */
VhostDevice *vhost_device_new(VhostBackend *backend, const char *label, const VhostDeviceOps *ops,
                              void *opaque);
/* Stops without waiting (the connection is cut if need be), frees the back end too. NULL allowed.
 */
void vhost_device_free(VhostDevice *d);

/* The virtio device appears and goes. count: rings from 0 that the back end works. Attaching fails
 * where the machine's memory can't be shared. */
MUST_CHECK bool vhost_device_attach(VhostDevice *d, const VhostGuest *guest, unsigned count,
                                    AddressSpace *as, Error **errp);
void vhost_device_detach(VhostDevice *d);

/* The driver is ready and the machine runs, or not. */
void vhost_device_set_wanted(VhostDevice *d, bool wanted);
/* As not wanted; and the queues begin anew, wherever the back end stops. */
void vhost_device_reset(VhostDevice *d);
/* How many rings the driver uses, at most as many as were attached; only where can_set_rings(). */
void vhost_device_set_rings(VhostDevice *d, unsigned count);
bool vhost_device_can_set_rings(const VhostDevice *d);
/* Which rings are on (multiqueue); all by default. */
void vhost_device_set_enabled(VhostDevice *d, unsigned first, unsigned count, bool on);
/* Ask for interrupts on a queue's notifier, or keep them back. */
void vhost_device_mask(VhostDevice *d, unsigned index, bool mask);
bool vhost_device_pending(VhostDevice *d, unsigned index); /* rang while masked */

bool vhost_device_is_connected(const VhostDevice *d);
VhostState vhost_device_state(const VhostDevice *d);
const char *vhost_state_name(VhostState state);
/* No back end touches the rings. */
bool vhost_device_is_idle(const VhostDevice *d);
VhostBackend *vhost_device_backend(VhostDevice *d);

/* Features to offer the driver: `wanted` less those of `mask` that the back end lacks, or the last
 * one lacked; before there ever was one, less those of `mask` that aren't in `assumed`. */
uint64_t vhost_device_filter_features(VhostDevice *d, uint64_t wanted, uint64_t mask,
                                      uint64_t assumed);
/* Has a back end ever said what it can do? */
bool vhost_device_is_known(const VhostDevice *d);

/* Work that must be over before guest memory may be used for something else: the end of all stops.
 * fn is called once, when no VhostDevice of this process is stopping any more; at once if none is.
 */
typedef void VhostIdleFn(void *opaque);
void vhost_when_idle(VhostIdleFn *fn, void *opaque);
/* That call is not wanted any more. */
void vhost_forget_idle(VhostIdleFn *fn, void *opaque);
/* Stop all devices, whatever is wanted, and tell when they are idle; until vhost_release_all(). For
 * machine resets: memory is about to be written anew. */
void vhost_hold_all(VhostIdleFn *fn, void *opaque);
void vhost_release_all(void);
/* Devices that are stopping now. */
unsigned vhost_stopping_count(void);

#endif
