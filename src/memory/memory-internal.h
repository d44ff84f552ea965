/* What the files of the memory core share. */
#ifndef MEMORY_MEMORY_INTERNAL_H
#define MEMORY_MEMORY_INTERNAL_H

#include <glib.h>

#include "memory/iommu.h"
#include "memory/memory.h"

enum {
    REGION_CONTAINER,
    REGION_IO,
    REGION_RAM,
    REGION_ROM_DEVICE,
    REGION_ALIAS,
    REGION_IOMMU,
};

/* One range of a flat view. Addresses are inclusive, so that the whole of 2^64 bytes fits. */
typedef struct FlatRange {
    hwaddr start, last;
    hwaddr offset; /* of start in mr */
    MemoryRegion *mr;
    Object *owner;   /* reference; NULL: the region has none */
    RamBlock *block; /* reference; NULL: not RAM */
    uint8_t log_mask;
    bool romd, readonly, nonvolatile;
} FlatRange;

/* Immutable once published. */
struct FlatView {
    struct rcu_head rcu;
    unsigned refcount; /* machine lock; address spaces that show it */
    MemoryRegion *root;
    unsigned count;
    FlatRange *ranges; /* by rising address */
    hwaddr *starts;    /* of the ranges, packed for the search */
};

/* An ioeventfd of a region. */
typedef struct MemoryEventfd {
    hwaddr addr; /* in the region */
    unsigned size;
    bool match_data;
    uint64_t data;
    EventNotifier *e;
    int fd; /* duplicate of e's; -1: none could be had, ring under the machine lock */
} MemoryEventfd;

/* RCU. A change makes a new array. */
typedef struct MemoryEventfds {
    struct rcu_head rcu;
    int closing; /* descriptor of a deleted entry, closed with this array; -1: none */
    unsigned count;
    MemoryEventfd entries[];
} MemoryEventfds;

typedef struct MemoryIommu {
    const IommuOps *ops;
    IommuNotifier *notifiers; /* machine lock */
    unsigned events;
} MemoryIommu;

/*
 * The memory core's state: one tree of machine memory in a process at a time, so this is file-scope
 * state. Machine lock, except where noted.
 */
typedef struct MemoryCore {
    unsigned depth; /* of transactions */
    bool regions_changed, eventfds_changed;
    bool committing;
    bool global_log;
    AddressSpace *spaces;
    MemoryListener *listeners, *listeners_last; /* by rising priority */
    MemoryCodeHooks code_hooks;                 /* read without lock; changed while no vCPU runs */
    void (*coalesced_flush)(void *opaque);
    void *coalesced_opaque;
    bool flushing;
    char *(*owner_path)(Object *owner);
    AddressSpace memory, io;
    MemoryRegion memory_root, io_root;
} MemoryCore;

extern MemoryCore memory_core;

/* The changes that follow in this transaction matter only if mr can be seen from somewhere. */
void memory_note_change(const MemoryRegion *mr);

/* A view of the tree below root (NULL: empty), one reference. */
FlatView *flat_view_render(MemoryRegion *root);
/* The region whose view is the same as mr's: follows full aliases and sole children. NULL: the view
 * is empty. */
MemoryRegion *flat_view_root(MemoryRegion *mr);
bool flat_view_equal(const FlatView *a, const FlatView *b);
void flat_view_ref(FlatView *view);
/* The last one defers to the end of the RCU readers. */
void flat_view_unref(FlatView *view);
/* NULL: nothing there; *next (if not NULL) is then the start of the next range, or UINT64_MAX. */
const FlatRange *flat_view_find(const FlatView *view, hwaddr addr, hwaddr *next);

/* Same place, same region, same rights. */
bool flat_range_same(const FlatRange *a, const FlatRange *b);
MemorySection flat_range_section(const FlatRange *range, AddressSpace *as);

/* Tell the listeners of as what is new and gone, compared with the last call. view NULL: all of it
 * is gone. */
void memory_update_eventfds(AddressSpace *as, const FlatView *view);
void memory_update_coalesced(AddressSpace *as, const FlatView *view);
/* Tell one listener all there is (or that all of it is gone). */
void memory_replay_eventfds(MemoryListener *l, bool add);
void memory_replay_coalesced(MemoryListener *l, bool add);

/* Rings a matching notifier of mr; false if there is none. */
bool memory_region_ring_eventfd(MemoryRegion *mr, hwaddr offset, uint64_t value, unsigned size);

/* "owner's path/name", or just the name; see memory_set_owner_path(). */
char *ram_block_id_for(Object *owner, const char *name);

#endif
