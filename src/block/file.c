/* Regular files and block devices of the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/fdset.h"
#include "block/block.h"

typedef struct FileNode {
    BlockNode node;
    BlockFileIo io;
} FileNode;

/*
 * Locks against double use: open-file-description locks on bytes that others of the field lock too
 * (one byte for each kind of access from 100 on, and one for each kind that is not shared from 200
 * on). A writer has all of them for itself; readers share the first.
 */
enum { LOCK_FIRST = 100, LOCK_LEN_WRITE = 200, LOCK_LEN_READ = 1 };

static bool file_lock(int fd, const char *path, bool read_only, OnOffAuto wanted, Error **errp)
{
    struct flock lock = {
        .l_type = read_only ? F_RDLCK : F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = LOCK_FIRST,
        .l_len = read_only ? LOCK_LEN_READ : LOCK_LEN_WRITE,
    };
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
        return true;
    }
    if (errno == EAGAIN || errno == EACCES) {
        error_set(errp, "'%s' is in use by another process%s", path,
                  read_only ? ", which writes to it; force-share=on reads it all the same"
                            : " or drive; two writers would destroy it");
        return false;
    }
    /* File systems without such locks: auto does without. */
    if (wanted == ON_OFF_AUTO_ON) {
        error_set_errno(errp, errno, "cannot lock '%s', as locking=on demands", path);
        return false;
    }
    return true;
}

static bool file_check_kind(int fd, const char *path, bool want_device, struct stat *st,
                            Error **errp)
{
    if (fstat(fd, st)) {
        error_set_errno(errp, errno, "cannot examine '%s'", path);
        return false;
    }
    if (want_device && !S_ISBLK(st->st_mode)) {
        error_set(errp, "'%s' is not a block device; use driver=file", path);
        return false;
    }
    if (!want_device && S_ISBLK(st->st_mode)) {
        error_set(errp, "'%s' is a block device; use driver=host_device", path);
        return false;
    }
    if (!want_device && !S_ISREG(st->st_mode)) {
        error_set(errp, "'%s' is not a regular file", path);
        return false;
    }
    return true;
}

static bool file_refresh(BlockNode *node, Error **errp)
{
    FileNode *f = (FileNode *)node;
    off_t end = lseek(f->io.fd, 0, SEEK_END);
    if (end < 0) {
        error_set_errno(errp, errno, "cannot find the end of '%s'", node->filename);
        return false;
    }
    __atomic_store_n(&node->size, end, __ATOMIC_RELAXED);
    return true;
}

static int file_open_path(const char *path, BlockNode *node, bool auto_read_only, Error **errp)
{
    int flags = (node->read_only ? O_RDONLY : O_RDWR) | (node->direct ? O_DIRECT : 0);
    ERROR_AUTO err = NULL;
    int fd = FAULT("open image", &err) ? -1 : fdset_open(path, flags, 0, &err);
    if (fd < 0 && auto_read_only && !node->read_only &&
        (error_errno(err) == EACCES || error_errno(err) == EPERM || error_errno(err) == EROFS)) {
        error_free(err);
        err = NULL;
        node->read_only = true;
        fd = fdset_open(path, O_RDONLY | (node->direct ? O_DIRECT : 0), 0, &err);
    }
    if (fd < 0) {
        error_propagate(errp, g_steal_pointer(&err));
    }
    return fd;
}

/* What O_DIRECT asks of offsets and buffers. */
static void file_find_alignment(FileNode *f, const struct stat *st)
{
    int sector = BLOCK_SECTOR;
    f->io.memory_alignment = 1;
    f->node.alignment = 1;
    if (f->io.is_device && ioctl(f->io.fd, BLKSSZGET, &sector)) {
        sector = BLOCK_SECTOR;
    }
    if (f->node.direct) {
        f->io.memory_alignment = MAX_OF(sector, 512);
        f->node.alignment = sector;
        /* A file's own file system may want more: try the smallest read. */
        void *buf;
        if (!f->io.is_device && posix_memalign(&buf, 4096, 4096) == 0) {
            if (pread(f->io.fd, buf, BLOCK_SECTOR, 0) < 0 && errno == EINVAL) {
                f->node.alignment = f->io.memory_alignment = 4096;
            }
            free(buf);
        }
    }
}

static bool file_open(BlockNode *node, const BlockdevOptionsFile *o, const BlockdevOptions *common,
                      bool is_device, Error **errp)
{
    FileNode *f = (FileNode *)node;
    struct stat st;
    bool auto_ro = common->has_auto_read_only && common->auto_read_only;
    bool share = common->has_force_share && common->force_share;
    f->io.fd = -1;
    if (share && !node->read_only) {
        error_set(errp, "force-share=on is for read-only use; set read-only=on too");
        return false;
    }
    node->filename = g_strdup(o->filename);
    f->io.fd = file_open_path(o->filename, node, auto_ro, errp);
    if (f->io.fd < 0 || !file_check_kind(f->io.fd, o->filename, is_device, &st, errp)) {
        return false;
    }
    if (o->locking != ON_OFF_AUTO_OFF && !share &&
        !file_lock(f->io.fd, o->filename, node->read_only, o->locking, errp)) {
        return false;
    }
    f->io.is_device = node->secure_erase = is_device;
    f->io.threads = o->has_aio && o->aio == BLOCKDEV_AIO_OPTIONS_THREADS;
    f->io.no_flush = node->no_flush;
    file_find_alignment(f, &st);
    return file_refresh(node, errp);
}

static bool file_open_file(BlockNode *node, const BlockdevOptions *o, Error **errp)
{
    return file_open(node, &o->u.file, o, false, errp);
}

static bool file_open_device(BlockNode *node, const BlockdevOptions *o, Error **errp)
{
    return file_open(node, &o->u.host_device, o, true, errp);
}

static void file_close(BlockNode *node)
{
    fd_close(((FileNode *)node)->io.fd);
}

static void file_submit(BlockNode *node, BlockRequest *req)
{
    block_engine_file_io(req->engine, &((FileNode *)node)->io, req);
}

static bool file_resize(BlockNode *node, uint64_t size, Error **errp)
{
    FileNode *f = (FileNode *)node;
    if (ftruncate(f->io.fd, size)) {
        error_set_errno(errp, errno, "cannot make '%s' %" G_GUINT64_FORMAT " bytes long",
                        node->filename, size);
        return false;
    }
    return file_refresh(node, errp);
}

const BlockDriver block_driver_file = {
    .name = "file",
    .size = sizeof(FileNode),
    .open = file_open_file,
    .close = file_close,
    .submit = file_submit,
    .resize = file_resize,
    .refresh = file_refresh,
};

const BlockDriver block_driver_host_device = {
    .name = "host_device",
    .size = sizeof(FileNode),
    .open = file_open_device,
    .close = file_close,
    .submit = file_submit,
    .refresh = file_refresh,
};
