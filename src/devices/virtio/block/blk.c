/*
 * virtio block device (VIRTIO 1.3 section 5.2).
 *
 * Requests are popped and completed in one event loop: the main loop, or that of an I/O thread
 * while the queues' notifiers are on. Each loop has an engine of its own (block/block.h). Before
 * queues change hands, and at every stop and reset, the engine is drained; so no request is ever
 * completed in another thread than it was popped in.
 */
#include "devices/virtio/block/blk.h"

#include <errno.h>
#include <string.h>

#include "base/iov.h"
#include "base/log.h"
#include "base/rcu.h"
#include "base/report.h"
#include "devices/virtio/block/blk-spec.h"
#include "devices/virtio/transport.h"
#include "event/call.h"
#include "event/clock.h"
#include "event/lock.h"
#include "object/iothread.h"

enum {
    SECTOR_BITS = 9,
    QUEUE_SIZE_DEFAULT = 256,
    /* Of one discard or write-zeroes request. */
    RANGE_SECTORS_MAX = 0x7fffffff / BLOCK_SECTOR,
    SEG_MAX_RING = 128, /* entries of the ring that drivers once had to assume */
    SAVED_MAX = VIRTQUEUE_MAX_SIZE,
};

struct BlkRequest {
    VirtqElement elem;
    BlockRequest io;
    VirtioBlk *blk;
    Virtqueue *vq;
    BlkRequest *next;     /* in blk->failed */
    struct iovec *sliced; /* owned: data segments where they had to be cut out */
    int64_t started;      /* ns */
    uint32_t type;
    int error;
};

static VirtioBlk *virtio_blk_cast(void *obj)
{
    return (VirtioBlk *)object_cast((Object *)obj, TYPE_VIRTIO_BLK);
}

static BlockEngine *blk_engine(const VirtioBlk *b)
{
    return b->thread_engine ? b->thread_engine : b->engine;
}

/* --- finishing requests --- */

static void blk_request_free(BlkRequest *r)
{
    g_free(r->sliced);
    g_free(r);
}

/* data: bytes written to the guest before the status. */
static void blk_complete(BlkRequest *r, uint8_t status, uint32_t data)
{
    VirtioBlk *b = r->blk;
    VirtqElement *e = &r->elem;
    /* 5.2.6: the status is the last byte that the driver left room for. */
    iov_from_buf(e->in_sg, e->in_num, e->in_size - 1, &status, 1);
    /* Bytes count from the front: without data in between, only they are there for sure. */
    virtqueue_push(r->vq, e, data + 1 == e->in_size ? e->in_size : data ? data : 1);
    b->notify_pending[virtqueue_index(r->vq)] = true;
    blk_request_free(r);
}

/* Tell the driver of what was used; one interrupt for a batch. */
static void blk_flush_notify(VirtioBlk *b)
{
    for (unsigned i = 0; i < b->num_queues; i++) {
        if (b->notify_pending[i]) {
            b->notify_pending[i] = false;
            virtio_notify(&b->parent, virtio_queue(&b->parent, i));
        }
    }
}

static void blk_notify_bh(void *opaque)
{
    blk_flush_notify(opaque);
}

static void blk_schedule_notify(VirtioBlk *b)
{
    if (b->in_handler) {
        return; /* at its end */
    }
    bh_schedule(b->thread_engine ? b->thread_notify_bh : b->notify_bh);
}

/* What the driver asked for, whatever became of it below; zeroes are writes. */
static BlockOp blk_accounted_as(const BlkRequest *r)
{
    switch (r->type) {
    case BLK_T_IN:
        return BLOCK_READ;
    case BLK_T_FLUSH:
        return BLOCK_FLUSH;
    case BLK_T_DISCARD:
    case BLK_T_SECURE_ERASE:
        return BLOCK_DISCARD;
    default:
        return BLOCK_WRITE;
    }
}

/* A failed request, in the main thread: the user's choice decides. */
static void blk_handle_failure(BlkRequest *r)
{
    VirtioBlk *b = r->blk;
    bool is_read = r->type == BLK_T_IN;
    switch (block_backend_error(&b->conf.backend, is_read, r->error)) {
    case BLOCK_ERROR_IGNORE:
        blk_complete(r, BLK_S_OK, is_read ? r->elem.in_size - 1 : 0);
        break;
    case BLOCK_ERROR_STOP:
        /* The machine is stopped by now; it is done again when it runs. */
        r->next = b->failed;
        b->failed = r;
        return;
    default:
        blk_complete(r, BLK_S_IOERR, 0);
        break;
    }
    blk_schedule_notify(b);
}

static void blk_take_failures(void *opaque)
{
    VirtioBlk *b = opaque;
    g_mutex_lock(&b->lock);
    BlkRequest *list = g_steal_pointer(&b->reported);
    g_mutex_unlock(&b->lock);
    /* The thread must stand still while requests of its queues are completed here. */
    if (list && b->thread_engine) {
        b->retry_in_thread = true;
        virtio_stop_ioeventfd(&b->parent);
    }
    while (list) {
        BlkRequest *r = list;
        list = r->next;
        blk_handle_failure(r);
    }
    if (b->retry_in_thread) {
        b->retry_in_thread = false;
        virtio_start_ioeventfd(&b->parent);
    }
}

static void blk_done(BlockRequest *io, int error)
{
    BlkRequest *r = CONTAINER_OF(io, BlkRequest, io);
    VirtioBlk *b = r->blk;
    bool ok = !error;
    BlockOp op = blk_accounted_as(r);
    block_backend_count(&b->conf.backend, op, io->len, clock_now(CLK_REALTIME) - r->started, ok);
    if (ok && op == BLOCK_WRITE) {
        block_backend_note_write(&b->conf.backend, io->offset + io->len);
    }
    if (ok) {
        blk_complete(r, BLK_S_OK, r->type == BLK_T_IN ? io->len : 0);
        blk_schedule_notify(b);
        return;
    }
    r->error = error;
    if (!b->thread_engine) {
        blk_handle_failure(r);
        return;
    }
    g_mutex_lock(&b->lock);
    r->next = b->reported;
    b->reported = r;
    g_mutex_unlock(&b->lock);
    bh_schedule(b->failure_bh);
}

/* --- starting requests --- */

/* The data segments: everything but `head` bytes in front and `tail` behind. */
static const struct iovec *blk_data(BlkRequest *r, struct iovec *iov, unsigned count, size_t head,
                                    size_t len, unsigned *out_count)
{
    /* The usual framing: header and status in descriptors of their own. */
    if (head && count && iov[0].iov_len == head) {
        *out_count = count - 1;
        return iov + 1;
    }
    if (!head && count > 1 && iov[count - 1].iov_len == 1) {
        *out_count = count - 1;
        return iov;
    }
    r->sliced = g_new(struct iovec, MAX_OF(count, 1));
    *out_count = iov_slice(r->sliced, count, iov, count, head, len);
    return r->sliced;
}

static bool blk_write_is_through(const VirtioBlk *b)
{
    return !b->write_cache;
}

static bool blk_range_valid(const VirtioBlk *b, uint64_t sector, uint64_t len)
{
    uint32_t block = b->conf.logical_block_size;
    uint64_t sectors = b->capacity;
    if (len % block || (sector << SECTOR_BITS) % block) {
        return false;
    }
    return sector <= sectors && len >> SECTOR_BITS <= sectors - sector;
}

static void blk_refuse(BlkRequest *r, uint8_t status)
{
    VirtioBlk *b = r->blk;
    BlockOp op = blk_accounted_as(r);
    __atomic_fetch_add(&b->conf.backend.counters[op].invalid, 1, __ATOMIC_RELAXED);
    blk_complete(r, status, 0);
}

static void blk_start_transfer(BlkRequest *r, uint64_t sector)
{
    VirtioBlk *b = r->blk;
    VirtqElement *e = &r->elem;
    bool read = r->type == BLK_T_IN;
    uint64_t len = read ? e->in_size - 1 : e->out_size - BLK_HEADER_SIZE;
    BlockOp op = read ? BLOCK_READ : BLOCK_WRITE;
    if (!blk_range_valid(b, sector, len) || (!read && b->conf.backend.read_only)) {
        log_guest_error("virtio-blk: %s of %" G_GUINT64_FORMAT " bytes at sector %" G_GUINT64_FORMAT
                        " is refused\n",
                        read ? "read" : "write", len, sector);
        blk_refuse(r, BLK_S_IOERR);
        return;
    }
    unsigned count;
    const struct iovec *data =
        read ? blk_data(r, e->in_sg, e->in_num, 0, len, &count)
             : blk_data(r, e->out_sg, e->out_num, BLK_HEADER_SIZE, len, &count);
    r->io = (BlockRequest){
        .op = op,
        .flags = !read && blk_write_is_through(b) ? BLOCK_FUA : 0,
        .offset = sector << SECTOR_BITS,
        .len = len,
        .iov = data,
        .iov_count = count,
        .done = blk_done,
    };
    block_submit(b->conf.backend.node, blk_engine(b), &r->io);
}

static void blk_start_range(BlkRequest *r)
{
    VirtioBlk *b = r->blk;
    VirtqElement *e = &r->elem;
    bool zeroes = r->type == BLK_T_WRITE_ZEROES;
    uint8_t raw[BLK_RANGE_SIZE];
    BlockOp op = zeroes                          ? BLOCK_WRITE_ZEROES
                 : r->type == BLK_T_SECURE_ERASE ? BLOCK_SECURE_ERASE
                                                 : BLOCK_DISCARD;
    unsigned feature = zeroes                          ? VIRTIO_BLK_F_WRITE_ZEROES
                       : r->type == BLK_T_SECURE_ERASE ? VIRTIO_BLK_F_SECURE_ERASE
                                                       : VIRTIO_BLK_F_DISCARD;
    if (!virtio_host_has_feature(&b->parent, feature)) {
        blk_refuse(r, BLK_S_UNSUPP);
        return;
    }
    if (e->out_size != BLK_HEADER_SIZE + BLK_RANGE_SIZE) {
        blk_refuse(r, e->out_size % BLK_RANGE_SIZE ? BLK_S_IOERR : BLK_S_UNSUPP);
        return;
    }
    iov_to_buf(e->out_sg, e->out_num, BLK_HEADER_SIZE, raw, sizeof(raw));
    uint64_t sector = ld64_le(raw);
    uint32_t count = ld32_le(raw + BLK_RANGE_COUNT), flags = ld32_le(raw + BLK_RANGE_FLAGS);
    /* 5.2.6.2: unknown flags, and unmap of a discard, are not supported. */
    if (flags & ~(uint32_t)BLK_RANGE_UNMAP || (!zeroes && flags)) {
        blk_refuse(r, BLK_S_UNSUPP);
        return;
    }
    if (count > (zeroes ? b->max_zeroes : b->max_discard) || b->conf.backend.read_only ||
        !blk_range_valid(b, sector, (uint64_t)count << SECTOR_BITS)) {
        blk_refuse(r, BLK_S_IOERR);
        return;
    }
    r->io = (BlockRequest){
        .op = op,
        .flags = (flags & BLK_RANGE_UNMAP ? BLOCK_MAY_UNMAP : 0) |
                 (zeroes && blk_write_is_through(b) ? BLOCK_FUA : 0),
        .offset = sector << SECTOR_BITS,
        .len = (uint64_t)count << SECTOR_BITS,
        .done = blk_done,
    };
    block_submit(b->conf.backend.node, blk_engine(b), &r->io);
}

static void blk_get_id(BlkRequest *r)
{
    VirtqElement *e = &r->elem;
    char id[BLK_ID_SIZE] = { 0 };
    const char *serial = r->blk->serial ? r->blk->serial : "";
    memcpy(id, serial, MIN_OF(strlen(serial), sizeof(id)));
    size_t n = MIN_OF((size_t)e->in_size - 1, sizeof(id));
    n = iov_from_buf(e->in_sg, e->in_num, 0, id, n);
    blk_complete(r, BLK_S_OK, n);
}

static void blk_start(BlkRequest *r)
{
    uint8_t header[BLK_HEADER_SIZE];
    VirtqElement *e = &r->elem;
    iov_to_buf(e->out_sg, e->out_num, 0, header, sizeof(header));
    r->type = ld32_le(header) & ~(uint32_t)BLK_T_BARRIER;
    uint64_t sector = ld64_le(header + BLK_HEADER_SECTOR);
    r->started = clock_now(CLK_REALTIME);
    switch (r->type) {
    case BLK_T_IN:
    case BLK_T_OUT:
        blk_start_transfer(r, sector);
        break;
    case BLK_T_FLUSH:
        r->io = (BlockRequest){ .op = BLOCK_FLUSH, .done = blk_done };
        block_submit(r->blk->conf.backend.node, blk_engine(r->blk), &r->io);
        break;
    case BLK_T_GET_ID:
        blk_get_id(r);
        break;
    case BLK_T_DISCARD:
    case BLK_T_WRITE_ZEROES:
    case BLK_T_SECURE_ERASE:
        blk_start_range(r);
        break;
    default:
        blk_complete(r, BLK_S_UNSUPP, 0);
        break;
    }
}

static void blk_begin(VirtioBlk *b)
{
    b->in_handler = true;
    block_engine_plug(blk_engine(b));
}

static void blk_end(VirtioBlk *b)
{
    block_engine_unplug(blk_engine(b));
    b->in_handler = false;
    blk_flush_notify(b);
}

static void blk_handle(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    RCU_SECTION(); /* one for all requests */
    blk_begin(b);
    do {
        BlkRequest *r;
        virtqueue_set_notification(vq, false);
        while ((r = virtqueue_pop(vq, sizeof(*r)))) {
            if (r->elem.out_size < BLK_HEADER_SIZE || r->elem.in_size < 1) {
                virtio_error(vdev,
                             "a request of %u bytes with room for %u, without header or "
                             "status",
                             r->elem.out_size, r->elem.in_size);
                virtqueue_detach(vq, &r->elem);
                blk_request_free(r);
                break;
            }
            r->blk = b;
            r->vq = vq;
            blk_start(r);
        }
        virtqueue_set_notification(vq, true);
    } while (!virtqueue_is_empty(vq));
    blk_end(b);
}

/* --- stopping and going on --- */

/* In the main thread, with queues handled here. */
static void blk_drain(VirtioBlk *b)
{
    block_engine_drain(b->engine);
    bh_cancel(b->notify_bh);
    if (b->parent.status & VIRTIO_STATUS_DRIVER_OK) {
        blk_flush_notify(b);
    }
}

static void blk_forget_failed(VirtioBlk *b)
{
    while (b->failed) {
        BlkRequest *r = b->failed;
        b->failed = r->next;
        virtqueue_detach(r->vq, &r->elem);
        blk_request_free(r);
    }
}

/* Do again what failed when the machine stopped. */
static void blk_retry_failed(VirtioBlk *b)
{
    BlkRequest *list = g_steal_pointer(&b->failed);
    b->conf.backend.io_status = BLOCK_DEVICE_IO_STATUS_OK;
    if (!list) {
        return;
    }
    blk_begin(b);
    while (list) {
        BlkRequest *r = list;
        list = r->next;
        g_clear_pointer(&r->sliced, g_free);
        blk_start(r);
    }
    blk_end(b);
}

static void blk_set_status(VirtioDevice *vdev, uint8_t status)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    if (!virtio_is_running(vdev)) {
        blk_drain(b);
        return;
    }
    /* 5.2.5.1: a driver without FLUSH can't make writes stable itself. */
    if (!virtio_has_feature(vdev, VIRTIO_BLK_F_FLUSH)) {
        b->write_cache = false;
    }
    blk_retry_failed(b);
}

static void blk_reset(VirtioDevice *vdev)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    blk_drain(b);
    blk_forget_failed(b);
    memset(b->notify_pending, 0, b->num_queues * sizeof(*b->notify_pending));
    b->write_cache = !b->conf.backend.write_through;
}

static void blk_queue_reset(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    bool threaded = b->thread_engine;
    /* The thread lets go of its queues for a moment. */
    if (threaded) {
        virtio_stop_ioeventfd(vdev);
    }
    blk_drain(b);
    for (BlkRequest **p = &b->failed; *p;) {
        BlkRequest *r = *p;
        if (r->vq == vq) {
            *p = r->next;
            virtqueue_detach(vq, &r->elem);
            blk_request_free(r);
        } else {
            p = &r->next;
        }
    }
    if (threaded) {
        virtio_start_ioeventfd(vdev);
    }
}

/* --- I/O thread --- */

/* In the thread: end what it does for us. */
static void blk_thread_leave(void *opaque)
{
    VirtioBlk *b = opaque;
    block_engine_drain(b->thread_engine);
    blk_flush_notify(b);
    bh_free(g_steal_pointer(&b->thread_notify_bh));
    block_engine_free(g_steal_pointer(&b->thread_engine));
}

typedef struct ThreadEnter {
    VirtioBlk *blk;
    EventLoop *loop;
    Error *err;
} ThreadEnter;

static void blk_thread_enter(void *opaque)
{
    ThreadEnter *enter = opaque;
    VirtioBlk *b = enter->blk;
    b->thread_engine = block_engine_new(enter->loop, &enter->err);
    if (b->thread_engine) {
        b->thread_notify_bh = bh_new(enter->loop, blk_notify_bh, b);
    }
}

static void blk_ioeventfd_start(VirtioDevice *vdev)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    VirtioBusClass *t = virtio_transport(vdev);
    ERROR_AUTO err = NULL;
    if (!b->iothread) {
        return;
    }
    EventLoop *loop = iothread_loop(iothread_cast(b->iothread));
    if (!t->set_guest_notifiers ||
        !t->set_guest_notifiers(virtio_proxy(vdev), b->num_queues, true, &err)) {
        report_warning("virtio-blk: %s; the I/O thread is not used",
                       err ? error_message(err) : "the transport has no notifiers");
        return;
    }
    blk_drain(b);
    ThreadEnter enter = { .blk = b, .loop = loop };
    event_loop_call(loop, blk_thread_enter, &enter);
    if (!b->thread_engine) {
        error_prepend(&enter.err, "virtio-blk: the I/O thread is not used: ");
        error_warn_and_free(enter.err);
        (void)t->set_guest_notifiers(virtio_proxy(vdev), b->num_queues, false, NULL);
        return;
    }
    for (unsigned i = 0; i < b->num_queues; i++) {
        virtqueue_set_loop(virtio_queue(vdev, i), loop);
    }
}

static void blk_ioeventfd_stop(VirtioDevice *vdev)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    if (!b->thread_engine) {
        return;
    }
    event_loop_call(iothread_loop(iothread_cast(b->iothread)), blk_thread_leave, b);
    for (unsigned i = 0; i < b->num_queues; i++) {
        virtqueue_set_loop(virtio_queue(vdev, i), NULL);
    }
    (void)virtio_transport(vdev)->set_guest_notifiers(virtio_proxy(vdev), b->num_queues, false,
                                                      NULL);
    /* What failed there meanwhile. */
    if (!b->retry_in_thread) {
        blk_take_failures(b);
    }
}

/* --- configuration --- */

/* What nothing but old partition tables wants to know. */
static void blk_get_geometry(const VirtioBlk *b, uint8_t *c)
{
    uint32_t heads = b->heads ? b->heads : 16, sectors = b->sectors ? b->sectors : 63;
    uint64_t cylinders = b->cylinders ? b->cylinders : b->capacity / (heads * sectors);
    st16_le(c + BLK_CONFIG_CYLINDERS, MIN_OF(cylinders, b->cylinders ? 65535 : 16383));
    c[BLK_CONFIG_HEADS] = heads;
    c[BLK_CONFIG_SECTORS] = sectors;
}

static void blk_get_config(VirtioDevice *vdev, uint8_t *c)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    const BlockConf *conf = &b->conf;
    uint32_t block = conf->logical_block_size;
    memset(c, 0, BLK_CONFIG_SIZE_ERASE);
    st64_le(c + BLK_CONFIG_CAPACITY, b->capacity);
    /* Header and status take an entry each. */
    st32_le(c + BLK_CONFIG_SEG_MAX, (b->seg_max_adjust ? b->queue_size : SEG_MAX_RING) - 2);
    blk_get_geometry(b, c);
    st32_le(c + BLK_CONFIG_BLK_SIZE, block);
    c[BLK_CONFIG_PHYSICAL_EXP] = __builtin_ctz(conf->physical_block_size / block);
    st16_le(c + BLK_CONFIG_MIN_IO, conf->min_io_size / block);
    st32_le(c + BLK_CONFIG_OPT_IO, conf->opt_io_size / block);
    c[BLK_CONFIG_WRITEBACK] = b->write_cache;
    st16_le(c + BLK_CONFIG_QUEUES, b->num_queues);
    uint32_t granularity = b->tell_granularity ? conf->discard_granularity : block;
    st32_le(c + BLK_CONFIG_DISCARD_SECTORS, b->max_discard);
    st32_le(c + BLK_CONFIG_DISCARD_SEGS, 1);
    st32_le(c + BLK_CONFIG_DISCARD_ALIGN, granularity >> SECTOR_BITS);
    st32_le(c + BLK_CONFIG_ZEROES_SECTORS, b->max_zeroes);
    st32_le(c + BLK_CONFIG_ZEROES_SEGS, 1);
    st32_le(c + BLK_CONFIG_ERASE_SECTORS, b->max_discard);
    st32_le(c + BLK_CONFIG_ERASE_SEGS, 1);
    st32_le(c + BLK_CONFIG_ERASE_ALIGN, granularity >> SECTOR_BITS);
    c[BLK_CONFIG_ZEROES_UNMAP] = 1;
}

static void blk_set_config(VirtioDevice *vdev, const uint8_t *c)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    /* 5.2.5.2: only the cache mode can be written, and it takes effect at once. */
    if (virtio_has_feature(vdev, VIRTIO_BLK_F_CONFIG_WCE)) {
        __atomic_store_n(&b->write_cache, c[BLK_CONFIG_WRITEBACK] & 1, __ATOMIC_RELAXED);
    }
}

static uint64_t blk_get_features(VirtioDevice *vdev, uint64_t wanted, Error **errp)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    uint64_t f = wanted | BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_GEOMETRY) |
                 BIT64(VIRTIO_BLK_F_TOPOLOGY) | BIT64(VIRTIO_BLK_F_BLK_SIZE) |
                 BIT64(VIRTIO_BLK_F_FLUSH);
    if (b->conf.backend.read_only) {
        f |= BIT64(VIRTIO_BLK_F_RO);
    }
    if (b->num_queues > 1) {
        f |= BIT64(VIRTIO_BLK_F_MQ);
    }
    return f;
}

static void blk_read_capacity(VirtioBlk *b)
{
    uint64_t size = block_node_size(b->conf.backend.node);
    b->capacity = (size + BLOCK_SECTOR - 1) >> SECTOR_BITS;
}

static void blk_resized(Object *device)
{
    VirtioBlk *b = virtio_blk_cast(device);
    blk_read_capacity(b);
    virtio_notify_config(&b->parent);
}

/* --- life --- */

static bool blk_check_properties(VirtioBlk *b, Error **errp)
{
    if (!b->conf.backend.node) {
        error_set(errp, "drive is missing: give the id of a drive or a node");
        return false;
    }
    if (b->num_queues == VIRTIO_BLK_QUEUES_AUTO) {
        b->num_queues = 1;
    }
    if (!b->num_queues || b->num_queues > VIRTIO_QUEUE_MAX) {
        error_set(errp, "num-queues must be between 1 and %d, got %u", VIRTIO_QUEUE_MAX,
                  b->num_queues);
        return false;
    }
    if (!is_power_of_two(b->queue_size) || b->queue_size <= 2 ||
        b->queue_size > VIRTQUEUE_MAX_SIZE) {
        error_set(errp, "queue-size must be a power of two between 4 and %d, got %u",
                  VIRTQUEUE_MAX_SIZE, b->queue_size);
        return false;
    }
    if (!b->max_discard || b->max_discard > RANGE_SECTORS_MAX || !b->max_zeroes ||
        b->max_zeroes > RANGE_SECTORS_MAX) {
        error_set(errp,
                  "max-discard-sectors and max-write-zeroes-sectors must be between 1 and %d, got "
                  "%u and %u",
                  RANGE_SECTORS_MAX, b->max_discard, b->max_zeroes);
        return false;
    }
    if (b->cylinders > 65535 || b->heads > 255 || b->sectors > 255) {
        error_set(errp, "cyls must be at most 65535, heads and secs at most 255; got %u, %u, %u",
                  b->cylinders, b->heads, b->sectors);
        return false;
    }
    if (virtio_host_has_feature(&b->parent, VIRTIO_BLK_F_SECURE_ERASE) &&
        !b->conf.backend.node->secure_erase) {
        error_set(errp, "secure-erase=on needs a block device of the host (driver host_device), "
                        "which alone can do that");
        return false;
    }
    if (b->serial && strlen(b->serial) > BLK_ID_SIZE) {
        error_set(errp, "serial '%s' is longer than %d characters", b->serial, BLK_ID_SIZE);
        return false;
    }
    return true;
}

static bool blk_realize(VirtioDevice *vdev, Error **errp)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    if (!blk_check_properties(b, errp)) {
        return false;
    }
    bool read_only = b->conf.backend.node->read_only;
    if (!block_conf_attach(&b->conf, &vdev->parent.parent, read_only, errp)) {
        return false;
    }
    b->engine = block_engine_new(event_loop_main(), errp);
    if (!b->engine) {
        block_conf_detach(&b->conf);
        return false;
    }
    b->conf.backend.resized = blk_resized;
    b->write_cache = !b->conf.backend.write_through;
    blk_read_capacity(b);
    g_mutex_init(&b->lock);
    b->notify_bh = bh_new(event_loop_main(), blk_notify_bh, b);
    b->failure_bh = bh_new(event_loop_main(), blk_take_failures, b);
    b->notify_pending = g_new0(bool, b->num_queues);
    virtio_init(vdev, "virtio-blk", VIRTIO_ID_BLOCK,
                virtio_host_has_feature(vdev, VIRTIO_BLK_F_SECURE_ERASE) ? BLK_CONFIG_SIZE_ERASE
                                                                         : BLK_CONFIG_SIZE);
    for (unsigned i = 0; i < b->num_queues; i++) {
        virtio_add_queue(vdev, b->queue_size, blk_handle);
    }
    return true;
}

static void blk_saved_free(VirtioBlk *b, unsigned count)
{
    for (unsigned i = 0; b->saved && i < count; i++) {
        virtqueue_element_state_clear(&b->saved[i]);
    }
    g_clear_pointer(&b->saved, g_free);
}

static void blk_unrealize(VirtioDevice *vdev)
{
    VirtioBlk *b = virtio_blk_cast(vdev);
    block_engine_drain(b->engine);
    blk_forget_failed(b);
    blk_saved_free(b, SAVED_MAX);
    bh_free(b->notify_bh);
    bh_free(b->failure_bh);
    block_engine_free(b->engine);
    b->engine = NULL;
    block_conf_detach(&b->conf);
    virtio_finish(vdev);
    g_clear_pointer(&b->notify_pending, g_free);
    g_mutex_clear(&b->lock);
}

/* --- state: what failed and waits for the machine to go on --- */

static bool blk_pre_save(void *opaque, Error **errp)
{
    VirtioBlk *b = opaque;
    b->saved_count = 0;
    for (BlkRequest *r = b->failed; r; r = r->next) {
        b->saved_count++;
    }
    b->saved = g_new0(VirtqElementState, MAX_OF(b->saved_count, 1));
    unsigned i = 0;
    for (BlkRequest *r = b->failed; r; r = r->next) {
        virtqueue_element_save(r->vq, &r->elem, &b->saved[i++]);
    }
    return true;
}

static void blk_post_save(void *opaque)
{
    VirtioBlk *b = opaque;
    blk_saved_free(b, b->saved_count);
}

static bool blk_pre_load(void *opaque, Error **errp)
{
    VirtioBlk *b = opaque;
    blk_saved_free(b, SAVED_MAX); /* of a load that failed */
    b->saved = g_new0(VirtqElementState, SAVED_MAX);
    return true;
}

static bool blk_post_load(void *opaque, int version, Error **errp)
{
    VirtioBlk *b = opaque;
    bool ok = true;
    blk_forget_failed(b);
    for (unsigned i = 0; ok && i < b->saved_count; i++) {
        BlkRequest *r = virtqueue_element_load(&b->parent, &b->saved[i], sizeof(*r), errp);
        ok = r && r->elem.out_size >= BLK_HEADER_SIZE && r->elem.in_size >= 1;
        if (r) {
            r->blk = b;
            r->vq = virtio_queue(&b->parent, b->saved[i].queue);
            r->next = b->failed;
            b->failed = r;
        }
        if (r && !ok) {
            error_set(errp, "virtio-blk: a saved request has no header or no status");
        }
    }
    blk_saved_free(b, SAVED_MAX);
    return ok;
}

static const VmStateField blk_fields[] = { VMSTATE_VIRTIO(VirtioBlk),
                                           VMSTATE_BOOL(write_cache, VirtioBlk),
                                           VMSTATE_UINT32(saved_count, VirtioBlk),
                                           { .name = "saved",
                                             .kind = VMSTATE_KIND_STRUCT,
                                             .offset = offsetof(VirtioBlk, saved),
                                             .size = sizeof(VirtqElementState),
                                             .count = SAVED_MAX,
                                             .pointer = true,
                                             .count_offset = offsetof(VirtioBlk, saved_count),
                                             .count_size = 4,
                                             .state = &virtq_element_vmstate },
                                           {} };

static const VmState blk_vmstate = {
    .name = "virtio-blk",
    .version = 1,
    .minimum_version = 1,
    .pre_save = blk_pre_save,
    .post_save = blk_post_save,
    .pre_load = blk_pre_load,
    .post_load = blk_post_load,
    .fields = blk_fields,
};

/* --- the type --- */

static const Field blk_properties[] = {
    BLOCK_PROPERTIES(VirtioBlk, conf),
    PROP_BIT("config-wce", VirtioBlk, parent.host_features, VIRTIO_BLK_F_CONFIG_WCE, true,
             .help = "let the driver switch the write cache"),
    PROP_BIT("discard", VirtioBlk, parent.host_features, VIRTIO_BLK_F_DISCARD, true,
             .help = "offer discards"),
    PROP_BIT("write-zeroes", VirtioBlk, parent.host_features, VIRTIO_BLK_F_WRITE_ZEROES, true,
             .help = "offer writing zeros without data"),
    PROP_BIT("secure-erase", VirtioBlk, parent.host_features, VIRTIO_BLK_F_SECURE_ERASE, false,
             .help = "offer erasing so that no copy is left; of host devices that can"),
    PROP_UINT32("max-discard-sectors", VirtioBlk, max_discard, RANGE_SECTORS_MAX,
                .help = "512-byte sectors of one discard at most"),
    PROP_UINT32("max-write-zeroes-sectors", VirtioBlk, max_zeroes, RANGE_SECTORS_MAX,
                .help = "512-byte sectors of one write-zeroes request at most"),
    PROP_BOOL("report-discard-granularity", VirtioBlk, tell_granularity, true,
              .help = "tell the driver of discard_granularity"),
    PROP_BOOL("seg-max-adjust", VirtioBlk, seg_max_adjust, true,
              .help = "as many segments as the ring has entries for, otherwise 126"),
    PROP_UINT32("cyls", VirtioBlk, cylinders, 0, .help = "cylinders; 0: from the size"),
    PROP_UINT32("heads", VirtioBlk, heads, 0, .help = "heads; 0: 16"),
    PROP_UINT32("secs", VirtioBlk, sectors, 0, .help = "sectors of a track; 0: 63"),
    PROP_STRING("serial", VirtioBlk, serial, NULL, .help = "serial number, at most 20 characters"),
    PROP_UINT16("num-queues", VirtioBlk, num_queues, VIRTIO_BLK_QUEUES_AUTO,
                .help = "request queues; one for each CPU"),
    PROP_UINT16("queue-size", VirtioBlk, queue_size, QUEUE_SIZE_DEFAULT,
                .help = "entries; a power of two"),
    PROP_LINK("iothread", VirtioBlk, iothread, TYPE_IOTHREAD,
              .help = "thread that handles requests"),
    VIRTIO_COMMON_PROPERTIES(VirtioBlk),
    {}
};

static void blk_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_STORAGE;
    dc->vmstate = &blk_vmstate;
    k->realize = blk_realize;
    k->unrealize = blk_unrealize;
    k->get_features = blk_get_features;
    k->get_config = blk_get_config;
    k->set_config = blk_set_config;
    k->set_status = blk_set_status;
    k->reset = blk_reset;
    k->queue_reset = blk_queue_reset;
    k->ioeventfd_start = blk_ioeventfd_start;
    k->ioeventfd_stop = blk_ioeventfd_stop;
}

static const TypeInfo blk_info = {
    .name = TYPE_VIRTIO_BLK,
    .parent = TYPE_VIRTIO_DEVICE,
    .help = "virtio block device",
    .instance_size = sizeof(VirtioBlk),
    .properties = blk_properties,
    .class_init = blk_class_init,
};
OBJECT_TYPE(virtio_blk, blk_info)
