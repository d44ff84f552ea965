/* Where a memory backend's memory comes from: nowhere in particular, a memory file, a file. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/text.h"
#include "memory/backend.h"
#include "object/property.h"

#define MEMFD_HUGE_SHIFT 26 /* memfd_create(2): log2 of the huge page size is from this bit on */

/* A memory file of the backend's size, owned by *src. */
static bool open_memfd(MemoryBackend *b, BackendSource *src, unsigned flags, Error **errp)
{
    g_autofree char *name =
        g_strdup_printf("rhea %.200s", b->parent.name ? b->parent.name : "memory");

    if (FAULT("memfd", errp)) {
        return false;
    }
    src->fd = memfd_create(name, MFD_CLOEXEC | flags);
    if (src->fd < 0) {
        error_set_errno(errp, errno, "Can't get a memory file%s",
                        flags & MFD_HUGETLB ? " of this huge page size" : "");
        return false;
    }
    if (FAULT("ftruncate", errp)) {
        return false;
    }
    if (ftruncate(src->fd, (off_t)b->size) < 0) {
        error_set_errno(errp, errno, "Can't make a memory file of %" PRIu64 " bytes", b->size);
        return false;
    }
    return true;
}

/* --- memory-backend-ram --- */

static bool ram_open(MemoryBackend *b, BackendSource *src, Error **errp)
{
    /* Shared memory needs something that can be passed on. */
    return !b->share || open_memfd(b, src, 0, errp);
}

static void ram_class_init(ObjectClass *klass, const void *data)
{
    memory_backend_class_cast(klass)->open = ram_open;
}

static const TypeInfo ram_type = {
    .name = TYPE_MEMORY_BACKEND_RAM,
    .parent = TYPE_MEMORY_BACKEND,
    .help = "memory (shared with other processes unless share=off)",
    .class_init = ram_class_init,
};
OBJECT_TYPE(memory_backend_ram, ram_type)

/* --- memory-backend-memfd --- */

typedef struct MemoryBackendMemfd {
    MemoryBackend parent;
    bool hugetlb;
    uint64_t hugetlbsize; /* bytes; 0: the host's default */
    bool seal;
} MemoryBackendMemfd;

/* clang-format off */
static const Field memfd_properties[] = {
    PROP_BOOL("hugetlb", MemoryBackendMemfd, hugetlb, false, .help = "take huge pages"),
    PROP_SIZE("hugetlbsize", MemoryBackendMemfd, hugetlbsize, 0,
              .help = "which huge pages: 2M, 1G (0: the host's default)"),
    PROP_BOOL("seal", MemoryBackendMemfd, seal, true,
              .help = "forbid everybody to change the file's size"),
    {}
};
/* clang-format on */

static bool memfd_open(MemoryBackend *b, BackendSource *src, Error **errp)
{
    MemoryBackendMemfd *m = (MemoryBackendMemfd *)b;
    unsigned flags = m->seal ? MFD_ALLOW_SEALING : 0;

    if (m->hugetlbsize && !m->hugetlb) {
        error_set(errp, "hugetlbsize needs hugetlb=on");
        return false;
    }
    if (m->hugetlbsize && !is_power_of_two(m->hugetlbsize)) {
        error_set(errp,
                  "hugetlbsize is %" PRIu64 " bytes; huge pages are powers of two, as 2M or 1G",
                  m->hugetlbsize);
        return false;
    }
    if (m->hugetlb) {
        flags |= MFD_HUGETLB;
    }
    if (m->hugetlbsize) {
        flags |= (unsigned)__builtin_ctzll(m->hugetlbsize) << MEMFD_HUGE_SHIFT;
    }
    if (!open_memfd(b, src, flags, errp)) {
        return false;
    }
    src->page_size = host_page_size_of_fd(src->fd);
    if (m->seal && fcntl(src->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        error_set_errno(errp, errno, "seal=on: the kernel refuses; try seal=off");
        return false;
    }
    return true;
}

static void memfd_class_init(ObjectClass *klass, const void *data)
{
    memory_backend_class_cast(klass)->open = memfd_open;
}

static const TypeInfo memfd_type = {
    .name = TYPE_MEMORY_BACKEND_MEMFD,
    .parent = TYPE_MEMORY_BACKEND,
    .help = "memory in an anonymous file, to share, with huge pages if wanted",
    .instance_size = sizeof(MemoryBackendMemfd),
    .properties = memfd_properties,
    .class_init = memfd_class_init,
};
OBJECT_TYPE(memory_backend_memfd, memfd_type)

/* --- memory-backend-file --- */

typedef struct MemoryBackendFile {
    MemoryBackend parent;
    char *mem_path;
    uint64_t align, offset; /* bytes */
    bool readonly;
    OnOffAuto rom;
    bool pmem;
    bool discard_data;
} MemoryBackendFile;

/* clang-format off */
static const Field file_properties[] = {
    PROP_STRING("mem-path", MemoryBackendFile, mem_path, NULL,
                .help = "the file, or a directory for a file without a name"),
    PROP_SIZE("align", MemoryBackendFile, align, 0, .help = "alignment of the host address"),
    PROP_SIZE("offset", MemoryBackendFile, offset, 0, .help = "where in the file the memory begins"),
    PROP_BOOL("readonly", MemoryBackendFile, readonly, false, .help = "open the file read-only"),
    PROP_ON_OFF_AUTO("rom", MemoryBackendFile, rom, ON_OFF_AUTO_AUTO,
                     .help = "read-only for the guest (auto: as readonly)"),
    PROP_BOOL("pmem", MemoryBackendFile, pmem, false, .help = "the file is persistent memory"),
    PROP_BOOL("discard-data", MemoryBackendFile, discard_data, false,
              .help = "free the file's room when the memory goes"),
    {}
};
/* clang-format on */

static bool file_check(const MemoryBackendFile *f, Error **errp)
{
    if (!f->mem_path || !*f->mem_path) {
        error_set(errp, "mem-path is missing; give mem-path=FILE or mem-path=DIRECTORY");
        return false;
    }
    if (f->pmem) {
        error_set(errp, "pmem=on isn't supported: nothing here flushes to persistent memory; use "
                        "pmem=off");
        return false;
    }
    if (f->align && !is_power_of_two(f->align)) {
        error_set(errp, "align is %" PRIu64 " bytes; it must be a power of two", f->align);
        return false;
    }
    if (f->rom == ON_OFF_AUTO_ON && !f->readonly) {
        error_set(errp, "rom=on needs readonly=on");
        return false;
    }
    if (f->rom == ON_OFF_AUTO_OFF && f->readonly && f->parent.share) {
        error_set(errp, "rom=off with readonly=on needs share=off: writes must go somewhere");
        return false;
    }
    if (f->offset > INT64_MAX - f->parent.size) {
        error_set(errp, "offset is %" PRIu64 " bytes; that is past the end of any file", f->offset);
        return false;
    }
    return true;
}

/* Opens the file, or makes one: *created is then its path. */
static int file_open_path(const MemoryBackendFile *f, const char **created, Error **errp)
{
    const char *path = f->mem_path;
    int mode = f->readonly ? O_RDONLY : O_RDWR;

    if (FAULT("open", errp)) {
        return -1;
    }
    int fd = open(path, mode | O_CLOEXEC);
    if (fd >= 0) {
        return fd;
    }
    if (errno == ENOENT && !f->readonly) {
        fd = open(path, mode | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        *created = fd >= 0 ? path : NULL;
    } else if (errno == EISDIR && !f->readonly) {
        g_autofree char *name =
            g_strdup_printf("%s/rhea-%s-XXXXXX", path, f->parent.parent.name ?: "memory");
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0) {
            unlink(name);
        }
    }
    if (fd < 0) {
        error_set_errno(errp, errno, "Can't open '%s'", path);
    }
    return fd;
}

static bool file_check_size(MemoryBackendFile *f, int fd, uint64_t page, Error **errp)
{
    uint64_t need = f->offset + f->parent.size;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        error_set_errno(errp, errno, "'%s'", f->mem_path);
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        return true; /* a device: mmap knows how large it is */
    }
    if (f->offset % page) {
        g_autofree char *text = text_from_size(page);
        error_set(errp, "offset is %" PRIu64 " bytes; it must be a multiple of the page size, %s",
                  f->offset, text);
        return false;
    }
    if (st.st_size == 0 && !f->readonly) {
        if (FAULT("ftruncate", errp)) {
            return false;
        }
        if (ftruncate(fd, (off_t)need) < 0) {
            error_set_errno(errp, errno, "Can't make '%s' %" PRIu64 " bytes large", f->mem_path,
                            need);
            return false;
        }
    } else if ((uint64_t)st.st_size < need) {
        error_set(errp,
                  "'%s' has %" PRId64 " bytes, offset and size need %" PRIu64
                  "; make the file larger or size smaller",
                  f->mem_path, (int64_t)st.st_size, need);
        return false;
    }
    return true;
}

static bool file_open(MemoryBackend *b, BackendSource *src, Error **errp)
{
    MemoryBackendFile *f = (MemoryBackendFile *)b;

    if (!file_check(f, errp)) {
        return false;
    }
    src->fd = file_open_path(f, &src->created, errp);
    if (src->fd < 0) {
        return false;
    }
    src->page_size = host_page_size_of_fd(src->fd);
    if (!file_check_size(f, src->fd, src->page_size, errp)) {
        return false;
    }
    src->fd_offset = f->offset;
    src->align = f->align;
    src->readonly_ram = f->rom == ON_OFF_AUTO_ON || (f->rom == ON_OFF_AUTO_AUTO && f->readonly);
    src->readonly_map = src->readonly_ram;
    src->discard = f->discard_data && b->share && !f->readonly;
    return true;
}

static void file_class_init(ObjectClass *klass, const void *data)
{
    memory_backend_class_cast(klass)->open = file_open;
    /* Writing to a file that was only meant to be read is worse than not sharing it. */
    class_set_default(klass, "share", "off");
}

static const TypeInfo file_type = {
    .name = TYPE_MEMORY_BACKEND_FILE,
    .parent = TYPE_MEMORY_BACKEND,
    .help = "memory in a file (writes reach it with share=on only)",
    .instance_size = sizeof(MemoryBackendFile),
    .properties = file_properties,
    .class_init = file_class_init,
};
OBJECT_TYPE(memory_backend_file, file_type)
