/*
 * Phase 1, on every connection: who the back end is and what it can do.
 *
 * The order is the field's: features, protocol features, queue number, the back end's own channel,
 * owner, configuration, and a call descriptor for every ring, so that a back end that looks for one
 * early finds it.
 */
#include <inttypes.h>
#include <string.h>

#include "vhost/features.h"
#include "vhost/user/session.h"

/* VIRTIO 1.3 section 5 */
#define VIRTIO_ID_NET 1

static bool take_features(void *opaque, unsigned round, VhostUserMessage *reply, Error **errp)
{
    VhostUser *vu = opaque;
    vu->features = reply->payload.u64;
    vu->protocol_offered = vu->protocol_features = 0;
    vu->max_rings = vu->rings;
    vu->max_slots = VHOST_USER_MAX_REGIONS;
    if (vu->required_protocol_features && !(vu->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1)) {
        error_set(errp, "the back end knows no protocol features, and the device needs some");
        return false;
    }
    uint64_t missing = vu->required_features & ~vu->features;
    if (missing) {
        g_autofree char *names = vhost_feature_names(vu->virtio_id, missing);
        error_set(errp, "the back end lacks features that the device needs: %s", names);
        return false;
    }
    return true;
}

static unsigned if_protocol(void *opaque)
{
    return ((VhostUser *)opaque)->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1;
}

/* Some back ends claim every bit: only what is used is accepted, and only what was offered. */
static bool take_protocol_features(void *opaque, unsigned round, VhostUserMessage *reply,
                                   Error **errp)
{
    VhostUser *vu = opaque;
    vu->protocol_offered = reply->payload.u64;
    vu->protocol_features = vu->protocol_offered & vu->wanted_protocol_features;
    if (!session_has(vu, VHOST_USER_PF_REPLY_ACK)) {
        vu->protocol_features &= ~BIT64(VHOST_USER_PF_INBAND_NOTIFICATIONS);
    }
    for (unsigned bit = 0; bit < VHOST_USER_PF_COUNT; bit++) {
        if (vu->required_protocol_features & ~vu->protocol_features & BIT64(bit)) {
            error_set(errp, "the back end lacks the protocol feature %s, which the device needs",
                      vhost_user_protocol_feature_name(bit));
            return false;
        }
    }
    return true;
}

static bool fill_protocol_features(void *opaque, unsigned round, VhostUserMessage *msg,
                                   Error **errp)
{
    VhostUser *vu = opaque;
    msg->payload.u64 = vu->protocol_features;
    vhost_user_channel_set_reply_ack(vu->channel, session_has(vu, VHOST_USER_PF_REPLY_ACK));
    return true;
}

static unsigned if_mq(void *opaque)
{
    return session_has(opaque, VHOST_USER_PF_MQ);
}

static bool take_queue_num(void *opaque, unsigned round, VhostUserMessage *reply, Error **errp)
{
    VhostUser *vu = opaque;
    /* The field counts queue pairs for network devices, queues for others. */
    unsigned per_queue = vu->virtio_id == VIRTIO_ID_NET ? 2 : 1;
    vu->max_rings = MIN_OF(reply->payload.u64, UINT16_MAX) * per_queue;
    if (vu->max_rings < vu->least_rings) {
        error_set(errp, "the device has %u queues, the back end only %" PRIu64, vu->least_rings,
                  vu->max_rings);
        return false;
    }
    return true;
}

static unsigned if_mem_slots(void *opaque)
{
    return session_has(opaque, VHOST_USER_PF_CONFIGURE_MEM_SLOTS);
}

static bool take_mem_slots(void *opaque, unsigned round, VhostUserMessage *reply, Error **errp)
{
    VhostUser *vu = opaque;
    vu->max_slots = MIN_OF(reply->payload.u64, VHOST_USER_SLOTS_MAX);
    if (!vu->max_slots) {
        error_set(errp, "the back end has no slot for memory");
        return false;
    }
    return true;
}

static unsigned if_backend_req(void *opaque)
{
    return session_has(opaque, VHOST_USER_PF_BACKEND_REQ);
}

static bool fill_backend_fd(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    vu->backend_channel =
        vhost_user_backend_channel_new(vu->channel, vu->protocol_features,
                                       &session_backend_channel_ops, vu, &vu->backend_fd, errp);
    if (!vu->backend_channel) {
        return false;
    }
    msg->fds[msg->nfds++] = vu->backend_fd;
    return true;
}

/* Its end is sent: the copy here goes, so that the back end's exit shows. */
static unsigned close_backend_fd(void *opaque)
{
    VhostUser *vu = opaque;
    fd_close(vu->backend_fd);
    vu->backend_fd = -1;
    return 1;
}

static unsigned if_config(void *opaque)
{
    VhostUser *vu = opaque;
    return vu->config_size && session_has(vu, VHOST_USER_PF_CONFIG);
}

static bool fill_config(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    msg->payload.config.size = ((VhostUser *)opaque)->config_size;
    return true;
}

static bool take_config(void *opaque, unsigned round, VhostUserMessage *reply, Error **errp)
{
    VhostUser *vu = opaque;
    const VhostUserConfig *c = &reply->payload.config;
    if (!c->size) {
        error_set(errp, "the back end could not read its configuration");
        return false;
    }
    if (c->size != vu->config_size) {
        error_set(errp, "asked for %u bytes of configuration, got %u", vu->config_size, c->size);
        return false;
    }
    memcpy(vu->config, c->data, c->size);
    return true;
}

static unsigned rounds_rings(void *opaque)
{
    VhostUser *vu = opaque;
    return MIN_OF(vu->rings, vu->max_rings);
}

static bool fill_call(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    msg->payload.u64 = round;
    msg->fds[msg->nfds++] = ((VhostUser *)opaque)->unheard.fd;
    return true;
}

/* clang-format off */
const ScriptRow script_negotiate[] = {
    { VHOST_USER_GET_FEATURES, .take = take_features },
    { VHOST_USER_GET_PROTOCOL_FEATURES, if_protocol, .take = take_protocol_features },
    { VHOST_USER_SET_PROTOCOL_FEATURES, if_protocol, fill_protocol_features, .no_ack = true },
    { VHOST_USER_GET_QUEUE_NUM, if_mq, .take = take_queue_num },
    { VHOST_USER_GET_MAX_MEM_SLOTS, if_mem_slots, .take = take_mem_slots },
    { VHOST_USER_SET_BACKEND_REQ_FD, if_backend_req, fill_backend_fd },
    { VHOST_USER_SET_OWNER, close_backend_fd, .no_ack = true },
    { VHOST_USER_GET_CONFIG, if_config, fill_config, take_config },
    { VHOST_USER_SET_VRING_CALL, rounds_rings, fill_call, .no_ack = true },
    { 0 },
};
/* clang-format on */
