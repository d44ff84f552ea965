/*
 * RAM blocks: host memory that backs guest RAM, with what others need to share it.
 *
 * A block lives as long as references to it exist. Its host address never changes; it is
 * page-aligned and shared (memfd or file) unless the user asked otherwise.
 */
#ifndef MEMORY_RAM_H
#define MEMORY_RAM_H

#include "base/compiler.h"
#include "base/error.h"
#include "base/rcu.h"

typedef enum DirtyClient {
    DIRTY_DISPLAY,
    DIRTY_CODE,
    DIRTY_MIGRATION,
    DIRTY_CLIENT_COUNT
} DirtyClient;

/* Dirty logs count in pages of this many bits, whatever the host's page size. */
#define DIRTY_PAGE_BITS 12

typedef struct RamBlock RamBlock;
struct RamBlock {
    char *id; /* unique, stable over migration: "pc.ram", "0000:00:02.0/vga.vram" */
    uint8_t *host;
    uint64_t size;      /* bytes, multiple of the host's page size */
    uint64_t page_size; /* bytes, of the backing (4096, or the huge page's) */
    int fd;             /* -1: anonymous; owned by whoever made the block */
    uint64_t fd_offset; /* bytes */
    bool shared;        /* other processes that map fd see the same memory */
    bool readonly;
    bool migratable;   /* its content belongs to the machine's state */
    unsigned refcount; /* atomic */
    uint8_t log_mask;  /* atomic, 1 << DirtyClient: display and migration, while somebody logs */
    /* One bit a page (DIRTY_PAGE_BITS) and client; atomic words. */
    unsigned long *dirty[DIRTY_CLIENT_COUNT];
    /* Private to the memory core. */
    unsigned log_users[DIRTY_CLIENT_COUNT]; /* machine lock */
    void (*release)(void *opaque, RamBlock *block);
    void *opaque;
    struct rcu_head rcu;
};

/* Memory of its own: memfd, shared. name is for /proc. */
RamBlock *ram_block_create(const char *id, uint64_t size, Error **errp);

/* Over a mapping that the caller made; release(opaque) is called when the last reference has gone
 * and no reader is left, on any thread, with the machine lock held. On failure it is not called. */
typedef struct RamBlockSpec {
    const char *id;
    void *host;
    uint64_t size, page_size;
    int fd;
    uint64_t fd_offset;
    bool shared, readonly;
    void (*release)(void *opaque, RamBlock *block);
    void *opaque;
} RamBlockSpec;
RamBlock *ram_block_wrap(const RamBlockSpec *spec, Error **errp);

/* Any thread. */
void ram_block_ref(RamBlock *block);
void ram_block_unref(RamBlock *block); /* NULL allowed */

/* All blocks in order of creation; false stops. In an RCU read section or with the machine lock
 * held. */
typedef bool RamBlockVisitor(RamBlock *block, void *opaque);
bool ram_block_foreach(RamBlockVisitor *visit, void *opaque);
RamBlock *ram_block_find(const char *id);
/* The block that holds a host address, and the offset in it; NULL if none does. */
RamBlock *ram_block_from_host(const void *host, uint64_t *offset);

/* --- Dirty bits. Any thread; ranges are in bytes and lie in the block --- */

/* The range was written: sets the bits of the clients that log, and tells the accelerator where
 * that throws translated code away. A full barrier stands between the write and the look at the
 * bits, so that a client which clears bits and then reads sees the write or the bit. */
void ram_block_mark_dirty(RamBlock *block, uint64_t offset, uint64_t len);
/* Any bit set? */
bool ram_block_is_dirty(const RamBlock *block, uint64_t offset, uint64_t len, DirtyClient client);
/* Set the bits of one client (DIRTY_CODE: no code here any more). */
void ram_block_set_dirty(RamBlock *block, uint64_t offset, uint64_t len, DirtyClient client);
/* Clear; true if any was set. Accelerators are told, except for DIRTY_CODE, which is theirs. */
bool ram_block_clear_dirty(RamBlock *block, uint64_t offset, uint64_t len, DirtyClient client);
/* Move 64-page words into dst (one bit a page, from bit 0; a multiple of 64 pages) and clear them.
 * Returns the number of bits that were set and are new in dst. */
uint64_t ram_block_take_dirty(RamBlock *block, uint64_t first_page, uint64_t pages,
                              DirtyClient client, unsigned long *dst);

/* May a vCPU write the page that holds `offset` without telling anybody? Good until a
 * dirty_cleared() or log_start() call. */
static inline bool ram_block_write_is_plain(const RamBlock *block, uint64_t offset)
{
    uint64_t page = offset >> DIRTY_PAGE_BITS;
    unsigned long bit = 1ul << (page % 64);
    unsigned mask = __atomic_load_n(&block->log_mask, __ATOMIC_RELAXED) | 1u << DIRTY_CODE;

    for (int c = 0; c < DIRTY_CLIENT_COUNT; c++) {
        if ((mask & 1u << c) &&
            !(__atomic_load_n(&block->dirty[c][page / 64], __ATOMIC_RELAXED) & bit)) {
            return false;
        }
    }
    return true;
}

/* All of guest RAM, for summaries. Machine lock held. */
typedef struct RamSummary {
    uint64_t blocks;
    uint64_t bytes;
    uint64_t shared_bytes;
    uint64_t huge_page_bytes; /* with pages larger than the host's base page */
} RamSummary;
RamSummary ram_summary(void);

#endif
