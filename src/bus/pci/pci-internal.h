/* What the files of the PCI core share. */
#ifndef BUS_PCI_PCI_INTERNAL_H
#define BUS_PCI_PCI_INTERNAL_H

#include "bus/pci/pci.h"

/* pci-config.c */
void pci_config_make(PciDevice *dev); /* header and masks, as the class says */
void pci_config_free(PciDevice *dev);
void pci_command_changed(PciDevice *dev, uint16_t old);
void pci_unmap_all(PciDevice *dev);
/* The registers of a type 0 header's BARs and ROM, or of a bridge's. */
uint8_t pci_bar_register(const PciDevice *dev, int n);
unsigned pci_power_state(const PciDevice *dev); /* 0: D0, 3: D3hot */

/* pci-irq.c */
void pci_intx_disable_changed(PciDevice *dev);
/* The device's pins as they are at the root bus, without telling the chipset (state loading). */
void pci_intx_recount(PciDevice *dev);

/* pci-rom.c */
MUST_CHECK bool pci_rom_add(PciDevice *dev, Error **errp);

/* pci-bus.c */
MUST_CHECK bool pci_bus_register(PciBus *bus, PciDevice *dev, Error **errp);
void pci_bus_unregister(PciBus *bus, PciDevice *dev);

/* pci-device.c */
void pci_reset_function(PciDevice *dev);

/* bridge.c: the windows follow; nothing for other devices */
void pci_bridge_command_changed(PciDevice *dev);

/* pci-rom.c, info.c: "ethernet" and so on for a class */
const char *pci_class_fw_name(uint16_t class_id);
const char *pci_class_description(uint16_t class_id); /* NULL if not known */

extern const ValueType value_type_pci_addr;

#endif
