/* Parallel flash with the Intel command set. Machine lock held. */
#ifndef DEVICES_FLASH_PFLASH_H
#define DEVICES_FLASH_PFLASH_H

#include "bus/device.h"
#include "memory/memory.h"

#define TYPE_PFLASH "cfi.pflash01"

/* After realize. The region's RAM is the flash's contents. */
MemoryRegion *pflash_region(Device *dev);
/* Show it in a container, which outlives it, until it is unrealized. */
void pflash_map(Device *dev, MemoryRegion *container, hwaddr addr);

#endif
