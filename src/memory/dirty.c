/*
 * Dirty logs: bitmaps of atomic words, one bit a page and client.
 *
 * Whoever writes RAM sets the bit afterwards with a locked instruction, which is also the barrier
 * that the protocol needs: a client that clears the bit and then reads the page sees the write, or
 * the bit again. That is why bits which are set already are set once more.
 */
#include "memory/memory.h"

#include <string.h>

#include "event/lock.h"
#include "memory/memory-internal.h"

#define WORD_PAGES 64 /* pages a word */

/* One word's share of a range of pages. */
typedef struct WordRange {
    uint64_t page, last; /* what is left, inclusive */
    uint64_t word;
    unsigned long mask;
} WordRange;

static WordRange word_range(uint64_t offset, uint64_t len)
{
    return (WordRange){
        .page = offset >> DIRTY_PAGE_BITS,
        .last = (offset + len - 1) >> DIRTY_PAGE_BITS,
    };
}

static bool word_range_next(WordRange *w)
{
    if (w->page > w->last) {
        return false;
    }
    unsigned first_bit = w->page % WORD_PAGES;
    uint64_t left = w->last - w->page + 1;
    unsigned n = (unsigned)MIN_OF(left, (uint64_t)(WORD_PAGES - first_bit));
    w->word = w->page / WORD_PAGES;
    w->mask = (~0ul >> (WORD_PAGES - n)) << first_bit;
    w->page += n;
    return true;
}

static void assert_in_block(const RamBlock *block, uint64_t offset, uint64_t len)
{
    assert(offset <= block->size && len <= block->size - offset);
}

void ram_block_set_dirty(RamBlock *block, uint64_t offset, uint64_t len, DirtyClient client)
{
    if (!len) {
        return;
    }
    assert_in_block(block, offset, len);
    WordRange w = word_range(offset, len);
    while (word_range_next(&w)) {
        __atomic_fetch_or(&block->dirty[client][w.word], w.mask, __ATOMIC_SEQ_CST);
    }
}

/* Tell the accelerator where translated code was written over. */
static void code_written(RamBlock *block, uint64_t offset, uint64_t len)
{
    const MemoryCodeHooks *hooks = &memory_core.code_hooks;
    WordRange w = word_range(offset, len);
    bool hit = false;

    while (word_range_next(&w)) {
        /* A locked OR of nothing: the barrier described above, and the look. */
        unsigned long bits =
            __atomic_fetch_or(&block->dirty[DIRTY_CODE][w.word], 0, __ATOMIC_SEQ_CST);
        hit |= (bits & w.mask) != w.mask;
    }
    if (hit) {
        hooks->write_code(hooks->opaque, block, offset, len);
        ram_block_set_dirty(block, offset, len, DIRTY_CODE);
    }
}

void ram_block_mark_dirty(RamBlock *block, uint64_t offset, uint64_t len)
{
    if (!len) {
        return;
    }
    assert_in_block(block, offset, len);
    if (memory_core.code_hooks.write_code) {
        code_written(block, offset, len);
    }
    unsigned mask = __atomic_load_n(&block->log_mask, __ATOMIC_RELAXED);
    if (LIKELY(!mask)) {
        return;
    }
    for (int c = 0; c < DIRTY_CLIENT_COUNT; c++) {
        if (mask & 1u << c) {
            ram_block_set_dirty(block, offset, len, c);
        }
    }
}

bool ram_block_is_dirty(const RamBlock *block, uint64_t offset, uint64_t len, DirtyClient client)
{
    if (!len) {
        return false;
    }
    assert_in_block(block, offset, len);
    WordRange w = word_range(offset, len);
    while (word_range_next(&w)) {
        if (__atomic_load_n(&block->dirty[client][w.word], __ATOMIC_ACQUIRE) & w.mask) {
            return true;
        }
    }
    return false;
}

static void tell_cleared(RamBlock *block, uint64_t offset, uint64_t len, DirtyClient client)
{
    const MemoryCodeHooks *hooks = &memory_core.code_hooks;
    if (hooks->dirty_cleared && client != DIRTY_CODE) {
        hooks->dirty_cleared(hooks->opaque, block, offset, len);
    }
}

bool ram_block_clear_dirty(RamBlock *block, uint64_t offset, uint64_t len, DirtyClient client)
{
    bool any = false;

    if (!len) {
        return false;
    }
    assert_in_block(block, offset, len);
    WordRange w = word_range(offset, len);
    while (word_range_next(&w)) {
        unsigned long *word = &block->dirty[client][w.word];
        if (__atomic_load_n(word, __ATOMIC_RELAXED) & w.mask) {
            any |= (__atomic_fetch_and(word, ~w.mask, __ATOMIC_SEQ_CST) & w.mask) != 0;
        }
    }
    if (any) {
        tell_cleared(block, offset, len, client);
    }
    return any;
}

uint64_t ram_block_take_dirty(RamBlock *block, uint64_t first_page, uint64_t pages,
                              DirtyClient client, unsigned long *dst)
{
    uint64_t total = (block->size + (BIT64(DIRTY_PAGE_BITS) - 1)) >> DIRTY_PAGE_BITS;
    uint64_t fresh = 0, first_hit = UINT64_MAX, last_hit = 0;

    assert(first_page % WORD_PAGES == 0);
    assert(first_page <= total && pages <= ALIGN_UP(total, WORD_PAGES) - first_page);
    for (uint64_t i = 0; i < (pages + WORD_PAGES - 1) / WORD_PAGES; i++) {
        uint64_t index = first_page / WORD_PAGES + i;
        unsigned long *word = &block->dirty[client][index];
        if (!__atomic_load_n(word, __ATOMIC_RELAXED)) {
            continue;
        }
        unsigned long bits = __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
        uint64_t in_block = total - index * WORD_PAGES; /* the last word may be part of one */
        if (in_block < WORD_PAGES) {
            bits &= (1ul << in_block) - 1;
        }
        fresh += (uint64_t)__builtin_popcountl(bits & ~dst[i]);
        dst[i] |= bits;
        first_hit = MIN_OF(first_hit, index);
        last_hit = index;
    }
    if (first_hit != UINT64_MAX) {
        uint64_t from = first_hit * WORD_PAGES << DIRTY_PAGE_BITS;
        uint64_t to = MIN_OF((last_hit + 1) * WORD_PAGES << DIRTY_PAGE_BITS, block->size);
        tell_cleared(block, from, to - from, client);
    }
    return fresh;
}

/* --- Regions --- */

/* The RAM region that mr shows (through aliases), with the offset in it; NULL: not RAM. */
static MemoryRegion *ram_region(MemoryRegion *mr, hwaddr *offset)
{
    while (mr->alias) {
        *offset += mr->alias_offset;
        mr = mr->alias;
    }
    return mr->ram ? mr : NULL;
}

/* Callers pass ranges inside the region; a region may be a little smaller than its block. */
static uint64_t clip_to_block(const RamBlock *block, hwaddr offset, uint64_t len)
{
    return offset >= block->size ? 0 : MIN_OF(len, block->size - offset);
}

void memory_region_set_dirty(MemoryRegion *mr, hwaddr offset, uint64_t len)
{
    mr = ram_region(mr, &offset);
    if (mr) {
        ram_block_mark_dirty(mr->ram, offset, clip_to_block(mr->ram, offset, len));
    }
}

bool memory_region_get_dirty(MemoryRegion *mr, hwaddr offset, uint64_t len, DirtyClient client)
{
    mr = ram_region(mr, &offset);
    return mr && ram_block_is_dirty(mr->ram, offset, clip_to_block(mr->ram, offset, len), client);
}

/* Calls fn for each section of each address space that shows part of [offset, offset + len) of mr
 * (mr NULL: any RAM). */
typedef void LogCall(MemoryListener *l, const MemorySection *s);

static void for_log_sections(MemoryRegion *mr, hwaddr offset, uint64_t len, bool clear)
{
    for (MemoryListener *l = memory_core.listeners; l; l = l->next) {
        LogCall *call = clear ? l->log_clear : l->log_sync;
        if (!call) {
            continue;
        }
        const FlatView *view = l->as->view;
        for (unsigned i = 0; i < view->count; i++) {
            const FlatRange *r = &view->ranges[i];
            if (!r->log_mask || (mr && r->mr != mr)) {
                continue;
            }
            MemorySection s = flat_range_section(r, l->as);
            if (mr) { /* the part that overlaps */
                hwaddr from = MAX_OF(offset, s.offset_in_region);
                hwaddr to = MIN_OF(offset + len, s.offset_in_region + s.size);
                if (from >= to) {
                    continue;
                }
                s.addr += from - s.offset_in_region;
                s.offset_in_region = from;
                s.size = to - from;
            }
            call(l, &s);
        }
    }
}

void memory_region_sync_log(MemoryRegion *mr)
{
    hwaddr offset = 0;
    ASSERT_MACHINE_LOCKED();
    mr = ram_region(mr, &offset);
    if (mr) {
        for_log_sections(mr, 0, memory_region_size(mr), false);
    }
}

bool memory_region_test_and_clear_dirty(MemoryRegion *mr, hwaddr offset, uint64_t len,
                                        DirtyClient client)
{
    ASSERT_MACHINE_LOCKED();
    mr = ram_region(mr, &offset);
    if (!mr) {
        return false;
    }
    len = clip_to_block(mr->ram, offset, len);
    bool dirty = ram_block_clear_dirty(mr->ram, offset, len, client);
    if (dirty) {
        for_log_sections(mr, offset, len, true);
    }
    return dirty;
}

static void block_log_user(RamBlock *block, DirtyClient client, bool on)
{
    if (on) {
        block->log_users[client]++;
        __atomic_fetch_or(&block->log_mask, (uint8_t)(1u << client), __ATOMIC_SEQ_CST);
    } else {
        assert(block->log_users[client]);
        if (--block->log_users[client] == 0) {
            __atomic_fetch_and(&block->log_mask, (uint8_t) ~(1u << client), __ATOMIC_SEQ_CST);
        }
    }
}

void memory_region_set_log(MemoryRegion *mr, DirtyClient client, bool on)
{
    hwaddr offset = 0;
    ASSERT_MACHINE_LOCKED();
    assert(client == DIRTY_DISPLAY); /* the others are global, or the accelerator's */
    mr = ram_region(mr, &offset);
    uint8_t bit = (uint8_t)(1u << client);
    if (!mr || !!(mr->log_mask & bit) == on) {
        return;
    }
    memory_begin();
    mr->log_mask ^= bit;
    block_log_user(mr->ram, client, on);
    if (on) {
        ram_block_set_dirty(mr->ram, 0, mr->ram->size, client);
    }
    memory_note_change(mr);
    memory_commit();
}

static bool global_log_block(RamBlock *block, void *opaque)
{
    const bool *on = opaque;
    uint8_t bit = 1u << DIRTY_MIGRATION;
    if (*on) {
        ram_block_set_dirty(block, 0, block->size, DIRTY_MIGRATION);
        __atomic_fetch_or(&block->log_mask, bit, __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_and(&block->log_mask, (uint8_t)~bit, __ATOMIC_SEQ_CST);
    }
    return true;
}

/* Every section's mask changes with the global log, seen or not. */
static void global_log_set(bool on)
{
    memory_begin();
    memory_core.global_log = on;
    ram_block_foreach(global_log_block, &on);
    memory_core.regions_changed = true;
    memory_commit();
}

bool memory_global_log_start(Error **errp)
{
    ASSERT_MACHINE_LOCKED();
    assert(!memory_core.global_log);
    for (MemoryListener *l = memory_core.listeners; l; l = l->next) {
        if (!l->log_global_start || l->log_global_start(l, errp)) {
            continue;
        }
        for (MemoryListener *u = memory_core.listeners; u != l; u = u->next) {
            if (u->log_global_stop) {
                u->log_global_stop(u);
            }
        }
        return false;
    }
    global_log_set(true);
    return true;
}

void memory_global_log_stop(void)
{
    ASSERT_MACHINE_LOCKED();
    assert(memory_core.global_log);
    global_log_set(false);
    for (MemoryListener *l = memory_core.listeners; l; l = l->next) {
        if (l->log_global_stop) {
            l->log_global_stop(l);
        }
    }
}

void memory_global_log_sync(void)
{
    ASSERT_MACHINE_LOCKED();
    for_log_sections(NULL, 0, 0, false);
    for (MemoryListener *l = memory_core.listeners; l; l = l->next) {
        if (l->log_global_after_sync) {
            l->log_global_after_sync(l);
        }
    }
}

bool memory_global_log_active(void)
{
    return memory_core.global_log;
}

void memory_set_code_hooks(const MemoryCodeHooks *hooks)
{
    ASSERT_MACHINE_LOCKED();
    memory_core.code_hooks = hooks ? *hooks : (MemoryCodeHooks){ 0 };
}
