/* Drives: -drive turned into a node, and where it is to be connected. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
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

/* "cache=writeback" and its like, each of which is a choice of all three parts. */
static bool cache_mode(const char *name, DriveCacheParts *c, Error **errp)
{
    static const struct {
        const char *name;
        bool writeback, direct, no_flush;
    } modes[] = {
        { "none", true, true, false },           { "writeback", true, false, false },
        { "writethrough", false, false, false }, { "directsync", false, true, false },
        { "unsafe", true, false, true },
    };
    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        if (!strcmp(modes[i].name, name)) {
            c->writeback = modes[i].writeback;
            c->direct = modes[i].direct;
            c->no_flush = modes[i].no_flush;
            return true;
        }
    }
    error_set(errp,
              "Parameter 'cache' expects none, writeback, writethrough, directsync or unsafe, got "
              "'%s'",
              name);
    return false;
}

static bool drive_cache(const DriveOptions *o, DriveCacheParts *c, Error **errp)
{
    *c = (DriveCacheParts){ .writeback = true };
    if (!o->cache) {
        return true;
    }
    if (o->cache->kind == DRIVE_CACHE_REF_MODE) {
        return cache_mode(o->cache->u.mode, c, errp);
    }
    const DriveCacheParts *parts = &o->cache->u.parts;
    c->writeback = !parts->has_writeback || parts->writeback;
    c->direct = parts->has_direct && parts->direct;
    c->no_flush = parts->has_no_flush && parts->no_flush;
    return true;
}

/* Beginnings of image formats: who means such an image doesn't want its bytes as a disk. */
static const struct {
    const char *format, *magic;
    unsigned len, at;
} magics[] = {
    { "qcow2", "QFI\xfb", 4, 0 },
    { "qed", "QED", 4, 0 },
    { "vmdk", "KDMV", 4, 0 },
    { "vmdk", "COWD", 4, 0 },
    { "vhdx", "vhdxfile", 8, 0 },
    { "vpc", "conectix", 8, 0 },
    { "vdi", "\x7f\x10\xda\xbe", 4, 0x40 },
    { "luks", "LUKS\xba\xbe", 6, 0 },
    { "parallels", "WithoutFreeSpace", 16, 0 },
};

static bool drive_check_is_raw(const char *path, Error **errp)
{
    uint8_t head[128] = { 0 };
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || pread(fd, head, sizeof(head), 0) < 0) {
        return true; /* opening it says what is wrong */
    }
    for (unsigned i = 0; i < ARRAY_LEN(magics); i++) {
        if (!memcmp(head + magics[i].at, magics[i].magic, magics[i].len)) {
            error_set(errp,
                      "'%s' is a %s image, and only raw ones are supported; convert it, or say "
                      "format=raw if its bytes are the disk",
                      path, magics[i].format);
            return false;
        }
    }
    return true;
}

/* The file in parts, whichever way it was given. strings are borrowed from o. */
static bool drive_file(const DriveOptions *o, DriveFile *f, Error **errp)
{
    static const char *const nulls[] = { "null-co://", "null-aio://" };
    *f = (DriveFile){ .locking = ON_OFF_AUTO_AUTO };
    if (o->file->kind == DRIVE_FILE_REF_PARTS) {
        *f = o->file->u.parts;
    } else {
        f->filename = o->file->u.path;
        for (unsigned i = 0; i < ARRAY_LEN(nulls); i++) {
            if (!strcmp(f->filename, nulls[i])) {
                f->filename = NULL;
                f->has_driver = true;
                f->driver = BLOCKDEV_DRIVER_NULL_CO;
                break;
            }
        }
    }
    const char *scheme = f->filename ? strstr(f->filename, "://") : NULL;
    if (scheme && strcspn(f->filename, "/:") == (size_t)(scheme - f->filename)) {
        error_set(errp, "'%s': the protocol '%.*s' is not supported; give a path", f->filename,
                  (int)(scheme - f->filename), f->filename);
        return false;
    }
    if (f->filename && g_str_has_prefix(f->filename, "file:")) {
        f->filename += strlen("file:");
    }
    if (o->has_aio) {
        f->has_aio = true;
        f->aio = o->aio;
    }
    if (f->has_driver && f->driver == BLOCKDEV_DRIVER_RAW) {
        error_set(errp, "'file.driver' expects file, host_device or null-co, got 'raw'");
        return false;
    }
    bool null = f->has_driver &&
                (f->driver == BLOCKDEV_DRIVER_NULL_CO || f->driver == BLOCKDEV_DRIVER_NULL_AIO);
    if (null ? f->filename || f->has_aio : !f->filename) {
        error_set(errp,
                  null ? "null-co has no 'filename' and no 'aio'" : "'file.filename' is missing");
        return false;
    }
    if (!null && (f->has_size || f->has_latency_ns || f->has_read_zeroes)) {
        error_set(errp, "'size', 'latency-ns' and 'read-zeroes' are for null-co");
        return false;
    }
    if (!f->has_driver) {
        struct stat st;
        f->driver = stat(f->filename, &st) == 0 && S_ISBLK(st.st_mode) ? BLOCKDEV_DRIVER_HOST_DEVICE
                                                                       : BLOCKDEV_DRIVER_FILE;
    }
    return null || o->format || o->driver || drive_check_is_raw(f->filename, errp);
}

/* What both nodes of a drive have: the one that is the file, and the format above it. */
static void drive_common(const DriveOptions *o, bool read_only, BlockdevCacheOptions *cache,
                         BlockdevOptions *b)
{
    b->has_read_only = true;
    b->read_only = read_only;
    b->has_auto_read_only = o->has_auto_read_only;
    b->auto_read_only = o->auto_read_only;
    b->has_force_share = o->has_force_share;
    b->force_share = o->force_share;
    b->has_discard = o->has_discard;
    b->discard = o->discard;
    b->cache = cache;
}

static BlockNode *drive_open_node(const DriveOptions *o, bool read_only, bool *write_through,
                                  Error **errp)
{
    DriveCacheParts parts;
    DriveFile f;
    if (!drive_cache(o, &parts, errp) || !drive_file(o, &f, errp)) {
        return NULL;
    }
    BlockdevCacheOptions cache = {
        .has_direct = true,
        .direct = parts.direct,
        .has_no_flush = true,
        .no_flush = parts.no_flush,
    };
    *write_through = !parts.writeback;
    BlockdevRef file = { .kind = BLOCKDEV_REF_DEFINITION };
    BlockdevOptions *below = &file.u.definition;
    drive_common(o, read_only, &cache, below);
    below->driver = f.driver;
    if (f.filename) {
        below->u.file = (BlockdevOptionsFile){
            .filename = f.filename,
            .locking = f.locking,
            .has_aio = f.has_aio,
            .aio = f.aio,
        };
    } else {
        below->u.null_co = (BlockdevOptionsNull){
            .has_size = f.has_size,
            .size = f.size,
            .has_latency_ns = f.has_latency_ns,
            .latency_ns = f.latency_ns,
            .has_read_zeroes = f.has_read_zeroes,
            .read_zeroes = f.read_zeroes,
        };
    }
    BlockdevOptions top = { .driver = BLOCKDEV_DRIVER_RAW, .node_name = o->node_name };
    drive_common(o, read_only, &cache, &top);
    top.has_detect_zeroes = o->has_detect_zeroes;
    top.detect_zeroes = o->detect_zeroes;
    top.u.raw.file = &file;
    return block_node_open(&top, errp);
}

/* The first free place of an interface whose buses have `units` units. */
static void choose_place(BlockDrive *d, const DriveOptions *o)
{
    int units = d->interface == DRIVE_INTERFACE_IDE || d->interface == DRIVE_INTERFACE_FLOPPY ? 2
                : d->interface == DRIVE_INTERFACE_SCSI                                        ? 7
                                                                                              : 0;
    d->index = o->has_index ? o->index : -1;
    d->by_bus = o->has_bus || o->has_unit;
    if (d->by_bus) {
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
    const char *format = o->format ? o->format : o->driver;
    if (o->format && o->driver && strcmp(o->format, o->driver)) {
        error_set(errp, "'format' and 'driver' contradict each other");
        return false;
    }
    if (format && strcmp(format, "raw")) {
        error_set(errp, "format '%s' is not supported; convert the image to raw", format);
        return false;
    }
    if ((o->has_snapshot && o->snapshot) || (o->has_copy_on_read && o->copy_on_read)) {
        error_set(errp,
                  "'%s' needs an image format with overlays, and raw is none; copy the image, or "
                  "use it with read-only=on",
                  o->has_snapshot && o->snapshot ? "snapshot" : "copy-on-read");
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
