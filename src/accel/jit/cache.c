/*
 * The code cache: memory that translated code lives in, blocks found by where their bytes are, and
 * what happens when those bytes are written.
 *
 * The cache is one memfd mapped twice, writable and executable. Code and the records about it are
 * only ever added; all of it goes away at once when the cache is full, while no vCPU is in
 * translated code.
 *
 * A page that holds translated code has its DIRTY_CODE bit clear in its RAM block: the TLB then
 * gives no write tags for it, and writes from outside announce themselves.
 */
#define _GNU_SOURCE 1
#include "accel/jit/jit-internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "cpu/debug.h"
#include "memory/ram.h"

/* --- Arena: records that live as long as the code --- */

#define ARENA_CHUNK (256u << 10) /* many blocks' records; freed together */

typedef struct JitArena {
    struct JitArena *next;
    size_t used;
    uint8_t bytes[] __attribute__((aligned(64)));
} JitArena;

void *jit_arena_alloc(Jit *jit, size_t bytes, size_t align)
{
    JitArena *a = jit->arena;
    size_t at = a ? ALIGN_UP(a->used, align) : 0;
    if (!a || at + bytes > ARENA_CHUNK) {
        a = g_aligned_alloc(1, sizeof(*a) + ARENA_CHUNK, 64);
        a->next = jit->arena;
        at = 0;
        jit->arena = a;
    }
    a->used = at + bytes;
    return a->bytes + at;
}

static void arena_free(Jit *jit)
{
    while (jit->arena) {
        JitArena *next = jit->arena->next;
        g_aligned_free(jit->arena);
        jit->arena = next;
    }
}

/* --- The two mappings --- */

bool jit_cache_init(Jit *jit, Error **errp)
{
    jit->bytes = JIT_HOT_BYTES + JIT_COLD_BYTES;
    jit->rw = jit->rx = MAP_FAILED;
    jit->fd = -1;
    if (!FAULT("code cache", NULL)) {
        jit->fd = memfd_create("rhea-code", MFD_CLOEXEC);
    }
    if (jit->fd < 0 || ftruncate(jit->fd, (off_t)jit->bytes) < 0) {
        error_set_errno(errp, errno, "accelerator 'jit': no memory for translated code");
        jit_cache_finish(jit);
        return false;
    }
    jit->rw = mmap(NULL, jit->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, jit->fd, 0);
    jit->rx = mmap(NULL, jit->bytes, PROT_READ | PROT_EXEC, MAP_SHARED, jit->fd, 0);
    if (jit->rw == MAP_FAILED || jit->rx == MAP_FAILED) {
        error_set_errno(errp, errno, "accelerator 'jit': can't map memory for translated code");
        jit_cache_finish(jit);
        return false;
    }
    jit->hot = jit->hot_start = jit->rw;
    jit->hot_end = jit->rw + JIT_HOT_BYTES;
    jit->cold = jit->cold_start = jit->hot_end;
    jit->cold_end = jit->rw + jit->bytes;
    jit->by_code = g_ptr_array_new();
    return true;
}

void jit_cache_finish(Jit *jit)
{
    if (jit->by_code) {
        jit_cache_flush(jit);
        g_ptr_array_free(jit->by_code, TRUE);
        jit->by_code = NULL;
    }
    if (jit->rw != MAP_FAILED && jit->rw) {
        munmap(jit->rw, jit->bytes);
    }
    if (jit->rx != MAP_FAILED && jit->rx) {
        munmap(jit->rx, jit->bytes);
    }
    fd_close(jit->fd);
    jit->fd = -1;
}

bool jit_cache_full(const Jit *jit)
{
    return jit->hot_end - jit->hot < JIT_BLOCK_BYTES_MAX ||
           jit->cold_end - jit->cold < JIT_BLOCK_BYTES_MAX;
}

/* --- Pages --- */

static unsigned page_hash(const uint8_t *host)
{
    return (unsigned)(((uintptr_t)host >> 12) * 0x9e3779b1u >> (32 - JIT_PAGE_HASH_BITS)) &
           ((1u << JIT_PAGE_HASH_BITS) - 1);
}

static const uint8_t *page_of(const uint8_t *host)
{
    return (const uint8_t *)((uintptr_t)host & ~UINT64_C(4095));
}

JitPage *jit_find_page(const Jit *jit, const uint8_t *host)
{
    JitPage *p = __atomic_load_n(&jit->pages[page_hash(host)], __ATOMIC_ACQUIRE);
    while (p && p->host != host) {
        p = p->hash_next;
    }
    return p;
}

static void set_code_bit(const JitPage *p, bool dirty)
{
    if (!p->ram) {
        return;
    }
    uint64_t n = p->ram_offset >> DIRTY_PAGE_BITS;
    unsigned long *word = &p->ram->dirty[DIRTY_CODE][n / (8 * sizeof(long))];
    unsigned long bit = 1ul << (n % (8 * sizeof(long)));
    if (dirty) {
        __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
    }
}

static const JitRam *ram_of_host(const Jit *jit, const uint8_t *host)
{
    for (unsigned i = 0; i < jit->ram->count; i++) {
        const JitRam *r = &jit->ram->range[i];
        if (host >= r->host && host < r->host + r->size) {
            return r;
        }
    }
    return NULL;
}

bool jit_page_is_protected(const Jit *jit, const uint8_t *host)
{
    const JitPage *p = jit_find_page(jit, page_of(host));
    return p && p->blocks;
}

void jit_protect_page(Jit *jit, const uint8_t *host)
{
    JitPage *p = jit_find_page(jit, host);
    if (!p) {
        const JitRam *r = ram_of_host(jit, host);
        p = jit_arena_alloc(jit, sizeof(*p), 8);
        *p = (JitPage){ .host = host };
        if (r) {
            p->ram = r->block;
            p->ram_offset = r->offset + (uint64_t)(host - r->host);
        }
        unsigned h = page_hash(host);
        p->hash_next = jit->pages[h];
        __atomic_store_n(&jit->pages[h], p, __ATOMIC_RELEASE);
    } else if (p->blocks) {
        return;
    }
    set_code_bit(p, false);
    __atomic_add_fetch(&jit->code_epoch, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < jit->cpus->len; i++) {
        jit_drop_write_tags(g_ptr_array_index(jit->cpus, i), host);
    }
}

/* --- Blocks --- */

static unsigned block_hash(const uint8_t *source, uint32_t mode, uint8_t variant)
{
    uint64_t h = (uintptr_t)source ^ (uint64_t)mode << 40 ^ (uint64_t)variant << 39;
    return (unsigned)(h * UINT64_C(0x9e3779b97f4a7c15) >> (64 - JIT_BLOCK_HASH_BITS));
}

JitBlock *jit_find_block(const Jit *jit, const uint8_t *source, const uint8_t *source2,
                         uint32_t mode, uint8_t variant)
{
    JitBlock *b =
        __atomic_load_n(&jit->blocks[block_hash(source, mode, variant)], __ATOMIC_ACQUIRE);
    for (; b; b = b->hash_next) {
        if (b->source == source && b->mode == mode && b->variant == variant && b->valid) {
            return b;
        }
    }
    return NULL;
}

void jit_add_block(Jit *jit, JitBlock *b)
{
    JitPage *p = jit_find_page(jit, page_of(b->source));
    b->page_next = p->blocks;
    p->blocks = b;
    if (b->source2) {
        p = jit_find_page(jit, page_of(b->source2));
        b->page2_next = p->blocks;
        p->blocks = b;
    }
    g_ptr_array_add(jit->by_code, b);
    unsigned h = block_hash(b->source, b->mode, b->variant);
    b->hash_next = jit->blocks[h];
    __atomic_store_n(&jit->blocks[h], b, __ATOMIC_RELEASE);
}

JitBlock *jit_block_at_code(const Jit *jit, const uint8_t *pc)
{
    unsigned lo = 0, hi = jit->by_code->len;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const JitBlock *b = g_ptr_array_index(jit->by_code, mid);
        if (b->indirect <= pc) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == 0) {
        return NULL;
    }
    JitBlock *b = g_ptr_array_index(jit->by_code, lo - 1);
    return pc < b->indirect + b->code_bytes ? b : NULL;
}

/* The rel32 never straddles 8 bytes: other CPUs see the old target or the new one. */
static void set_rel(const Jit *jit, JitExit *x, const uint8_t *target)
{
    int32_t d = (int32_t)(target - (x->rel + 4 + (jit->rx - jit->rw)));
    __atomic_store_n((int32_t *)(void *)x->rel, d, __ATOMIC_RELEASE);
}

void jit_chain(Jit *jit, JitExit *x, JitBlock *to)
{
    if (x->to || !x->from->valid || !to->valid || to->source2) {
        return;
    }
    x->to = to;
    x->next = to->incoming;
    to->incoming = x;
    set_rel(jit, x, to->code);
}

static void unchain_out(JitExit *x)
{
    if (!x->to) {
        return;
    }
    JitExit **link = &x->to->incoming;
    while (*link && *link != x) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = x->next;
    }
    x->to = NULL;
}

/* Take the block out of all jump caches. Who has just looked it up enters it before looking
 * whether it is still valid; see remember_jump(). */
static void forget_jumps(Jit *jit, JitBlock *b)
{
    uint64_t slots = __atomic_load_n(&b->slots, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < jit->cpus->len; i++) {
        JitCpu *j = g_ptr_array_index(jit->cpus, i);
        j->counters.invalidated += i == 0;
        if (slots == JIT_SLOTS_MANY) {
            __atomic_store_n(&j->code_gone, true, __ATOMIC_SEQ_CST);
            __atomic_store_n(&j->jump_key, JIT_KEY_POISON, __ATOMIC_SEQ_CST);
            continue;
        }
        for (uint64_t rest = slots; rest; rest >>= 16) {
            unsigned slot = (unsigned)(rest & 0xffff) - 1;
            if (__atomic_load_n(&j->jumps[slot].code, __ATOMIC_SEQ_CST) == b->indirect) {
                jit_clear_jump(j, slot);
            }
        }
    }
}

/* The block may be running: its code stays until the next flush. */
static void discard(Jit *jit, JitBlock *b)
{
    __atomic_store_n(&b->valid, false, __ATOMIC_SEQ_CST);
    forget_jumps(jit, b);
    JitBlock **link = &jit->blocks[block_hash(b->source, b->mode, b->variant)];
    while (*link != b) {
        link = &(*link)->hash_next;
    }
    __atomic_store_n(link, b->hash_next, __ATOMIC_RELEASE);
    while (b->incoming) {
        JitExit *x = b->incoming;
        b->incoming = x->next;
        x->to = NULL;
        set_rel(jit, x, x->stub);
    }
    for (unsigned i = 0; i < b->n_exits; i++) {
        unchain_out(&b->exits[i]);
        set_rel(jit, &b->exits[i], b->exits[i].stub);
    }
}

static bool overlaps(const JitBlock *b, const JitPage *p, uint64_t from, uint64_t to)
{
    uint64_t start = b->offset, end = start + b->length;
    if (b->source2 && page_of(b->source2) == p->host) {
        return from < end - 4096;
    }
    if (from < end && to > start) {
        return true;
    }
    for (unsigned n = 0; n < 2; n++) {
        if (from < b->look_end[n] && to > b->look_start[n]) {
            return true;
        }
    }
    return false;
}

static void drop_from_page(JitPage *p, JitBlock *b)
{
    JitBlock **link = &p->blocks;
    while (*link) {
        JitBlock *c = *link;
        bool second = c->source2 && page_of(c->source2) == p->host;
        if (c == b) {
            *link = second ? c->page2_next : c->page_next;
            return;
        }
        link = second ? &c->page2_next : &c->page_next;
    }
}

static bool invalidate_in_page(Jit *jit, const uint8_t *page, uint64_t from, uint64_t to)
{
    JitPage *p = jit_find_page(jit, page);
    if (!p) {
        return true;
    }
    JitBlock *b = p->blocks;
    while (b) {
        bool second = b->source2 && page_of(b->source2) == p->host;
        JitBlock *next = second ? b->page2_next : b->page_next;
        if (overlaps(b, p, from, to)) {
            if (log_enabled(LOG_PAGE)) {
                jit_log_discard(b);
            }
            discard(jit, b);
            if (b->source2) {
                JitPage *other = jit_find_page(jit, page_of(second ? b->source : b->source2));
                drop_from_page(other, b);
            }
            drop_from_page(p, b);
        }
        b = next;
    }
    if (!p->blocks) {
        set_code_bit(p, true);
        return true;
    }
    return false;
}

bool jit_invalidate_range(Jit *jit, const uint8_t *host, uint64_t len)
{
    const uint8_t *page = page_of(host);
    uint64_t from = (uint64_t)(host - page);
    bool clean = true;
    while (len) {
        uint64_t part = MIN_OF(len, 4096 - from);
        clean &= invalidate_in_page(jit, page, from, from + part);
        len -= part;
        from = 0;
        page += 4096;
    }
    return clean;
}

void jit_update_breaks(Jit *jit)
{
    uint64_t offsets[ARRAY_LEN(jit->break_offsets)] = { 0 };
    pthread_mutex_lock(&jit->lock);
    for (unsigned i = 0; i < jit->cpus->len; i++) {
        const Cpu *cpu = &((JitCpu *)g_ptr_array_index(jit->cpus, i))->cpu->parent;
        for (unsigned n = 0; n < cpu->breakpoints->len; n++) {
            const CpuBreakpoint *b = g_ptr_array_index(cpu->breakpoints, n);
            if (1u << b->kind & CPU_BREAK_KINDS) {
                offsets[(b->addr & 4095) / 64] |= BIT64(b->addr % 64);
            }
        }
    }
    for (unsigned at = 0; at < 4096; at++) {
        if (jit_offset_has_break(jit, at) == (offsets[at / 64] >> (at % 64) & 1)) {
            continue;
        }
        for (unsigned h = 0; h < ARRAY_LEN(jit->pages); h++) {
            for (const JitPage *p = jit->pages[h]; p; p = p->hash_next) {
                jit_invalidate_range(jit, p->host + at, 1);
            }
        }
    }
    memcpy(jit->break_offsets, offsets, sizeof(offsets));
    pthread_mutex_unlock(&jit->lock);
}

void jit_cache_flush(Jit *jit)
{
    for (unsigned h = 0; h < ARRAY_LEN(jit->pages); h++) {
        for (JitPage *p = jit->pages[h]; p; p = p->hash_next) {
            set_code_bit(p, true);
        }
        jit->pages[h] = NULL;
    }
    memset(jit->blocks, 0, sizeof(jit->blocks));
    g_ptr_array_set_size(jit->by_code, 0);
    arena_free(jit);
    jit->hot = jit->hot_start;
    jit->cold = jit->cold_start;
    memset(jit->group_misses, 0, sizeof(jit->group_misses));
    for (unsigned i = 0; jit->cpus && i < jit->cpus->len; i++) {
        JitCpu *j = g_ptr_array_index(jit->cpus, i);
        __atomic_store_n(&j->code_gone, true, __ATOMIC_SEQ_CST);
        __atomic_store_n(&j->jump_key, JIT_KEY_POISON, __ATOMIC_SEQ_CST);
    }
}
