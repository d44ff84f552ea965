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

typedef struct RamBlock {
    char *id; /* unique, stable over migration: "pc.ram", "0000:00:02.0/vga.vram" */
    uint8_t *host;
    uint64_t size;      /* bytes, multiple of page_size */
    uint64_t page_size; /* bytes, of the backing (4096, or the huge page's) */
    int fd;             /* -1: anonymous */
    uint64_t fd_offset; /* bytes */
    bool shared;        /* other processes that map fd see the same memory */
    bool readonly;
    unsigned refcount; /* atomic */
    /* One bit a page (DIRTY_PAGE_BITS) and client; atomic words. */
    unsigned long *dirty[3];
    struct RamBlock *next; /* the list of all blocks, RCU */
} RamBlock;

/* Memory of its own: memfd, shared. name is for /proc. */
RamBlock *ram_block_create(const char *id, uint64_t size, Error **errp);
/* Over a mapping that the caller made; release(opaque) is called when the last reference goes. */
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
void ram_block_ref(RamBlock *block);
void ram_block_unref(RamBlock *block);

/* All blocks, in RCU read sections or with the machine lock held. */
RamBlock *ram_block_first(void);
RamBlock *ram_block_find(const char *id);
/* The block that holds a host address, and the offset in it. */
RamBlock *ram_block_from_host(const void *host, uint64_t *offset);

#endif
