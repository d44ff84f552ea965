/*
 * What the two southbridges, PIIX3 with PIIX4 power management and ICH9 LPC, offer the board: the
 * ISA bus, routing of PCI interrupts, ACPI fixed hardware, the reset control register. Machine lock
 * held.
 */
#ifndef DEVICES_CHIPSET_SOUTHBRIDGE_H
#define DEVICES_CHIPSET_SOUTHBRIDGE_H

#include "bus/isa.h"
#include "bus/pci/pci.h"
#include "devices/acpi/acpi-pm.h"

#define TYPE_PIIX3      "PIIX3"
#define TYPE_PIIX4_PM   "PIIX4_PM"
#define TYPE_ICH9_LPC   "ICH9-LPC"
#define TYPE_ICH9_SMBUS "ICH9-SMB"

/* System interrupts: 0 to 15 are ISA's, and on ICH9 16 to 23 those of PIRQ A to H. */
#define GSI_COUNT 24

/* I/O ports as firmware sets them up, and as the ACPI tables say. */
#define PM_IO_BASE      0x600
#define PIIX4_GPE_BASE  0xafe0
#define PIIX4_GPE_BYTES 2 /* status; enable follows */
#define ICH9_GPE_OFFSET 0x20
#define ICH9_GPE_BYTES  8

/* --- PIRQ lines routed to ISA interrupts by registers of one byte each --- */

#define PIRQ_MAX       8
#define PIRQ_ROUTE_OFF 0x80u
#define PIRQ_ROUTE_IRQ 0x0fu

typedef struct PirqRouter {
    Irq *gsi;       /* GSI_COUNT lines; borrowed from the board */
    uint8_t levels; /* bit n: PIRQ n is asserted */
    uint8_t routes[PIRQ_MAX];
    unsigned count;
} PirqRouter;

void pirq_set_level(PirqRouter *r, unsigned n, int level);
/* A route register has a new value. */
void pirq_set_route(PirqRouter *r, unsigned n, uint8_t route);

/*
 * --- The reset control register ---
 *
 * It lies inside the four ports of the PCI configuration address, which only 32-bit accesses reach:
 * a region over all four passes those on.
 */

typedef struct ResetControl {
    uint8_t value;
    MemoryRegion io;
    MemoryRegion *config_address; /* of the host bridge; borrowed */
} ResetControl;

void reset_control_init(ResetControl *rc, Object *owner); /* the owner finishes rc->io */
/* Put it over the configuration address of bus's host bridge, and take it away. */
void reset_control_map(ResetControl *rc, PciBus *bus);
void reset_control_unmap(ResetControl *rc);
extern const VmState reset_control_vmstate;

/* --- For boards --- */

/* The bridge that carries the ISA bus, not yet realized; gsi lives as long as it. */
PciDevice *piix3_new(PciBus *bus, Irq *gsi);
PciDevice *ich9_lpc_new(PciBus *bus, Irq *gsi);
/* After realize. */
IsaBus *southbridge_isa_bus(PciDevice *bridge);
/* Of an ICH9-LPC or a PIIX4_PM. */
AcpiPm *southbridge_pm(PciDevice *dev);
/* The SMBus of an ICH9-SMB or a PIIX4_PM. */
Bus *ich9_smbus_bus(PciDevice *dev);
Bus *piix4_smbus_bus(PciDevice *dev);
/* Registers as firmware leaves them: PM block at PM_IO_BASE, PIRQs on ISA interrupts 10 and 11,
 * ACPI on. For boots without firmware. */
void southbridge_setup(PciDevice *bridge, PciDevice *pm);

#endif
