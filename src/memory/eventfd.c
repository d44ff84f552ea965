/*
 * I/O notifiers (ioeventfds) and coalesced ranges: kept at the regions, told to listeners per
 * address space as differences between what was told before and what the view shows now.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "event/lock.h"
#include "memory/memory-internal.h"

/* --- At the region --- */

static int eventfd_compare(const MemoryEventfd *a, const MemoryEventfd *b)
{
#define COMPARE(x, y)              \
    if ((x) != (y)) {              \
        return (x) < (y) ? -1 : 1; \
    }
    COMPARE(a->addr, b->addr)
    COMPARE(a->size, b->size)
    COMPARE(a->match_data, b->match_data)
    if (a->match_data) {
        COMPARE(a->data, b->data)
    }
    COMPARE((uintptr_t)a->e, (uintptr_t)b->e)
#undef COMPARE
    return 0;
}

static void eventfds_free(struct rcu_head *head)
{
    RCU_AFTER_READERS();
    MemoryEventfds *list = CONTAINER_OF(head, MemoryEventfds, rcu);
    fd_close(list->closing);
    g_free(list);
}

static void eventfds_publish(MemoryRegion *mr, MemoryEventfds *list, int closing)
{
    MemoryEventfds *old = mr->eventfds;
    rcu_publish(&mr->eventfds, list);
    if (old) {
        old->closing = closing;
        rcu_defer(&old->rcu, eventfds_free);
    }
    for (const MemoryRegion *r = mr; r; r = r->container) {
        if (r->root_of || r->mapped_via_alias) {
            memory_core.eventfds_changed = true;
        }
    }
}

static MemoryEventfds *eventfds_new(unsigned count)
{
    MemoryEventfds *list = g_malloc(sizeof(*list) + count * sizeof(list->entries[0]));
    list->closing = -1;
    list->count = count;
    return list;
}

void memory_region_add_eventfd(MemoryRegion *mr, hwaddr addr, unsigned size, bool match_data,
                               uint64_t data, EventNotifier *e)
{
    MemoryEventfds *old = mr->eventfds;
    unsigned n = old ? old->count : 0, at = 0;
    MemoryEventfd entry = { addr, size, match_data, data, e, -1 };

    assert(size <= 8 && (!match_data || size));
    memory_begin();
    if (!FAULT("dup", NULL)) {
        entry.fd = fcntl(e->fd, F_DUPFD_CLOEXEC, 3);
    }
    MemoryEventfds *list = eventfds_new(n + 1);
    while (at < n && eventfd_compare(&old->entries[at], &entry) < 0) {
        at++;
    }
    assert(at == n || eventfd_compare(&old->entries[at], &entry) != 0);
    if (n) {
        memcpy(list->entries, old->entries, at * sizeof(entry));
        memcpy(list->entries + at + 1, old->entries + at, (n - at) * sizeof(entry));
    }
    list->entries[at] = entry;
    eventfds_publish(mr, list, -1);
    memory_commit();
}

void memory_region_del_eventfd(MemoryRegion *mr, hwaddr addr, unsigned size, bool match_data,
                               uint64_t data, EventNotifier *e)
{
    MemoryEventfds *old = mr->eventfds;
    unsigned n = old ? old->count : 0, at = 0;
    MemoryEventfd entry = { addr, size, match_data, data, e, -1 };

    memory_begin();
    while (at < n && eventfd_compare(&old->entries[at], &entry) != 0) {
        at++;
    }
    assert(at < n);
    MemoryEventfds *list = NULL;
    if (n > 1) {
        list = eventfds_new(n - 1);
        memcpy(list->entries, old->entries, at * sizeof(entry));
        memcpy(list->entries + at, old->entries + at + 1, (n - at - 1) * sizeof(entry));
    }
    eventfds_publish(mr, list, old->entries[at].fd);
    memory_commit();
}

static const MemoryEventfd *eventfd_match(const MemoryEventfds *list, hwaddr addr, uint64_t value,
                                          unsigned size)
{
    unsigned low = 0, high = list->count; /* the first at or above addr */
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (list->entries[middle].addr < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < list->count && list->entries[low].addr == addr; low++) {
        const MemoryEventfd *e = &list->entries[low];
        if ((!e->size || e->size == size) && (!e->match_data || e->data == value)) {
            return e;
        }
    }
    return NULL;
}

bool memory_region_ring_eventfd(MemoryRegion *mr, hwaddr offset, uint64_t value, unsigned size)
{
    {
        RCU_SECTION();
        const MemoryEventfds *list = rcu_load(&mr->eventfds);
        const MemoryEventfd *e = list ? eventfd_match(list, offset, value, size) : NULL;
        if (!e) {
            return false;
        }
        if (e->fd >= 0) {
            uint64_t one = 1;
            ssize_t n;
            do { /* EAGAIN: the counter is full, it is ringing anyway */
                n = write(e->fd, &one, sizeof(one));
            } while (n < 0 && errno == EINTR);
            return true;
        }
    }
    MACHINE_LOCKED();
    const MemoryEventfd *e = mr->eventfds ? eventfd_match(mr->eventfds, offset, value, size) : NULL;
    if (e) {
        event_notifier_set(e->e);
    }
    return e;
}

/* --- At the address space --- */

typedef struct SpaceEventfd {
    MemorySection section;
    bool match_data;
    uint64_t data;
    EventNotifier *e;
} SpaceEventfd;

typedef struct CoalescedRange {
    MemorySection section;
} CoalescedRange;

static int space_eventfd_compare(const void *va, const void *vb)
{
    const SpaceEventfd *a = va, *b = vb;
    MemoryEventfd x = {
        a->section.addr, (unsigned)a->section.size, a->match_data, a->data, a->e, -1
    };
    MemoryEventfd y = {
        b->section.addr, (unsigned)b->section.size, b->match_data, b->data, b->e, -1
    };
    return eventfd_compare(&x, &y);
}

static int coalesced_compare(const void *va, const void *vb)
{
    const MemorySection *a = va, *b = vb;
    if (a->addr != b->addr) {
        return a->addr < b->addr ? -1 : 1;
    }
    return a->size == b->size ? 0 : a->size < b->size ? -1 : 1;
}

static void call_eventfd(MemoryListener *l, const void *item, bool add)
{
    const SpaceEventfd *f = item;
    if (add && l->eventfd_add) {
        l->eventfd_add(l, &f->section, f->match_data, f->data, f->e);
    } else if (!add && l->eventfd_del) {
        l->eventfd_del(l, &f->section, f->match_data, f->data, f->e);
    }
}

static void call_coalesced(MemoryListener *l, const void *item, bool add)
{
    const CoalescedRange *c = item;
    if (add && l->coalesced_add) {
        l->coalesced_add(l, &c->section, c->section.addr, c->section.size);
    } else if (!add && l->coalesced_del) {
        l->coalesced_del(l, &c->section, c->section.addr, c->section.size);
    }
}

typedef void ItemCall(MemoryListener *l, const void *item, bool add);
typedef int ItemCompare(const void *a, const void *b);

static void tell_item(AddressSpace *as, ItemCall *call, const void *item, bool add)
{
    for (MemoryListener *l = add ? memory_core.listeners : memory_core.listeners_last; l;
         l = add ? l->next : l->prev) {
        if (l->as == as) {
            call(l, item, add);
        }
    }
}

static const void *item_at(const GArray *list, unsigned i)
{
    return list->data + (size_t)i * g_array_get_element_size((GArray *)list);
}

/* Items of a that b lacks; both are sorted. */
static void tell_missing(AddressSpace *as, const GArray *a, const GArray *b, ItemCompare *compare,
                         ItemCall *call, bool add)
{
    for (unsigned i = 0, j = 0; i < a->len; i++) {
        const void *item = item_at(a, i);
        int order = 1;
        while (j < b->len && (order = compare(item, item_at(b, j))) > 0) {
            j++;
        }
        if (j == b->len || order != 0) {
            tell_item(as, call, item, add);
        }
    }
}

static void replace_list(AddressSpace *as, GArray **slot, GArray *new, ItemCompare *compare,
                         ItemCall *call)
{
    GArray *old = *slot;
    if (old && as->listener_count) {
        tell_missing(as, old, new, compare, call, false);
        tell_missing(as, new, old, compare, call, true);
    }
    if (old) {
        g_array_unref(old);
    }
    *slot = new;
}

void memory_update_eventfds(AddressSpace *as, const FlatView *view)
{
    GArray *list = g_array_new(false, false, sizeof(SpaceEventfd));

    for (unsigned i = 0; i < view->count; i++) {
        const FlatRange *r = &view->ranges[i];
        const MemoryEventfds *events = r->mr->eventfds;
        for (unsigned k = 0; events && k < events->count; k++) {
            const MemoryEventfd *e = &events->entries[k];
            hwaddr end = e->addr + (e->size ? e->size - 1 : 0);
            if (e->addr < r->offset || end - r->offset > r->last - r->start) {
                continue;
            }
            SpaceEventfd f = {
                .section = flat_range_section(r, as),
                .match_data = e->match_data,
                .data = e->data,
                .e = e->e,
            };
            f.section.addr = r->start + (e->addr - r->offset);
            f.section.offset_in_region = e->addr;
            f.section.size = e->size;
            g_array_append_val(list, f);
        }
    }
    replace_list(as, &as->eventfds, list, space_eventfd_compare, call_eventfd);
}

void memory_update_coalesced(AddressSpace *as, const FlatView *view)
{
    GArray *list = g_array_new(false, false, sizeof(CoalescedRange));

    for (unsigned i = 0; i < view->count; i++) {
        const FlatRange *r = &view->ranges[i];
        if (r->mr->coalesced && r->mr->ops) {
            CoalescedRange c = { flat_range_section(r, as) };
            g_array_append_val(list, c);
        }
    }
    replace_list(as, &as->coalesced, list, coalesced_compare, call_coalesced);
}

static void replay(MemoryListener *l, const GArray *list, ItemCall *call, bool add)
{
    for (unsigned i = 0; i < list->len; i++) {
        call(l, item_at(list, i), add);
    }
}

void memory_replay_eventfds(MemoryListener *l, bool add)
{
    replay(l, l->as->eventfds, call_eventfd, add);
}

void memory_replay_coalesced(MemoryListener *l, bool add)
{
    replay(l, l->as->coalesced, call_coalesced, add);
}
