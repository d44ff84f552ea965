/*
 * The front end of the vhost-user protocol: a VhostBackend behind a unix socket.
 *
 * The conversation is a script (script.c): rows that send a message and take its answer, run one
 * after the other from the main loop. There is one script for the connection, one for a start, one
 * for a stop; a row that fails ends the connection, and the whole handshake is done again when the
 * back end comes back.
 */
#ifndef VHOST_USER_VHOST_USER_H
#define VHOST_USER_VHOST_USER_H

#include "chardev/chardev.h"
#include "vhost/backend.h"
#include "vhost/user/message.h"

typedef struct VhostUser VhostUser;

typedef struct VhostUserSpec {
    Chardev *chardev;
    const char *name;     /* "netdev 'n0'"; copied */
    const char *log;      /* file for the decoded protocol, or NULL */
    unsigned timeout_ms;  /* for each reply; 0: the default */
    uint16_t virtio_id;   /* for the names of features */
    unsigned rings;       /* that the device will have at most */
    unsigned least_rings; /* a back end with fewer is refused */
    uint64_t
        protocol_features; /* those this kind of device has a use for, beyond the general ones */
    uint64_t required_protocol_features;
    /* Virtio features without which the device can't work: a back end that lacks one is refused. */
    uint64_t required_features;
    /* Those that the front end does itself: the back end need not offer them. */
    uint64_t front_end_features;
    /* Bytes of device configuration to read from the back end; 0: it has none to give. */
    unsigned config_size;
    bool tolerate_lost_features; /* features accepted by the driver may be gone after a reconnect */
} VhostUserSpec;

#define VHOST_USER_DEFAULT_TIMEOUT_MS 10000

/* Attaches to the chardev; the handshake begins whenever it is connected. */
VhostUser *vhost_user_new(const VhostUserSpec *spec, Error **errp);
VhostBackend *vhost_user_backend(VhostUser *vu);
VhostUser *vhost_user_from_backend(VhostBackend *backend); /* NULL if it is of another kind */
/* Begin; once the VhostDevice is on top. */
void vhost_user_start(VhostUser *vu);

/* --- Beyond the queues; with a connection only --- */

/* The configuration as last read; config_size bytes. NULL before the first handshake. */
const uint8_t *vhost_user_config(const VhostUser *vu);
void vhost_user_set_config(VhostUser *vu, uint32_t offset, const void *data, uint32_t len,
                           VhostDoneFn *done, void *opaque);
/* Read it again (a device whose configuration answers to what is written to it). config: as
 * vhost_user_config(), NULL with an error. */
typedef void VhostUserConfigFn(void *opaque, const uint8_t *config, const Error *err);
void vhost_user_get_config(VhostUser *vu, VhostUserConfigFn *fn, void *opaque);
/* Have the back end announce the guest's address on its network. */
void vhost_user_send_rarp(VhostUser *vu, const uint8_t mac[6]);
/* Every back end from the next start on is told; those without NET_MTU live without it. */
void vhost_user_set_mtu(VhostUser *vu, uint16_t mtu);

/* --- For query-vhost-user and messages --- */

typedef enum VhostUserPhase {
    VHOST_USER_DISCONNECTED,
    VHOST_USER_NEGOTIATING,
    VHOST_USER_READY,
    VHOST_USER_STARTING,
    VHOST_USER_RUNNING,
    VHOST_USER_STOPPING,
} VhostUserPhase;

typedef struct VhostUserStatus {
    const char *name;
    uint16_t virtio_id;
    Chardev *chardev;
    VhostUserPhase phase;
    uint64_t features, acked_features; /* virtio, with the socket's own bits */
    uint64_t saved_features;           /* accepted by the driver */
    bool inflight;                     /* there is an area for what is in flight */
    uint64_t protocol_offered, protocol_features;
    uint64_t max_rings;
    const VhostPlan *plan;  /* NULL unless starting, running or stopping */
    const char *last_error; /* NULL: none yet */
    unsigned connections;   /* handshakes that were completed */
    int64_t connected_ns, ready_ns, starting_ns, started_ns; /* CLK_REALTIME; 0: not this time */
    int64_t connected_at;                                    /* us since 1970; 0: not now */
} VhostUserStatus;
void vhost_user_status(VhostUser *vu, VhostUserStatus *status);
const char *vhost_user_phase_name(VhostUserPhase phase);
uint64_t vhost_user_sent(VhostUser *vu, uint32_t code);
uint64_t vhost_user_received(VhostUser *vu, uint32_t code);
uint64_t vhost_user_requested(VhostUser *vu, uint32_t code); /* by the back end */
typedef bool VhostUserVisitor(VhostUser *vu, void *opaque);
bool vhost_user_foreach(VhostUserVisitor *visit, void *opaque);

#endif
