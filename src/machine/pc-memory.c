/*
 * The PC's physical memory:
 *
 *           0  main memory, but for A0000h-FFFFFh (VGA, ROM, tables)
 *     lowmem   nothing, then PCI below 4 GiB: i440FX from lowmem on, Q35 ECAM at B0000000h
 *   FEC00000h  I/O APIC, HPET, local APIC, firmware
 *       4 GiB  the rest of main memory, then 64-bit PCI
 */
#include "machine/pc.h"

#include "base/bits.h"

/* What low memory may be at most, and what it is when that isn't enough: whole gigabytes, so that
 * large pages fit on both sides. */
#define I440FX_LOWMEM_MAX   0xe0000000u
#define I440FX_LOWMEM_SPLIT 0xc0000000u
#define Q35_LOWMEM_MAX      0xb0000000u
#define Q35_LOWMEM_SPLIT    0x80000000u

#define EBDA_BASE      0x9fc00u
#define VGA_BASE       0xa0000u
#define BIOS_AREA_BASE 0xf0000u
/* Registers of the chipset and the local APIC; the firmware's own 256 KiB. */
#define CHIPSET_BASE 0xfec00000u

void pc_split_memory(PcMachine *pc, uint64_t *lowmem, uint64_t *highmem)
{
    bool q35 = pc_machine_class_of(pc)->q35;
    uint64_t size = pc->parent.ram_size;
    uint64_t max = q35 ? Q35_LOWMEM_MAX : I440FX_LOWMEM_MAX;
    uint64_t split = q35 ? Q35_LOWMEM_SPLIT : I440FX_LOWMEM_SPLIT;

    if (pc->max_ram_below_4g && pc->max_ram_below_4g < max) {
        max = split = pc->max_ram_below_4g;
    }
    *lowmem = size > max ? split : size;
    *highmem = size - *lowmem;
}

static void add(PcMachine *pc, uint64_t addr, uint64_t len, uint32_t type)
{
    E820Entry e = { .addr = addr, .len = len, .type = type };

    if (len) {
        g_array_append_val(pc->e820, e);
    }
}

/* acpi_size: bytes at the top of low memory that hold the tables; 0: firmware puts them itself, and
 * only main memory is listed. */
void pc_make_e820(PcMachine *pc, uint64_t acpi_size)
{
    uint64_t low = pc->nb->lowmem;

    g_array_set_size(pc->e820, 0);
    if (!pc->boot_direct) {
        add(pc, 0, low, E820_RAM);
    } else {
        add(pc, 0, MIN_OF(low, EBDA_BASE), E820_RAM);
        add(pc, EBDA_BASE, VGA_BASE - EBDA_BASE, E820_RESERVED);
        add(pc, BIOS_AREA_BASE, MiB - BIOS_AREA_BASE, E820_RESERVED);
        if (low > MiB + acpi_size) {
            add(pc, MiB, low - acpi_size - MiB, E820_RAM);
            add(pc, low - acpi_size, acpi_size, E820_ACPI);
        }
        if (pc_machine_class_of(pc)->q35) {
            add(pc, Q35_ECAM_BASE, Q35_ECAM_BUSES * MiB, E820_RESERVED);
        }
        add(pc, CHIPSET_BASE, 4 * GiB - CHIPSET_BASE, E820_RESERVED);
    }
    add(pc, 4 * GiB, pc->nb->highmem, E820_RAM);
}
