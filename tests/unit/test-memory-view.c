/*
 * Flat views against a brute-force model: random trees, changed at random in nested transactions.
 * After each commit every byte of the space must lead where a byte-wise search of the tree leads,
 * and a listener that only replays what it was told must hold the same view.
 */
#include <glib.h>
#include <string.h>

#include "event/lock.h"
#include "memory/memory.h"

#define SPACE_SIZE 512 /* bytes; small, so that everything overlaps */
#define REGIONS    64
#define ROUNDS     4000

/* --- The model: what is at an address, by walking the tree for this one byte --- */

typedef struct Place {
    MemoryRegion *mr;
    hwaddr offset;
    bool readonly;
} Place;

static bool model_find(MemoryRegion *mr, hwaddr at, bool readonly, Place *place)
{
    if (!mr->enabled || at >= mr->size) {
        return false;
    }
    readonly |= mr->readonly;
    if (mr->alias) {
        return model_find(mr->alias, at + mr->alias_offset, readonly, place);
    }
    for (MemoryRegion *s = mr->subregions; s; s = s->next) {
        if (at >= s->addr && model_find(s, at - s->addr, readonly, place)) {
            return true;
        }
    }
    if (mr->terminates) {
        *place = (Place){ mr, at, readonly };
        return true;
    }
    return false;
}

/* --- A listener that keeps what it is told, and checks the order of the calls --- */

typedef struct Replay {
    MemoryListener listener;
    Place map[SPACE_SIZE];
    bool in_commit, adding;
    hwaddr last; /* rising addresses within each kind of call */
    unsigned calls;
} Replay;

static Replay *replay_of(MemoryListener *l)
{
    return CONTAINER_OF(l, Replay, listener);
}

static void replay_begin(MemoryListener *l)
{
    Replay *r = replay_of(l);
    g_assert_false(r->in_commit);
    r->in_commit = true;
    r->adding = false;
    r->last = 0;
}

static void replay_commit(MemoryListener *l)
{
    g_assert_true(replay_of(l)->in_commit);
    replay_of(l)->in_commit = false;
}

static void check_rising(Replay *r, const MemorySection *s, bool adding)
{
    g_assert_true(r->in_commit);
    g_assert_false(r->adding && !adding); /* no deletion after an addition */
    if (r->adding != adding) {
        r->adding = adding;
        r->last = 0;
    }
    g_assert_cmpuint(s->addr, >=, r->last);
    r->last = s->addr + s->size;
    r->calls++;
}

static void replay_add(MemoryListener *l, const MemorySection *s)
{
    Replay *r = replay_of(l);
    check_rising(r, s, true);
    for (uint64_t i = 0; i < s->size; i++) {
        g_assert_null(r->map[s->addr + i].mr);
        r->map[s->addr + i] = (Place){ s->mr, s->offset_in_region + i, s->readonly };
    }
}

static void expect_section(Replay *r, const MemorySection *s)
{
    for (uint64_t i = 0; i < s->size; i++) {
        const Place *p = &r->map[s->addr + i];
        g_assert_true(p->mr == s->mr && p->offset == s->offset_in_region + i &&
                      p->readonly == s->readonly);
    }
}

static void replay_del(MemoryListener *l, const MemorySection *s)
{
    Replay *r = replay_of(l);
    check_rising(r, s, false);
    expect_section(r, s);
    memset(&r->map[s->addr], 0, s->size * sizeof(r->map[0]));
}

static void replay_nop(MemoryListener *l, const MemorySection *s)
{
    Replay *r = replay_of(l);
    check_rising(r, s, true);
    expect_section(r, s);
}

static const MemoryListener replay_template = {
    .name = "replay",
    .begin = replay_begin,
    .commit = replay_commit,
    .region_add = replay_add,
    .region_del = replay_del,
    .region_nop = replay_nop,
};

/* --- The random tree --- */

static uint64_t no_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static const MemoryRegionOps no_ops = { .read = no_read };

typedef struct World {
    GRand *rand;
    MemoryRegion root;
    MemoryRegion regions[REGIONS];
    AddressSpace as, twin;
    Replay replay;
} World;

static int pick(World *w, int n)
{
    return g_rand_int_range(w->rand, 0, n);
}

/* Would putting `sub` below `container` (or aliasing it) close a circle? */
static bool reaches(MemoryRegion *from, MemoryRegion *to)
{
    if (from == to) {
        return true;
    }
    if (from->alias && reaches(from->alias, to)) {
        return true;
    }
    for (MemoryRegion *s = from->subregions; s; s = s->next) {
        if (reaches(s, to)) {
            return true;
        }
    }
    return false;
}

/* How deep the walks get: aliases of aliases multiply. */
static unsigned weight(MemoryRegion *mr)
{
    unsigned sum = 1;
    if (mr->alias) {
        sum += weight(mr->alias);
    }
    for (MemoryRegion *s = mr->subregions; s && sum < 5000; s = s->next) {
        sum += weight(s);
    }
    return sum;
}

/* Large ones that hide much, and small ones that make many ranges. */
static uint64_t pick_size(World *w)
{
    return 1 + (uint64_t)pick(w, SPACE_SIZE / (1 + pick(w, 16)));
}

static void make_region(World *w, int i)
{
    MemoryRegion *mr = &w->regions[i];
    g_autofree char *name = g_strdup_printf("r%d", i);
    uint64_t size = pick_size(w);

    switch (i % 4) {
    case 0:
        memory_region_init(mr, NULL, name, size);
        break;
    case 1: /* aliases of anything made before, aliases and the containers above them included */
        memory_region_init_alias(mr, NULL, name, &w->regions[pick(w, i)],
                                 (hwaddr)pick(w, SPACE_SIZE / 2), size);
        break;
    case 2:
        memory_region_init_io(mr, NULL, &no_ops, NULL, name, size);
        break;
    default:
        g_assert_true(memory_region_init_ram(mr, NULL, name, 4096, &error_abort));
        memory_region_set_size(mr, size);
        break;
    }
}

static void change_something(World *w)
{
    MemoryRegion *mr = &w->regions[pick(w, REGIONS)];

    switch (pick(w, 8)) {
    case 0:
    case 1:
    case 2: /* into the tree; less often out of it */
        if (mr->container && pick(w, 3)) {
            break;
        } else if (mr->container) {
            memory_region_del(mr->container, mr);
        } else {
            MemoryRegion *to = pick(w, 2) ? &w->regions[pick(w, REGIONS)] : &w->root;
            if (!to->alias && !reaches(mr, to)) {
                memory_region_add_overlap(to, (hwaddr)pick(w, SPACE_SIZE / 2), mr,
                                          pick(w, 3) - (mr->size > 64));
                if (weight(&w->root) > 4000) {
                    memory_region_del(to, mr);
                }
            }
        }
        break;
    case 3:
        memory_region_set_enabled(mr, !mr->enabled || pick(w, 2));
        break;
    case 4:
        memory_region_set_address(mr, (hwaddr)pick(w, SPACE_SIZE));
        break;
    case 5:
        memory_region_set_size(mr, pick_size(w));
        break;
    case 6:
        if (mr->alias) {
            memory_region_set_alias_offset(mr, (hwaddr)pick(w, SPACE_SIZE));
        }
        break;
    case 7:
        memory_region_set_readonly(mr, !mr->readonly);
        break;
    }
}

static bool count_sections(const MemorySection *s, void *opaque)
{
    *(unsigned *)opaque += 1;
    return true;
}

static void compare_with_model(World *w, AddressSpace *as)
{
    RCU_SECTION();
    for (hwaddr at = 0; at < SPACE_SIZE; at++) {
        Place p = { 0 };
        model_find(&w->root, at, false, &p);
        MemoryMapping m = address_space_translate(as, at, 1, false, MEMTXATTRS_UNSPECIFIED);
        g_assert_true(m.mr == p.mr);
        if (p.mr) {
            g_assert_cmpuint(m.offset, ==, p.offset);
            g_assert_true(m.readonly == (p.readonly || !memory_region_is_ram(p.mr)));
        }
        const Place *r = &w->replay.map[at];
        g_assert_true(r->mr == p.mr && r->offset == p.offset && r->readonly == p.readonly);
    }
}

static void test_random_trees(void)
{
    World *w = g_new0(World, 1);

    w->rand = g_rand_new_with_seed(20260601);
    machine_lock();
    memory_init();
    memory_region_init(&w->root, NULL, "root", SPACE_SIZE);
    address_space_init(&w->as, &w->root, "test");
    address_space_init(&w->twin, &w->root, "twin");
    w->replay.listener = replay_template;
    memory_listener_add(&w->replay.listener, &w->as);
    for (int i = 0; i < REGIONS; i++) {
        make_region(w, i);
    }
    unsigned most = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int depth = 0;
        for (int n = pick(w, 6); n >= 0; n--) {
            if (pick(w, 2)) {
                memory_begin();
                depth++;
            }
            change_something(w);
        }
        if (depth) { /* nothing is shown before the outermost commit */
            Replay before = w->replay;
            while (--depth) {
                memory_commit();
            }
            g_assert_cmpmem(&before.map, sizeof(before.map), &w->replay.map, sizeof(before.map));
            memory_commit();
        }
        compare_with_model(w, &w->as);
        compare_with_model(w, &w->twin);
        unsigned sections = 0;
        address_space_foreach_section(&w->as, count_sections, &sections);
        most = MAX(most, sections);
    }
    g_test_message("at most %u ranges", most);
    g_assert_cmpuint(most, >, 12); /* the trees were worth it */
    g_assert_cmpuint(w->replay.calls, >, ROUNDS);

    memory_listener_del(&w->replay.listener);
    for (int i = 0; i < SPACE_SIZE; i++) {
        g_assert_null(w->replay.map[i].mr);
    }
    address_space_finish(&w->twin);
    address_space_finish(&w->as);
    for (int i = 0; i < REGIONS; i++) { /* aliases of a region go before it */
        memory_begin();
        for (int k = 0; k < REGIONS; k++) {
            if (w->regions[k].container) {
                memory_region_del(w->regions[k].container, &w->regions[k]);
            }
        }
        memory_commit();
        memory_region_finish(&w->regions[i]);
    }
    memory_region_finish(&w->root);
    memory_finish();
    machine_unlock();
    rcu_drain();
    g_rand_free(w->rand);
    g_free(w);
}

/* --- Exact sequences of calls --- */

typedef struct Recorder {
    MemoryListener listener;
    GString *log;
} Recorder;

#define RECORD(l, ...) g_string_append_printf(CONTAINER_OF(l, Recorder, listener)->log, __VA_ARGS__)

static void record_begin(MemoryListener *l)
{
    RECORD(l, "%s:begin ", l->name);
}
static void record_commit(MemoryListener *l)
{
    RECORD(l, "%s:commit ", l->name);
}
static void record_add(MemoryListener *l, const MemorySection *s)
{
    RECORD(l, "%s:+%s@%x ", l->name, s->mr->name, (unsigned)s->addr);
}
static void record_del(MemoryListener *l, const MemorySection *s)
{
    RECORD(l, "%s:-%s@%x ", l->name, s->mr->name, (unsigned)s->addr);
}
static void record_nop(MemoryListener *l, const MemorySection *s)
{
    RECORD(l, "%s:=%s@%x ", l->name, s->mr->name, (unsigned)s->addr);
}
static void record_log_start(MemoryListener *l, const MemorySection *s, unsigned before,
                             unsigned after)
{
    RECORD(l, "%s:log+%s,%u,%u ", l->name, s->mr->name, before, after);
}
static void record_log_stop(MemoryListener *l, const MemorySection *s, unsigned before,
                            unsigned after)
{
    RECORD(l, "%s:log-%s,%u,%u ", l->name, s->mr->name, before, after);
}
static void record_log_sync(MemoryListener *l, const MemorySection *s)
{
    RECORD(l, "%s:sync-%s@%x+%x ", l->name, s->mr->name, (unsigned)s->addr, (unsigned)s->size);
}
static void record_log_clear(MemoryListener *l, const MemorySection *s)
{
    RECORD(l, "%s:clear-%s@%x+%x ", l->name, s->mr->name, (unsigned)s->addr, (unsigned)s->size);
}
static bool record_global_start(MemoryListener *l, Error **errp)
{
    RECORD(l, "%s:global+ ", l->name);
    return true;
}
static void record_global_stop(MemoryListener *l)
{
    RECORD(l, "%s:global- ", l->name);
}
static void record_eventfd_add(MemoryListener *l, const MemorySection *s, bool match, uint64_t data,
                               EventNotifier *e)
{
    RECORD(l, "%s:fd+%x,%u,%d,%u ", l->name, (unsigned)s->addr, (unsigned)s->size, match,
           (unsigned)data);
}
static void record_eventfd_del(MemoryListener *l, const MemorySection *s, bool match, uint64_t data,
                               EventNotifier *e)
{
    RECORD(l, "%s:fd-%x,%u,%d,%u ", l->name, (unsigned)s->addr, (unsigned)s->size, match,
           (unsigned)data);
}
static void record_coalesced_add(MemoryListener *l, const MemorySection *s, hwaddr addr,
                                 uint64_t len)
{
    RECORD(l, "%s:co+%x,%x ", l->name, (unsigned)addr, (unsigned)len);
}
static void record_coalesced_del(MemoryListener *l, const MemorySection *s, hwaddr addr,
                                 uint64_t len)
{
    RECORD(l, "%s:co-%x,%x ", l->name, (unsigned)addr, (unsigned)len);
}

static const MemoryListener record_template = {
    .begin = record_begin,
    .commit = record_commit,
    .region_add = record_add,
    .region_del = record_del,
    .region_nop = record_nop,
    .log_start = record_log_start,
    .log_stop = record_log_stop,
    .log_sync = record_log_sync,
    .log_clear = record_log_clear,
    .log_global_start = record_global_start,
    .log_global_stop = record_global_stop,
    .eventfd_add = record_eventfd_add,
    .eventfd_del = record_eventfd_del,
    .coalesced_add = record_coalesced_add,
    .coalesced_del = record_coalesced_del,
};

typedef struct Bench {
    GString *log;
    Recorder a, b; /* priorities 0 and 10 */
    MemoryRegion ram, io;
} Bench;

static void bench_up(Bench *t, gconstpointer data)
{
    machine_lock();
    memory_init();
    t->log = g_string_new(NULL);
    t->a = (Recorder){ record_template, t->log };
    t->b = (Recorder){ record_template, t->log };
    t->a.listener.name = "a";
    t->b.listener.name = "b";
    t->b.listener.priority = 10;
    g_assert_true(memory_region_init_ram(&t->ram, NULL, "ram", 0x4000, &error_abort));
    memory_region_init_io(&t->io, NULL, &no_ops, NULL, "io", 0x100);
}

static void bench_down(Bench *t, gconstpointer data)
{
    memory_listener_del(&t->a.listener);
    memory_listener_del(&t->b.listener);
    memory_region_finish(&t->io);
    memory_region_finish(&t->ram);
    memory_finish();
    machine_unlock();
    rcu_drain();
    g_string_free(t->log, true);
}

static void expect_log(Bench *t, const char *expect)
{
    g_assert_cmpstr(t->log->str, ==, expect);
    g_string_truncate(t->log, 0);
}

static void listen_both(Bench *t)
{
    memory_listener_add(&t->b.listener, address_space_memory());
    memory_listener_add(&t->a.listener, address_space_memory());
    g_string_truncate(t->log, 0);
}

static void test_order(Bench *t, gconstpointer data)
{
    listen_both(t);
    memory_region_add(memory_root(), 0, &t->ram);
    expect_log(t, "a:begin b:begin a:+ram@0 b:+ram@0 a:commit b:commit ");
    /* The device splits the RAM: the old section goes (in reverse order), three come. */
    memory_region_add_overlap(memory_root(), 0x1000, &t->io, 1);
    expect_log(t, "a:begin b:begin b:-ram@0 a:-ram@0 a:+ram@0 b:+ram@0 a:+io@1000 b:+io@1000 "
                  "a:+ram@1100 b:+ram@1100 a:commit b:commit ");
    /* One that changes nothing visible here says nothing at all. */
    memory_region_set_enabled(&t->io, true);
    expect_log(t, "");
    memory_listener_del(&t->a.listener);
    expect_log(t, "a:begin a:-ram@0 a:-io@1000 a:-ram@1100 a:commit ");
    memory_region_set_address(&t->io, 0x3f00);
    expect_log(t, "b:begin b:-ram@0 b:-io@1000 b:-ram@1100 b:+ram@0 b:+io@3f00 b:commit ");
    memory_region_set_address(&t->ram, 0x8000);
    g_string_truncate(t->log, 0);
    memory_region_set_readonly(&t->ram, true); /* the same place with other rights */
    expect_log(t, "b:begin b:-ram@8000 b:=io@3f00 b:+ram@8000 b:commit ");
}

static void test_invisible(Bench *t, gconstpointer data)
{
    MemoryRegion island;

    listen_both(t);
    memory_region_init(&island, NULL, "island", 0x1000);
    memory_region_add(&island, 0, &t->io);
    memory_region_set_size(&t->io, 0x80);
    expect_log(t, "");
    memory_region_add(memory_root(), 0, &island);
    expect_log(t, "a:begin b:begin a:+io@0 b:+io@0 a:commit b:commit ");
    memory_region_del(memory_root(), &island);
    expect_log(t, "a:begin b:begin b:-io@0 a:-io@0 a:commit b:commit ");
    memory_region_finish(&island);
}

static void test_display_log(Bench *t, gconstpointer data)
{
    memory_region_add(memory_root(), 0, &t->ram);
    memory_listener_add(&t->a.listener, address_space_memory());
    expect_log(t, "a:begin a:+ram@0 a:commit ");
    memory_region_set_log(&t->ram, DIRTY_DISPLAY, true);
    expect_log(t, "a:begin a:=ram@0 a:log+ram,0,1 a:commit ");
    memory_region_sync_log(&t->ram);
    expect_log(t, "a:sync-ram@0+4000 ");

    /* All is dirty at first; a write marks the pages it touches, no others. */
    g_assert_true(memory_region_test_and_clear_dirty(&t->ram, 0, 0x4000, DIRTY_DISPLAY));
    expect_log(t, "a:clear-ram@0+4000 ");
    g_assert_false(memory_region_test_and_clear_dirty(&t->ram, 0, 0x4000, DIRTY_DISPLAY));
    expect_log(t, "");
    address_space_store(address_space_memory(), 0x1ffe, 4, MEMTXATTRS_UNSPECIFIED, 1);
    g_assert_false(memory_region_get_dirty(&t->ram, 0, 0x1000, DIRTY_DISPLAY));
    g_assert_true(memory_region_get_dirty(&t->ram, 0x1000, 0x1000, DIRTY_DISPLAY));
    g_assert_true(memory_region_get_dirty(&t->ram, 0x2000, 0x1000, DIRTY_DISPLAY));
    g_assert_false(memory_region_get_dirty(&t->ram, 0x3000, 0x1000, DIRTY_DISPLAY));
    g_assert_true(memory_region_test_and_clear_dirty(&t->ram, 0x2000, 0x1000, DIRTY_DISPLAY));
    expect_log(t, "a:clear-ram@2000+1000 ");
    g_assert_true(memory_region_get_dirty(&t->ram, 0x1000, 0x1000, DIRTY_DISPLAY));
    g_assert_false(memory_region_get_dirty(&t->ram, 0, 0x4000, DIRTY_MIGRATION));

    memory_region_set_log(&t->ram, DIRTY_DISPLAY, false);
    expect_log(t, "a:begin a:=ram@0 a:log-ram,1,0 a:commit ");
}

static bool refuse_global(MemoryListener *l, Error **errp)
{
    error_set(errp, "no room for the log");
    return false;
}

static void test_global_log(Bench *t, gconstpointer data)
{
    Error *err = NULL;

    memory_region_add(memory_root(), 0, &t->ram);
    listen_both(t);
    g_assert_true(memory_global_log_start(&error_abort));
    expect_log(t, "a:global+ b:global+ a:begin b:begin a:=ram@0 b:=ram@0 "
                  "a:log+ram,0,4 b:log+ram,0,4 a:commit b:commit ");
    RamBlock *block = memory_region_ram_block(&t->ram);
    unsigned long bits = 0;
    g_assert_cmpuint(ram_block_take_dirty(block, 0, 4, DIRTY_MIGRATION, &bits), ==, 4);
    g_assert_cmphex(bits, ==, 0xf);
    g_assert_cmpuint(ram_block_take_dirty(block, 0, 4, DIRTY_MIGRATION, &bits), ==, 0);
    memory_region_set_dirty(&t->ram, 0x2fff, 1);
    bits = 0x8;
    g_assert_cmpuint(ram_block_take_dirty(block, 0, 4, DIRTY_MIGRATION, &bits), ==, 1);
    g_assert_cmphex(bits, ==, 0xc);
    /* a listener that comes later is told */
    memory_listener_del(&t->b.listener);
    g_string_truncate(t->log, 0);
    memory_listener_add(&t->b.listener, address_space_memory());
    expect_log(t, "b:begin b:global+ b:+ram@0 b:log+ram,0,4 b:commit ");
    memory_global_log_stop();
    expect_log(t, "a:begin b:begin a:=ram@0 b:=ram@0 b:log-ram,4,0 a:log-ram,4,0 "
                  "a:commit b:commit a:global- b:global- ");
    /* The second can't: the first is stopped again. */
    t->b.listener.log_global_start = refuse_global;
    g_assert_false(memory_global_log_start(&err));
    g_assert_cmpstr(error_message(err), ==, "no room for the log");
    error_free(err);
    expect_log(t, "a:global+ a:global- ");
    g_assert_false(memory_global_log_active());
}

static void test_notifiers(Bench *t, gconstpointer data)
{
    EventNotifier e = { .fd = -1 }, f = { .fd = -1 };

    g_assert_true(event_notifier_init(&e, false, &error_abort));
    g_assert_true(event_notifier_init(&f, false, &error_abort));
    memory_region_add(memory_root(), 0x1000, &t->io);
    memory_listener_add(&t->a.listener, address_space_memory());
    g_string_truncate(t->log, 0);

    memory_begin();
    memory_region_add_eventfd(&t->io, 0x10, 2, true, 1, &e);
    memory_region_add_eventfd(&t->io, 0x10, 2, true, 0, &f);
    memory_region_add_eventfd(&t->io, 0x8, 0, false, 0, &f);
    expect_log(t, "");
    memory_commit();
    expect_log(t, "a:fd+1008,0,0,0 a:fd+1010,2,1,0 a:fd+1010,2,1,1 ");
    /* Changes that cancel out within a transaction are not told. */
    memory_begin();
    memory_region_del_eventfd(&t->io, 0x10, 2, true, 1, &e);
    memory_region_add_eventfd(&t->io, 0x10, 2, true, 1, &e);
    memory_commit();
    expect_log(t, "");
    /* They move with the region. */
    memory_region_set_address(&t->io, 0x2000);
    expect_log(t, "a:begin a:-io@1000 a:+io@2000 a:fd-1008,0,0,0 a:fd-1010,2,1,0 a:fd-1010,2,1,1 "
                  "a:fd+2008,0,0,0 a:fd+2010,2,1,0 a:fd+2010,2,1,1 a:commit ");
    memory_listener_del(&t->a.listener);
    expect_log(t, "a:begin a:fd-2008,0,0,0 a:fd-2010,2,1,0 a:fd-2010,2,1,1 a:-io@2000 a:commit ");
    memory_listener_add(&t->a.listener, address_space_memory());
    expect_log(t, "a:begin a:+io@2000 a:fd+2008,0,0,0 a:fd+2010,2,1,0 a:fd+2010,2,1,1 a:commit ");
    /* One that is hidden is gone. */
    memory_region_add_overlap(memory_root(), 0x2010, &t->ram, 5);
    g_assert_nonnull(strstr(t->log->str, "a:fd-2010,2,1,0 a:fd-2010,2,1,1 a:commit"));
    event_notifier_finish(&e);
    event_notifier_finish(&f);
}

static void test_coalesced(Bench *t, gconstpointer data)
{
    memory_region_add(memory_root(), 0x1000, &t->io);
    memory_listener_add(&t->a.listener, address_space_memory());
    g_string_truncate(t->log, 0);
    memory_region_set_coalescing(&t->io, true);
    expect_log(t, "a:begin a:=io@1000 a:co+1000,100 a:commit ");
    memory_region_set_size(&t->io, 0x80);
    expect_log(t, "a:begin a:-io@1000 a:+io@1000 a:co-1000,100 a:co+1000,80 a:commit ");
    memory_region_set_coalescing(&t->io, false);
    expect_log(t, "a:begin a:=io@1000 a:co-1000,80 a:commit ");
}

/* --- Views of spaces that look the same are one --- */

static void test_shared_views(Bench *t, gconstpointer data)
{
    MemoryRegion container, alias;
    AddressSpace dma;

    memory_region_add(memory_root(), 0x1000, &t->ram);
    memory_region_init(&container, NULL, "bus master", UINT64_MAX);
    memory_region_init_alias(&alias, NULL, "all", memory_root(), 0, UINT64_MAX);
    memory_region_add(&container, 0, &alias);
    address_space_init(&dma, &container, "dma");
    g_assert_true(dma.view == address_space_memory()->view);
    memory_region_set_enabled(&alias, false);
    g_assert_true(dma.view != address_space_memory()->view);
    uint64_t value;
    g_assert_cmpint(address_space_load(&dma, 0x1000, 4, MEMTXATTRS_UNSPECIFIED, &value), ==,
                    MEMTX_DECODE_ERROR);
    memory_region_set_enabled(&alias, true);
    g_assert_true(dma.view == address_space_memory()->view);
    g_assert_cmpint(address_space_load(&dma, 0x1000, 4, MEMTXATTRS_UNSPECIFIED, &value), ==,
                    MEMTX_OK);
    address_space_finish(&dma);
    memory_region_finish(&container);
    memory_region_finish(&alias);
}

static void test_whole_space(Bench *t, gconstpointer data)
{
    MemoryRegion all;

    memory_region_init_io(&all, NULL, &no_ops, NULL, "all", UINT64_MAX);
    memory_region_add_overlap(memory_root(), 0, &all, -1);
    memory_region_add(memory_root(), UINT64_MAX - 0xff, &t->io);
    RCU_SECTION();
    MemoryMapping m = address_space_translate(address_space_memory(), 16, UINT64_MAX, false,
                                              MEMTXATTRS_UNSPECIFIED);
    g_assert_true(m.mr == &all);
    g_assert_cmphex(m.length, ==, UINT64_MAX - 0xff - 16);
    m = address_space_translate(address_space_memory(), UINT64_MAX, 1, false,
                                MEMTXATTRS_UNSPECIFIED);
    g_assert_true(m.mr == &t->io);
    g_assert_cmphex(m.offset, ==, 0xff);
    memory_region_finish(&all);
}

#define ADD(name, fn) g_test_add("/memory/view/" name, Bench, NULL, bench_up, fn, bench_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/view/random-trees", test_random_trees);
    ADD("order", test_order);
    ADD("invisible", test_invisible);
    ADD("display-log", test_display_log);
    ADD("global-log", test_global_log);
    ADD("notifiers", test_notifiers);
    ADD("coalesced", test_coalesced);
    ADD("shared-views", test_shared_views);
    ADD("whole-space", test_whole_space);
    return g_test_run();
}
