/*
 * I/O on descriptors for one event loop: io_uring, or threads where the host has none, the user
 * wants none, or the operation has no such form (ioctls of block devices).
 *
 * Completions of the ring arrive at the loop through the ring's descriptor, those of threads
 * through a notifier.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/iov.h"
#include "block/block.h"
#include "event/notifier.h"

enum { RING_ENTRIES = 256, THREADS_MAX = 16 };

struct BlockEngine {
    EventLoop *loop;
    struct io_uring ring;
    bool has_ring;
    FdWatch *watch;
    unsigned plugged;
    unsigned unsubmitted; /* entries in the ring that the kernel hasn't been told of */
    unsigned in_flight;   /* all requests */
    BlockRequest *backlog, **backlog_last; /* the ring is full */
    GMutex lock;                           /* guards finished */
    BlockRequest *finished;                /* by threads, newest first */
    EventNotifier notifier;
    GThreadPool *pool; /* NULL until one is needed */
};

/* What a request needs beyond BlockRequest while it is on a descriptor. */
typedef struct FileWork {
    BlockFileIo io;
    BlockRequest *req;
} FileWork;

/* --- transfers: what is left, bounce buffers --- */

static bool is_transfer(const BlockRequest *req)
{
    return req->op == BLOCK_READ || req->op == BLOCK_WRITE;
}

static bool iov_is_aligned(const struct iovec *iov, unsigned count, uint32_t alignment)
{
    for (unsigned i = 0; i < count; i++) {
        if ((uintptr_t)iov[i].iov_base % alignment || iov[i].iov_len % alignment) {
            return false;
        }
    }
    return true;
}

/* Past the page cache, buffers must be aligned: go through one of ours where they are not. */
static bool request_bounce(BlockRequest *req, const BlockFileIo *io)
{
    if (io->memory_alignment <= 1 ||
        iov_is_aligned(req->iov, req->iov_count, io->memory_alignment)) {
        return true;
    }
    if (FAULT("bounce buffer", NULL) ||
        posix_memalign(&req->bounce, io->memory_alignment, req->len)) {
        req->bounce = NULL;
        return false;
    }
    if (req->op == BLOCK_WRITE) {
        iov_to_buf(req->iov, req->iov_count, 0, req->bounce, req->len);
    }
    req->rest = g_new(struct iovec, 1);
    req->rest[0] = (struct iovec){ req->bounce, req->len };
    req->rest_count = 1;
    return true;
}

static const struct iovec *request_iov(const BlockRequest *req, unsigned *count)
{
    *count = req->rest ? req->rest_count : req->iov_count;
    return req->rest ? req->rest : req->iov;
}

/* n bytes went; describe what is left. */
static void request_advance(BlockRequest *req, size_t n)
{
    req->moved += n;
    const struct iovec *from = req->iov;
    unsigned count = req->iov_count;
    struct iovec whole = { req->bounce, req->len };
    if (req->bounce) {
        from = &whole;
        count = 1;
    }
    struct iovec *rest = g_new(struct iovec, count);
    unsigned used = iov_slice(rest, count, from, count, req->moved, req->len - req->moved);
    g_free(req->rest);
    req->rest = rest;
    req->rest_count = used;
}

void block_request_done(BlockRequest *req, int error)
{
    BlockEngine *e = req->engine;
    if (req->bounce && req->op == BLOCK_READ && !error) {
        iov_from_buf(req->iov, req->iov_count, 0, req->bounce, req->len);
    }
    free(req->bounce);
    g_free(req->rest);
    e->in_flight--;
    req->done(req, error);
}

/* A transfer step ended with result (bytes, or -errno). True if the request is over. */
static bool request_step(BlockRequest *req, int64_t result, int *error)
{
    *error = 0;
    if (result < 0) {
        *error = -result;
        return true;
    }
    if (!is_transfer(req)) {
        return true;
    }
    if (req->moved + result >= req->len) {
        return true;
    }
    if (result == 0) {
        if (req->op == BLOCK_WRITE) {
            *error = ENOSPC;
            return true;
        }
        /* Past the end of the file: zeros. */
        unsigned count;
        const struct iovec *iov = request_iov(req, &count);
        iov_fill(iov, count, 0, 0, req->len - req->moved);
        return true;
    }
    request_advance(req, result);
    return false;
}

/* --- doing it by hand --- */

static int zero_by_writing(const FileWork *w)
{
    static const uint8_t zeros[64 * 1024];
    for (uint64_t done = 0; done < w->req->len;) {
        size_t n = MIN_OF(sizeof(zeros), w->req->len - done);
        ssize_t r = pwrite(w->io.fd, zeros, n, w->req->offset + done);
        if (r < 0 && errno != EINTR) {
            return errno;
        }
        done += r > 0 ? r : 0;
    }
    return 0;
}

static int do_discard(const FileWork *w)
{
    BlockRequest *req = w->req;
    int r;
    if (w->io.is_device) {
        uint64_t range[2] = { req->offset, req->len };
        r = ioctl(w->io.fd, BLKDISCARD, range);
    } else {
        r = fallocate(w->io.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, req->offset, req->len);
    }
    /* A hint that the host can't follow is no error. */
    return r && errno != EOPNOTSUPP && errno != ENOTTY ? errno : 0;
}

/* Other than a discard it must happen, or fail. */
static int do_secure_erase(const FileWork *w)
{
    uint64_t range[2] = { w->req->offset, w->req->len };
    if (!w->io.is_device) {
        return EOPNOTSUPP;
    }
    return ioctl(w->io.fd, BLKSECDISCARD, range) ? errno : 0;
}

static int do_write_zeroes(const FileWork *w)
{
    BlockRequest *req = w->req;
    if (w->io.is_device) {
        uint64_t range[2] = { req->offset, req->len };
        if (ioctl(w->io.fd, BLKZEROOUT, range) == 0) {
            return 0;
        }
    } else {
        bool punch = req->flags & BLOCK_MAY_UNMAP;
        if (punch && fallocate(w->io.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, req->offset,
                               req->len) == 0) {
            return 0;
        }
        if (fallocate(w->io.fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, req->offset,
                      req->len) == 0) {
            return 0;
        }
    }
    return errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL ? zero_by_writing(w) : errno;
}

static int do_transfer(const FileWork *w)
{
    BlockRequest *req = w->req;
    for (;;) {
        unsigned count;
        const struct iovec *iov = request_iov(req, &count);
        int n = MIN_OF(count, IOV_MAX);
        off_t at = req->offset + req->moved;
        ssize_t r = req->op == BLOCK_READ
                        ? preadv(w->io.fd, iov, n, at)
                        : pwritev2(w->io.fd, iov, n, at, req->flags & BLOCK_FUA ? RWF_DSYNC : 0);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        int error;
        if (request_step(req, r < 0 ? -errno : r, &error)) {
            return error;
        }
    }
}

static int do_work(const FileWork *w)
{
    if (w->io.fd < 0) {
        g_usleep(w->io.sleep_ns / 1000);
        return 0;
    }
    switch (w->req->op) {
    case BLOCK_FLUSH:
        return fdatasync(w->io.fd) ? errno : 0;
    case BLOCK_DISCARD:
        return do_discard(w);
    case BLOCK_SECURE_ERASE:
        return do_secure_erase(w);
    case BLOCK_WRITE_ZEROES: {
        int error = do_write_zeroes(w);
        return !error && w->req->flags & BLOCK_FUA && fdatasync(w->io.fd) ? errno : error;
    }
    default:
        return do_transfer(w);
    }
}

/* --- threads --- */

static void thread_run(gpointer data, gpointer opaque)
{
    FileWork *w = data;
    BlockEngine *e = opaque;
    BlockRequest *req = w->req;
    req->error = do_work(w);
    g_free(w);
    g_mutex_lock(&e->lock);
    req->next = e->finished;
    bool first = !e->finished;
    e->finished = req;
    g_mutex_unlock(&e->lock);
    if (first) {
        event_notifier_set(&e->notifier);
    }
}

static void threads_reap(BlockEngine *e)
{
    g_mutex_lock(&e->lock);
    BlockRequest *list = e->finished;
    e->finished = NULL;
    g_mutex_unlock(&e->lock);
    BlockRequest *in_order = NULL;
    while (list) {
        BlockRequest *next = list->next;
        list->next = in_order;
        in_order = list;
        list = next;
    }
    while (in_order) {
        BlockRequest *req = in_order;
        in_order = req->next;
        block_request_done(req, req->error);
    }
}

static void threads_rang(EventNotifier *n)
{
    event_notifier_test_and_clear(n);
    threads_reap(CONTAINER_OF(n, BlockEngine, notifier));
}

static void threads_submit(BlockEngine *e, const BlockFileIo *io, BlockRequest *req)
{
    FileWork *w = g_new(FileWork, 1);
    *w = (FileWork){ .io = *io, .req = req };
    if (!e->pool) {
        e->pool = g_thread_pool_new(thread_run, e, THREADS_MAX, false, NULL);
    }
    g_thread_pool_push(e->pool, w, NULL);
}

/* --- the ring --- */

static void ring_submit(BlockEngine *e)
{
    if (!e->unsubmitted) {
        return;
    }
    int n = io_uring_submit(&e->ring);
    if (n > 0) {
        e->unsubmitted -= MIN_OF((unsigned)n, e->unsubmitted);
    }
}

/* Discards and zeroes may need several attempts. */
static bool ring_has_form(const BlockRequest *req)
{
    return is_transfer(req) || req->op == BLOCK_FLUSH;
}

/* False when the ring is full. */
static bool ring_queue(BlockEngine *e, BlockRequest *req)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
    if (!sqe) {
        ring_submit(e);
        sqe = io_uring_get_sqe(&e->ring);
        if (!sqe) {
            return false;
        }
    }
    const BlockFileIo *io = req->file_io;
    unsigned count;
    const struct iovec *iov = request_iov(req, &count);
    count = MIN_OF(count, IOV_MAX);
    switch (req->op) {
    case BLOCK_READ:
        io_uring_prep_readv(sqe, io->fd, iov, count, req->offset + req->moved);
        break;
    case BLOCK_WRITE:
        io_uring_prep_writev2(sqe, io->fd, iov, count, req->offset + req->moved,
                              req->flags & BLOCK_FUA ? RWF_DSYNC : 0);
        break;
    default:
        io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, req);
    e->unsubmitted++;
    return true;
}

static void ring_add(BlockEngine *e, BlockRequest *req)
{
    if (e->backlog || !ring_queue(e, req)) {
        req->next = NULL;
        *e->backlog_last = req;
        e->backlog_last = &req->next;
        return;
    }
    if (!e->plugged) {
        ring_submit(e);
    }
}

static void ring_reap(BlockEngine *e)
{
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&e->ring, &cqe) == 0) {
        BlockRequest *req = io_uring_cqe_get_data(cqe);
        int res = cqe->res;
        int error;
        io_uring_cqe_seen(&e->ring, cqe);
        if (res == -EINTR || res == -EAGAIN) {
            ring_add(e, req);
        } else if (request_step(req, res, &error)) {
            block_request_done(req, error);
        } else {
            ring_add(e, req);
        }
    }
    while (e->backlog && ring_queue(e, e->backlog)) {
        e->backlog = e->backlog->next;
        if (!e->backlog) {
            e->backlog_last = &e->backlog;
        }
    }
    if (!e->plugged) {
        ring_submit(e);
    }
}

static void ring_readable(void *opaque)
{
    ring_reap(opaque);
}

/* --- public --- */

void block_engine_file_io(BlockEngine *e, const BlockFileIo *io, BlockRequest *req)
{
    if (req->op == BLOCK_FLUSH && io->no_flush) {
        block_request_done(req, 0);
        return;
    }
    if (io->fd >= 0 && is_transfer(req) && !request_bounce(req, io)) {
        block_request_done(req, ENOMEM);
        return;
    }
    if (e->has_ring && !io->threads && ring_has_form(req)) {
        req->file_io = io;
        ring_add(e, req);
    } else {
        threads_submit(e, io, req);
    }
}

BlockEngine *block_engine_new(EventLoop *loop, Error **errp)
{
    BlockEngine *e = g_new0(BlockEngine, 1);
    e->loop = loop;
    e->backlog_last = &e->backlog;
    if (!event_notifier_init(&e->notifier, false, errp)) {
        g_free(e);
        return NULL;
    }
    g_mutex_init(&e->lock);
    event_notifier_watch(&e->notifier, loop, threads_rang);
    e->has_ring = !FAULT("io_uring", NULL) && io_uring_queue_init(RING_ENTRIES, &e->ring, 0) == 0;
    if (e->has_ring) {
        e->watch = fd_watch_new(loop, e->ring.ring_fd, ring_readable, NULL, e);
    }
    return e;
}

void block_engine_free(BlockEngine *e)
{
    if (!e) {
        return;
    }
    assert(!e->in_flight);
    if (e->pool) {
        g_thread_pool_free(e->pool, false, true);
    }
    fd_watch_free(e->watch);
    if (e->has_ring) {
        io_uring_queue_exit(&e->ring);
    }
    event_notifier_finish(&e->notifier);
    g_mutex_clear(&e->lock);
    g_free(e);
}

void block_engine_plug(BlockEngine *e)
{
    e->plugged++;
}

void block_engine_unplug(BlockEngine *e)
{
    if (!--e->plugged && e->has_ring) {
        ring_submit(e);
    }
}

void block_engine_drain(BlockEngine *e)
{
    while (e->in_flight) {
        if (e->has_ring) {
            ring_submit(e);
            ring_reap(e);
        }
        threads_reap(e);
        if (!e->in_flight) {
            break;
        }
        struct pollfd fds[] = { { .fd = e->notifier.fd, .events = POLLIN },
                                { .fd = e->has_ring ? e->ring.ring_fd : -1, .events = POLLIN } };
        poll(fds, ARRAY_LEN(fds), -1);
        event_notifier_test_and_clear(&e->notifier);
    }
}

unsigned block_engine_in_flight(const BlockEngine *e)
{
    return e->in_flight;
}

bool block_engine_has_uring(const BlockEngine *e)
{
    return e->has_ring;
}

void block_submit(BlockNode *node, BlockEngine *e, BlockRequest *req)
{
    req->engine = e;
    req->moved = 0;
    req->rest = NULL;
    req->bounce = NULL;
    req->error = 0;
    e->in_flight++;
    uint64_t size = ALIGN_UP(block_node_size(node), (uint64_t)BLOCK_SECTOR);
    if (req->op != BLOCK_FLUSH) {
        if (req->offset > size || req->len > size - req->offset) {
            block_request_done(req, EIO);
            return;
        }
        if (req->op != BLOCK_READ && node->read_only) {
            block_request_done(req, EPERM);
            return;
        }
        if ((req->offset | req->len) % node->alignment && is_transfer(req)) {
            block_request_done(req, EINVAL);
            return;
        }
        if (!req->len) {
            block_request_done(req, 0);
            return;
        }
    }
    block_node_submit(node, req);
}
