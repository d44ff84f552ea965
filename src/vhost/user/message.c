#include "vhost/user/message.h"

#include <inttypes.h>
#include <string.h>

#include "base/fd.h"

#define NOTHING VU_NEEDS_NOTHING
#define PF(bit) VHOST_USER_PF_##bit

#define ACKED(fmin, fmax) .fds_min = (fmin), .fds_max = (fmax), .answer = VU_ANSWER_ACK
#define ANSWERED(kind, rmin, rmax) \
    .answer = VU_ANSWER_PAYLOAD, .reply = (kind), .reply_fds_min = (rmin), .reply_fds_max = (rmax)

/* clang-format off */
static const VhostUserMessageInfo requests[VHOST_USER_REQUEST_COUNT] = {
    [VHOST_USER_GET_FEATURES] = { "GET_FEATURES", VU_NONE, ANSWERED(VU_U64, 0, 0), .needs = NOTHING },
    [VHOST_USER_SET_FEATURES] = { "SET_FEATURES", VU_U64, ACKED(0, 0), .needs = NOTHING },
    [VHOST_USER_SET_OWNER] = { "SET_OWNER", VU_NONE, ACKED(0, 0), .needs = NOTHING },
    [VHOST_USER_RESET_OWNER] = { "RESET_OWNER", VU_NONE, ACKED(0, 0), .needs = NOTHING },
    [VHOST_USER_SET_MEM_TABLE] = { "SET_MEM_TABLE", VU_MEMORY, ACKED(1, 8), .needs = NOTHING },
    [VHOST_USER_SET_LOG_BASE] = { "SET_LOG_BASE", VU_LOG, .fds_min = 1, .fds_max = 1, .answer = VU_ANSWER_LOG, .needs = PF(LOG_SHMFD) },
    [VHOST_USER_SET_LOG_FD] = { "SET_LOG_FD", VU_NONE, ACKED(1, 1), .needs = NOTHING },
    [VHOST_USER_SET_VRING_NUM] = { "SET_VRING_NUM", VU_VRING_STATE, ACKED(0, 0), .needs = NOTHING },
    [VHOST_USER_SET_VRING_ADDR] = { "SET_VRING_ADDR", VU_VRING_ADDR, ACKED(0, 0), .needs = NOTHING },
    [VHOST_USER_SET_VRING_BASE] = { "SET_VRING_BASE", VU_VRING_STATE, ACKED(0, 0), .needs = NOTHING },
    [VHOST_USER_GET_VRING_BASE] = { "GET_VRING_BASE", VU_VRING_STATE, ANSWERED(VU_VRING_STATE, 0, 0), .needs = NOTHING },
    [VHOST_USER_SET_VRING_KICK] = { "SET_VRING_KICK", VU_U64, ACKED(0, 1), .needs = NOTHING },
    [VHOST_USER_SET_VRING_CALL] = { "SET_VRING_CALL", VU_U64, ACKED(0, 1), .needs = NOTHING },
    [VHOST_USER_SET_VRING_ERR] = { "SET_VRING_ERR", VU_U64, ACKED(0, 1), .needs = NOTHING },
    [VHOST_USER_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", VU_NONE, ANSWERED(VU_U64, 0, 0), .needs = VU_NEEDS_PROTOCOL },
    [VHOST_USER_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", VU_U64, ACKED(0, 0), .needs = VU_NEEDS_PROTOCOL },
    [VHOST_USER_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", VU_NONE, ANSWERED(VU_U64, 0, 0), .needs = PF(MQ) },
    [VHOST_USER_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", VU_VRING_STATE, ACKED(0, 0), .needs = VU_NEEDS_PROTOCOL },
    [VHOST_USER_SEND_RARP] = { "SEND_RARP", VU_U64, ACKED(0, 0), .needs = PF(RARP) },
    [VHOST_USER_NET_SET_MTU] = { "NET_SET_MTU", VU_U64, ACKED(0, 0), .needs = PF(NET_MTU) },
    [VHOST_USER_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", VU_NONE, ACKED(1, 1), .needs = PF(BACKEND_REQ) },
    [VHOST_USER_IOTLB_MSG] = { "IOTLB_MSG", VU_IOTLB, ANSWERED(VU_U64, 0, 0), .needs = VU_NEEDS_IOMMU },
    [VHOST_USER_SET_VRING_ENDIAN] = { "SET_VRING_ENDIAN", VU_VRING_STATE, ACKED(0, 0), .needs = PF(CROSS_ENDIAN) },
    [VHOST_USER_GET_CONFIG] = { "GET_CONFIG", VU_CONFIG, ANSWERED(VU_CONFIG, 0, 0), .needs = PF(CONFIG) },
    [VHOST_USER_SET_CONFIG] = { "SET_CONFIG", VU_CONFIG, ACKED(0, 0), .needs = PF(CONFIG) },
    [VHOST_USER_CREATE_CRYPTO_SESSION] = { "CREATE_CRYPTO_SESSION", VU_CRYPTO_SESSION, ANSWERED(VU_CRYPTO_SESSION, 0, 0), .needs = PF(CRYPTO_SESSION) },
    [VHOST_USER_CLOSE_CRYPTO_SESSION] = { "CLOSE_CRYPTO_SESSION", VU_U64, ACKED(0, 0), .needs = PF(CRYPTO_SESSION) },
    [VHOST_USER_POSTCOPY_ADVISE] = { "POSTCOPY_ADVISE", VU_NONE, ANSWERED(VU_NONE, 1, 1), .needs = PF(PAGEFAULT) },
    [VHOST_USER_POSTCOPY_LISTEN] = { "POSTCOPY_LISTEN", VU_NONE, ACKED(0, 0), .needs = PF(PAGEFAULT) },
    [VHOST_USER_POSTCOPY_END] = { "POSTCOPY_END", VU_NONE, ANSWERED(VU_U64, 0, 0), .needs = PF(PAGEFAULT) },
    [VHOST_USER_GET_INFLIGHT_FD] = { "GET_INFLIGHT_FD", VU_INFLIGHT, ANSWERED(VU_INFLIGHT, 0, 1), .needs = PF(INFLIGHT_SHMFD) },
    [VHOST_USER_SET_INFLIGHT_FD] = { "SET_INFLIGHT_FD", VU_INFLIGHT, ACKED(1, 1), .needs = PF(INFLIGHT_SHMFD) },
    [VHOST_USER_GPU_SET_SOCKET] = { "GPU_SET_SOCKET", VU_NONE, ACKED(1, 1), .needs = VU_NEEDS_GPU },
    [VHOST_USER_RESET_DEVICE] = { "RESET_DEVICE", VU_NONE, ACKED(0, 0), .needs = PF(RESET_DEVICE) },
    [VHOST_USER_VRING_KICK] = { "VRING_KICK", VU_VRING_STATE, ACKED(0, 0), .needs = PF(INBAND_NOTIFICATIONS) },
    [VHOST_USER_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", VU_NONE, ANSWERED(VU_U64, 0, 0), .needs = PF(CONFIGURE_MEM_SLOTS) },
    [VHOST_USER_ADD_MEM_REG] = { "ADD_MEM_REG", VU_MEM_REGION, ACKED(1, 1), .needs = PF(CONFIGURE_MEM_SLOTS) },
    [VHOST_USER_REM_MEM_REG] = { "REM_MEM_REG", VU_MEM_REGION, ACKED(0, 0), .needs = PF(CONFIGURE_MEM_SLOTS) },
    [VHOST_USER_SET_STATUS] = { "SET_STATUS", VU_U64, ACKED(0, 0), .needs = PF(STATUS) },
    [VHOST_USER_GET_STATUS] = { "GET_STATUS", VU_NONE, ANSWERED(VU_U64, 0, 0), .needs = PF(STATUS) },
    [VHOST_USER_GET_SHARED_OBJECT] = { "GET_SHARED_OBJECT", VU_SHARED, ANSWERED(VU_NONE, 1, 1), .needs = PF(SHARED_OBJECT) },
    [VHOST_USER_SET_DEVICE_STATE_FD] = { "SET_DEVICE_STATE_FD", VU_DEVICE_STATE, .fds_min = 1, .fds_max = 1, ANSWERED(VU_U64, 0, 1), .needs = PF(DEVICE_STATE) },
    [VHOST_USER_CHECK_DEVICE_STATE] = { "CHECK_DEVICE_STATE", VU_NONE, ANSWERED(VU_U64, 0, 0), .needs = PF(DEVICE_STATE) },
    [VHOST_USER_GET_SHMEM_CONFIG] = { "GET_SHMEM_CONFIG", VU_NONE, ANSWERED(VU_SHMEM_CONFIG, 0, 0), .needs = PF(SHMEM) },
};

static const VhostUserMessageInfo backend_requests[VHOST_USER_BACKEND_REQUEST_COUNT] = {
    [VHOST_USER_BACKEND_IOTLB_MSG] = { "BACKEND_IOTLB_MSG", VU_IOTLB, ACKED(0, 0), .needs = VU_NEEDS_IOMMU },
    [VHOST_USER_BACKEND_CONFIG_CHANGE_MSG] = { "BACKEND_CONFIG_CHANGE_MSG", VU_NONE, ACKED(0, 0), .needs = PF(CONFIG) },
    [VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG] = { "BACKEND_VRING_HOST_NOTIFIER_MSG", VU_VRING_AREA, ACKED(0, 1), .needs = PF(HOST_NOTIFIER) },
    [VHOST_USER_BACKEND_VRING_CALL] = { "BACKEND_VRING_CALL", VU_VRING_STATE, ACKED(0, 0), .needs = PF(INBAND_NOTIFICATIONS) },
    [VHOST_USER_BACKEND_VRING_ERR] = { "BACKEND_VRING_ERR", VU_VRING_STATE, ACKED(0, 0), .needs = PF(INBAND_NOTIFICATIONS) },
    [VHOST_USER_BACKEND_SHARED_OBJECT_ADD] = { "BACKEND_SHARED_OBJECT_ADD", VU_SHARED, ACKED(0, 0), .needs = PF(SHARED_OBJECT) },
    [VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE] = { "BACKEND_SHARED_OBJECT_REMOVE", VU_SHARED, ACKED(0, 0), .needs = PF(SHARED_OBJECT) },
    [VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP] = { "BACKEND_SHARED_OBJECT_LOOKUP", VU_SHARED, ANSWERED(VU_U64, 0, 1), .needs = PF(SHARED_OBJECT) },
    [VHOST_USER_BACKEND_SHMEM_MAP] = { "BACKEND_SHMEM_MAP", VU_MMAP, ACKED(1, 1), .needs = PF(SHMEM) },
    [VHOST_USER_BACKEND_SHMEM_UNMAP] = { "BACKEND_SHMEM_UNMAP", VU_MMAP, ACKED(0, 0), .needs = PF(SHMEM) },
};

/* Bytes: least and most. Those that differ say their own number of elements. */
static const struct {
    uint32_t min, max;
} kind_sizes[VU_KIND_COUNT] = {
    [VU_NONE] = { 0, 0 },
    [VU_U64] = { 8, 8 },
    [VU_VRING_STATE] = { 8, 8 },
    [VU_VRING_ADDR] = { 40, 40 },
    [VU_MEMORY] = { 8, 8 + 32 * VHOST_USER_MAX_REGIONS },
    [VU_MEM_REGION] = { 40, 40 },
    [VU_LOG] = { 16, 16 },
    [VU_IOTLB] = { 32, 32 },
    [VU_CONFIG] = { VHOST_USER_CONFIG_HEADER, VHOST_USER_CONFIG_HEADER + VHOST_USER_CONFIG_MAX },
    [VU_VRING_AREA] = { 24, 24 },
    [VU_INFLIGHT] = { 20, 24 }, /* some back ends leave the padding out */
    [VU_SHARED] = { 16, 16 },
    [VU_DEVICE_STATE] = { 8, 8 },
    [VU_SHMEM_CONFIG] = { 8, 8 + 8 * VHOST_USER_SHMEM_REGIONS },
    [VU_MMAP] = { 40, 40 },
    [VU_CRYPTO_SESSION] = { 8, VHOST_USER_CRYPTO_SESSION_MAX },
};
/* clang-format on */

static const VhostUserMessageInfo *find(const VhostUserMessageInfo *table, uint32_t count,
                                        uint32_t code)
{
    return code < count && table[code].name ? &table[code] : NULL;
}

const VhostUserMessageInfo *vhost_user_request_info(uint32_t code)
{
    return find(requests, ARRAY_LEN(requests), code);
}

const VhostUserMessageInfo *vhost_user_backend_request_info(uint32_t code)
{
    return find(backend_requests, ARRAY_LEN(backend_requests), code);
}

const char *vhost_user_request_name(uint32_t code)
{
    const VhostUserMessageInfo *info = vhost_user_request_info(code);
    return info ? info->name : "an unknown request";
}

const char *vhost_user_backend_request_name(uint32_t code)
{
    const VhostUserMessageInfo *info = vhost_user_backend_request_info(code);
    return info ? info->name : "an unknown request";
}

const char *vhost_user_protocol_feature_name(unsigned bit)
{
    static const char *const names[VHOST_USER_PF_COUNT] = {
        "MQ",
        "LOG_SHMFD",
        "RARP",
        "REPLY_ACK",
        "NET_MTU",
        "BACKEND_REQ",
        "CROSS_ENDIAN",
        "CRYPTO_SESSION",
        "PAGEFAULT",
        "CONFIG",
        "BACKEND_SEND_FD",
        "HOST_NOTIFIER",
        "INFLIGHT_SHMFD",
        "RESET_DEVICE",
        "INBAND_NOTIFICATIONS",
        "CONFIGURE_MEM_SLOTS",
        "STATUS",
        "XEN_MMAP",
        "SHARED_OBJECT",
        "DEVICE_STATE",
        "GET_VRING_BASE_INFLIGHT",
        "GPA_ADDRESSES",
        "SHMEM",
    };
    return bit < VHOST_USER_PF_COUNT ? names[bit] : NULL;
}

/* --- Sizes --- */

uint32_t vhost_user_max_size(VhostUserKind kind)
{
    return kind_sizes[kind].max;
}

char *vhost_user_expected_size(VhostUserKind kind)
{
    uint32_t min = kind_sizes[kind].min, max = kind_sizes[kind].max;
    return min == max ? g_strdup_printf("%u", min) : g_strdup_printf("%u to %u", min, max);
}

bool vhost_user_size_fits(VhostUserKind kind, const VhostUserMessage *msg)
{
    uint32_t size = msg->header.size;
    if (size < kind_sizes[kind].min || size > kind_sizes[kind].max) {
        return false;
    }
    switch (kind) {
    case VU_MEMORY:
        return msg->payload.memory.count <= VHOST_USER_MAX_REGIONS &&
               size == 8 + 32 * msg->payload.memory.count;
    case VU_CONFIG:
        /* size 0 in the payload: the back end could not do it */
        return msg->payload.config.size <= VHOST_USER_CONFIG_MAX &&
               (size == VHOST_USER_CONFIG_HEADER + msg->payload.config.size ||
                msg->payload.config.size == 0);
    case VU_SHMEM_CONFIG:
        return msg->payload.shmem.count <= VHOST_USER_SHMEM_REGIONS && !((size - 8) % 8);
    default:
        return true;
    }
}

/* --- Checks --- */

static bool check_body(VhostUserKind kind, unsigned fds_min, unsigned fds_max,
                       const VhostUserMessage *msg, Error **errp)
{
    if (!vhost_user_size_fits(kind, msg)) {
        g_autofree char *expected = vhost_user_expected_size(kind);
        error_set(errp, "expected a payload of %s bytes, got %u", expected, msg->header.size);
        return false;
    }
    if (msg->nfds < fds_min || msg->nfds > fds_max) {
        error_set(errp, "expected %u%s file descriptors, got %u", fds_min,
                  fds_max > fds_min ? " or more" : "", msg->nfds);
        return false;
    }
    return true;
}

static bool check_reply_body(const VhostUserMessageInfo *info, bool acked,
                             const VhostUserMessage *reply, Error **errp)
{
    switch (info->answer) {
    case VU_ANSWER_PAYLOAD:
        return check_body(info->reply, info->reply_fds_min, info->reply_fds_max, reply, errp);
    case VU_ANSWER_LOG:
        return check_body(reply->header.size ? VU_U64 : VU_NONE, 0, 0, reply, errp);
    default:
        if (!acked) {
            error_set(errp, "got a reply that was not asked for");
            return false;
        }
        return check_body(VU_U64, 0, 0, reply, errp);
    }
}

bool vhost_user_check_reply(uint32_t code, bool acked, const VhostUserMessage *reply, Error **errp)
{
    const VhostUserMessageInfo *info = vhost_user_request_info(code);
    const VhostUserHeader *h = &reply->header;
    if ((h->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION) {
        error_set(errp, "%s: expected protocol version 1, got flags 0x%x", info->name, h->flags);
        return false;
    }
    if (!(h->flags & VHOST_USER_REPLY)) {
        error_set(errp, "%s: expected a reply, got a request (flags 0x%x)", info->name, h->flags);
        return false;
    }
    if (h->request != code) {
        error_set(errp, "%s: expected its reply, got one to %s (%u)", info->name,
                  vhost_user_request_name(h->request), h->request);
        return false;
    }
    if (!check_reply_body(info, acked, reply, errp)) {
        error_prepend(errp, "%s: ", info->name);
        return false;
    }
    return true;
}

/* A message of this row that asks for something. */
static bool check_request_of(const VhostUserMessageInfo *info, const VhostUserMessage *msg,
                             Error **errp)
{
    const VhostUserHeader *h = &msg->header;
    if ((h->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
        (h->flags & VHOST_USER_REPLY)) {
        error_set(errp, "%s: expected a request of protocol version 1, got flags 0x%x", info->name,
                  h->flags);
        return false;
    }
    if (!check_body(info->request, info->fds_min, info->fds_max, msg, errp)) {
        error_prepend(errp, "%s: ", info->name);
        return false;
    }
    return true;
}

bool vhost_user_check_request(const VhostUserMessage *msg, Error **errp)
{
    const VhostUserMessageInfo *info = vhost_user_request_info(msg->header.request);
    if (!info) {
        error_set(errp, "the front end sent a request with unknown code %u", msg->header.request);
        return false;
    }
    return check_request_of(info, msg, errp);
}

bool vhost_user_check_backend_request(const VhostUserMessage *msg, uint64_t protocol_features,
                                      Error **errp)
{
    const VhostUserMessageInfo *info = vhost_user_backend_request_info(msg->header.request);
    if (!info) {
        error_set(errp, "the back end sent a request with unknown code %u", msg->header.request);
        return false;
    }
    if (info->needs >= 0 && !(protocol_features >> info->needs & 1)) {
        error_set(errp, "%s: not allowed without the protocol feature %s", info->name,
                  vhost_user_protocol_feature_name(info->needs));
        return false;
    }
    return check_request_of(info, msg, errp);
}

/* --- The protocol log's words --- */

static void format_region(const VhostUserRegion *r, GString *out)
{
    g_string_append_printf(
        out, "{guest=0x%" PRIx64 " size=0x%" PRIx64 " user=0x%" PRIx64 " offset=0x%" PRIx64 "}",
        r->guest_addr, r->size, r->user_addr, r->mmap_offset);
}

static void format_memory(const VhostUserMessage *msg, GString *out)
{
    const VhostUserMemory *m = &msg->payload.memory;
    g_string_append_printf(out, "regions=%u", m->count);
    for (uint32_t i = 0; i < m->count && i < VHOST_USER_MAX_REGIONS; i++) {
        g_string_append_c(out, ' ');
        format_region(&m->regions[i], out);
    }
}

static void format_config(const VhostUserMessage *msg, GString *out)
{
    const VhostUserConfig *c = &msg->payload.config;
    g_string_append_printf(out, "offset=%u size=%u flags=0x%x", c->offset, c->size, c->flags);
    for (uint32_t i = 0; i < c->size && i < VHOST_USER_CONFIG_MAX; i++) {
        g_string_append_printf(out, "%s%02x", i ? "" : " data=", c->data[i]);
    }
}

void vhost_user_format_payload(VhostUserKind kind, const VhostUserMessage *msg, GString *out)
{
    const VhostUserPayload *p = &msg->payload;
    switch (kind) {
    case VU_U64:
        g_string_append_printf(out, "0x%" PRIx64, p->u64);
        break;
    case VU_VRING_STATE:
        g_string_append_printf(out, "index=%u num=%u", p->state.index, p->state.num);
        break;
    case VU_VRING_ADDR:
        g_string_append_printf(out,
                               "index=%u flags=0x%x desc=0x%" PRIx64 " used=0x%" PRIx64
                               " avail=0x%" PRIx64 " log=0x%" PRIx64,
                               p->addr.index, p->addr.flags, p->addr.desc, p->addr.used,
                               p->addr.avail, p->addr.log);
        break;
    case VU_MEMORY:
        format_memory(msg, out);
        break;
    case VU_MEM_REGION:
        format_region(&p->region.region, out);
        break;
    case VU_LOG:
        g_string_append_printf(out, "size=0x%" PRIx64 " offset=0x%" PRIx64, p->log.mmap_size,
                               p->log.mmap_offset);
        break;
    case VU_IOTLB:
        g_string_append_printf(
            out, "iova=0x%" PRIx64 " size=0x%" PRIx64 " user=0x%" PRIx64 " permission=%u type=%u",
            p->iotlb.iova, p->iotlb.size, p->iotlb.user_addr, p->iotlb.permission, p->iotlb.type);
        break;
    case VU_CONFIG:
        format_config(msg, out);
        break;
    case VU_VRING_AREA:
        g_string_append_printf(out, "0x%" PRIx64 " size=0x%" PRIx64 " offset=0x%" PRIx64,
                               p->area.u64, p->area.size, p->area.offset);
        break;
    case VU_INFLIGHT:
        g_string_append_printf(out,
                               "size=0x%" PRIx64 " offset=0x%" PRIx64 " queues=%u queue-size=%u",
                               p->inflight.mmap_size, p->inflight.mmap_offset, p->inflight.queues,
                               p->inflight.queue_size);
        break;
    case VU_DEVICE_STATE:
        g_string_append_printf(out, "direction=%u phase=%u", p->device_state.direction,
                               p->device_state.phase);
        break;
    case VU_SHMEM_CONFIG:
        g_string_append_printf(out, "regions=%u", p->shmem.count);
        break;
    case VU_MMAP:
        g_string_append_printf(out,
                               "shmid=%u fd-offset=0x%" PRIx64 " shm-offset=0x%" PRIx64
                               " length=0x%" PRIx64 " flags=0x%" PRIx64,
                               p->mmap.shmid, p->mmap.fd_offset, p->mmap.shm_offset, p->mmap.length,
                               p->mmap.flags);
        break;
    case VU_SHARED:
        for (size_t i = 0; i < sizeof(p->shared.uuid); i++) {
            g_string_append_printf(out, "%02x", p->shared.uuid[i]);
        }
        break;
    default:
        if (msg->header.size) {
            g_string_append_printf(out, "(%u bytes)", msg->header.size);
        }
        break;
    }
}

void vhost_user_message_close_fds(VhostUserMessage *msg)
{
    while (msg->nfds) {
        fd_close(msg->fds[--msg->nfds]);
    }
}
