/*
 * Translations for a back end that works a device behind an IOMMU: it asks for each page it misses,
 * and hears when one goes. Machine lock held.
 */
#ifndef VHOST_IOTLB_H
#define VHOST_IOTLB_H

#include "vhost/backend.h"

/* VIRTIO 1.3 section 6: VIRTIO_F_ACCESS_PLATFORM */
#define VHOST_F_ACCESS_PLATFORM 33

typedef struct VhostIotlb VhostIotlb;

/* Is anything of this address space behind an IOMMU? */
bool vhost_iotlb_is_translated(AddressSpace *space);

/* Listens to the IOMMUs of the space. Errors where one of them can't tell its changes. */
VhostIotlb *vhost_iotlb_new(VhostBackend *backend, AddressSpace *space, const VhostMemoryMap *map,
                            Error **errp);
void vhost_iotlb_free(VhostIotlb *tlb); /* NULL allowed */

/* The back end asks. What isn't mapped, or lies outside of shared memory, is not answered: it asks
 * again, as hardware would fault again. */
void vhost_iotlb_miss(VhostIotlb *tlb, uint64_t iova, bool write);

#endif
