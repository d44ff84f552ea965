/* What the files of a session share: its state, and the scripts it runs. */
#ifndef VHOST_USER_SESSION_H
#define VHOST_USER_SESSION_H

#include "base/fd.h"
#include "vhost/user/backend-channel.h"
#include "vhost/user/script.h"
#include "vhost/user/vhost-user.h"

/* Memory slots that are made use of, whatever the back end offers (it may say 509 or more). */
#define VHOST_USER_SLOTS_MAX 512

/* What has to be told to a running back end. */
typedef struct VhostUserChanges {
    bool memory, enable, log, stop;
} VhostUserChanges;

/* The area in which the back end notes what is in flight; it outlives connections. */
typedef struct VhostUserInflightArea {
    int fd; /* -1: none */
    VhostUserInflight layout;
} VhostUserInflightArea;
void inflight_finish(VhostUserInflightArea *area);
/* Before a start. */
void inflight_prepare(VhostUserInflightArea *area, const VhostPlan *plan);

struct VhostUser {
    VhostBackend backend;
    VhostUserChannel *channel;
    char *name;

    /* what was asked for: VhostUserSpec */
    uint16_t virtio_id;
    unsigned rings, least_rings;
    uint64_t wanted_protocol_features, required_protocol_features;
    uint64_t required_features, spec_ignored;
    bool tolerate_lost_features;
    uint16_t mtu; /* told to every back end; 0: none */
    uint32_t config_size;
    uint8_t *config; /* as last read */

    /* what this back end said */
    uint64_t features, protocol_offered, protocol_features;
    uint64_t max_rings, max_slots;
    uint64_t acked_features; /* told to the back end at the last start */
    uint64_t saved_features; /* accepted by the driver then */

    VhostUserPhase phase;
    Script script;
    VhostDoneFn *log_done; /* of a change of the log */
    void *log_opaque;
    VhostDoneFn *done; /* of the start or stop under way */
    void *done_opaque;
    VhostUserChanges changes;
    const VhostPlan *plan; /* borrowed; from start to stop */

    /* The memory regions the back end has (CONFIGURE_MEM_SLOTS), to know the differences. */
    VhostUserRegion table[VHOST_USER_SLOTS_MAX];
    unsigned table_count;

    VhostUserBackendChannel *backend_channel;
    int backend_fd;        /* its other end, until it is sent */
    EventNotifier unheard; /* the call descriptor of rings that nobody listens to yet */
    VhostUserInflightArea inflight;

    /* for people */
    char *last_error;
    int64_t report_window; /* ns, CLK_REALTIME: when counting began; 0: never */
    unsigned reported, unreported;
    unsigned connections;
    int64_t connected_ns, ready_ns, starting_ns, started_ns;
    int64_t connected_at; /* us since 1970 */
};

static inline bool session_has(const VhostUser *vu, unsigned protocol_feature)
{
    return vu->protocol_features >> protocol_feature & 1;
}

void session_run_changes(VhostUser *vu);
extern const VhostUserBackendChannelOps session_backend_channel_ops;

/* handshake.c */
extern const ScriptRow script_negotiate[];
/* operation.c */
extern const ScriptRow script_start[], script_stop[], script_enable[], script_memory[],
    script_log[];
/* backend-requests.c */
uint64_t session_backend_request(VhostUser *vu, VhostUserMessage *msg);

#endif
