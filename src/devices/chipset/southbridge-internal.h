/* Between southbridge.c and the devices behind it. */
#ifndef DEVICES_CHIPSET_SOUTHBRIDGE_INTERNAL_H
#define DEVICES_CHIPSET_SOUTHBRIDGE_INTERNAL_H

#include "devices/chipset/southbridge.h"

AcpiPm *ich9_lpc_pm(PciDevice *dev);
AcpiPm *piix4_pm(PciDevice *dev);
void ich9_lpc_setup(PciDevice *dev);
void piix3_setup(PciDevice *dev);
void piix4_setup(PciDevice *dev);

/* Write configuration registers as the guest would, through the device's own function. */
static inline void southbridge_config(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    pci_device_class_of(dev)->config_write(dev, addr, value, len);
}

#endif
