/* SMBIOS 3 tables: who the machine is. */
#ifndef MACHINE_SMBIOS_H
#define MACHINE_SMBIOS_H

#include "machine/machine.h"

#define SMBIOS_ANCHOR_SIZE 24

/* The structures; new reference. */
GBytes *smbios_build(Machine *m, uint64_t lowmem, uint64_t highmem, Error **errp);
/* The 64-bit entry point for structures of `size` bytes at an address. */
void smbios_make_anchor(uint8_t anchor[SMBIOS_ANCHOR_SIZE], uint64_t tables, uint32_t size);

#endif
