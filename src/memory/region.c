/*
 * Regions: making them, their properties, and the tree they form.
 *
 * Every change that a view could show goes through change_begin()/change_end(), which is a
 * transaction of its own inside whatever transaction is open.
 */
#include "memory/memory.h"

#include <string.h>
#include <unistd.h>

#include "event/lock.h"
#include "memory/memory-internal.h"

static void change_begin(void)
{
    memory_begin();
}

static void change_end(const MemoryRegion *mr)
{
    memory_note_change(mr);
    memory_commit();
}

/* --- Making regions --- */

void memory_region_init(MemoryRegion *mr, Object *owner, const char *name, uint64_t size)
{
    *mr = (MemoryRegion){
        .owner = owner,
        .name = g_strdup(name ? name : ""),
        .size = size,
        .kind = REGION_CONTAINER,
        .enabled = true,
    };
}

void memory_region_init_io(MemoryRegion *mr, Object *owner, const MemoryRegionOps *ops,
                           void *opaque, const char *name, uint64_t size)
{
    memory_region_init(mr, owner, name, size);
    mr->kind = REGION_IO;
    mr->terminates = true;
    mr->ops = ops;
    mr->opaque = opaque;
}

bool memory_region_init_ram_block(MemoryRegion *mr, Object *owner, const char *name,
                                  RamBlock *block, Error **errp)
{
    memory_region_init(mr, owner, name, block->size);
    mr->kind = REGION_RAM;
    mr->terminates = true;
    mr->ram = block;
    mr->readonly = block->readonly;
    ram_block_ref(block);
    return true;
}

bool memory_region_init_ram(MemoryRegion *mr, Object *owner, const char *name, uint64_t size,
                            Error **errp)
{
    g_autofree char *id = ram_block_id_for(owner, name);
    RamBlock *block = ram_block_create(id, size, errp);

    *mr = (MemoryRegion){ 0 };
    if (!block) {
        return false;
    }
    bool ok = memory_region_init_ram_block(mr, owner, name, block, errp);
    ram_block_unref(block);
    mr->size = size;
    return ok;
}

bool memory_region_init_rom(MemoryRegion *mr, Object *owner, const char *name, uint64_t size,
                            Error **errp)
{
    if (!memory_region_init_ram(mr, owner, name, size, errp)) {
        return false;
    }
    mr->readonly = true;
    return true;
}

bool memory_region_init_rom_device(MemoryRegion *mr, Object *owner, const MemoryRegionOps *ops,
                                   void *opaque, const char *name, uint64_t size, Error **errp)
{
    if (!memory_region_init_ram(mr, owner, name, size, errp)) {
        return false;
    }
    mr->kind = REGION_ROM_DEVICE;
    mr->ops = ops;
    mr->opaque = opaque;
    mr->romd = true;
    return true;
}

void memory_region_init_alias(MemoryRegion *mr, Object *owner, const char *name,
                              MemoryRegion *target, hwaddr offset, uint64_t size)
{
    memory_region_init(mr, owner, name, size);
    mr->kind = REGION_ALIAS;
    mr->alias = target;
    mr->alias_offset = offset;
}

void memory_region_init_iommu(MemoryRegion *mr, Object *owner, const IommuOps *ops, void *opaque,
                              const char *name, uint64_t size)
{
    memory_region_init(mr, owner, name, size);
    mr->kind = REGION_IOMMU;
    mr->terminates = true;
    mr->opaque = opaque;
    mr->iommu = g_new0(MemoryIommu, 1);
    mr->iommu->ops = ops;
}

void memory_region_finish(MemoryRegion *mr)
{
    if (!mr->name) { /* never initialised, or finished already */
        return;
    }
    assert(!mr->root_of && !mr->mapped_via_alias);
    if (mr->container || mr->subregions) {
        ASSERT_MACHINE_LOCKED();
        memory_begin();
        if (mr->container) {
            memory_region_del(mr->container, mr);
        }
        while (mr->subregions) {
            memory_region_del(mr, mr->subregions);
        }
        memory_commit();
    }
    while (mr->eventfds) {
        const MemoryEventfd *e = &mr->eventfds->entries[0];
        memory_region_del_eventfd(mr, e->addr, e->size, e->match_data, e->data, e->e);
    }
    if (mr->iommu) {
        assert(!mr->iommu->notifiers);
        g_free(mr->iommu);
    }
    if (mr->ram) {
        if (mr->log_mask & 1u << DIRTY_DISPLAY) {
            memory_region_set_log(mr, DIRTY_DISPLAY, false);
        }
        ram_block_unref(mr->ram);
    }
    g_free(mr->name);
    *mr = (MemoryRegion){ 0 };
}

/* --- Properties --- */

uint64_t memory_region_size(const MemoryRegion *mr)
{
    return mr->size;
}

const char *memory_region_name(const MemoryRegion *mr)
{
    return mr->name;
}

Object *memory_region_owner(const MemoryRegion *mr)
{
    return mr->owner;
}

bool memory_region_is_ram(const MemoryRegion *mr)
{
    return mr->ram && (mr->kind == REGION_RAM || mr->romd);
}

bool memory_region_is_rom(const MemoryRegion *mr)
{
    return mr->kind == REGION_RAM && mr->readonly;
}

bool memory_region_is_iommu(const MemoryRegion *mr)
{
    return mr->kind == REGION_IOMMU;
}

RamBlock *memory_region_ram_block(const MemoryRegion *mr)
{
    return mr->ram;
}

uint8_t *memory_region_ram_ptr(const MemoryRegion *mr)
{
    uint64_t offset = 0;
    while (mr->alias) {
        offset += mr->alias_offset;
        mr = mr->alias;
    }
    assert(mr->ram);
    return mr->ram->host + offset;
}

#define SET_FIELD(mr, field, value)   \
    do {                              \
        if ((mr)->field != (value)) { \
            change_begin();           \
            (mr)->field = (value);    \
            change_end(mr);           \
        }                             \
    } while (0)

void memory_region_set_readonly(MemoryRegion *mr, bool readonly)
{
    SET_FIELD(mr, readonly, readonly);
}

void memory_region_set_nonvolatile(MemoryRegion *mr, bool nonvolatile)
{
    SET_FIELD(mr, nonvolatile, nonvolatile);
}

void memory_region_rom_device_set_romd(MemoryRegion *mr, bool romd)
{
    assert(mr->kind == REGION_ROM_DEVICE);
    SET_FIELD(mr, romd, romd);
}

void memory_region_set_lockless(MemoryRegion *mr)
{
    mr->lockless = true;
}

void memory_region_set_enabled(MemoryRegion *mr, bool enabled)
{
    SET_FIELD(mr, enabled, enabled);
}

void memory_region_set_size(MemoryRegion *mr, uint64_t size)
{
    assert(!mr->ram || size <= mr->ram->size);
    SET_FIELD(mr, size, size);
}

void memory_region_set_address(MemoryRegion *mr, hwaddr addr)
{
    SET_FIELD(mr, addr, addr);
}

void memory_region_set_alias_offset(MemoryRegion *mr, hwaddr offset)
{
    assert(mr->alias);
    SET_FIELD(mr, alias_offset, offset);
}

void memory_region_set_coalescing(MemoryRegion *mr, bool on)
{
    SET_FIELD(mr, coalesced, on);
}

bool memory_region_is_mapped(const MemoryRegion *mr)
{
    return mr->container || mr->mapped_via_alias || mr->root_of;
}

/* --- The tree --- */

/* Everything from here up is being shown or hidden: the targets of aliases count who shows them. */
static void count_alias(MemoryRegion *mr, int change)
{
    for (MemoryRegion *a = mr->alias; a; a = a->alias) {
        a->mapped_via_alias += change;
    }
}

void memory_region_add_overlap(MemoryRegion *container, hwaddr offset, MemoryRegion *sub,
                               int priority)
{
    assert(!sub->container && !container->alias);
    change_begin();
    sub->container = container;
    sub->priority = priority;
    sub->addr = offset;
    count_alias(sub, 1);
    /* The newest of equals comes first and hides the others. */
    MemoryRegion **link = &container->subregions;
    while (*link && (*link)->priority > priority) {
        link = &(*link)->next;
    }
    sub->next = *link;
    sub->prev_link = link;
    if (sub->next) {
        sub->next->prev_link = &sub->next;
    }
    *link = sub;
    change_end(sub);
}

void memory_region_add(MemoryRegion *container, hwaddr offset, MemoryRegion *sub)
{
    memory_region_add_overlap(container, offset, sub, 0);
}

void memory_region_del(MemoryRegion *container, MemoryRegion *sub)
{
    assert(sub->container == container);
    change_begin();
    memory_note_change(sub); /* while it can still be seen */
    *sub->prev_link = sub->next;
    if (sub->next) {
        sub->next->prev_link = sub->prev_link;
    }
    sub->next = NULL;
    sub->prev_link = NULL;
    sub->container = NULL;
    count_alias(sub, -1);
    memory_commit();
}

/* --- IOMMU regions' host side --- */

uint64_t memory_region_iommu_page_size(const MemoryRegion *mr)
{
    uint64_t size = mr->iommu->ops->min_page_size;
    return size ? size : 4096;
}

static bool iommu_events_changed(MemoryRegion *mr, Error **errp)
{
    MemoryIommu *iommu = mr->iommu;
    unsigned events = 0;
    for (IommuNotifier *n = iommu->notifiers; n; n = n->next) {
        events |= n->events;
    }
    if (events != iommu->events && iommu->ops->notifiers_changed &&
        !iommu->ops->notifiers_changed(mr->opaque, iommu->events, events, errp)) {
        return false;
    }
    iommu->events = events;
    return true;
}

bool memory_region_add_iommu_notifier(MemoryRegion *mr, IommuNotifier *n, Error **errp)
{
    ASSERT_MACHINE_LOCKED();
    assert(mr->kind == REGION_IOMMU && n->first <= n->last);
    n->next = mr->iommu->notifiers;
    mr->iommu->notifiers = n;
    if (!iommu_events_changed(mr, errp)) {
        mr->iommu->notifiers = n->next;
        return false;
    }
    return true;
}

void memory_region_del_iommu_notifier(MemoryRegion *mr, IommuNotifier *n)
{
    ASSERT_MACHINE_LOCKED();
    for (IommuNotifier **link = &mr->iommu->notifiers; *link; link = &(*link)->next) {
        if (*link == n) {
            *link = n->next;
            break;
        }
    }
    /* Fewer events can't be refused. */
    ERROR_AUTO err = NULL;
    if (!iommu_events_changed(mr, &err)) {
        mr->iommu->events = 0;
    }
}

static void notify_one(IommuNotifier *n, IommuEvent event, const IommuEntry *entry)
{
    hwaddr last = entry->iova + entry->mask;
    if (!(n->events & event) || entry->iova > n->last || last < n->first) {
        return;
    }
    n->notify(n, event, entry);
}

void memory_region_notify_iommu(MemoryRegion *mr, unsigned index, IommuEvent event,
                                const IommuEntry *entry)
{
    ASSERT_MACHINE_LOCKED();
    for (IommuNotifier *n = mr->iommu->notifiers, *next; n; n = next) {
        next = n->next; /* n may take itself out */
        if (n->index == index) {
            notify_one(n, event, entry);
        }
    }
}

void memory_region_replay_iommu(MemoryRegion *mr, IommuNotifier *n)
{
    const IommuOps *ops = mr->iommu->ops;
    ASSERT_MACHINE_LOCKED();
    if (ops->replay) {
        ops->replay(mr->opaque, n);
        return;
    }
    uint64_t page = memory_region_iommu_page_size(mr);
    hwaddr end = MIN_OF(n->last, mr->size - 1);
    for (hwaddr addr = ALIGN_DOWN(n->first, page); addr <= end;) {
        IommuEntry entry;
        {
            RCU_SECTION();
            entry = ops->translate(mr->opaque, addr, IOMMU_NONE, MEMTXATTRS_UNSPECIFIED);
        }
        if (entry.access != IOMMU_NONE) {
            notify_one(n, IOMMU_EVENT_MAP, &entry);
        }
        hwaddr step = MAX_OF(entry.mask + 1, page);
        if (step == 0 || addr + step < addr) {
            break;
        }
        addr += step;
    }
}
