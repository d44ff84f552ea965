/*
 * PCI-PCI bridges (bridge 1.2) and the PCI Express ports that are made of them.
 *
 * A bridge owns its secondary bus, whose memory and I/O regions are seen from the primary side
 * through the windows that its registers open.
 */
#ifndef BUS_PCI_BRIDGE_H
#define BUS_PCI_BRIDGE_H

#include "bus/pci/pci.h"
#include "bus/pci/pcie.h"

#define TYPE_PCI_BRIDGE_BASE     "base-pci-bridge" /* abstract */
#define TYPE_PCI_BRIDGE          "pci-bridge"
#define TYPE_PCIE_PORT           "pcie-port" /* abstract; has port= */
#define TYPE_PCIE_SLOT           "pcie-slot" /* abstract; has chassis=, slot=, hotplug= */
#define TYPE_PCIE_ROOT_PORT_BASE "pcie-root-port-base"
#define TYPE_PCIE_ROOT_PORT      "pcie-root-port"
#define TYPE_IOH3420             "ioh3420"
#define TYPE_X3130_UPSTREAM      "x3130-upstream"
#define TYPE_XIO3130_DOWNSTREAM  "xio3130-downstream"
#define TYPE_PCIE_PCI_BRIDGE     "pcie-pci-bridge"

typedef struct PciBridgeWindows {
    MemoryRegion memory, prefetch, io; /* aliases of the secondary side, in the primary */
    MemoryRegion vga_memory, vga_io_low, vga_io_high;
} PciBridgeWindows;

typedef struct PciBridge {
    PciDevice parent;
    PciBus secondary;
    MemoryRegion memory, io; /* the secondary side's spaces */
    PciBridgeWindows windows;
    const char *bus_name; /* borrowed; NULL: the device's id, or an automatic name */
    bool windows_shown;
} PciBridge;

static inline UNUSED PciBridge *pci_bridge_cast(void *obj)
{
    return (PciBridge *)object_cast((Object *)obj, TYPE_PCI_BRIDGE_BASE);
}

/* From realize and exit of a bridge's type. */
MUST_CHECK bool pci_bridge_init(PciBridge *bridge, const char *bus_type, Error **errp);
void pci_bridge_finish(PciBridge *bridge);
/* DeviceClass.reset and PciDeviceClass.config_write of bridges call these. */
void pci_bridge_reset(PciBridge *bridge);
void pci_bridge_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len);
/* The windows as the registers say: [base, limit]; base > limit: closed. */
uint64_t pci_bridge_base(const PciDevice *bridge, uint8_t type);
uint64_t pci_bridge_limit(const PciDevice *bridge, uint8_t type);
extern const VmState pci_bridge_vmstate; /* the abstract type's, for derived ones */
MUST_CHECK bool pci_bridge_add_ssvid(PciDevice *dev, uint8_t offset, uint16_t vendor,
                                     uint16_t subsystem, Error **errp);

#endif
