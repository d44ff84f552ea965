/* The high precision event timers. Machine lock held. */
#ifndef DEVICES_TIMER_HPET_H
#define DEVICES_TIMER_HPET_H

#include "bus/device.h"
#include "memory/memory.h"

#define TYPE_HPET "hpet"

#define HPET_BASE 0xfed00000u
#define HPET_SIZE 0x400u

#define HPET_LINE_PIT_CUT "pit-cut"

/* The capabilities register's block id, as the ACPI HPET table wants it. */
uint32_t hpet_block_id(Device *hpet);

/*
 * Outputs: HPET_ROUTES unnamed lines, one per system interrupt; HPET_LINE_PIT_CUT, high while the
 * legacy replacement route has taken interrupt 0 from the PIT.
 * Input 0: the RTC's interrupt, passed to system interrupt 8 unless replaced.
 */
#define HPET_ROUTES 24

void hpet_map(Device *hpet, MemoryRegion *memory);

#endif
