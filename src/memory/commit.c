/*
 * Transactions, address spaces, listeners.
 *
 * The outermost memory_commit() renders each address space's view (once for those that look the
 * same), compares it with the one before, tells the listeners, and publishes it.
 */
#include "memory/memory.h"

#include <string.h>

#include "base/report.h"
#include "event/lock.h"
#include "memory/memory-internal.h"

MemoryCore memory_core;

/* Call a member of every listener that has it, of one address space (NULL: of all). */
#define TELL(as_, member, ...)                                                \
    do {                                                                      \
        for (MemoryListener *l_ = memory_core.listeners; l_; l_ = l_->next) { \
            if (l_->member && (!(as_) || l_->as == (as_))) {                  \
                l_->member(l_, ##__VA_ARGS__);                                \
            }                                                                 \
        }                                                                     \
    } while (0)
#define TELL_REVERSE(as_, member, ...)                                             \
    do {                                                                           \
        for (MemoryListener *l_ = memory_core.listeners_last; l_; l_ = l_->prev) { \
            if (l_->member && (!(as_) || l_->as == (as_))) {                       \
                l_->member(l_, ##__VA_ARGS__);                                     \
            }                                                                      \
        }                                                                          \
    } while (0)

static AddressSpace *const ALL_SPACES = NULL;

void memory_note_change(const MemoryRegion *mr)
{
    for (const MemoryRegion *r = mr; r; r = r->container) {
        if (r->root_of || r->mapped_via_alias) {
            memory_core.regions_changed = true;
            return;
        }
    }
}

static void tell_log_change(AddressSpace *as, const MemorySection *s, unsigned old_mask,
                            unsigned new_mask)
{
    if (old_mask & ~new_mask) {
        TELL_REVERSE(as, log_stop, s, old_mask, new_mask);
    }
    if (new_mask & ~old_mask) {
        TELL(as, log_start, s, old_mask, new_mask);
    }
}

/* One pass over both views in step: first what went, then what came or stayed. */
static void tell_difference(AddressSpace *as, const FlatView *before, const FlatView *after,
                            bool adding)
{
    unsigned i = 0, j = 0;
    while (i < before->count || j < after->count) {
        const FlatRange *old = i < before->count ? &before->ranges[i] : NULL;
        const FlatRange *new = j < after->count ? &after->ranges[j] : NULL;

        if (old && new &&flat_range_same(old, new)) {
            if (adding) {
                MemorySection s = flat_range_section(new, as);
                TELL(as, region_nop, &s);
                tell_log_change(as, &s, old->log_mask, new->log_mask);
            }
            i++;
            j++;
        } else if (old && (!new || old->start <= new->start)) {
            if (!adding) {
                MemorySection s = flat_range_section(old, as);
                TELL_REVERSE(as, region_del, &s);
            }
            i++;
        } else {
            if (adding) {
                MemorySection s = flat_range_section(new, as);
                TELL(as, region_add, &s);
                tell_log_change(as, &s, 0, new->log_mask);
            }
            j++;
        }
    }
}

static void update_space(AddressSpace *as, FlatView *view)
{
    FlatView *old = as->view;

    if (as->listener_count) {
        tell_difference(as, old, view, false);
        tell_difference(as, old, view, true);
    }
    if (view != old) {
        flat_view_ref(view);
        rcu_publish(&as->view, view);
        flat_view_unref(old);
    }
    memory_update_eventfds(as, as->view);
    memory_update_coalesced(as, as->view);
}

/* A view that is shown already and looks the same is kept, so that it stays shared. */
static FlatView *keep_if_equal(FlatView *view)
{
    for (AddressSpace *as = memory_core.spaces; as; as = as->next) {
        if (as->view->root == view->root && flat_view_equal(as->view, view)) {
            flat_view_ref(as->view);
            flat_view_unref(view);
            return as->view;
        }
    }
    return view;
}

static void update_regions(void)
{
    /* root → view; the key for an empty view is the table itself */
    g_autoptr(GHashTable) views =
        g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, (GDestroyNotify)flat_view_unref);

    memory_core.committing = true;
    memory_core.regions_changed = false;
    memory_core.eventfds_changed = false;
    TELL(ALL_SPACES, begin);
    for (AddressSpace *as = memory_core.spaces; as; as = as->next) {
        MemoryRegion *root = flat_view_root(as->root);
        void *key = root ? (void *)root : (void *)views;
        FlatView *view = g_hash_table_lookup(views, key);
        if (!view) {
            view = keep_if_equal(flat_view_render(root));
            g_hash_table_insert(views, key, view);
        }
        update_space(as, view);
    }
    TELL(ALL_SPACES, commit);
    memory_core.committing = false;
}

void memory_begin(void)
{
    ASSERT_MACHINE_LOCKED();
    assert(!memory_core.committing); /* a listener may not change what it is told of */
    memory_core.depth++;
}

void memory_commit(void)
{
    ASSERT_MACHINE_LOCKED();
    assert(memory_core.depth);
    if (--memory_core.depth) {
        return;
    }
    if (memory_core.regions_changed) {
        update_regions();
    } else if (memory_core.eventfds_changed) {
        memory_core.eventfds_changed = false;
        for (AddressSpace *as = memory_core.spaces; as; as = as->next) {
            memory_update_eventfds(as, as->view);
        }
    }
}

/* --- Address spaces --- */

void address_space_init(AddressSpace *as, MemoryRegion *root, const char *name)
{
    ASSERT_MACHINE_LOCKED();
    *as = (AddressSpace){ .name = g_strdup(name), .root = root };
    root->root_of++;
    as->next = memory_core.spaces;
    as->prev_link = &memory_core.spaces;
    if (as->next) {
        as->next->prev_link = &as->next;
    }
    memory_core.spaces = as;

    /* A view that somebody shows already is shared. */
    MemoryRegion *view_root = flat_view_root(root);
    if (!memory_core.regions_changed) {
        for (AddressSpace *other = as->next; other; other = other->next) {
            if (other->view->root == view_root) {
                flat_view_ref(other->view);
                as->view = other->view;
                break;
            }
        }
    }
    if (!as->view) {
        as->view = flat_view_render(view_root);
    }
    memory_update_eventfds(as, as->view);
    memory_update_coalesced(as, as->view);
}

void address_space_finish(AddressSpace *as)
{
    if (!as->name) {
        return;
    }
    ASSERT_MACHINE_LOCKED();
    assert(!as->listener_count);
    *as->prev_link = as->next;
    if (as->next) {
        as->next->prev_link = as->prev_link;
    }
    as->root->root_of--;
    flat_view_unref(as->view);
    g_array_unref(as->eventfds);
    g_array_unref(as->coalesced);
    g_free(as->name);
    *as = (AddressSpace){ 0 };
}

bool address_space_foreach_section(AddressSpace *as, MemorySectionVisitor *visit, void *opaque)
{
    RCU_SECTION();
    const FlatView *view = rcu_load(&as->view);
    for (unsigned i = 0; i < view->count; i++) {
        MemorySection s = flat_range_section(&view->ranges[i], as);
        if (!visit(&s, opaque)) {
            return false;
        }
    }
    return true;
}

void memory_init(void)
{
    MACHINE_LOCKED();
    memory_region_init(&memory_core.memory_root, NULL, "system", UINT64_MAX);
    memory_region_init(&memory_core.io_root, NULL, "io", 65536);
    address_space_init(&memory_core.memory, &memory_core.memory_root, "memory");
    address_space_init(&memory_core.io, &memory_core.io_root, "I/O");
}

void memory_finish(void)
{
    MACHINE_LOCKED();
    address_space_finish(&memory_core.io);
    address_space_finish(&memory_core.memory);
    memory_region_finish(&memory_core.io_root);
    memory_region_finish(&memory_core.memory_root);
}

AddressSpace *address_space_memory(void)
{
    return &memory_core.memory;
}

AddressSpace *address_space_io(void)
{
    return &memory_core.io;
}

MemoryRegion *memory_root(void)
{
    return &memory_core.memory_root;
}

MemoryRegion *io_root(void)
{
    return &memory_core.io_root;
}

/* --- Listeners --- */

void memory_listener_add(MemoryListener *l, AddressSpace *as)
{
    ASSERT_MACHINE_LOCKED();
    assert(!memory_core.depth && !l->as);
    l->as = as;
    as->listener_count++;

    /* After those of the same priority. */
    MemoryListener *before = memory_core.listeners_last;
    while (before && before->priority > l->priority) {
        before = before->prev;
    }
    l->prev = before;
    l->next = before ? before->next : memory_core.listeners;
    *(l->next ? &l->next->prev : &memory_core.listeners_last) = l;
    *(before ? &before->next : &memory_core.listeners) = l;

    if (l->begin) {
        l->begin(l);
    }
    if (memory_core.global_log && l->log_global_start) {
        ERROR_AUTO err = NULL;
        /* Too late to refuse: migration hears of pages that this listener's client writes only if
         * it logs, so a failure here is fatal to the migration alone; the client reports it. */
        if (!l->log_global_start(l, &err)) {
            report_warning("%s: can't start dirty logging: %s", l->name, error_message(err));
        }
    }
    for (unsigned i = 0; i < as->view->count; i++) {
        const FlatRange *r = &as->view->ranges[i];
        MemorySection s = flat_range_section(r, as);
        if (l->region_add) {
            l->region_add(l, &s);
        }
        if (r->log_mask && l->log_start) {
            l->log_start(l, &s, 0, r->log_mask);
        }
    }
    memory_replay_eventfds(l, true);
    memory_replay_coalesced(l, true);
    if (l->commit) {
        l->commit(l);
    }
}

void memory_listener_del(MemoryListener *l)
{
    ASSERT_MACHINE_LOCKED();
    AddressSpace *as = l->as;
    if (!as) {
        return;
    }
    assert(!memory_core.depth);
    if (l->begin) {
        l->begin(l);
    }
    memory_replay_coalesced(l, false);
    memory_replay_eventfds(l, false);
    for (unsigned i = 0; i < as->view->count; i++) {
        const FlatRange *r = &as->view->ranges[i];
        MemorySection s = flat_range_section(r, as);
        if (r->log_mask && l->log_stop) {
            l->log_stop(l, &s, r->log_mask, 0);
        }
        if (l->region_del) {
            l->region_del(l, &s);
        }
    }
    if (memory_core.global_log && l->log_global_stop) {
        l->log_global_stop(l);
    }
    if (l->commit) {
        l->commit(l);
    }
    *(l->prev ? &l->prev->next : &memory_core.listeners) = l->next;
    *(l->next ? &l->next->prev : &memory_core.listeners_last) = l->prev;
    l->next = l->prev = NULL;
    l->as = NULL;
    as->listener_count--;
}
