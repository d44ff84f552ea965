/*
 * Host bridges: how the CPU reaches configuration space. A chipset embeds PciHost (or derives a
 * type from it), maps the regions, and makes the root bus.
 */
#ifndef BUS_PCI_HOST_H
#define BUS_PCI_HOST_H

#include "bus/pci/pci.h"

#define TYPE_PCI_HOST  "pci-host-bridge"  /* abstract */
#define TYPE_PCIE_HOST "pcie-host-bridge" /* abstract; with ECAM */

typedef struct PciHost {
    Device parent;
    PciBus *bus; /* the root bus, owned through the tree */
    /*
     * Configuration mechanism #1 (PCI 3.0, 3.2.2.3.2): a 4-byte address register, for 0xcf8 (only
     * 32-bit accesses reach it), and a 4-byte data window, for 0xcfc. Made by instance_init; the
     * chipset puts them into I/O space.
     */
    MemoryRegion config_address, config_data;
    uint32_t config_reg;
} PciHost;

typedef struct PcieHost {
    PciHost parent;
    MemoryRegion ecam;  /* enhanced access (PCIe 5.0, 7.2.2): 1 MiB a bus */
    uint64_t ecam_base; /* where it is, or PCI_UNMAPPED */
    uint64_t ecam_size; /* bytes */
} PcieHost;

OBJECT_DECLARE_CLASS(PciHostClass, pci_host, TYPE_PCI_HOST)
struct PciHostClass {
    DeviceClass parent;
    /* "0000:00": what a root bus is called in firmware paths, as "pci@i0cf8". */
    const char *fw_name;
};

#define PCIE_ECAM_SIZE_MIN (1 * MiB)
#define PCIE_ECAM_SIZE_MAX (256 * MiB)

/* Show the window (or hide it) in the container that the chipset gives. size: 1 MiB a bus. */
void pcie_host_set_ecam(PcieHost *host, MemoryRegion *container, bool enable, uint64_t base,
                        uint64_t size);

extern const VmState pci_host_vmstate; /* a member of type PciHost */

#endif
