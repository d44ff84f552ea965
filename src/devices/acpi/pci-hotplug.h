/*
 * Hot plug of conventional PCI slots by ACPI: registers that AML reads and writes, and a
 * general-purpose event. Embedded in the PIIX4's power management. Machine lock held.
 *
 * There is no public standard for the registers; these are the ones that guests of this kind of
 * machine have seen for long, and that the machine's own AML (machine/acpi-dsdt.c) drives:
 *
 *   AE00h  slots that were filled since the last read, a bit each; reading clears
 *   AE04h  slots that are asked to become empty
 *   AE08h  write: the slots to empty now; read: what is offered
 *   AE0Ch  slots that can become empty
 *   AE10h  number of the bus (0: the root bus, the only one)
 *   AE14h  write: a slot; read: the acpi-index of what is in it
 */
#ifndef DEVICES_ACPI_PCI_HOTPLUG_H
#define DEVICES_ACPI_PCI_HOTPLUG_H

#include "bus/pci/pci.h"
#include "devices/acpi/acpi-pm.h"

#define PCI_HOTPLUG_BASE   0xae00
#define PCI_HOTPLUG_SIZE   0x18
#define PCI_HOTPLUG_UP     0x00
#define PCI_HOTPLUG_DOWN   0x04
#define PCI_HOTPLUG_EJECT  0x08
#define PCI_HOTPLUG_CAN_GO 0x0c
#define PCI_HOTPLUG_BUS    0x10
#define PCI_HOTPLUG_INDEX  0x14
#define PCI_HOTPLUG_GPE    1 /* the event */

typedef struct PciHotplug {
    uint32_t up, down; /* slots, a bit each */
    uint32_t selected_bus, selected_slot;

    /* not state */
    PciBus *bus; /* borrowed; NULL until realized */
    AcpiPm *pm;  /* borrowed */
    MemoryRegion io;
} PciHotplug;

extern const VmState pci_hotplug_vmstate;

void pci_hotplug_init(PciHotplug *h, Object *owner, AcpiPm *pm);
/* owner implements TYPE_HOTPLUG_HANDLER with the two functions below, and handles bus from now on.
 */
void pci_hotplug_realize(PciHotplug *h, Object *owner, PciBus *bus);
void pci_hotplug_unrealize(PciHotplug *h);
void pci_hotplug_finish(PciHotplug *h);
/* Devices that were asked to go leave with a reset. */
void pci_hotplug_reset(PciHotplug *h);
void pci_hotplug_plugged(PciHotplug *h, PciDevice *dev);
void pci_hotplug_ask(PciHotplug *h, PciDevice *dev);

#endif
