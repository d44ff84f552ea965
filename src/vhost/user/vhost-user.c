/* The session: which script runs when, and what the back end said. */
#include "vhost/user/vhost-user.h"

#include <inttypes.h>
#include <string.h>

#include "base/report.h"
#include "event/clock.h"
#include "schema/vhost-user.h"
#include "trace/vhost-events.h"
#include "vhost/features.h"
#include "vhost/user/session.h"
#include "vhost/user/shared-object.h"

/* All sessions of this process, for query-vhost-user. Machine lock. */
static GPtrArray *sessions;

/* Protocol features every kind of device has a use for. */
#define GENERAL_PROTOCOL_FEATURES                                                \
    (BIT64(VHOST_USER_PF_REPLY_ACK) | BIT64(VHOST_USER_PF_CONFIGURE_MEM_SLOTS) | \
     BIT64(VHOST_USER_PF_STATUS) | BIT64(VHOST_USER_PF_LOG_SHMFD) |              \
     BIT64(VHOST_USER_PF_BACKEND_REQ) | BIT64(VHOST_USER_PF_BACKEND_SEND_FD) |   \
     BIT64(VHOST_USER_PF_HOST_NOTIFIER) | BIT64(VHOST_USER_PF_RESET_DEVICE))

/* Reports of one failing back end: at most so many lines in so long a time, so that a back end that
 * fails at once on every connection does not fill the log. */
#define REPORT_INTERVAL (5 * NS_PER_SECOND)
#define REPORTS_AT_MOST 4

const char *vhost_user_phase_name(VhostUserPhase phase)
{
    static const char *const names[] = {
        [VHOST_USER_DISCONNECTED] = "disconnected",
        [VHOST_USER_NEGOTIATING] = "negotiating",
        [VHOST_USER_READY] = "ready",
        [VHOST_USER_STARTING] = "starting",
        [VHOST_USER_RUNNING] = "running",
        [VHOST_USER_STOPPING] = "stopping",
    };
    return names[phase];
}

/* --- What is said about it --- */

static void session_report(VhostUser *vu, const Error *why)
{
    int64_t now = clock_now(CLK_REALTIME);
    g_free(vu->last_error);
    vu->last_error = g_strdup(error_message(why));
    qmp_event_vhost_user_error(vu->name, error_message(why));
    trace_vhost_user_error(vu->name, error_message(why));
    if (!vu->report_window || now - vu->report_window >= REPORT_INTERVAL) {
        vu->report_window = now;
        vu->reported = 0;
    }
    if (vu->reported++ >= REPORTS_AT_MOST) {
        vu->unreported++;
        return;
    }
    if (vu->unreported) {
        report_warning("%s: %s (%u more errors meanwhile)", vhost_user_channel_label(vu->channel),
                       error_message(why), vu->unreported);
        vu->unreported = 0;
    } else {
        report_warning("%s: %s", vhost_user_channel_label(vu->channel), error_message(why));
    }
}

/* The good news of a back end that fails again each time is not told again each time. */
static void session_report_connected(VhostUser *vu)
{
    bool quiet = vu->reported > REPORTS_AT_MOST &&
                 clock_now(CLK_REALTIME) - vu->report_window < REPORT_INTERVAL;
    if (!quiet) {
        report_info("%s: connected", vhost_user_channel_label(vu->channel));
    }
}

static void session_set_phase(VhostUser *vu, VhostUserPhase phase)
{
    vu->phase = phase;
    trace_vhost_user_phase(vu->name, vhost_user_phase_name(phase));
}

/* --- Running scripts --- */

static void session_tell_done(VhostUser *vu, const Error *err)
{
    VhostDoneFn *done = vu->done;
    vu->done = NULL;
    if (done) {
        done(vu->done_opaque, err);
    }
}

/* A back end that said something wrong, or no: whatever was half done is undone by ending the
 * connection. While the channel itself fails there is nothing left to end. */
static void session_end_connection(VhostUser *vu, const Error *err)
{
    if (vhost_user_channel_is_open(vu->channel)) {
        vhost_user_channel_fail(vu->channel, error_copy(err));
    }
}

static void session_negotiated(void *opaque, const Error *err)
{
    VhostUser *vu = opaque;
    if (err) {
        /* Still open: what it said was understood, and won't do. */
        if (vhost_user_channel_is_open(vu->channel)) {
            vu->backend.events->refused(vu->backend.events_opaque, err);
        }
        session_end_connection(vu, err);
        return;
    }
    session_set_phase(vu, VHOST_USER_READY);
    vu->ready_ns = clock_now(CLK_REALTIME);
    vu->connections++;
    session_report_connected(vu);
    qmp_event_vhost_user_connected(vu->name);
    vu->backend.events->ready(vu->backend.events_opaque);
}

static void session_started(void *opaque, const Error *err)
{
    VhostUser *vu = opaque;
    if (err) {
        session_end_connection(vu, err);
    } else {
        session_set_phase(vu, VHOST_USER_RUNNING);
        vu->started_ns = clock_now(CLK_REALTIME);
    }
    session_tell_done(vu, err);
}

static void session_stopped(void *opaque, const Error *err)
{
    VhostUser *vu = opaque;
    if (err) {
        session_end_connection(vu, err);
    } else {
        session_set_phase(vu, VHOST_USER_READY);
    }
    vu->plan = NULL;
    session_tell_done(vu, err);
}

static void session_changed(void *opaque, const Error *err)
{
    VhostUser *vu = opaque;
    if (err) {
        session_end_connection(vu, err);
    } else {
        session_run_changes(vu);
    }
}

static void session_log_changed(void *opaque, const Error *err)
{
    VhostUser *vu = opaque;
    VhostDoneFn *done = vu->log_done;
    vu->log_done = NULL;
    if (done) {
        done(vu->log_opaque, err);
    }
    session_changed(opaque, err);
}

/* One change at a time; what comes meanwhile waits its turn. */
void session_run_changes(VhostUser *vu)
{
    if (script_is_running(&vu->script) || vu->phase != VHOST_USER_RUNNING) {
        return;
    }
    if (vu->changes.memory) {
        vu->changes.memory = false;
        script_run(&vu->script, vu->channel, script_memory, session_changed, vu);
    } else if (vu->changes.log) {
        vu->changes.log = false;
        script_run(&vu->script, vu->channel, script_log, session_log_changed, vu);
    } else if (vu->changes.enable) {
        vu->changes.enable = false;
        script_run(&vu->script, vu->channel, script_enable, session_changed, vu);
    } else if (vu->changes.stop) {
        vu->changes.stop = false;
        session_set_phase(vu, VHOST_USER_STOPPING);
        script_run(&vu->script, vu->channel, script_stop, session_stopped, vu);
    }
}

/* --- The channel's news --- */

static void session_opened(void *opaque)
{
    VhostUser *vu = opaque;
    session_set_phase(vu, VHOST_USER_NEGOTIATING);
    vu->connected_ns = clock_now(CLK_REALTIME);
    vu->connected_at = g_get_real_time();
    vu->ready_ns = vu->starting_ns = vu->started_ns = 0;
    script_run(&vu->script, vu->channel, script_negotiate, session_negotiated, vu);
}

static void session_drop_connection(VhostUser *vu)
{
    script_abandon(&vu->script);
    shared_object_forget(vu);
    vhost_user_backend_channel_free(vu->backend_channel);
    vu->backend_channel = NULL;
    fd_close(vu->backend_fd);
    vu->backend_fd = -1;
    session_set_phase(vu, VHOST_USER_DISCONNECTED);
    vu->plan = NULL;
    vu->table_count = 0;
    vu->changes = (VhostUserChanges){ 0 };
    vu->log_done = NULL;
}

/* A client without reconnect stays alone: say so, and what helps. */
static void session_report_end(VhostUser *vu)
{
    const Chardev *chr = vhost_user_channel_chardev(vu->channel);
    if (!chardev_is_server(chr) && !chardev_reconnects(chr)) {
        report_warning("%s: chardev '%s' does not connect again by itself; give it "
                       "reconnect-ms=100, or change it with chardev-change",
                       vhost_user_channel_label(vu->channel), chardev_id(chr));
    }
}

static void session_closed(void *opaque, const Error *why)
{
    VhostUser *vu = opaque;
    bool was_ready = vu->phase >= VHOST_USER_READY;
    session_drop_connection(vu);
    session_report(vu, why);
    session_report_end(vu);
    if (was_ready) {
        qmp_event_vhost_user_disconnected(vu->name, error_message(why));
    }
    session_tell_done(vu, why);
    vu->backend.events->gone(vu->backend.events_opaque, why);
}

static const VhostUserChannelOps session_channel_ops = {
    .opened = session_opened,
    .closed = session_closed,
};

/* --- The back end's own requests --- */

static bool session_config_taken(VhostUser *vu, VhostUserMessage *reply)
{
    const VhostUserConfig *c = &reply->payload.config;
    if (c->size != vu->config_size || c->offset) {
        return false;
    }
    memcpy(vu->config, c->data, vu->config_size);
    return true;
}

static void session_config_read_again(void *opaque, VhostUserMessage *reply, const Error *err)
{
    VhostUser *vu = opaque;
    if (reply && session_config_taken(vu, reply)) {
        vu->backend.events->config_changed(vu->backend.events_opaque);
    }
}

static void session_read_config(VhostUser *vu)
{
    VhostUserMessage msg = { .header.request = VHOST_USER_GET_CONFIG,
                             .payload.config.size = vu->config_size };
    vhost_user_channel_request(vu->channel, &msg, session_config_read_again, vu);
}

static uint64_t session_requested(void *opaque, VhostUserMessage *msg)
{
    VhostUser *vu = opaque;
    if (msg->header.request != VHOST_USER_BACKEND_CONFIG_CHANGE_MSG) {
        return session_backend_request(vu, msg);
    }
    if (vu->config_size) {
        session_read_config(vu);
    }
    return 0;
}

static void session_backend_broken(void *opaque, Error *err)
{
    vhost_user_channel_fail(((VhostUser *)opaque)->channel, err);
}

const VhostUserBackendChannelOps session_backend_channel_ops = {
    .request = session_requested,
    .broken = session_backend_broken,
};

/* --- As a VhostBackend --- */

static VhostUser *session_of(VhostBackend *b)
{
    return CONTAINER_OF(b, VhostUser, backend);
}

static bool backend_is_ready(VhostBackend *b)
{
    return session_of(b)->phase >= VHOST_USER_READY;
}

static uint64_t backend_features(VhostBackend *b)
{
    return session_of(b)->features &
           ~(BIT64(VHOST_USER_F_PROTOCOL_FEATURES) | BIT64(VHOST_F_LOG_ALL));
}

static unsigned backend_max_rings(VhostBackend *b)
{
    return MIN_OF(session_of(b)->max_rings, UINT16_MAX);
}

static unsigned backend_max_regions(VhostBackend *b)
{
    VhostUser *vu = session_of(b);
    return session_has(vu, VHOST_USER_PF_CONFIGURE_MEM_SLOTS) ? vu->max_slots
                                                              : VHOST_USER_MAX_REGIONS;
}

static bool backend_records_in_flight(VhostBackend *b)
{
    return session_of(b)->inflight.fd >= 0;
}

static void session_expect(VhostUser *vu, VhostDoneFn *done, void *opaque)
{
    assert(!vu->done);
    vu->done = done;
    vu->done_opaque = opaque;
}

/* What the driver accepted and this back end, perhaps a new one, no longer offers. */
static bool session_check_lost_features(VhostUser *vu, const VhostPlan *plan, Error **errp)
{
    /* The transport's and the ring's own bits are not the back end's to offer where the front end
     * implements them; only device bits and ring formats are. */
    uint64_t lost = plan->features & ~vu->features & ~vu->spec_ignored;
    if (!lost || vu->tolerate_lost_features) {
        return true;
    }
    g_autofree char *names = vhost_feature_names(vu->virtio_id, lost);
    error_set(errp,
              "the driver uses features that the back end does not offer: %s; reset the guest, or "
              "tolerate it with lost-features=on",
              names);
    return false;
}

static void backend_start(VhostBackend *b, const VhostPlan *plan, VhostDoneFn *done, void *opaque)
{
    VhostUser *vu = session_of(b);
    session_expect(vu, done, opaque);
    Error *err = NULL;
    if (!session_check_lost_features(vu, plan, &err)) {
        session_report(vu, err);
        session_tell_done(vu, err);
        error_free(err);
        return;
    }
    vu->plan = plan;
    inflight_prepare(&vu->inflight, plan);
    vu->starting_ns = clock_now(CLK_REALTIME);
    session_set_phase(vu, VHOST_USER_STARTING);
    script_run(&vu->script, vu->channel, script_start, session_started, vu);
}

static void backend_stop(VhostBackend *b, VhostDoneFn *done, void *opaque)
{
    VhostUser *vu = session_of(b);
    vu->done = NULL; /* whoever waited for a change does not any more */
    session_expect(vu, done, opaque);
    vu->changes = (VhostUserChanges){ .stop = true };
    vu->log_done = NULL; /* it ends with the stop */
    session_run_changes(vu);
}

static void backend_set_enabled(VhostBackend *b, unsigned first, unsigned count, bool on,
                                VhostDoneFn *done, void *opaque)
{
    VhostUser *vu = session_of(b);
    for (unsigned i = first; i < first + count && i < vu->plan->count; i++) {
        vu->plan->rings[i].enabled = on;
    }
    vu->changes.enable = true;
    session_run_changes(vu);
    done(opaque, NULL);
}

static void backend_update_memory(VhostBackend *b, VhostDoneFn *done, void *opaque)
{
    VhostUser *vu = session_of(b);
    vu->changes.memory = true;
    session_run_changes(vu);
    done(opaque, NULL);
}

static bool backend_can_log(VhostBackend *b, Error **errp)
{
    VhostUser *vu = session_of(b);
    if (session_has(vu, VHOST_USER_PF_LOG_SHMFD) && (vu->features >> VHOST_F_LOG_ALL & 1)) {
        return true;
    }
    error_set(errp, "the back end can't log what it writes: it lacks %s",
              session_has(vu, VHOST_USER_PF_LOG_SHMFD) ? "the feature LOG_ALL"
                                                       : "the protocol feature LOG_SHMFD");
    return false;
}

static void backend_update_log(VhostBackend *b, VhostDoneFn *done, void *opaque)
{
    VhostUser *vu = session_of(b);
    assert(!vu->log_done);
    vu->log_done = done;
    vu->log_opaque = opaque;
    vu->changes.log = true;
    session_run_changes(vu);
}

static void session_iotlb_answered(void *opaque, VhostUserMessage *reply, const Error *err)
{
    VhostUser *vu = opaque;
    if (reply && reply->payload.u64) {
        Error *why = NULL;
        error_set(&why, "the back end refused IOTLB_MSG (status %" PRIu64 ")", reply->payload.u64);
        vhost_user_channel_fail(vu->channel, why);
    }
}

static void backend_iotlb_update(VhostBackend *b, uint64_t iova, uint64_t len, void *host,
                                 unsigned access)
{
    VhostUser *vu = session_of(b);
    VhostUserMessage msg = {
        .header.request = VHOST_USER_IOTLB_MSG,
        .payload.iotlb = { .iova = iova,
                           .size = len,
                           .user_addr = (uintptr_t)host,
                           .permission = access,
                           .type = host ? VHOST_USER_IOTLB_UPDATE : VHOST_USER_IOTLB_INVALIDATE },
    };
    vhost_user_channel_request(vu->channel, &msg, session_iotlb_answered, vu);
}

static void backend_reset(VhostBackend *b)
{
    VhostUser *vu = session_of(b);
    if (session_has(vu, VHOST_USER_PF_RESET_DEVICE)) {
        VhostUserMessage msg = { .header.request = VHOST_USER_RESET_DEVICE };
        vhost_user_channel_request(vu->channel, &msg, NULL, NULL);
    }
}

static void backend_set_call(VhostBackend *b, unsigned index, int fd)
{
    VhostUser *vu = session_of(b);
    VhostUserMessage msg = { .header.request = VHOST_USER_SET_VRING_CALL, .payload.u64 = index };
    if (fd >= 0) {
        msg.fds[msg.nfds++] = fd;
    } else {
        msg.payload.u64 |= VHOST_USER_VRING_NOFD;
    }
    vhost_user_channel_request(vu->channel, &msg, NULL, NULL);
}

static void backend_abort(VhostBackend *b, const char *why)
{
    VhostUser *vu = session_of(b);
    Error *err = NULL;
    vu->done = NULL;
    script_abandon(&vu->script);
    error_set(&err, "%s", why);
    vhost_user_channel_fail(vu->channel, err);
}

static void backend_free(VhostBackend *b)
{
    VhostUser *vu = session_of(b);
    g_ptr_array_remove(sessions, vu);
    if (!sessions->len) {
        g_clear_pointer(&sessions, g_ptr_array_unref);
    }
    vu->done = NULL;
    session_drop_connection(vu);
    vhost_user_channel_free(vu->channel);
    event_notifier_finish(&vu->unheard);
    inflight_finish(&vu->inflight);
    g_free(vu->config);
    g_free(vu->last_error);
    g_free(vu->name);
    g_free(vu);
}

static const VhostBackendOps session_ops = {
    .kind = "user",
    .is_ready = backend_is_ready,
    .features = backend_features,
    .max_rings = backend_max_rings,
    .max_regions = backend_max_regions,
    .records_in_flight = backend_records_in_flight,
    .start = backend_start,
    .stop = backend_stop,
    .set_enabled = backend_set_enabled,
    .update_memory = backend_update_memory,
    .set_call = backend_set_call,
    .can_log = backend_can_log,
    .update_log = backend_update_log,
    .iotlb_update = backend_iotlb_update,
    .reset = backend_reset,
    .abort = backend_abort,
    .free = backend_free,
};

/* --- Life --- */

VhostUser *vhost_user_new(const VhostUserSpec *spec, Error **errp)
{
    VhostUser *vu = g_new0(VhostUser, 1);
    vu->unheard.fd = vu->backend_fd = -1;
    vu->inflight.fd = -1;
    const VhostUserChannelSpec channel = {
        .chardev = spec->chardev,
        .name = spec->name,
        .log = spec->log,
        .timeout_ms = spec->timeout_ms ?: VHOST_USER_DEFAULT_TIMEOUT_MS,
        .ops = &session_channel_ops,
        .opaque = vu,
    };
    if (!event_notifier_init(&vu->unheard, false, errp)) {
        g_free(vu);
        return NULL;
    }
    vu->channel = vhost_user_channel_new(&channel, errp);
    if (!vu->channel) {
        event_notifier_finish(&vu->unheard);
        g_free(vu);
        return NULL;
    }
    vu->backend.ops = &session_ops;
    vu->name = g_strdup(spec->name);
    vu->virtio_id = spec->virtio_id;
    vu->rings = spec->rings;
    vu->least_rings = spec->least_rings;
    vu->wanted_protocol_features = GENERAL_PROTOCOL_FEATURES | spec->protocol_features;
    vu->required_protocol_features = spec->required_protocol_features;
    vu->required_features = spec->required_features;
    vu->tolerate_lost_features = spec->tolerate_lost_features;
    vu->spec_ignored = spec->front_end_features;
    vu->config_size = spec->config_size;
    vu->config = g_malloc0(MAX_OF(spec->config_size, 1u));
    if (!sessions) {
        sessions = g_ptr_array_new();
    }
    g_ptr_array_add(sessions, vu);
    return vu;
}

VhostBackend *vhost_user_backend(VhostUser *vu)
{
    return &vu->backend;
}

VhostUser *vhost_user_from_backend(VhostBackend *backend)
{
    return backend->ops == &session_ops ? session_of(backend) : NULL;
}

void vhost_user_start(VhostUser *vu)
{
    vhost_user_channel_start(vu->channel);
}

/* --- Beyond the queues --- */

const uint8_t *vhost_user_config(const VhostUser *vu)
{
    return vu->connections ? vu->config : NULL;
}

typedef struct SessionCall {
    VhostDoneFn *done;
    void *opaque;
} SessionCall;

static void session_call_answered(void *opaque, VhostUserMessage *reply, const Error *err)
{
    SessionCall *call = opaque;
    if (call->done) {
        call->done(call->opaque, err);
    }
    g_free(call);
}

static void session_call(VhostUser *vu, VhostUserMessage *msg, VhostDoneFn *done, void *opaque)
{
    SessionCall *call = g_new(SessionCall, 1);
    *call = (SessionCall){ done, opaque };
    vhost_user_channel_request(vu->channel, msg, session_call_answered, call);
}

void vhost_user_set_config(VhostUser *vu, uint32_t offset, const void *data, uint32_t len,
                           VhostDoneFn *done, void *opaque)
{
    assert(offset + len <= vu->config_size);
    VhostUserMessage msg = { .header.request = VHOST_USER_SET_CONFIG,
                             .payload.config = { .offset = offset, .size = len } };
    memcpy(msg.payload.config.data, data, len);
    memcpy(vu->config + offset, data, len);
    session_call(vu, &msg, done, opaque);
}

typedef struct SessionConfigCall {
    VhostUser *vu;
    VhostUserConfigFn *fn;
    void *opaque;
} SessionConfigCall;

static void session_config_fetched(void *opaque, VhostUserMessage *reply, const Error *err)
{
    g_autofree SessionConfigCall *call = opaque;
    ERROR_AUTO wrong = NULL;
    if (!err && !session_config_taken(call->vu, reply)) {
        error_set(&wrong, "the back end could not read its configuration");
        err = wrong;
    }
    call->fn(call->opaque, err ? NULL : call->vu->config, err);
}

void vhost_user_get_config(VhostUser *vu, VhostUserConfigFn *fn, void *opaque)
{
    SessionConfigCall *call = g_new(SessionConfigCall, 1);
    *call = (SessionConfigCall){ vu, fn, opaque };
    VhostUserMessage msg = { .header.request = VHOST_USER_GET_CONFIG,
                             .payload.config.size = vu->config_size };
    vhost_user_channel_request(vu->channel, &msg, session_config_fetched, call);
}

void vhost_user_send_rarp(VhostUser *vu, const uint8_t mac[6])
{
    if (session_has(vu, VHOST_USER_PF_RARP)) {
        VhostUserMessage msg = { .header.request = VHOST_USER_SEND_RARP };
        memcpy(&msg.payload.u64, mac, 6);
        vhost_user_channel_request(vu->channel, &msg, NULL, NULL);
    }
}

void vhost_user_set_mtu(VhostUser *vu, uint16_t mtu)
{
    vu->mtu = mtu;
}

/* --- Status --- */

void vhost_user_status(VhostUser *vu, VhostUserStatus *status)
{
    *status = (VhostUserStatus){
        .name = vu->name,
        .virtio_id = vu->virtio_id,
        .chardev = vhost_user_channel_chardev(vu->channel),
        .phase = vu->phase,
        .features = vu->features,
        .acked_features = vu->acked_features,
        .saved_features = vu->saved_features,
        .inflight = vu->inflight.fd >= 0,
        .protocol_offered = vu->protocol_offered,
        .protocol_features = vu->protocol_features,
        .max_rings = vu->max_rings,
        .plan = vu->plan,
        .last_error = vu->last_error,
        .connections = vu->connections,
        .connected_ns = vu->connected_ns,
        .ready_ns = vu->ready_ns,
        .starting_ns = vu->starting_ns,
        .started_ns = vu->started_ns,
        .connected_at = vu->phase == VHOST_USER_DISCONNECTED ? 0 : vu->connected_at,
    };
}

uint64_t vhost_user_sent(VhostUser *vu, uint32_t code)
{
    return vhost_user_channel_sent(vu->channel, code);
}

uint64_t vhost_user_requested(VhostUser *vu, uint32_t code)
{
    return vhost_user_channel_requested(vu->channel, code);
}

uint64_t vhost_user_received(VhostUser *vu, uint32_t code)
{
    return vhost_user_channel_received(vu->channel, code);
}

bool vhost_user_foreach(VhostUserVisitor *visit, void *opaque)
{
    for (guint i = 0; sessions && i < sessions->len; i++) {
        if (!visit(sessions->pdata[i], opaque)) {
            return false;
        }
    }
    return true;
}
