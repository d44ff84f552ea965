/*
 * The northbridge's view of the first megabyte: PAM ranges that send C0000h-FFFFFh to memory or to
 * PCI, and SMRAM, that does the same for A0000h-BFFFFh. Machine lock held.
 */
#ifndef DEVICES_CHIPSET_PAM_H
#define DEVICES_CHIPSET_PAM_H

#include "memory/memory.h"

/* PAM0's high half: F0000h, 64 KiB; then twelve ranges of 16 KiB from C0000h. */
#define PAM_RANGES    13
#define PAM_REGISTERS 7

typedef struct PamRange {
    MemoryRegion ram, rom, pci; /* one of them is enabled */
} PamRange;

typedef struct Pam {
    PamRange ranges[PAM_RANGES];
    MemoryRegion smram_pci; /* hides memory at A0000h unless SMRAM is open */
} Pam;

/* In `system`, over main memory; ram and pci are what shows through. */
void pam_init(Pam *pam, Object *owner, MemoryRegion *system, MemoryRegion *ram, MemoryRegion *pci);
void pam_finish(Pam *pam);
/* The chipset's registers have changed: PAM0 to PAM6, and SMRAM. */
void pam_update(Pam *pam, const uint8_t registers[PAM_REGISTERS], uint8_t smram);

#endif
