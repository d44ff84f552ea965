/*
 * IOMMU regions: an address space behind one is translated at each access.
 *
 * Devices that keep translations (vhost, vfio) register a notifier for a range and hear of each
 * mapping that comes (MAP) or goes (UNMAP, DEVIOTLB_UNMAP). Notifiers are changed and called with
 * the machine lock held; translate runs in any thread, in an RCU read section.
 */
#ifndef MEMORY_IOMMU_H
#define MEMORY_IOMMU_H

#include "memory/memory.h"

typedef enum IommuAccess {
    IOMMU_NONE = 0,
    IOMMU_READ = 1,
    IOMMU_WRITE = 2,
    IOMMU_READ_WRITE = 3,
} IommuAccess;

typedef struct IommuEntry {
    AddressSpace *target;
    hwaddr iova;        /* aligned to mask + 1 */
    hwaddr translated;  /* in target */
    hwaddr mask;        /* size of the mapping in bytes, less 1: a power of two less 1 */
    IommuAccess access; /* IOMMU_NONE: not mapped */
} IommuEntry;

typedef enum IommuEvent {
    IOMMU_EVENT_MAP = 1 << 0,
    IOMMU_EVENT_UNMAP = 1 << 1,
    IOMMU_EVENT_DEVIOTLB_UNMAP = 1 << 2,
} IommuEvent;

typedef struct IommuNotifier IommuNotifier;
struct IommuNotifier {
    void (*notify)(IommuNotifier *n, IommuEvent event, const IommuEntry *entry);
    unsigned events;     /* IommuEvent bits it wants */
    hwaddr first, last;  /* in the region, inclusive; entries are clipped to it */
    unsigned index;      /* which translation context (0 unless the IOMMU has several) */
    IommuNotifier *next; /* private */
};

typedef struct IommuOps {
    /* addr is relative to the region; access says what for. */
    IommuEntry (*translate)(void *opaque, hwaddr addr, IommuAccess access, MemTxAttrs attrs);
    /* Optional: which events anybody waits for has changed; false refuses the new notifier. */
    bool (*notifiers_changed)(void *opaque, unsigned old_events, unsigned new_events, Error **errp);
    /* Optional: tell n all present mappings. Without it the core asks translate page by page. */
    void (*replay)(void *opaque, IommuNotifier *n);
    uint64_t min_page_size; /* bytes; 0 is 4096 */
} IommuOps;

void memory_region_init_iommu(MemoryRegion *mr, Object *owner, const IommuOps *ops, void *opaque,
                              const char *name, uint64_t size);
bool memory_region_is_iommu(const MemoryRegion *mr);
uint64_t memory_region_iommu_page_size(const MemoryRegion *mr); /* bytes */

MUST_CHECK bool memory_region_add_iommu_notifier(MemoryRegion *mr, IommuNotifier *n, Error **errp);
void memory_region_del_iommu_notifier(MemoryRegion *mr, IommuNotifier *n);
void memory_region_replay_iommu(MemoryRegion *mr, IommuNotifier *n);
/* The IOMMU's own call: a mapping came or went. */
void memory_region_notify_iommu(MemoryRegion *mr, unsigned index, IommuEvent event,
                                const IommuEntry *entry);

/* One translation by hand (vhost's IOTLB misses): false if addr isn't behind an IOMMU. */
bool address_space_iommu_entry(AddressSpace *as, hwaddr addr, bool is_write, MemTxAttrs attrs,
                               IommuEntry *entry);

#endif
