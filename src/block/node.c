/* Nodes by name: making, finding, claiming, deleting. */
#include <string.h>

#include "base/text.h"
#include "block/backend.h"
#include "block/block.h"

/* All nodes of the machine, in order of creation; block_finish_all() empties it. */
static BlockNode *nodes;

static const BlockDriver *const drivers[BLOCKDEV_DRIVER_COUNT] = {
    [BLOCKDEV_DRIVER_FILE] = &block_driver_file,
    [BLOCKDEV_DRIVER_HOST_DEVICE] = &block_driver_host_device,
    [BLOCKDEV_DRIVER_RAW] = &block_driver_raw,
    [BLOCKDEV_DRIVER_NULL_CO] = &block_driver_null,
    [BLOCKDEV_DRIVER_NULL_AIO] = &block_driver_null,
};

uint64_t block_node_size(const BlockNode *node)
{
    return __atomic_load_n(&node->size, __ATOMIC_RELAXED);
}

BlockNode *block_node_find(const char *name)
{
    for (BlockNode *n = nodes; n; n = n->next) {
        if (!strcmp(n->name, name)) {
            return n;
        }
    }
    return NULL;
}

void block_node_foreach(BlockNodeVisitor *visit, void *opaque)
{
    for (BlockNode *n = nodes, *next; n; n = next) {
        next = n->next;
        if (!visit(n, opaque)) {
            return;
        }
    }
}

void block_node_ref(BlockNode *node)
{
    node->refcount++;
}

static void node_free(BlockNode *node)
{
    node->driver->close(node);
    if (node->child) {
        block_node_release(node->child, node);
        block_node_unref(node->child);
    }
    g_free(node->name);
    g_free(node->filename);
    g_free(node->user_name);
    g_free(node);
}

static void node_unlist(BlockNode *node)
{
    BlockNode **p = &nodes;
    while (*p && *p != node) {
        p = &(*p)->next;
    }
    if (*p) {
        *p = node->next;
    }
}

void block_node_unref(BlockNode *node)
{
    if (!--node->refcount) {
        node_unlist(node);
        node_free(node);
    }
}

static char *free_name(void)
{
    for (unsigned i = 0;; i++) {
        /* '#' can't be in a name that users give. */
        char *name = g_strdup_printf("#block%u", i);
        if (!block_node_find(name)) {
            return name;
        }
        g_free(name);
    }
}

static bool name_is_free(const char *name, Error **errp)
{
    if (!text_is_id(name)) {
        error_set(errp,
                  "node-name '%s' must begin with a letter and have only letters, digits, "
                  "'-', '.', '_'",
                  name);
        return false;
    }
    if (block_node_find(name) || block_drive_find(name)) {
        error_set(errp, "there is a node or drive '%s' already; choose another name", name);
        return false;
    }
    return true;
}

BlockNode *block_node_open(const BlockdevOptions *o, Error **errp)
{
    const BlockDriver *driver = drivers[o->driver];
    if (o->node_name && !name_is_free(o->node_name, errp)) {
        return NULL;
    }
    if (o->has_detect_zeroes && o->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP &&
        !(o->has_discard && o->discard == BLOCKDEV_DISCARD_OPTIONS_UNMAP)) {
        error_set(errp, "detect-zeroes=unmap needs discard=unmap");
        return NULL;
    }
    BlockNode *node = g_malloc0(driver->size);
    node->driver = driver;
    node->name = g_strdup(o->node_name);
    node->refcount = 1;
    node->alignment = 1;
    node->read_only = o->has_read_only && o->read_only;
    node->discard = o->has_discard && o->discard == BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    node->detect_zeroes =
        o->has_detect_zeroes && o->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
    node->detect_zeroes_unmap =
        o->has_detect_zeroes && o->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;
    node->direct = o->cache && o->cache->has_direct && o->cache->direct;
    node->no_flush = o->cache && o->cache->has_no_flush && o->cache->no_flush;
    if (!driver->open(node, o, errp)) {
        if (o->node_name) {
            error_prepend(errp, "block node '%s': ", node->name);
        }
        node_free(node);
        return NULL;
    }
    if (!node->name) {
        /* Only now: nodes below took names of their own. */
        node->name = free_name();
        if (node->child) {
            g_free(node->child->user_name);
            node->child->user_name = g_strdup(node->name);
        }
    }
    BlockNode **p = &nodes;
    while (*p) {
        p = &(*p)->next;
    }
    *p = node;
    return node;
}

BlockNode *block_node_add(const BlockdevOptions *options, Error **errp)
{
    if (!options->node_name) {
        error_set(errp, "'node-name' is missing: a node without a name can't be used");
        return NULL;
    }
    BlockNode *node = block_node_open(options, errp);
    if (node) {
        node->user_made = true;
    }
    return node;
}

BlockNode *block_node_open_child(BlockNode *parent, const BlockdevRef *ref, Error **errp)
{
    BlockNode *child;
    if (ref->kind == BLOCKDEV_REF_REFERENCE) {
        child = block_node_find(ref->u.reference);
        if (!child) {
            error_set(errp, "there is no node '%s'", ref->u.reference);
            return NULL;
        }
        block_node_ref(child);
    } else {
        child = block_node_open(&ref->u.definition, errp);
        if (!child) {
            return NULL;
        }
    }
    if (!block_node_claim(child, parent, parent->name, errp)) {
        block_node_unref(child);
        return NULL;
    }
    return child;
}

bool block_node_claim(BlockNode *node, void *user, const char *name, Error **errp)
{
    if (node->user) {
        error_set(errp, "block node '%s' is in use by '%s'", node->name, node->user_name);
        return false;
    }
    node->user = user;
    node->user_name = g_strdup(name);
    return true;
}

void block_node_release(BlockNode *node, void *user)
{
    if (node->user == user) {
        node->user = NULL;
        g_clear_pointer(&node->user_name, g_free);
    }
}

bool block_node_del(const char *name, Error **errp)
{
    BlockNode *node = block_node_find(name);
    if (!node) {
        error_set(errp, "Failed to find node with node-name='%s'", name);
        return false;
    }
    if (!node->user_made) {
        error_set(errp, "Node %s is not owned by the monitor", name);
        return false;
    }
    if (node->user) {
        error_set(errp, "Node '%s' is busy: it is in use by '%s'", name, node->user_name);
        return false;
    }
    node->user_made = false;
    block_node_unref(node);
    return true;
}

bool block_node_resize(BlockNode *node, uint64_t size, Error **errp)
{
    if (node->read_only) {
        error_set(errp, "node '%s' is read-only", node->name);
        return false;
    }
    if (!node->driver->resize) {
        error_set(errp, "node '%s' (%s) can't be resized", node->name, node->driver->name);
        return false;
    }
    return node->driver->resize(node, size, errp);
}

/* --- requests on their way down --- */

static bool all_zero(const BlockRequest *req)
{
    for (unsigned i = 0; i < req->iov_count; i++) {
        const uint8_t *p = req->iov[i].iov_base;
        size_t n = req->iov[i].iov_len;
        if (n && (p[0] || memcmp(p, p + 1, n - 1))) {
            return false;
        }
    }
    return true;
}

void block_node_submit(BlockNode *node, BlockRequest *req)
{
    if (req->op == BLOCK_DISCARD && !node->discard) {
        block_request_done(req, 0); /* a hint that the user doesn't want followed */
        return;
    }
    if (req->op == BLOCK_FLUSH && node->no_flush) {
        block_request_done(req, 0);
        return;
    }
    if (req->op == BLOCK_WRITE_ZEROES && !node->discard) {
        req->flags &= ~BLOCK_MAY_UNMAP;
    }
    if (req->op == BLOCK_WRITE && node->detect_zeroes && all_zero(req)) {
        req->op = BLOCK_WRITE_ZEROES;
        req->flags |= node->detect_zeroes_unmap ? BLOCK_MAY_UNMAP : 0;
    }
    node->driver->submit(node, req);
}

void block_finish_all(void)
{
    block_drives_finish();
    for (;;) {
        BlockNode *n = nodes;
        while (n && !n->user_made) {
            n = n->next;
        }
        if (!n) {
            break;
        }
        n->user_made = false;
        block_node_unref(n);
    }
    assert(!nodes);
}
