/* Drives: -drive turned into a node, and where it is to be connected. */
#include <string.h>
#include <sys/stat.h>

#include "base/report.h"
#include "base/text.h"
#include "block/backend.h"

/* All drives of the machine; block_drives_finish() empties it. */
static BlockDrive *drives;

BlockDrive *block_drive_find(const char *id)
{
    for (BlockDrive *d = drives; d; d = d->next) {
        if (!strcmp(d->id, id)) {
            return d;
        }
    }
    return NULL;
}

void block_drive_foreach(BlockDriveVisitor *visit, void *opaque)
{
    for (BlockDrive *d = drives; d && visit(d, opaque); d = d->next) {
    }
}

BlockDrive *block_drive_get(DriveInterface interface, int bus, int unit)
{
    for (BlockDrive *d = drives; d; d = d->next) {
        if (d->interface == interface && d->bus == bus && d->unit == unit) {
            return d;
        }
    }
    return NULL;
}

BlockDrive *block_drive_by_index(DriveInterface interface, int index)
{
    for (BlockDrive *d = drives; d; d = d->next) {
        if (d->interface == interface && d->index == index) {
            return d;
        }
    }
    return NULL;
}

static void drive_free(BlockDrive *d)
{
    if (d->node) {
        block_node_unref(d->node);
    }
    g_free(d->id);
    g_free(d);
}

void block_drives_finish(void)
{
    while (drives) {
        BlockDrive *d = drives;
        drives = d->next;
        drive_free(d);
    }
}

void block_drives_check_unused(void)
{
    for (BlockDrive *d = drives; d; d = d->next) {
        if (!d->taken && d->interface != DRIVE_INTERFACE_NONE) {
            report_warning("drive '%s' (if=%s) is not used by this machine", d->id,
                           enum_name(&enum_drive_interface, d->interface));
        }
    }
}

static void apply_cache(DriveCache cache, BlockdevCacheOptions *c, bool *write_through)
{
    c->has_direct = c->has_no_flush = true;
    c->direct = cache == DRIVE_CACHE_NONE || cache == DRIVE_CACHE_DIRECTSYNC;
    c->no_flush = cache == DRIVE_CACHE_UNSAFE;
    *write_through = cache == DRIVE_CACHE_WRITETHROUGH || cache == DRIVE_CACHE_DIRECTSYNC;
}

static BlockNode *drive_open_node(const DriveOptions *o, bool read_only, bool *write_through,
                                  Error **errp)
{
    struct stat st;
    BlockdevCacheOptions cache = { 0 };
    BlockdevOptions b = { 0 };
    bool device = stat(o->file, &st) == 0 && S_ISBLK(st.st_mode);
    b.driver = device ? BLOCKDEV_DRIVER_HOST_DEVICE : BLOCKDEV_DRIVER_FILE;
    b.u.file = (BlockdevOptionsFile){
        .filename = o->file,
        .has_aio = o->has_aio,
        .aio = o->aio,
    };
    b.has_read_only = true;
    b.read_only = read_only;
    b.has_discard = o->has_discard;
    b.discard = o->discard;
    b.has_detect_zeroes = o->has_detect_zeroes;
    b.detect_zeroes = o->detect_zeroes;
    if (o->has_cache) {
        apply_cache(o->cache, &cache, write_through);
        b.cache = &cache;
    }
    return block_node_open(&b, errp);
}

/* The first free place of an interface whose buses have `units` units. */
static void choose_place(BlockDrive *d, const DriveOptions *o)
{
    int units = d->interface == DRIVE_INTERFACE_IDE || d->interface == DRIVE_INTERFACE_FLOPPY ? 2
                : d->interface == DRIVE_INTERFACE_SCSI                                        ? 7
                                                                                              : 0;
    d->index = o->has_index ? o->index : -1;
    if (o->has_bus || o->has_unit) {
        d->bus = o->has_bus ? o->bus : 0;
        d->unit = o->has_unit ? o->unit : 0;
        if (d->index < 0) {
            d->index = units ? d->bus * units + d->unit : d->unit;
        }
        return;
    }
    for (int i = 0; d->index < 0; i++) {
        if (!block_drive_by_index(d->interface, i)) {
            d->index = i;
        }
    }
    d->bus = units ? d->index / units : 0;
    d->unit = units ? d->index % units : d->index;
}

static char *drive_free_id(const BlockDrive *d)
{
    /* "virtio0", "ide1-hd0", "floppy0": the names that people know. */
    const char *name = enum_name(&enum_drive_interface, d->interface);
    if (d->interface == DRIVE_INTERFACE_IDE || d->interface == DRIVE_INTERFACE_SCSI) {
        return g_strdup_printf("%s%d-%s%d", name, d->bus,
                               d->media == DRIVE_MEDIA_CDROM ? "cd" : "hd", d->unit);
    }
    return g_strdup_printf("%s%d", name, d->index);
}

static bool drive_check(const DriveOptions *o, Error **errp)
{
    if (o->format && strcmp(o->format, "raw")) {
        error_set(errp, "format '%s' is not supported; convert the image to raw", o->format);
        return false;
    }
    if (o->id && (!text_is_id(o->id) || block_drive_find(o->id) || block_node_find(o->id))) {
        error_set(errp, "drive id '%s' is %s", o->id,
                  text_is_id(o->id) ? "taken; choose another" : "not an identifier");
        return false;
    }
    if (o->has_index && (o->has_bus || o->has_unit)) {
        error_set(errp, "'index' and 'bus' or 'unit' exclude each other");
        return false;
    }
    if (!o->file && o->media != DRIVE_MEDIA_CDROM &&
        !(o->has_if_ && o->if_ == DRIVE_INTERFACE_FLOPPY)) {
        error_set(errp, "'file' is missing: only CD-ROM and floppy drives can be empty");
        return false;
    }
    return true;
}

BlockDrive *block_drive_add(const DriveOptions *o, Error **errp)
{
    if (!drive_check(o, errp)) {
        return NULL;
    }
    BlockDrive *d = g_new0(BlockDrive, 1);
    d->has_interface = o->has_if_;
    d->interface = o->has_if_ ? o->if_ : DRIVE_INTERFACE_IDE;
    d->media = o->media;
    choose_place(d, o);
    d->id = o->id ? g_strdup(o->id) : drive_free_id(d);
    d->rerror = o->has_rerror ? o->rerror : BLOCKDEV_ON_ERROR_AUTO;
    d->werror = o->has_werror ? o->werror : BLOCKDEV_ON_ERROR_AUTO;
    if (d->interface != DRIVE_INTERFACE_NONE) {
        BlockDrive *other = o->has_index ? block_drive_by_index(d->interface, d->index)
                                         : block_drive_get(d->interface, d->bus, d->unit);
        if (other) {
            error_set(errp, "drive '%s' has this place (if=%s, bus=%d, unit=%d) already", other->id,
                      enum_name(&enum_drive_interface, d->interface), d->bus, d->unit);
            drive_free(d);
            return NULL;
        }
    }
    bool read_only = (o->has_readonly && o->readonly) || (o->has_read_only && o->read_only) ||
                     o->media == DRIVE_MEDIA_CDROM;
    if (o->file) {
        d->node = drive_open_node(o, read_only, &d->write_through, errp);
        if (!d->node) {
            drive_free(d);
            return NULL;
        }
    }
    BlockDrive **p = &drives;
    while (*p) {
        p = &(*p)->next;
    }
    *p = d;
    return d;
}
