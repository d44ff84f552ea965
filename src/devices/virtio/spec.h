/*
 * Constants of the VIRTIO specification (version 1.3); the section stands beside each group. What
 * belongs to one device type only lies in that device's folder.
 */
#ifndef DEVICES_VIRTIO_SPEC_H
#define DEVICES_VIRTIO_SPEC_H

#include "base/bits.h"

/* 2.1 Device status field */
enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,
};

/* 6 Reserved feature bits (bit numbers) */
enum {
    VIRTIO_F_NOTIFY_ON_EMPTY = 24, /* 6.3, legacy */
    VIRTIO_F_ANY_LAYOUT = 27,      /* 6.3, legacy */
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_ACCESS_PLATFORM = 33,
    VIRTIO_F_RING_PACKED = 34,
    VIRTIO_F_IN_ORDER = 35,
    VIRTIO_F_ORDER_PLATFORM = 36,
    VIRTIO_F_SR_IOV = 37,
    VIRTIO_F_NOTIFICATION_DATA = 38,
    VIRTIO_F_NOTIF_CONFIG_DATA = 39,
    VIRTIO_F_RING_RESET = 40,
};
/* 2.2: bits 24 to 41 belong to queues, negotiation and transport; the rest to device types. */
#define VIRTIO_TRANSPORT_FEATURES (BIT64(42) - BIT64(24))

/* 5 Device types */
enum {
    VIRTIO_ID_NET = 1,
    VIRTIO_ID_BLOCK = 2,
    VIRTIO_ID_CONSOLE = 3,
    VIRTIO_ID_RNG = 4,
    VIRTIO_ID_BALLOON = 5,
    VIRTIO_ID_SCSI = 8,
    VIRTIO_ID_9P = 9,
    VIRTIO_ID_GPU = 16,
    VIRTIO_ID_INPUT = 18,
    VIRTIO_ID_VSOCK = 19,
    VIRTIO_ID_CRYPTO = 20,
    VIRTIO_ID_IOMMU = 23,
    VIRTIO_ID_MEM = 24,
    VIRTIO_ID_SOUND = 25,
    VIRTIO_ID_FS = 26,
    VIRTIO_ID_PMEM = 27,
    VIRTIO_ID_I2C = 34,
    VIRTIO_ID_GPIO = 41,
};

/* 2.7 Split virtqueues */
enum { VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2, VIRTQ_DESC_F_INDIRECT = 4 };
enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1 };
enum { VIRTQ_USED_F_NO_NOTIFY = 1 };

enum {
    VIRTQ_DESC_SIZE = 16, /* bytes; split and packed */
    /* split, driver area */
    VIRTQ_AVAIL_FLAGS = 0,
    VIRTQ_AVAIL_IDX = 2,
    VIRTQ_AVAIL_RING = 4, /* then used_event */
    /* split, device area */
    VIRTQ_USED_FLAGS = 0,
    VIRTQ_USED_IDX = 2,
    VIRTQ_USED_RING = 4, /* then avail_event */
    VIRTQ_USED_ELEM_SIZE = 8,
};

/* 2.8 Packed virtqueues */
enum { VIRTQ_DESC_F_AVAIL = 1 << 7, VIRTQ_DESC_F_USED = 1 << 15 };
enum {
    VIRTQ_EVENT_ENABLE = 0,
    VIRTQ_EVENT_DISABLE = 1,
    VIRTQ_EVENT_DESC = 2,
    /* the event suppression structure */
    VIRTQ_EVENT_OFF_WRAP = 0,
    VIRTQ_EVENT_FLAGS = 2,
    VIRTQ_EVENT_SIZE = 4,
};
#define VIRTQ_EVENT_WRAP 0x8000u

/* Alignment of the three areas (2.7, 2.8.10) */
enum { VIRTQ_DESC_ALIGN = 16, VIRTQ_AVAIL_ALIGN = 2, VIRTQ_USED_ALIGN = 4, VIRTQ_EVENT_ALIGN = 4 };

/* 2.7.2 Legacy interfaces: the used ring starts on this boundary. */
#define VIRTIO_LEGACY_QUEUE_ALIGN 4096u

#endif
