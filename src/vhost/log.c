#include "vhost/log.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/fd.h"

#define LOG_PAGE_BITS 12 /* of the protocol, whatever the host's pages */
#define WORD_PAGES    64
#define LOG_ALIGN     4096 /* of the area: it is mapped on both sides */

static uint64_t log_size(hwaddr end)
{
    uint64_t pages = (end + (BIT64(LOG_PAGE_BITS) - 1)) >> LOG_PAGE_BITS;
    return ALIGN_UP((pages + 7) / 8, LOG_ALIGN);
}

VhostLog *vhost_log_new(hwaddr end, Error **errp)
{
    if (FAULT("memfd_create", errp)) {
        return NULL;
    }
    uint64_t size = log_size(MAX_OF(end, (hwaddr)1));
    int fd = memfd_create("vhost-log", MFD_CLOEXEC);
    void *bits = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, size) == 0) {
        bits = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (bits == MAP_FAILED) {
        error_set_errno(errp, errno, "cannot make a dirty log of %" PRIu64 " bytes", size);
        fd_close(fd);
        return NULL;
    }
    VhostLog *log = g_new(VhostLog, 1);
    *log = (VhostLog){ .fd = fd, .size = size, .bits = bits };
    return log;
}

void vhost_log_free(VhostLog *log)
{
    if (log) {
        munmap(log->bits, log->size);
        fd_close(log->fd);
        g_free(log);
    }
}

bool vhost_log_covers(const VhostLog *log, hwaddr end)
{
    return log_size(end) <= log->size;
}

/* Bytes of the section that the page covers; it may begin and end inside one. */
static void mark_page(const MemorySection *s, RamBlock *block, uint64_t page)
{
    hwaddr from = MAX_OF(page << LOG_PAGE_BITS, s->addr);
    hwaddr to = MIN_OF((page + 1) << LOG_PAGE_BITS, s->addr + s->size);
    uint64_t at =
        memory_region_ram_ptr(s->mr) + s->offset_in_region + (from - s->addr) - block->host;
    ram_block_mark_dirty(block, at, to - from);
}

void vhost_log_sync(VhostLog *log, const MemorySection *s)
{
    RamBlock *block = memory_region_is_ram(s->mr) ? memory_region_ram_block(s->mr) : NULL;
    if (!block || !s->size) {
        return;
    }
    uint64_t first = s->addr >> LOG_PAGE_BITS;
    uint64_t last = MIN_OF((s->addr + s->size - 1) >> LOG_PAGE_BITS, log->size * 8 - 1);
    for (uint64_t word = first / WORD_PAGES; word <= last / WORD_PAGES; word++) {
        uint64_t base = word * WORD_PAGES;
        unsigned long mask = ~0ul;
        if (base < first) {
            mask &= ~0ul << (first - base);
        }
        if (base + WORD_PAGES - 1 > last) {
            mask &= ~0ul >> (base + WORD_PAGES - 1 - last);
        }
        if (!(__atomic_load_n(&log->bits[word], __ATOMIC_RELAXED) & mask)) {
            continue;
        }
        /* Cleared before the pages are looked at: what is written later sets its bit again. */
        unsigned long set = __atomic_fetch_and(&log->bits[word], ~mask, __ATOMIC_SEQ_CST) & mask;
        for (; set; set &= set - 1) {
            mark_page(s, block, base + __builtin_ctzl(set));
        }
    }
}
