/*
 * RAM blocks: making them, the list of all, and their ends.
 *
 * The list is an array in two orders (creation, host address) that readers see under RCU; whoever
 * changes it holds the list's mutex and publishes a copy.
 */
#include "memory/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/text.h"
#include "event/lock.h"
#include "memory/memory-internal.h"

typedef struct BlockList {
    struct rcu_head rcu;
    unsigned count;
    RamBlock **by_age;
    RamBlock **by_host;
} BlockList;

/* All blocks of the process: host addresses and ids are unique per process by nature. */
static BlockList *block_list; /* RCU */
static pthread_mutex_t block_list_mutex = PTHREAD_MUTEX_INITIALIZER;

static void block_list_free(struct rcu_head *head)
{
    RCU_AFTER_READERS();
    BlockList *list = CONTAINER_OF(head, BlockList, rcu);
    g_free(list->by_age);
    g_free(list->by_host);
    g_free(list);
}

static BlockList *block_list_new(unsigned count)
{
    BlockList *list = g_new0(BlockList, 1);
    list->count = count;
    list->by_age = g_new(RamBlock *, count);
    list->by_host = g_new(RamBlock *, count);
    return list;
}

/* Mutex held. Publishes list, retires the old one. */
static void block_list_publish(BlockList *list)
{
    BlockList *old = block_list;
    rcu_publish(&block_list, list);
    if (old) {
        rcu_defer(&old->rcu, block_list_free);
    }
}

static RamBlock *block_list_find_id(const BlockList *list, const char *id)
{
    for (unsigned i = 0; list && i < list->count; i++) {
        if (!strcmp(list->by_age[i]->id, id)) {
            return list->by_age[i];
        }
    }
    return NULL;
}

static bool block_list_insert(RamBlock *block, Error **errp)
{
    pthread_mutex_lock(&block_list_mutex);
    BlockList *old = block_list;
    if (block_list_find_id(old, block->id)) {
        pthread_mutex_unlock(&block_list_mutex);
        error_set(errp,
                  "RAM block '%s' exists already; give the device or memory backend another id",
                  block->id);
        return false;
    }
    unsigned n = old ? old->count : 0;
    BlockList *list = block_list_new(n + 1);
    unsigned at = 0;
    for (unsigned i = 0; i < n; i++) {
        list->by_age[i] = old->by_age[i];
        at += old->by_host[i]->host < block->host;
    }
    list->by_age[n] = block;
    for (unsigned i = 0, j = 0; i <= n; i++) {
        list->by_host[i] = i == at ? block : old->by_host[j++];
    }
    block_list_publish(list);
    pthread_mutex_unlock(&block_list_mutex);
    return true;
}

static void block_list_remove(RamBlock *block)
{
    pthread_mutex_lock(&block_list_mutex);
    BlockList *old = block_list;
    BlockList *list = old->count > 1 ? block_list_new(old->count - 1) : NULL;
    for (unsigned i = 0, a = 0, h = 0; list && i < old->count; i++) {
        if (old->by_age[i] != block) {
            list->by_age[a++] = old->by_age[i];
        }
        if (old->by_host[i] != block) {
            list->by_host[h++] = old->by_host[i];
        }
    }
    block_list_publish(list);
    pthread_mutex_unlock(&block_list_mutex);
}

static void ram_block_free(RamBlock *block)
{
    for (int c = 0; c < DIRTY_CLIENT_COUNT; c++) {
        g_free(block->dirty[c]);
    }
    g_free(block->id);
    g_free(block);
}

static void ram_block_dispose(struct rcu_head *head)
{
    RCU_AFTER_READERS();
    RamBlock *block = CONTAINER_OF(head, RamBlock, rcu);
    if (block->release) {
        MACHINE_LOCKED();
        block->release(block->opaque, block);
    }
    ram_block_free(block);
}

RamBlock *ram_block_wrap(const RamBlockSpec *spec, Error **errp)
{
    uint64_t pages = (spec->size + (BIT64(DIRTY_PAGE_BITS) - 1)) >> DIRTY_PAGE_BITS;
    uint64_t words = (pages + 63) / 64;

    assert(spec->host && spec->size);
    RamBlock *block = g_new0(RamBlock, 1);
    block->id = g_strdup(spec->id);
    block->host = spec->host;
    block->size = spec->size;
    block->page_size = spec->page_size;
    block->fd = spec->fd;
    block->fd_offset = spec->fd_offset;
    block->shared = spec->shared;
    block->readonly = spec->readonly;
    block->release = spec->release;
    block->opaque = spec->opaque;
    block->migratable = true;
    block->refcount = 1;
    for (int c = 0; c < DIRTY_CLIENT_COUNT; c++) {
        block->dirty[c] = g_new0(unsigned long, words);
    }
    /* Nothing is translated yet, and a display has drawn nothing yet. */
    memset(block->dirty[DIRTY_CODE], 0xff, words * sizeof(unsigned long));
    memset(block->dirty[DIRTY_DISPLAY], 0xff, words * sizeof(unsigned long));
    if (memory_core.global_log) {
        memset(block->dirty[DIRTY_MIGRATION], 0xff, words * sizeof(unsigned long));
        block->log_mask = 1u << DIRTY_MIGRATION;
    }
    if (!block_list_insert(block, errp)) {
        ram_block_free(block);
        return NULL;
    }
    return block;
}

/* release() of blocks with memory of their own */
static void own_memory_release(void *opaque, RamBlock *block)
{
    munmap(block->host, block->size);
    fd_close(block->fd);
}

RamBlock *ram_block_create(const char *id, uint64_t size, Error **errp)
{
    uint64_t page = (uint64_t)getpagesize();
    uint64_t bytes = ALIGN_UP(size, page);
    FD_AUTO fd = -1;
    g_autofree char *name = g_strdup_printf("rhea %.200s", id);
    g_autofree char *text = text_from_size(size);

    if (!size || bytes < size || bytes > INT64_MAX) {
        error_set(errp, "RAM block '%s' can't have a size of %" PRIu64 " bytes", id, size);
        return NULL;
    }
    if (FAULT("memfd", errp)) {
        return NULL;
    }
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        error_set_errno(errp, errno, "Can't get a memory file for RAM block '%s'", id);
        return NULL;
    }
    if (FAULT("ftruncate", errp)) {
        return NULL;
    }
    if (ftruncate(fd, (off_t)bytes) < 0) {
        error_set_errno(errp, errno, "Can't make RAM block '%s' %s large", id, text);
        return NULL;
    }
    if (FAULT("mmap", errp)) {
        return NULL;
    }
    void *host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (host == MAP_FAILED) {
        error_set_errno(errp, errno, "Can't map %s for RAM block '%s'", text, id);
        return NULL;
    }
    RamBlockSpec spec = {
        .id = id,
        .host = host,
        .size = bytes,
        .page_size = page,
        .fd = fd,
        .shared = true,
        .release = own_memory_release,
    };
    RamBlock *block = ram_block_wrap(&spec, errp);
    if (!block) {
        munmap(host, bytes);
        return NULL;
    }
    fd_steal(&fd);
    return block;
}

void ram_block_ref(RamBlock *block)
{
    __atomic_fetch_add(&block->refcount, 1, __ATOMIC_RELAXED);
}

void ram_block_unref(RamBlock *block)
{
    if (!block || __atomic_fetch_sub(&block->refcount, 1, __ATOMIC_ACQ_REL) != 1) {
        return;
    }
    block_list_remove(block);
    rcu_defer(&block->rcu, ram_block_dispose);
}

bool ram_block_foreach(RamBlockVisitor *visit, void *opaque)
{
    RCU_SECTION();
    const BlockList *list = rcu_load(&block_list);
    for (unsigned i = 0; list && i < list->count; i++) {
        if (!visit(list->by_age[i], opaque)) {
            return false;
        }
    }
    return true;
}

RamBlock *ram_block_find(const char *id)
{
    RCU_SECTION();
    return block_list_find_id(rcu_load(&block_list), id);
}

RamBlock *ram_block_from_host(const void *host, uint64_t *offset)
{
    RCU_SECTION();
    const BlockList *list = rcu_load(&block_list);
    unsigned low = 0, high = list ? list->count : 0; /* the last that begins at or below host */
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (list->by_host[middle]->host <= (const uint8_t *)host) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (!low) {
        return NULL;
    }
    RamBlock *block = list->by_host[low - 1];
    uint64_t at = (uint64_t)((const uint8_t *)host - block->host);
    if (at >= block->size) {
        return NULL;
    }
    *offset = at;
    return block;
}

static bool summarise(RamBlock *block, void *opaque)
{
    RamSummary *sum = opaque;
    sum->blocks++;
    sum->bytes += block->size;
    sum->shared_bytes += block->shared ? block->size : 0;
    sum->huge_page_bytes += block->page_size > (uint64_t)getpagesize() ? block->size : 0;
    return true;
}

RamSummary ram_summary(void)
{
    RamSummary sum = { 0 };
    ram_block_foreach(summarise, &sum);
    return sum;
}

void memory_set_owner_path(char *(*path)(Object *owner))
{
    memory_core.owner_path = path;
}

char *ram_block_id_for(Object *owner, const char *name)
{
    g_autofree char *path = owner && memory_core.owner_path ? memory_core.owner_path(owner) : NULL;
    return path ? g_strdup_printf("%s/%s", path, name) : g_strdup(name);
}
