/* The whole of another node, or a part of it. */
#include "base/bits.h"
#include "block/block.h"

typedef struct RawNode {
    BlockNode node;
    uint64_t offset;
    bool has_size; /* a fixed part; otherwise it grows with the node below */
} RawNode;

static bool raw_refresh(BlockNode *node, Error **errp)
{
    RawNode *r = (RawNode *)node;
    if (node->child->driver->refresh && !node->child->driver->refresh(node->child, errp)) {
        return false;
    }
    uint64_t below = block_node_size(node->child);
    if (r->offset > below) {
        error_set(errp,
                  "offset %" G_GUINT64_FORMAT " is past the end of '%s' (%" G_GUINT64_FORMAT
                  " bytes)",
                  r->offset, node->child->name, below);
        return false;
    }
    if (!r->has_size) {
        __atomic_store_n(&node->size, below - r->offset, __ATOMIC_RELAXED);
    } else if (node->size > below - r->offset) {
        error_set(errp,
                  "size %" G_GUINT64_FORMAT " at offset %" G_GUINT64_FORMAT
                  " is past the end of '%s' (%" G_GUINT64_FORMAT " bytes)",
                  node->size, r->offset, node->child->name, below);
        return false;
    }
    return true;
}

static bool raw_open(BlockNode *node, const BlockdevOptions *options, Error **errp)
{
    RawNode *r = (RawNode *)node;
    const BlockdevOptionsRaw *o = &options->u.raw;
    if (!o->file) {
        error_set(errp, "'file' is missing: raw needs a node below it");
        return false;
    }
    node->child = block_node_open_child(node, o->file, errp);
    if (!node->child) {
        return false;
    }
    if (node->child->read_only && !node->read_only) {
        if (!options->has_auto_read_only || !options->auto_read_only) {
            if (options->has_read_only) {
                error_set(errp, "'%s' is read-only, set read-only=on here too", node->child->name);
                return false;
            }
        }
        node->read_only = true;
    }
    r->offset = o->has_offset ? o->offset : 0;
    r->has_size = o->has_size;
    node->size = o->size;
    node->alignment = node->child->alignment;
    node->secure_erase = node->child->secure_erase;
    node->filename = g_strdup(node->child->filename);
    if (r->offset % node->alignment) {
        error_set(errp, "offset %" G_GUINT64_FORMAT " must be a multiple of %u", r->offset,
                  node->alignment);
        return false;
    }
    return raw_refresh(node, errp);
}

static void raw_close(BlockNode *node)
{
}

static void raw_submit(BlockNode *node, BlockRequest *req)
{
    RawNode *r = (RawNode *)node;
    req->offset += r->offset;
    block_node_submit(node->child, req);
}

static bool raw_resize(BlockNode *node, uint64_t size, Error **errp)
{
    RawNode *r = (RawNode *)node;
    if (r->has_size) {
        error_set(errp, "node '%s' is a fixed part of another and can't be resized", node->name);
        return false;
    }
    return block_node_resize(node->child, r->offset + size, errp) && raw_refresh(node, errp);
}

const BlockDriver block_driver_raw = {
    .name = "raw",
    .size = sizeof(RawNode),
    .open = raw_open,
    .close = raw_close,
    .submit = raw_submit,
    .resize = raw_resize,
    .refresh = raw_refresh,
};
