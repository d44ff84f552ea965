/*
 * What the two host bridges, i440FX and Q35, offer the board: the PCI address space, and where main
 * memory lies round the holes. Machine lock held.
 */
#ifndef DEVICES_CHIPSET_NORTHBRIDGE_H
#define DEVICES_CHIPSET_NORTHBRIDGE_H

#include "bus/pci/host.h"
#include "devices/chipset/pam.h"

#define TYPE_I440FX_HOST "i440FX-pcihost"
#define TYPE_I440FX      "i440FX"
#define TYPE_Q35_HOST    "q35-pcihost"
#define TYPE_MCH         "mch"

#define PCI_CONFIG_ADDRESS_PORT 0xcf8
#define PCI_CONFIG_DATA_PORT    0xcfc

/* Where the windows for BARs end, and the I/O APIC and others begin. */
#define PCI_HOLE32_END 0xfec00000u
/* Bytes offered for 64-bit BARs above main memory. */
#define PCI_HOLE64_SIZE (32 * GiB)
#define Q35_ECAM_BASE   0xb0000000u
#define Q35_ECAM_BUSES  256u

/* Set before realize. ram: all of main memory, borrowed; NULL: none. */
typedef struct Northbridge {
    MemoryRegion *ram;
    uint64_t lowmem;         /* bytes of main memory below 4 GiB */
    uint64_t highmem;        /* above */
    MemoryRegion pci_memory; /* all that isn't main memory */
    MemoryRegion ram_low, ram_high;
    Pam pam;
    bool mapped; /* the memory regions but pci_memory are made */
} Northbridge;

/* Put memory and PCI space into the system's. */
void northbridge_init(Northbridge *nb, Object *owner);
void northbridge_map(Northbridge *nb, Object *owner);
void northbridge_finish(Northbridge *nb);

/* Of either host bridge. */
Northbridge *northbridge_of(Device *host);
PciBus *northbridge_bus(Device *host);
/* Where 64-bit BARs may go: behind main memory. */
uint64_t northbridge_hole64_base(const Northbridge *nb);
/* Configuration as firmware leaves it, for boots without: memory at C0000h stays ROM, ECAM on. */
void northbridge_setup(Device *host);

#endif
