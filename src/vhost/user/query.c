/* query-vhost-user */
#include "base/schema.h"
#include "event/clock.h"
#include "schema/vhost-user.h"
#include "vhost/features.h"
#include "vhost/user/vhost-user.h"

typedef struct FeatureState {
    bool offered, acked, saved;
} FeatureState;

static void add_feature(VhostUserFeatureList *list, unsigned bit, const char *name, FeatureState s)
{
    if (!s.offered && !s.acked && !s.saved) {
        return;
    }
    list->items = g_renew(VhostUserFeature, list->items, list->len + 1);
    list->items[list->len++] = (VhostUserFeature){
        .bit = bit, .name = g_strdup(name), .offered = s.offered, .acked = s.acked, .saved = s.saved
    };
}

static void describe_features(const VhostUserStatus *s, VhostUserInfo *info)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        const FeatureState virtio = { s->features >> bit & 1, s->acked_features >> bit & 1,
                                      s->saved_features >> bit & 1 };
        bool used = s->protocol_features >> bit & 1;
        const FeatureState protocol = { s->protocol_offered >> bit & 1, used, used };
        add_feature(&info->features, bit, vhost_feature_name(s->virtio_id, bit), virtio);
        add_feature(&info->protocol_features, bit,
                    vhost_user_protocol_feature_name(bit) ?: "unknown", protocol);
    }
}

static void describe_queues(const VhostPlan *plan, VhostUserQueueList *list)
{
    list->items = g_new0(VhostUserQueue, plan->count);
    for (unsigned i = 0; i < plan->count; i++) {
        const VhostRing *ring = &plan->rings[i];
        if (ring->size) {
            list->items[list->len++] = (VhostUserQueue){
                .index = ring->index,
                .size = ring->size,
                .base = ring->base,
                .enabled = ring->enabled,
                .kicks = __atomic_load_n(&ring->kick->sent, __ATOMIC_RELAXED),
                .calls = __atomic_load_n(&ring->call->heard, __ATOMIC_RELAXED),
                .masked = ring->call_fd != ring->call->fd,
                .doorbell = ring->doorbell,
            };
        }
    }
}

static void describe_memory(const VhostPlan *plan, VhostUserRegionInfoList *list)
{
    unsigned count;
    const VhostRegion *regions = vhost_memory_map_regions(plan->memory, &count);
    list->items = g_new0(VhostUserRegionInfo, count);
    for (; list->len < count; list->len++) {
        const VhostRegion *r = &regions[list->len];
        list->items[list->len] = (VhostUserRegionInfo){ .guest_address = r->guest_addr,
                                                        .size = r->size,
                                                        .user_address = (uintptr_t)r->host,
                                                        .memory = g_strdup(r->block->id),
                                                        .fd_offset = r->fd_offset };
    }
}

static void describe_messages(VhostUser *vu, VhostUserMessageCountList *list)
{
    for (uint32_t code = 1; code < VHOST_USER_REQUEST_COUNT; code++) {
        uint64_t sent = vhost_user_sent(vu, code), received = vhost_user_received(vu, code);
        if (!sent && !received) {
            continue;
        }
        list->items = g_renew(VhostUserMessageCount, list->items, list->len + 1);
        list->items[list->len++] = (VhostUserMessageCount){
            .name = g_strdup(vhost_user_request_name(code)), .sent = sent, .received = received
        };
    }
}

static void describe_requests(VhostUser *vu, VhostUserMessageCountList *list)
{
    for (uint32_t code = 1; code < VHOST_USER_BACKEND_REQUEST_COUNT; code++) {
        uint64_t received = vhost_user_requested(vu, code);
        if (received) {
            list->items = g_renew(VhostUserMessageCount, list->items, list->len + 1);
            list->items[list->len++] =
                (VhostUserMessageCount){ .name = g_strdup(vhost_user_backend_request_name(code)),
                                         .received = received };
        }
    }
}

static void describe_times(const VhostUserStatus *s, VhostUserInfo *info)
{
    int64_t now = clock_now(CLK_REALTIME);
    if (s->connected_at) {
        g_autoptr(GDateTime) at = g_date_time_new_from_unix_utc(s->connected_at / G_USEC_PER_SEC);
        info->connected_at = g_date_time_format(at, "%Y-%m-%dT%H:%M:%SZ");
    }
    if (s->ready_ns) {
        info->has_negotiation_us = info->has_ready_us = true;
        info->negotiation_us = (s->ready_ns - s->connected_ns) / NS_PER_US;
        info->ready_us = (now - s->ready_ns) / NS_PER_US;
    }
    if (s->started_ns) {
        info->has_start_us = info->has_running_us = true;
        info->start_us = (s->started_ns - s->starting_ns) / NS_PER_US;
        info->running_us = (now - s->started_ns) / NS_PER_US;
    }
}

static bool describe(VhostUser *vu, void *opaque)
{
    VhostUserInfoList *list = opaque;
    VhostUserStatus s;
    vhost_user_status(vu, &s);
    list->items = g_renew(VhostUserInfo, list->items, list->len + 1);
    VhostUserInfo *info = &list->items[list->len++];
    *info = (VhostUserInfo){
        .device = g_strdup(s.name),
        .chardev = g_strdup(chardev_id(s.chardev)),
        .filename = chardev_filename(s.chardev),
        .state = (VhostUserPhaseName)s.phase,
        .connections = s.connections,
        .last_error = g_strdup(s.last_error),
        .max_queues = s.max_rings,
        .logging = s.plan && s.plan->log,
        .inflight = s.inflight,
        .reconnects = chardev_is_server(s.chardev) || chardev_reconnects(s.chardev),
    };
    describe_features(&s, info);
    if (s.plan) {
        describe_queues(s.plan, &info->queues);
        describe_memory(s.plan, &info->memory);
    }
    describe_messages(vu, &info->messages);
    describe_requests(vu, &info->requests);
    describe_times(&s, info);
    return true;
}

bool qmp_query_vhost_user(VhostUserInfoList *ret, Error **errp)
{
    vhost_user_foreach(describe, ret);
    return true;
}
