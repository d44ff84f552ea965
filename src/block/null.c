/* A disk of nothing, for measuring what stands before it. */
#include "base/bits.h"
#include "base/iov.h"
#include "block/block.h"

enum { DEFAULT_SIZE = 1 << 30 };

typedef struct NullNode {
    BlockNode node;
    BlockFileIo io; /* no descriptor, only time */
    bool read_zeroes;
} NullNode;

static bool null_open(BlockNode *node, const BlockdevOptions *options, Error **errp)
{
    NullNode *n = (NullNode *)node;
    const BlockdevOptionsNull *o = &options->u.null_co;
    if (o->has_latency_ns && o->latency_ns > INT64_MAX) {
        error_set(errp, "'latency-ns' is too long");
        return false;
    }
    node->size = o->has_size ? o->size : DEFAULT_SIZE;
    node->alignment = 1;
    n->io = (BlockFileIo){
        .fd = -1,
        .threads = true,
        .sleep_ns = o->has_latency_ns ? o->latency_ns : 0,
    };
    n->read_zeroes = o->has_read_zeroes && o->read_zeroes;
    return true;
}

static void null_close(BlockNode *node)
{
}

static void null_submit(BlockNode *node, BlockRequest *req)
{
    NullNode *n = (NullNode *)node;
    if (req->op == BLOCK_READ && n->read_zeroes) {
        iov_fill(req->iov, req->iov_count, 0, 0, req->len);
    }
    if (!n->io.sleep_ns) {
        block_request_done(req, 0);
        return;
    }
    block_engine_file_io(req->engine, &n->io, req);
}

const BlockDriver block_driver_null = {
    .name = "null-co",
    .size = sizeof(NullNode),
    .open = null_open,
    .close = null_close,
    .submit = null_submit,
};
