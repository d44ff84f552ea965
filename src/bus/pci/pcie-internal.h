/* What the Express files share. */
#ifndef BUS_PCI_PCIE_INTERNAL_H
#define BUS_PCI_PCIE_INTERNAL_H

#include "bus/pci/pcie.h"

/* pcie-slot.c and aer.c: after a configuration write. */
void pcie_slot_written(PciDevice *port, uint32_t addr, unsigned len);
void pcie_aer_written(PciDevice *dev, uint32_t addr, unsigned len);

/* How a port signals its own events: MSI-X, MSI or a pin, as enabled. level: for pins. */
void pcie_port_signal(PciDevice *port, unsigned vector, bool level);

/* pcie-slot.c: the functions of a port's hot-plug handler interface. */
void pcie_slot_class_init(ObjectClass *klass);

#endif
