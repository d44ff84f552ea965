/* Private to machine.c (the connection and its messages) and machine-queue.c (frames). */
#ifndef VHOST_NET_MACHINE_INTERNAL_H
#define VHOST_NET_MACHINE_INTERNAL_H

#include "event/loop.h"
#include "machine.h"
#include "ring.h"

typedef struct MachineQueue {
    Machine *machine;
    unsigned index; /* even: to the driver, odd: from it */
    Ring ring;
    uint32_t base; /* where it begins, or where it stopped */
    bool started, enabled;
    int kick, call, err; /* eventfds; -1: none */
    FdWatch *watch;      /* of kick */
    BottomHalf *more;    /* goes on with frames after a pause for others */
} MachineQueue;

struct Machine {
    const BackEndSettings *settings;
    char *name;
    SwitchPort *port;
    void (*gone)(Machine *m, void *opaque);
    void *opaque;

    int fd;
    FdWatch *watch;
    BottomHalf *end; /* tells of the connection's end from the loop */
    VhostUserMessage in;
    size_t in_len; /* bytes of `in` that have come: header, then payload */
    char *why;     /* it ends; NULL: the front end closed */

    uint64_t features, protocol_features; /* acked */
    uint64_t status;
    unsigned mtu;   /* 0: not told */
    int request_fd; /* the back end's own channel; -1 */
    SharedMemory *memory;
    MachineQueue queues[2 * MACHINE_QUEUE_PAIRS_MAX];
    struct {
        uint64_t in, out, dropped;
    } frames; /* seen from the switch */
};

static inline bool machine_has(const Machine *m, unsigned feature)
{
    return m->features >> feature & 1;
}

static inline bool machine_has_protocol(const Machine *m, unsigned feature)
{
    return m->protocol_features >> feature & 1;
}

/* --- machine-queue.c --- */

void machine_queue_init(Machine *m, unsigned index);
void machine_queue_finish(MachineQueue *q);
/* Stops, forgets its descriptors, disabled. */
void machine_queue_reset(MachineQueue *q);
/* Work with the ring from now on. */
MUST_CHECK bool machine_queue_start(MachineQueue *q, Error **errp);
/* No access to the ring after this. */
void machine_queue_stop(MachineQueue *q);
/* The memory has changed. */
MUST_CHECK bool machine_queue_remap(MachineQueue *q, Error **errp);
/* Take over; -1: none. */
void machine_queue_set_kick(MachineQueue *q, int fd);
void machine_queue_set_call(MachineQueue *q, int fd);
void machine_queue_set_err(MachineQueue *q, int fd);
void machine_queue_enable(MachineQueue *q, bool on);
/* A frame for the machine: SwitchDeliver. */
bool machine_deliver(void *machine, const struct iovec *iov, unsigned count);
/* The machine is to be heard of in the network: as if it had sent a RARP. */
void machine_announce(Machine *m, const uint8_t mac[6]);

/* --- machine.c --- */

/* Can't go on; takes ownership of err. */
void machine_fail(Machine *m, Error *err);

#endif
