/*
 * Flat views: a region tree rendered to sorted ranges that don't overlap.
 *
 * Rendering walks the tree by falling priority and lets each terminating region fill the gaps that
 * are left. Addresses are 128 bits wide while rendering, because regions are up to 2^64 bytes large
 * and aliases shift them below zero.
 *
 * A published view keeps the owners of its regions and their RAM blocks alive. It dies after the
 * last RCU reader, on liburcu's thread, and takes the machine lock to let go of the owners.
 */
#include <string.h>

#include "event/lock.h"
#include "memory/memory-internal.h"

typedef __int128 Wide;

#define REGION_DEPTH_MAX 1024 /* deeper is a loop of aliases; a bridge takes three */

/*
 * Ranges while a view is rendered: sorted, in chunks, so that putting one between others costs
 * little however many there are. No chunk is empty.
 */
#define CHUNK_RANGES 64

typedef struct Chunk {
    unsigned count;
    FlatRange ranges[CHUNK_RANGES];
} Chunk;

typedef struct Draft {
    GPtrArray *chunks; /* Chunk, owned, by rising address */
} Draft;

typedef struct DraftPos {
    guint chunk;
    unsigned index; /* below the chunk's count, unless it is the end */
} DraftPos;

typedef struct RenderContext {
    Draft *draft;
    Wide first, last; /* what is visible through all containers and aliases on the way */
    bool readonly, nonvolatile;
    unsigned depth;
} RenderContext;

/* UINT64_MAX stands for 2^64. */
static Wide wide_size(uint64_t size)
{
    return size == UINT64_MAX ? (Wide)1 << 64 : (Wide)size;
}

/* NULL at the end. */
static const FlatRange *draft_at(const Draft *d, DraftPos pos)
{
    return pos.chunk < d->chunks->len ? &((Chunk *)d->chunks->pdata[pos.chunk])->ranges[pos.index]
                                      : NULL;
}

static DraftPos draft_next(const Draft *d, DraftPos pos)
{
    const Chunk *c = d->chunks->pdata[pos.chunk];

    return pos.index + 1 < c->count ? (DraftPos){ pos.chunk, pos.index + 1 }
                                    : (DraftPos){ pos.chunk + 1, 0 };
}

static void chunk_split(Draft *d, guint at)
{
    Chunk *c = d->chunks->pdata[at], *upper = g_new(Chunk, 1);

    upper->count = c->count - c->count / 2;
    c->count /= 2;
    memcpy(upper->ranges, &c->ranges[c->count], upper->count * sizeof(upper->ranges[0]));
    g_ptr_array_insert(d->chunks, (int)at + 1, upper);
}

/* Before pos; returns where the range is now. */
static DraftPos draft_insert(Draft *d, DraftPos pos, const FlatRange *range)
{
    Chunk *c;

    if (pos.chunk == d->chunks->len) { /* at the end: behind the last one */
        if (!pos.chunk) {
            g_ptr_array_add(d->chunks, g_new0(Chunk, 1));
        } else {
            pos.chunk--;
        }
        pos.index = ((Chunk *)d->chunks->pdata[pos.chunk])->count;
    }
    c = d->chunks->pdata[pos.chunk];
    if (c->count == CHUNK_RANGES) {
        chunk_split(d, pos.chunk);
        if (pos.index > c->count) {
            pos.index -= c->count;
            c = d->chunks->pdata[++pos.chunk];
        }
    }
    memmove(&c->ranges[pos.index + 1], &c->ranges[pos.index],
            (c->count - pos.index) * sizeof(c->ranges[0]));
    c->ranges[pos.index] = *range;
    c->count++;
    return pos;
}

/* The first range that ends at or above addr. */
static DraftPos draft_first_from(const Draft *d, hwaddr addr)
{
    guint low = 0, high = d->chunks->len;
    DraftPos pos;

    while (low < high) {
        guint middle = (low + high) / 2;
        const Chunk *c = d->chunks->pdata[middle];
        if (c->ranges[c->count - 1].last < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    pos = (DraftPos){ low, 0 };
    if (low < d->chunks->len) {
        const Chunk *c = d->chunks->pdata[low];
        while (c->ranges[pos.index].last < addr) {
            pos.index++;
        }
    }
    return pos;
}

static uint8_t region_log_mask(const MemoryRegion *mr)
{
    uint8_t mask = mr->log_mask;
    if (memory_core.global_log && mr->ram && !(mr->kind == REGION_RAM && mr->readonly)) {
        mask |= 1u << DIRTY_MIGRATION;
    }
    return mask;
}

/* Put mr, whose first byte is at base, into the gaps of [first, last]. */
static void fill_gaps(const RenderContext *ctx, MemoryRegion *mr, Wide base, hwaddr first,
                      hwaddr last)
{
    FlatRange range = {
        .mr = mr,
        .log_mask = region_log_mask(mr),
        .romd = mr->romd,
        .readonly = ctx->readonly,
        .nonvolatile = ctx->nonvolatile,
    };
    DraftPos pos = draft_first_from(ctx->draft, first);
    const FlatRange *next = draft_at(ctx->draft, pos);

    for (hwaddr at = first;;) {
        if (!next || next->start > at) {
            range.start = at;
            range.last = next && next->start <= last ? next->start - 1 : last;
            range.offset = (hwaddr)((Wide)at - base);
            pos = draft_next(ctx->draft, draft_insert(ctx->draft, pos, &range));
            next = draft_at(ctx->draft, pos);
        }
        if (!next || next->start > last || next->last >= last) {
            return;
        }
        at = next->last + 1;
        pos = draft_next(ctx->draft, pos);
        next = draft_at(ctx->draft, pos);
    }
}

static void render(RenderContext ctx, MemoryRegion *mr, Wide base)
{
    if (!mr->enabled) {
        return;
    }
    assert(ctx.depth++ < REGION_DEPTH_MAX);
    base += mr->addr;
    ctx.first = MAX_OF(ctx.first, base);
    ctx.last = MIN_OF(ctx.last, base + wide_size(mr->size) - 1);
    if (ctx.first > ctx.last) {
        return;
    }
    ctx.readonly |= mr->readonly;
    ctx.nonvolatile |= mr->nonvolatile;
    if (mr->alias) {
        render(ctx, mr->alias, base - mr->alias_offset - mr->alias->addr);
        return;
    }
    for (MemoryRegion *sub = mr->subregions; sub; sub = sub->next) {
        render(ctx, sub, base);
    }
    if (mr->terminates) {
        fill_gaps(&ctx, mr, base, (hwaddr)ctx.first, (hwaddr)ctx.last);
    }
}

static bool ranges_join(const FlatRange *a, const FlatRange *b)
{
    return a->last + 1 == b->start && a->mr == b->mr &&
           a->offset + (a->last - a->start) + 1 == b->offset && a->romd == b->romd &&
           a->readonly == b->readonly && a->nonvolatile == b->nonvolatile &&
           a->log_mask == b->log_mask;
}

/* Ranges that go on in each other become one. */
static void draft_finish(Draft *d, FlatView *view)
{
    unsigned n = 0, most = 0;

    for (guint i = 0; i < d->chunks->len; i++) {
        most += ((Chunk *)d->chunks->pdata[i])->count;
    }
    view->ranges = g_new(FlatRange, MAX_OF(1, most));
    for (guint i = 0; i < d->chunks->len; i++) {
        const Chunk *c = d->chunks->pdata[i];
        for (unsigned j = 0; j < c->count; j++) {
            if (n && ranges_join(&view->ranges[n - 1], &c->ranges[j])) {
                view->ranges[n - 1].last = c->ranges[j].last;
            } else {
                view->ranges[n++] = c->ranges[j];
            }
        }
    }
    view->count = n;
    g_ptr_array_unref(d->chunks);
}

FlatView *flat_view_render(MemoryRegion *root)
{
    Draft draft = { .chunks = g_ptr_array_new_with_free_func(g_free) };
    FlatView *view = g_new0(FlatView, 1);
    view->refcount = 1;
    view->root = root;
    if (root) {
        RenderContext ctx = { .draft = &draft, .first = 0, .last = ((Wide)1 << 64) - 1 };
        render(ctx, root, -(Wide)root->addr);
    }
    draft_finish(&draft, view);
    view->starts = g_new(hwaddr, MAX_OF(1, view->count));
    for (unsigned i = 0; i < view->count; i++) {
        FlatRange *r = &view->ranges[i];
        view->starts[i] = r->start;
        r->owner = r->mr->owner;
        r->block = r->mr->ram;
        if (r->owner) {
            object_ref(r->owner);
        }
        if (r->block) {
            ram_block_ref(r->block);
        }
    }
    return view;
}

MemoryRegion *flat_view_root(MemoryRegion *mr)
{
    for (;;) {
        if (!mr->enabled) {
            return NULL;
        }
        if (mr->readonly || mr->nonvolatile || mr->terminates) {
            return mr;
        }
        if (mr->alias) {
            if (mr->alias_offset || mr->size < mr->alias->size) {
                return mr;
            }
            mr = mr->alias;
            continue;
        }
        MemoryRegion *only = NULL;
        for (MemoryRegion *sub = mr->subregions; sub; sub = sub->next) {
            if (!sub->enabled) {
                continue;
            }
            if (only || sub->addr || sub->size > mr->size) {
                return mr;
            }
            only = sub;
        }
        if (!only) {
            return NULL;
        }
        mr = only;
    }
}

bool flat_range_same(const FlatRange *a, const FlatRange *b)
{
    return a->start == b->start && a->last == b->last && a->mr == b->mr && a->block == b->block &&
           a->offset == b->offset && a->romd == b->romd && a->readonly == b->readonly &&
           a->nonvolatile == b->nonvolatile;
}

bool flat_view_equal(const FlatView *a, const FlatView *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (unsigned i = 0; i < a->count; i++) {
        if (!flat_range_same(&a->ranges[i], &b->ranges[i]) ||
            a->ranges[i].log_mask != b->ranges[i].log_mask) {
            return false;
        }
    }
    return true;
}

static void flat_view_free(struct rcu_head *head)
{
    RCU_AFTER_READERS();
    FlatView *view = CONTAINER_OF(head, FlatView, rcu);
    {
        MACHINE_LOCKED(); /* an owner's finalize may run here */
        for (unsigned i = 0; i < view->count; i++) {
            ram_block_unref(view->ranges[i].block);
            object_unref(view->ranges[i].owner);
        }
    }
    g_free(view->ranges);
    g_free(view->starts);
    g_free(view);
}

void flat_view_ref(FlatView *view)
{
    view->refcount++;
}

void flat_view_unref(FlatView *view)
{
    assert(view->refcount);
    if (--view->refcount == 0) {
        rcu_defer(&view->rcu, flat_view_free);
    }
}

const FlatRange *flat_view_find(const FlatView *view, hwaddr addr, hwaddr *next)
{
    const hwaddr *s = view->starts;
    unsigned n = view->count;

    /* The last range that starts at or below addr; no unpredictable branches. */
    while (n > 1) {
        unsigned half = n / 2;
        s = s[half] <= addr ? s + half : s;
        n -= half;
    }
    unsigned i = (unsigned)(s - view->starts);
    if (LIKELY(n)) {
        const FlatRange *r = &view->ranges[i];
        if (LIKELY(addr >= r->start && addr <= r->last)) {
            return r;
        }
        i += addr >= r->start;
    }
    if (next) {
        *next = i < view->count ? view->starts[i] : UINT64_MAX;
    }
    return NULL;
}

MemorySection flat_range_section(const FlatRange *range, AddressSpace *as)
{
    uint64_t size = range->last - range->start + 1;
    return (MemorySection){
        .mr = range->mr,
        .as = as,
        .offset_in_region = range->offset,
        .addr = range->start,
        .size = size ? size : UINT64_MAX,
        /* Writes to a ROM device go to its functions, whoever else maps its memory. */
        .readonly = range->readonly || range->romd,
        .nonvolatile = range->nonvolatile,
    };
}
