/* virtio block device. */
#ifndef DEVICES_VIRTIO_BLOCK_BLK_H
#define DEVICES_VIRTIO_BLOCK_BLK_H

#include "block/backend.h"
#include "devices/virtio/virtio.h"

#define TYPE_VIRTIO_BLK "virtio-blk-device"

#define VIRTIO_BLK_QUEUES_AUTO UINT16_MAX

typedef struct BlkRequest BlkRequest;

typedef struct VirtioBlk {
    VirtioDevice parent;

    /* properties */
    BlockConf conf;
    char *serial;
    uint16_t num_queues, queue_size;
    uint32_t max_discard, max_zeroes;      /* sectors of one request */
    uint32_t cylinders, heads, sectors;    /* 0: made up from the size */
    bool seg_max_adjust, tell_granularity; /* the driver learns of the ring's and the medium's */
    Object *iothread;                      /* NULL: the main loop */

    uint64_t capacity;          /* 512-byte sectors */
    BlockEngine *engine;        /* of the main loop */
    BlockEngine *thread_engine; /* of the I/O thread, while it has the queues; machine lock */
    BottomHalf *notify_bh, *thread_notify_bh, *failure_bh;
    /* Of the thread that has the queues. */
    bool in_handler;
    bool *notify_pending; /* by queue: used buffers the driver was not told of */
    bool write_cache;     /* atomic: written with the machine lock */

    /* Machine lock. */
    BlkRequest *failed; /* wait for the machine to go on */
    bool retry_in_thread;
    GMutex lock;          /* guards reported */
    BlkRequest *reported; /* failed in the I/O thread, on their way to the main one */

    VirtqElementState *saved; /* while state is saved or loaded */
    uint32_t saved_count;
} VirtioBlk;

#endif
