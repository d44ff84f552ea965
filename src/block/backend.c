/* Devices' disks: attaching, errors, counters. */
#include "block/backend.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/report.h"
#include "object/runstate.h"

/* Those attached to a device; empty when the last device is gone. */
static BlockBackend *backends;

/* --- the property "drive" --- */

static bool drive_value_parse(void *owner, const Field *field, void *slot, json_t *json,
                              ValueMode mode, Error **errp)
{
    BlockBackend *b = slot;
    if (!json_is_string(json)) {
        error_set(errp, "Parameter '%s' expects the id of a drive or a node name", field->name);
        return false;
    }
    const char *name = json_string_value(json);
    BlockDrive *drive = block_drive_find(name);
    BlockNode *node = drive ? drive->node : block_node_find(name);
    if (!drive && !node) {
        error_set(errp,
                  "Parameter '%s': there is no drive and no node '%s'; make it with -blockdev "
                  "or -drive if=none",
                  field->name, name);
        return false;
    }
    if (drive && drive->taken && drive != b->drive) {
        error_set(errp, "Parameter '%s': drive '%s' is in use", field->name, name);
        return false;
    }
    if (node) {
        block_node_ref(node);
    }
    if (b->node) {
        block_node_unref(b->node);
    }
    if (b->drive) {
        b->drive->taken = false;
    }
    b->node = node;
    b->drive = drive;
    if (drive) {
        drive->taken = true;
    }
    return true;
}

static json_t *drive_value_print(const void *owner, const Field *field, const void *slot,
                                 Error **errp)
{
    const BlockBackend *b = slot;
    return json_string(b->drive ? b->drive->id : b->node ? b->node->name : "");
}

static void drive_value_release(void *owner, const Field *field, void *slot)
{
    BlockBackend *b = slot;
    if (b->node) {
        block_node_unref(b->node);
    }
    if (b->drive) {
        b->drive->taken = false;
    }
    b->node = NULL;
    b->drive = NULL;
}

static const ValueCustom drive_custom = {
    .parse = drive_value_parse,
    .print = drive_value_print,
    .release = drive_value_release,
};
const ValueType value_type_block_drive = {
    .kind = VALUE_CUSTOM,
    .name = "str",
    .size = sizeof(BlockBackend),
    .custom = &drive_custom,
};

/* --- attaching --- */

static bool check_block_size(const char *name, uint32_t size, Error **errp)
{
    if (!is_power_of_two(size) || size < BLOCK_SECTOR || size > 2 * MiB) {
        error_set(errp, "%s must be a power of two between 512 and 2 MiB, got %u", name, size);
        return false;
    }
    return true;
}

static bool check_multiple(const char *name, uint32_t size, uint32_t unit, Error **errp)
{
    if (size % unit) {
        error_set(errp, "%s must be a multiple of logical_block_size (%u), got %u", name, unit,
                  size);
        return false;
    }
    return true;
}

static bool conf_check(BlockConf *conf, Error **errp)
{
    uint32_t unit = conf->logical_block_size;
    if (!check_block_size("logical_block_size", unit, errp) ||
        !check_block_size("physical_block_size", conf->physical_block_size, errp)) {
        return false;
    }
    if (unit > conf->physical_block_size) {
        error_set(errp, "logical_block_size (%u) must not be above physical_block_size (%u)", unit,
                  conf->physical_block_size);
        return false;
    }
    if (conf->discard_granularity == UINT32_MAX) {
        conf->discard_granularity = unit;
    }
    return check_multiple("min_io_size", conf->min_io_size, unit, errp) &&
           check_multiple("opt_io_size", conf->opt_io_size, unit, errp) &&
           check_multiple("discard_granularity", conf->discard_granularity, unit, errp);
}

static BlockdevOnError choose(BlockdevOnError of_device, BlockdevOnError of_drive,
                              BlockdevOnError otherwise)
{
    return of_device != BLOCKDEV_ON_ERROR_AUTO  ? of_device
           : of_drive != BLOCKDEV_ON_ERROR_AUTO ? of_drive
                                                : otherwise;
}

bool block_conf_attach(BlockConf *conf, Object *device, bool read_only, Error **errp)
{
    BlockBackend *b = &conf->backend;
    if (!conf_check(conf, errp)) {
        return false;
    }
    if (conf->rerror == BLOCKDEV_ON_ERROR_ENOSPC) {
        error_set(errp, "rerror=enospc means nothing: reads need no space");
        return false;
    }
    g_autofree char *path = object_canonical_path(device);
    if (b->node) {
        if (b->node->read_only && !read_only) {
            error_set(errp, "node '%s' is read-only, and this device would write", b->node->name);
            return false;
        }
        if (conf->logical_block_size < b->node->alignment) {
            error_set(errp,
                      "node '%s' needs accesses of %u bytes past the page cache; set "
                      "logical_block_size=%u, or cache.direct=off",
                      b->node->name, b->node->alignment, b->node->alignment);
            return false;
        }
        if (!block_node_claim(b->node, b, path ? path : object_type_name(device), errp)) {
            return false;
        }
    }
    const BlockDrive *d = b->drive;
    BlockdevOnError none = BLOCKDEV_ON_ERROR_AUTO;
    b->rerror = choose(conf->rerror, d ? d->rerror : none, BLOCKDEV_ON_ERROR_REPORT);
    b->werror = choose(conf->werror, d ? d->werror : none, BLOCKDEV_ON_ERROR_ENOSPC);
    b->write_through = conf->write_cache == ON_OFF_AUTO_AUTO ? d && d->write_through
                                                             : conf->write_cache == ON_OFF_AUTO_OFF;
    b->read_only = read_only;
    b->device = device;
    memset(b->counters, 0, sizeof(b->counters));
    BlockBackend **p = &backends;
    while (*p) {
        p = &(*p)->next;
    }
    *p = b;
    b->next = NULL;
    return true;
}

void block_conf_detach(BlockConf *conf)
{
    BlockBackend *b = &conf->backend;
    for (BlockBackend **p = &backends; *p; p = &(*p)->next) {
        if (*p == b) {
            *p = b->next;
            break;
        }
    }
    if (b->node) {
        block_node_release(b->node, b);
        /* Now, not when the object goes: the node can be deleted, or used by another. */
        block_node_unref(b->node);
        b->node = NULL;
    }
    if (b->drive) {
        b->drive->taken = false;
        b->drive = NULL;
    }
    b->device = NULL;
}

void block_backend_foreach(BlockBackendVisitor *visit, void *opaque)
{
    for (BlockBackend *b = backends; b && visit(b, opaque); b = b->next) {
    }
}

/* --- errors and counters --- */

BlockErrorChoice block_backend_error(BlockBackend *b, bool is_read, int error)
{
    BlockdevOnError on = is_read ? b->rerror : b->werror;
    BlockErrorChoice choice = BLOCK_ERROR_REPORT;
    if (on == BLOCKDEV_ON_ERROR_IGNORE) {
        choice = BLOCK_ERROR_IGNORE;
    } else if (on == BLOCKDEV_ON_ERROR_STOP ||
               (on == BLOCKDEV_ON_ERROR_ENOSPC && error == ENOSPC)) {
        choice = BLOCK_ERROR_STOP;
    }
    static const BlockErrorAction actions[] = {
        [BLOCK_ERROR_IGNORE] = BLOCK_ERROR_ACTION_IGNORE,
        [BLOCK_ERROR_REPORT] = BLOCK_ERROR_ACTION_REPORT,
        [BLOCK_ERROR_STOP] = BLOCK_ERROR_ACTION_STOP,
    };
    qmp_event_block_io_error(b->drive ? b->drive->id : "", b->node ? b->node->name : NULL,
                             is_read ? IO_OPERATION_TYPE_READ : IO_OPERATION_TYPE_WRITE,
                             actions[choice], true, error == ENOSPC, strerror(error));
    if (choice == BLOCK_ERROR_STOP) {
        b->io_status =
            error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE : BLOCK_DEVICE_IO_STATUS_FAILED;
        vm_stop(RUN_STATE_IO_ERROR);
    }
    return choice;
}

void block_backend_note_write(BlockBackend *b, uint64_t end)
{
    uint64_t old = __atomic_load_n(&b->highest_write, __ATOMIC_RELAXED);
    while (end > old && !__atomic_compare_exchange_n(&b->highest_write, &old, end, true,
                                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

void block_backend_count(BlockBackend *b, BlockOp op, uint64_t bytes, int64_t ns, bool ok)
{
    BlockCounters *c = &b->counters[op];
    if (!ok) {
        __atomic_fetch_add(&c->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    __atomic_fetch_add(&c->bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&c->operations, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&c->time_ns, ns, __ATOMIC_RELAXED);
}
