#include "shared-memory.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <glib.h>

#include "base/bits.h"

#define LOG_PAGE_SIZE 4096u /* "Migration": one bit for each page of this size */

typedef struct Mapping {
    void *base; /* NULL: none */
    size_t size;
} Mapping;

typedef struct Region {
    VhostUserRegion at;
    Mapping mapping;
    uint8_t *host; /* of at.guest_addr */
} Region;

struct SharedMemory {
    GArray *regions; /* Region */
    Mapping log_mapping;
    uint8_t *log;
    uint64_t log_size; /* bytes */
};

static void unmap(Mapping *mapping)
{
    if (mapping->base) {
        munmap(mapping->base, mapping->size);
    }
    *mapping = (Mapping){ 0 };
}

/* Map [offset, offset + size) of a file; NULL with an error. */
static uint8_t *map(Mapping *mapping, int fd, uint64_t offset, uint64_t size, Error **errp)
{
    uint64_t slack = offset % getpagesize();
    struct stat st;
    if (!size || offset + size < offset || size + slack < size) {
        error_set(errp, "0x%" PRIx64 " bytes at offset 0x%" PRIx64 " are no range", size, offset);
        return NULL;
    }
    /* Beyond the end of the file an access would be fatal. */
    if (fstat(fd, &st) || (S_ISREG(st.st_mode) && (uint64_t)st.st_size < offset + size)) {
        error_set(errp, "the file is shorter than offset 0x%" PRIx64 " and size 0x%" PRIx64, offset,
                  size);
        return NULL;
    }
    void *base = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                      offset - slack);
    if (base == MAP_FAILED) {
        error_set_errno(errp, errno, "cannot map 0x%" PRIx64 " bytes at offset 0x%" PRIx64, size,
                        offset);
        return NULL;
    }
    *mapping = (Mapping){ base, size + slack };
    return (uint8_t *)base + slack;
}

SharedMemory *shared_memory_new(void)
{
    SharedMemory *m = g_new0(SharedMemory, 1);
    m->regions = g_array_new(false, false, sizeof(Region));
    return m;
}

void shared_memory_free(SharedMemory *m)
{
    if (m) {
        shared_memory_clear(m);
        unmap(&m->log_mapping);
        g_array_free(m->regions, true);
        g_free(m);
    }
}

bool shared_memory_add(SharedMemory *m, const VhostUserRegion *at, int fd, Error **errp)
{
    if (m->regions->len >= SHARED_MEMORY_SLOTS) {
        error_set(errp, "more than %d memory regions", SHARED_MEMORY_SLOTS);
        return false;
    }
    if (at->guest_addr + at->size < at->guest_addr || at->user_addr + at->size < at->user_addr) {
        error_set(errp, "memory region at guest address 0x%" PRIx64 " wraps around",
                  at->guest_addr);
        return false;
    }
    Region r = { .at = *at };
    r.host = map(&r.mapping, fd, at->mmap_offset, at->size, errp);
    if (!r.host) {
        error_prepend(errp, "memory region at guest address 0x%" PRIx64 ": ", at->guest_addr);
        return false;
    }
    g_array_append_val(m->regions, r);
    return true;
}

bool shared_memory_remove(SharedMemory *m, const VhostUserRegion *at, Error **errp)
{
    for (guint i = 0; i < m->regions->len; i++) {
        Region *r = &g_array_index(m->regions, Region, i);
        if (r->at.guest_addr == at->guest_addr && r->at.size == at->size &&
            r->at.user_addr == at->user_addr) {
            unmap(&r->mapping);
            g_array_remove_index(m->regions, i);
            return true;
        }
    }
    error_set(errp, "there is no memory region at guest address 0x%" PRIx64, at->guest_addr);
    return false;
}

void shared_memory_clear(SharedMemory *m)
{
    for (guint i = 0; i < m->regions->len; i++) {
        unmap(&g_array_index(m->regions, Region, i).mapping);
    }
    g_array_set_size(m->regions, 0);
}

void *shared_memory_guest(const SharedMemory *m, uint64_t addr, uint64_t *len)
{
    for (guint i = 0; i < m->regions->len; i++) {
        const Region *r = &g_array_index(m->regions, Region, i);
        uint64_t offset = addr - r->at.guest_addr;
        if (addr >= r->at.guest_addr && offset < r->at.size) {
            *len = MIN_OF(*len, r->at.size - offset);
            return r->host + offset;
        }
    }
    return NULL;
}

void *shared_memory_user(const SharedMemory *m, uint64_t addr, uint64_t len)
{
    for (guint i = 0; i < m->regions->len; i++) {
        const Region *r = &g_array_index(m->regions, Region, i);
        uint64_t offset = addr - r->at.user_addr;
        if (addr >= r->at.user_addr && offset < r->at.size && len <= r->at.size - offset) {
            return r->host + offset;
        }
    }
    return NULL;
}

bool shared_memory_set_log(SharedMemory *m, const VhostUserLog *log, int fd, Error **errp)
{
    Mapping mapping;
    uint8_t *bits = map(&mapping, fd, log->mmap_offset, log->mmap_size, errp);
    if (!bits) {
        error_prepend(errp, "dirty log: ");
        return false;
    }
    unmap(&m->log_mapping);
    m->log_mapping = mapping;
    m->log = bits;
    m->log_size = log->mmap_size;
    return true;
}

void shared_memory_log(SharedMemory *m, uint64_t addr, uint64_t len)
{
    if (!m->log || !len) {
        return;
    }
    uint64_t last = (addr + len - 1) / LOG_PAGE_SIZE;
    for (uint64_t page = addr / LOG_PAGE_SIZE; page <= last && page / 8 < m->log_size; page++) {
        __atomic_fetch_or(&m->log[page / 8], 1u << page % 8, __ATOMIC_SEQ_CST);
    }
}
