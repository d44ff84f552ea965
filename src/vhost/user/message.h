/*
 * The messages of the vhost-user protocol as one table: what each carries, what answers it, and
 * what allows it. Whatever goes out or comes in is checked against its row.
 */
#ifndef VHOST_USER_MESSAGE_H
#define VHOST_USER_MESSAGE_H

#include <glib.h>

#include "base/compiler.h"
#include "base/error.h"
#include "vhost/user/wire.h"

/* Kinds of payload; sizes in message.c. */
typedef enum VhostUserKind {
    VU_NONE,
    VU_U64,
    VU_VRING_STATE,
    VU_VRING_ADDR,
    VU_MEMORY,
    VU_MEM_REGION,
    VU_LOG,
    VU_IOTLB,
    VU_CONFIG,
    VU_VRING_AREA,
    VU_INFLIGHT,
    VU_SHARED,
    VU_DEVICE_STATE,
    VU_SHMEM_CONFIG,
    VU_MMAP,
    VU_CRYPTO_SESSION,
    VU_KIND_COUNT,
} VhostUserKind;

typedef enum VhostUserAnswer {
    VU_ANSWER_ACK,     /* a u64, 0 for success, if REPLY_ACK was negotiated and it is asked for */
    VU_ANSWER_PAYLOAD, /* always: the row's reply */
    VU_ANSWER_LOG,     /* SET_LOG_BASE: always with LOG_SHMFD; empty or a u64 */
} VhostUserAnswer;

typedef struct VhostUserMessageInfo {
    const char *name; /* NULL: no such message */
    VhostUserKind request;
    uint8_t fds_min, fds_max;
    VhostUserAnswer answer;
    VhostUserKind reply;
    uint8_t reply_fds_min, reply_fds_max;
    int8_t needs; /* VHOST_USER_PF_*; VU_NEEDS_* */
} VhostUserMessageInfo;

#define VU_NEEDS_NOTHING  (-1)
#define VU_NEEDS_PROTOCOL (-2) /* VHOST_USER_F_PROTOCOL_FEATURES is offered */
#define VU_NEEDS_IOMMU    (-3) /* VIRTIO_F_ACCESS_PLATFORM */
#define VU_NEEDS_GPU      (-4)

/* NULL for codes that don't exist. */
const VhostUserMessageInfo *vhost_user_request_info(uint32_t code);
const VhostUserMessageInfo *vhost_user_backend_request_info(uint32_t code);

/* Does the size fit the kind? exact sizes, and n-element sizes that agree with what the payload
 * says of itself. */
bool vhost_user_size_fits(VhostUserKind kind, const VhostUserMessage *msg);
/* "8", "12 to 268": for messages. Owned by the caller. */
char *vhost_user_expected_size(VhostUserKind kind);
/* Bytes that a payload of this kind can have at most. */
uint32_t vhost_user_max_size(VhostUserKind kind);

/* A reply to `code`, complete with descriptors. acked: it was sent with NEED_REPLY. The error says
 * expected and received. */
MUST_CHECK bool vhost_user_check_reply(uint32_t code, bool acked, const VhostUserMessage *reply,
                                       Error **errp);
/* A request from the front end, as a back end sees it: what was negotiated isn't looked at. */
MUST_CHECK bool vhost_user_check_request(const VhostUserMessage *msg, Error **errp);
/* A request from the back end. */
MUST_CHECK bool vhost_user_check_backend_request(const VhostUserMessage *msg,
                                                 uint64_t protocol_features, Error **errp);

/* "GET_FEATURES", "request 99" */
const char *vhost_user_request_name(uint32_t code);
const char *vhost_user_backend_request_name(uint32_t code);
const char *vhost_user_protocol_feature_name(unsigned bit); /* "REPLY_ACK"; NULL */

/* The fields, decoded, for the protocol log: "index=0 num=256". kind as request or reply. */
void vhost_user_format_payload(VhostUserKind kind, const VhostUserMessage *msg, GString *out);

/* Close what came along. */
void vhost_user_message_close_fds(VhostUserMessage *msg);

#endif
