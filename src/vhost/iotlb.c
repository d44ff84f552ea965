#include "vhost/iotlb.h"

#include "base/log.h"
#include "base/rcu.h"
#include "memory/iommu.h"

#include <inttypes.h>

#define IOTLB_PAGE 4096u

/* One IOMMU region of the space, as far as it is mapped there. */
typedef struct IotlbRegion {
    IommuNotifier notifier;
    VhostIotlb *tlb;
    MemoryRegion *mr;
    hwaddr to_space; /* added to an address in the region: the address in the space */
} IotlbRegion;

struct VhostIotlb {
    VhostBackend *backend;
    AddressSpace *space;
    const VhostMemoryMap *map;
    GPtrArray *regions; /* IotlbRegion */
};

static bool visit_is_plain(const MemorySection *s, void *opaque)
{
    return !memory_region_is_iommu(s->mr);
}

bool vhost_iotlb_is_translated(AddressSpace *space)
{
    return space && !address_space_foreach_section(space, visit_is_plain, NULL);
}

static void region_unmapped(IommuNotifier *n, IommuEvent event, const IommuEntry *entry)
{
    IotlbRegion *r = CONTAINER_OF(n, IotlbRegion, notifier);
    VhostBackend *b = r->tlb->backend;
    b->ops->iotlb_update(b, entry->iova + r->to_space, entry->mask + 1, NULL, IOMMU_NONE);
}

typedef struct RegionSearch {
    VhostIotlb *tlb;
    Error **errp;
} RegionSearch;

static bool visit_add(const MemorySection *s, void *opaque)
{
    RegionSearch *search = opaque;
    if (!memory_region_is_iommu(s->mr)) {
        return true;
    }
    IotlbRegion *r = g_new0(IotlbRegion, 1);
    r->notifier.notify = region_unmapped;
    r->notifier.events = IOMMU_EVENT_UNMAP | IOMMU_EVENT_DEVIOTLB_UNMAP;
    r->notifier.first = s->offset_in_region;
    r->notifier.last = s->offset_in_region + s->size - 1;
    r->tlb = search->tlb;
    r->mr = s->mr;
    r->to_space = s->addr - s->offset_in_region;
    if (!memory_region_add_iommu_notifier(s->mr, &r->notifier, search->errp)) {
        g_free(r);
        return false;
    }
    g_ptr_array_add(search->tlb->regions, r);
    return true;
}

VhostIotlb *vhost_iotlb_new(VhostBackend *backend, AddressSpace *space, const VhostMemoryMap *map,
                            Error **errp)
{
    VhostIotlb *tlb = g_new0(VhostIotlb, 1);
    tlb->backend = backend;
    tlb->space = space;
    tlb->map = map;
    tlb->regions = g_ptr_array_new_with_free_func(g_free);
    RegionSearch search = { tlb, errp };
    if (!address_space_foreach_section(space, visit_add, &search)) {
        vhost_iotlb_free(tlb);
        return NULL;
    }
    return tlb;
}

void vhost_iotlb_free(VhostIotlb *tlb)
{
    if (!tlb) {
        return;
    }
    for (guint i = 0; i < tlb->regions->len; i++) {
        IotlbRegion *r = tlb->regions->pdata[i];
        memory_region_del_iommu_notifier(r->mr, &r->notifier);
    }
    g_ptr_array_unref(tlb->regions);
    g_free(tlb);
}

void vhost_iotlb_miss(VhostIotlb *tlb, uint64_t iova, bool write)
{
    IommuEntry entry;
    RCU_SECTION();
    if (!address_space_iommu_entry(tlb->space, iova, write, MEMTXATTRS_UNSPECIFIED, &entry) ||
        !(entry.access & (write ? IOMMU_WRITE : IOMMU_READ))) {
        log_guest_error("vhost: no translation for address 0x%" PRIx64 "\n", iova);
        return;
    }
    uint64_t len = entry.mask + 1;
    uint64_t start = iova & ~entry.mask; /* entry.iova counts from the region's beginning */
    uint8_t *host = vhost_memory_map_host(tlb->map, entry.translated, len);
    if (!host) { /* a mapping larger than the memory behind it: at least the page asked for */
        uint64_t offset = ALIGN_DOWN(iova & entry.mask, IOTLB_PAGE);
        len = IOTLB_PAGE;
        start += offset;
        host = vhost_memory_map_host(tlb->map, entry.translated + offset, len);
    }
    if (!host) {
        log_guest_error("vhost: address 0x%" PRIx64 " leads to no memory\n", iova);
        return;
    }
    tlb->backend->ops->iotlb_update(tlb->backend, start, len, host, entry.access);
}
