/*
 * The vhost-user protocol's structs as they are on the wire: host byte order, no padding but what
 * is named. "Vhost-user Protocol" specification, section "Message Specification".
 */
#ifndef VHOST_USER_WIRE_H
#define VHOST_USER_WIRE_H

#include <stdint.h>

#define VHOST_USER_VERSION       0x1u
#define VHOST_USER_VERSION_MASK  0x3u
#define VHOST_USER_REPLY         0x4u /* flag: this is a reply */
#define VHOST_USER_NEED_REPLY    0x8u /* flag: answer with a u64, 0 is success */
#define VHOST_USER_MAX_FDS       8
#define VHOST_USER_MAX_REGIONS   8   /* of one SET_MEM_TABLE */
#define VHOST_USER_CONFIG_MAX    256 /* bytes of configuration in one message */
#define VHOST_USER_SHMEM_REGIONS 256

/* Virtio feature bits with a meaning on the socket only. */
#define VHOST_F_LOG_ALL                26
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/* Ring index and "no descriptor follows" of kick, call and err messages. */
#define VHOST_USER_VRING_INDEX_MASK 0xffu
#define VHOST_USER_VRING_NOFD       0x100u
/* SET_VRING_ADDR flags */
#define VHOST_USER_VRING_LOG 0x1u

typedef struct VhostUserHeader {
    uint32_t request, flags, size; /* size: bytes of payload */
} VhostUserHeader;

typedef struct VhostUserVringState {
    uint32_t index, num;
} VhostUserVringState;

typedef struct VhostUserVringAddr {
    uint32_t index, flags;
    uint64_t desc, used, avail, log; /* front end's virtual addresses; log: guest address */
} VhostUserVringAddr;

typedef struct VhostUserRegion {
    uint64_t guest_addr, size, user_addr, mmap_offset;
} VhostUserRegion;

typedef struct VhostUserMemory {
    uint32_t count, padding;
    VhostUserRegion regions[VHOST_USER_MAX_REGIONS];
} VhostUserMemory;

typedef struct VhostUserMemRegion {
    uint64_t padding;
    VhostUserRegion region;
} VhostUserMemRegion;

typedef struct VhostUserLog {
    uint64_t mmap_size, mmap_offset;
} VhostUserLog;

typedef struct VhostUserIotlb {
    uint64_t iova, size, user_addr;
    uint8_t permission, type;
    uint8_t padding[6];
} VhostUserIotlb;

typedef struct VhostUserConfig {
    uint32_t offset, size, flags;
    uint8_t data[VHOST_USER_CONFIG_MAX];
} VhostUserConfig;
#define VHOST_USER_CONFIG_HEADER 12

typedef struct VhostUserVringArea {
    uint64_t u64, size, offset; /* u64: index in bits 0-7, VHOST_USER_VRING_NOFD */
} VhostUserVringArea;

typedef struct VhostUserInflight {
    uint64_t mmap_size, mmap_offset;
    uint16_t queues, queue_size;
    uint8_t padding[4];
} VhostUserInflight;

typedef struct VhostUserShared {
    uint8_t uuid[16];
} VhostUserShared;

typedef struct VhostUserDeviceState {
    uint32_t direction, phase;
} VhostUserDeviceState;

typedef struct VhostUserShmemConfig {
    uint32_t count, padding;
    uint64_t sizes[VHOST_USER_SHMEM_REGIONS];
} VhostUserShmemConfig;

typedef struct VhostUserMmap {
    uint8_t shmid, padding[7];
    uint64_t fd_offset, shm_offset, length, flags;
} VhostUserMmap;

/* Symmetric and asymmetric sessions: "Crypto session description". */
#define VHOST_USER_CRYPTO_SESSION_MAX 2176

typedef union VhostUserPayload {
    uint64_t u64;
    VhostUserVringState state;
    VhostUserVringAddr addr;
    VhostUserMemory memory;
    VhostUserMemRegion region;
    VhostUserLog log;
    VhostUserIotlb iotlb;
    VhostUserConfig config;
    VhostUserVringArea area;
    VhostUserInflight inflight;
    VhostUserShared shared;
    VhostUserDeviceState device_state;
    VhostUserShmemConfig shmem;
    VhostUserMmap mmap;
    uint8_t crypto_session[VHOST_USER_CRYPTO_SESSION_MAX];
} VhostUserPayload;

/* VhostUserIotlb.type */
enum {
    VHOST_USER_IOTLB_MISS = 1,
    VHOST_USER_IOTLB_UPDATE = 2,
    VHOST_USER_IOTLB_INVALIDATE = 3,
    VHOST_USER_IOTLB_ACCESS_FAIL = 4,
};
/* VhostUserIotlb.permission */
#define VHOST_USER_IOTLB_WRITE 0x2u

/* A message with what came or goes along. */
typedef struct VhostUserMessage {
    VhostUserHeader header;
    VhostUserPayload payload;
    int fds[VHOST_USER_MAX_FDS];
    unsigned nfds;
} VhostUserMessage;

enum {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_CREATE_CRYPTO_SESSION = 26,
    VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_GPU_SET_SOCKET = 33,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_GET_SHARED_OBJECT = 41,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_GET_SHMEM_CONFIG = 44,
    VHOST_USER_REQUEST_COUNT,
};

/* Back end to front end, on the channel of SET_BACKEND_REQ_FD. */
enum {
    VHOST_USER_BACKEND_IOTLB_MSG = 1,
    VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
    VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
    VHOST_USER_BACKEND_VRING_CALL = 4,
    VHOST_USER_BACKEND_VRING_ERR = 5,
    VHOST_USER_BACKEND_SHARED_OBJECT_ADD = 6,
    VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE = 7,
    VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP = 8,
    VHOST_USER_BACKEND_SHMEM_MAP = 9,
    VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
    VHOST_USER_BACKEND_REQUEST_COUNT,
};

/* Protocol feature bits. */
enum {
    VHOST_USER_PF_MQ = 0,
    VHOST_USER_PF_LOG_SHMFD = 1,
    VHOST_USER_PF_RARP = 2,
    VHOST_USER_PF_REPLY_ACK = 3,
    VHOST_USER_PF_NET_MTU = 4,
    VHOST_USER_PF_BACKEND_REQ = 5,
    VHOST_USER_PF_CROSS_ENDIAN = 6,
    VHOST_USER_PF_CRYPTO_SESSION = 7,
    VHOST_USER_PF_PAGEFAULT = 8,
    VHOST_USER_PF_CONFIG = 9,
    VHOST_USER_PF_BACKEND_SEND_FD = 10,
    VHOST_USER_PF_HOST_NOTIFIER = 11,
    VHOST_USER_PF_INFLIGHT_SHMFD = 12,
    VHOST_USER_PF_RESET_DEVICE = 13,
    VHOST_USER_PF_INBAND_NOTIFICATIONS = 14,
    VHOST_USER_PF_CONFIGURE_MEM_SLOTS = 15,
    VHOST_USER_PF_STATUS = 16,
    VHOST_USER_PF_XEN_MMAP = 17,
    VHOST_USER_PF_SHARED_OBJECT = 18,
    VHOST_USER_PF_DEVICE_STATE = 19,
    VHOST_USER_PF_GET_VRING_BASE_INFLIGHT = 20,
    VHOST_USER_PF_GPA_ADDRESSES = 21,
    VHOST_USER_PF_SHMEM = 22,
    VHOST_USER_PF_COUNT,
};

#endif
