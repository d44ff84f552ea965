/*
 * One machine at the switch: a vhost-user connection from its front end, and the queues of its
 * network card. Main thread, machine lock held.
 */
#ifndef VHOST_NET_MACHINE_H
#define VHOST_NET_MACHINE_H

#include "fault.h"
#include "switch.h"

typedef struct Machine Machine;

/* What all machines have in common; borrowed by them. */
typedef struct BackEndSettings {
    uint64_t features;          /* virtio features to offer */
    uint64_t protocol_features; /* VHOST_USER_PF_* bits to offer */
    unsigned queue_pairs;       /* at most MACHINE_QUEUE_PAIRS_MAX */
    unsigned delay_ms;          /* before each answer */
    bool verbose;               /* one line a message */
    Fault *faults;
    unsigned fault_count;
} BackEndSettings;

#define MACHINE_QUEUE_PAIRS_MAX 64

/* What this program can do: for settings, and to check them against. */
extern const uint64_t machine_features, machine_protocol_features;

/* fd: connected, non-blocking; taken over. name: for messages; copied. gone() is called from the
 * loop when the connection has ended; the callee frees the machine. */
Machine *machine_new(const BackEndSettings *settings, Switch *sw, int fd, const char *name,
                     void (*gone)(Machine *m, void *opaque), void *opaque);
void machine_free(Machine *m); /* NULL allowed */

/* room() is called when frames that found no room can be tried again. */
void machine_set_room_notify(void (*room)(void *opaque), void *opaque);

#endif
