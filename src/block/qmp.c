/* Monitor commands about disks. */
#include <string.h>

#include "base/report.h"
#include "base/text.h"
#include "block/backend.h"

bool qmp_blockdev_add(const BlockdevOptions *args, Error **errp)
{
    return block_node_add(args, errp) != NULL;
}

bool qmp_blockdev_del(const BlockdevDelArgs *args, Error **errp)
{
    return block_node_del(args->node_name, errp);
}

static bool tell_resized(BlockBackend *b, void *opaque)
{
    const BlockNode *node = opaque;
    for (const BlockNode *n = b->node; n; n = n->child) {
        if (n == node && b->resized) {
            b->resized(b->device);
        }
    }
    return true;
}

static bool refresh_parent(BlockNode *n, void *opaque)
{
    ERROR_AUTO err = NULL;
    if (n->child == opaque && n->driver->refresh && !n->driver->refresh(n, &err)) {
        report_warning("block node '%s': %s", n->name, error_message(err));
    }
    return true;
}

bool qmp_block_resize(const BlockResizeArgs *args, Error **errp)
{
    BlockDrive *d = args->device ? block_drive_find(args->device) : NULL;
    BlockNode *node = d ? d->node : args->node_name ? block_node_find(args->node_name) : NULL;
    if (!node) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                        args->device      ? args->device
                        : args->node_name ? args->node_name
                                          : "");
        return false;
    }
    if (args->size < 0) {
        error_set(errp, "Parameter 'size' expects a value above 0, got %" G_GINT64_FORMAT,
                  args->size);
        return false;
    }
    if (!block_node_resize(node, args->size, errp)) {
        return false;
    }
    block_node_foreach(refresh_parent, node);
    block_backend_foreach(tell_resized, node);
    return true;
}

static void fill_node_info(BlockDeviceInfo *info, const BlockNode *n, bool write_through)
{
    const char *file = n->filename ? n->filename : n->driver->name;
    *info = (BlockDeviceInfo){
        .file = g_strdup(file),
        .node_name = g_strdup(n->name),
        .ro = n->read_only,
        .drv = g_strdup(n->driver->name),
        .detect_zeroes = n->detect_zeroes_unmap ? BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP
                         : n->detect_zeroes     ? BLOCKDEV_DETECT_ZEROES_OPTIONS_ON
                                                : BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF,
        .cache = { .writeback = !write_through, .direct = n->direct, .no_flush = n->no_flush },
        .image = { .filename = g_strdup(file),
                   .format = g_strdup(n->driver->name),
                   .virtual_size = block_node_size(n) },
    };
}

static bool append_node(BlockNode *n, void *opaque)
{
    BlockDeviceInfo info;
    fill_node_info(&info, n, false);
    g_array_append_val((GArray *)opaque, info);
    return true;
}

bool qmp_query_named_block_nodes(const QueryNamedBlockNodesArgs *args, BlockDeviceInfoList *ret,
                                 Error **errp)
{
    GArray *list = g_array_new(false, false, sizeof(BlockDeviceInfo));
    block_node_foreach(append_node, list);
    ret->len = list->len;
    ret->items = (BlockDeviceInfo *)g_array_free(list, false);
    return true;
}

static void fill_backend_info(BlockInfo *info, const BlockBackend *b)
{
    *info = (BlockInfo){
        .device = g_strdup(b->drive ? b->drive->id : ""),
        .qdev = object_canonical_path(b->device),
        .type = g_strdup("unknown"),
        .has_io_status = true,
        .io_status = b->io_status,
    };
    if (b->node) {
        info->inserted = g_new0(BlockDeviceInfo, 1);
        fill_node_info(info->inserted, b->node, b->write_through);
    }
}

static bool append_backend(BlockBackend *b, void *opaque)
{
    BlockInfo info;
    fill_backend_info(&info, b);
    g_array_append_val((GArray *)opaque, info);
    return true;
}

/* Drives that no device uses yet stand for themselves. */
static bool append_drive(BlockDrive *d, void *opaque)
{
    if (d->taken) {
        return true;
    }
    BlockInfo info = { .device = g_strdup(d->id), .type = g_strdup("unknown") };
    if (d->node) {
        info.inserted = g_new0(BlockDeviceInfo, 1);
        fill_node_info(info.inserted, d->node, d->write_through);
    }
    g_array_append_val((GArray *)opaque, info);
    return true;
}

bool qmp_query_block(BlockInfoList *ret, Error **errp)
{
    GArray *list = g_array_new(false, false, sizeof(BlockInfo));
    block_backend_foreach(append_backend, list);
    block_drive_foreach(append_drive, list);
    ret->len = list->len;
    ret->items = (BlockInfo *)g_array_free(list, false);
    return true;
}

static void fill_stats(BlockDeviceStats *s, const BlockBackend *b)
{
    const BlockCounters *rd = &b->counters[BLOCK_READ], *wr = &b->counters[BLOCK_WRITE],
                        *flush = &b->counters[BLOCK_FLUSH], *unmap = &b->counters[BLOCK_DISCARD];
    *s = (BlockDeviceStats){
        .rd_bytes = rd->bytes,
        .wr_bytes = wr->bytes,
        .unmap_bytes = unmap->bytes,
        .rd_operations = rd->operations,
        .wr_operations = wr->operations,
        .flush_operations = flush->operations,
        .unmap_operations = unmap->operations,
        .rd_total_time_ns = rd->time_ns,
        .wr_total_time_ns = wr->time_ns,
        .flush_total_time_ns = flush->time_ns,
        .unmap_total_time_ns = unmap->time_ns,
        .wr_highest_offset = b->highest_write,
        .failed_rd_operations = rd->failed,
        .failed_wr_operations = wr->failed,
        .failed_flush_operations = flush->failed,
        .failed_unmap_operations = unmap->failed,
        .invalid_rd_operations = rd->invalid,
        .invalid_wr_operations = wr->invalid,
        .invalid_flush_operations = flush->invalid,
        .invalid_unmap_operations = unmap->invalid,
    };
}

static bool append_stats(BlockBackend *b, void *opaque)
{
    BlockStats st = {
        .device = g_strdup(b->drive ? b->drive->id : ""),
        .qdev = object_canonical_path(b->device),
        .node_name = g_strdup(b->node ? b->node->name : NULL),
    };
    fill_stats(&st.stats, b);
    g_array_append_val((GArray *)opaque, st);
    return true;
}

/* Nodes count nothing themselves: what their device did is theirs. */
static bool append_node_stats(BlockBackend *b, void *opaque)
{
    if (!b->node) {
        return true;
    }
    BlockStats st = { .node_name = g_strdup(b->node->name) };
    fill_stats(&st.stats, b);
    g_array_append_val((GArray *)opaque, st);
    return true;
}

bool qmp_query_blockstats(const QueryBlockstatsArgs *args, BlockStatsList *ret, Error **errp)
{
    GArray *list = g_array_new(false, false, sizeof(BlockStats));
    bool nodes = args->has_query_nodes && args->query_nodes;
    block_backend_foreach(nodes ? append_node_stats : append_stats, list);
    ret->len = list->len;
    ret->items = (BlockStats *)g_array_free(list, false);
    return true;
}

static bool print_backend(BlockBackend *b, void *opaque)
{
    GString *out = opaque;
    g_autofree char *path = object_canonical_path(b->device);
    g_string_append_printf(out, "%s (%s): ", b->drive ? b->drive->id : "", path ? path : "?");
    if (b->node) {
        g_autofree char *size = text_from_size(block_node_size(b->node));
        g_string_append_printf(
            out, "%s (%s%s, %s)\n", b->node->filename ? b->node->filename : b->node->name,
            b->node->driver->name, b->node->read_only ? ", read-only" : "", size);
        g_string_append_printf(
            out, "    Cache mode: %s%s%s\n", b->write_through ? "writethrough" : "writeback",
            b->node->direct ? ", direct" : "", b->node->no_flush ? ", ignore flushes" : "");
    } else {
        g_string_append(out, "[not inserted]\n");
    }
    return true;
}

void block_print_info(GString *out)
{
    block_backend_foreach(print_backend, out);
}
