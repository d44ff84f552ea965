/*
 * Guest memory as a vhost back end gets it: regions of RAM that other processes can map, sorted by
 * guest address, neighbours with the same backing merged. Follows the machine's memory map.
 *
 * Machine lock held throughout.
 */
#ifndef VHOST_MEMORY_MAP_H
#define VHOST_MEMORY_MAP_H

#include "memory/memory.h"

typedef struct VhostRegion {
    hwaddr guest_addr;
    uint64_t size; /* bytes */
    uint8_t *host; /* here */
    int fd;        /* borrowed from the RAM block; -1: cannot be shared */
    uint64_t fd_offset;
    RamBlock *block; /* reference */
} VhostRegion;

typedef struct VhostMemoryMap VhostMemoryMap;

/* changed: after a commit that made a difference; from the memory core, so it only takes note. */
typedef void VhostMemoryChangedFn(void *opaque);
VhostMemoryMap *vhost_memory_map_new(AddressSpace *as, VhostMemoryChangedFn *changed, void *opaque);
void vhost_memory_map_free(VhostMemoryMap *map); /* NULL allowed */

const VhostRegion *vhost_memory_map_regions(const VhostMemoryMap *map, unsigned *count);

/* Every region can be mapped by another process: the error names the memory that can't. */
MUST_CHECK bool vhost_memory_map_check_shared(const VhostMemoryMap *map, Error **errp);

/* Where [addr, addr + len) lies in this process; NULL unless it is in one region. */
uint8_t *vhost_memory_map_host(const VhostMemoryMap *map, hwaddr addr, uint64_t len);

/* Main memory, before any device exists: is it of a kind that a vhost-user back end can map? For
 * messages at configuration time. */
MUST_CHECK bool vhost_memory_check_block(const RamBlock *block, Error **errp);

#endif
