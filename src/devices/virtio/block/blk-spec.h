/* Constants of the block device: VIRTIO 1.3 section 5.2. */
#ifndef DEVICES_VIRTIO_BLOCK_BLK_SPEC_H
#define DEVICES_VIRTIO_BLOCK_BLK_SPEC_H

/* 5.2.3 Feature bits */
enum {
    VIRTIO_BLK_F_SIZE_MAX = 1,
    VIRTIO_BLK_F_SEG_MAX = 2,
    VIRTIO_BLK_F_GEOMETRY = 4,
    VIRTIO_BLK_F_RO = 5,
    VIRTIO_BLK_F_BLK_SIZE = 6,
    VIRTIO_BLK_F_FLUSH = 9,
    VIRTIO_BLK_F_TOPOLOGY = 10,
    VIRTIO_BLK_F_CONFIG_WCE = 11,
    VIRTIO_BLK_F_MQ = 12,
    VIRTIO_BLK_F_DISCARD = 13,
    VIRTIO_BLK_F_WRITE_ZEROES = 14,
    VIRTIO_BLK_F_SECURE_ERASE = 16,
};

/* 5.2.4 Device configuration: offsets */
enum {
    BLK_CONFIG_CAPACITY = 0, /* 512-byte sectors */
    BLK_CONFIG_SEG_MAX = 12,
    BLK_CONFIG_CYLINDERS = 16,
    BLK_CONFIG_HEADS = 18,
    BLK_CONFIG_SECTORS = 19,
    BLK_CONFIG_BLK_SIZE = 20,
    BLK_CONFIG_PHYSICAL_EXP = 24,
    BLK_CONFIG_ALIGNMENT = 25,
    BLK_CONFIG_MIN_IO = 26, /* logical blocks */
    BLK_CONFIG_OPT_IO = 28, /* logical blocks */
    BLK_CONFIG_WRITEBACK = 32,
    BLK_CONFIG_QUEUES = 34,
    BLK_CONFIG_DISCARD_SECTORS = 36,
    BLK_CONFIG_DISCARD_SEGS = 40,
    BLK_CONFIG_DISCARD_ALIGN = 44,
    BLK_CONFIG_ZEROES_SECTORS = 48,
    BLK_CONFIG_ZEROES_SEGS = 52,
    BLK_CONFIG_ZEROES_UNMAP = 56,
    BLK_CONFIG_SIZE = 60,
    /* with VIRTIO_BLK_F_SECURE_ERASE */
    BLK_CONFIG_ERASE_SECTORS = 60,
    BLK_CONFIG_ERASE_SEGS = 64,
    BLK_CONFIG_ERASE_ALIGN = 68,
    BLK_CONFIG_SIZE_ERASE = 72,
};

/* 5.2.6 Requests */
enum {
    BLK_T_IN = 0,
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
    BLK_T_GET_ID = 8,
    BLK_T_DISCARD = 11,
    BLK_T_WRITE_ZEROES = 13,
    BLK_T_SECURE_ERASE = 14,
    BLK_T_BARRIER = 0x80000000u, /* legacy: ignored */
};
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };
enum {
    BLK_HEADER_SIZE = 16, /* type, reserved, sector */
    BLK_HEADER_SECTOR = 8,
    BLK_ID_SIZE = 20,
    BLK_RANGE_SIZE = 16, /* of discard and write zeroes: sector, count, flags */
    BLK_RANGE_COUNT = 8,
    BLK_RANGE_FLAGS = 12,
    BLK_RANGE_UNMAP = 1,
};

#endif
