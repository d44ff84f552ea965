/*
 * The machine's ACPI tables, made from a description of the board. ACPI 6.4; MCFG: PCI Firmware
 * Specification 3.3; HPET: IA-PC HPET 1.0a.
 */
#ifndef MACHINE_ACPI_TABLES_H
#define MACHINE_ACPI_TABLES_H

#include "machine/acpi-blob.h"
#include "machine/aml.h"
#include "machine/machine.h"

#define ACPI_MAX_SERIAL 4
#define ACPI_SCI        9

typedef struct AcpiWindow {
    uint64_t first, last; /* last < first: none */
} AcpiWindow;

typedef struct AcpiBoard {
    bool q35; /* else i440FX */
    /* Fixed hardware. */
    uint16_t pm_base;             /* I/O: PM1 events at 0, control at 4, timer at 8 */
    uint16_t gpe0_base, gpe0_len; /* I/O, bytes */
    uint16_t smi_cmd;             /* I/O; 0: ACPI is always on */
    uint8_t acpi_enable, acpi_disable;
    uint8_t s3_type, s4_type, s5_type; /* SLP_TYP values; 0xff: the state isn't there */
    /* What is present. */
    bool hpet, rtc, i8042;
    uint32_t hpet_id;
    struct {
        uint16_t port;
        uint8_t irq;
    } serial[ACPI_MAX_SERIAL];
    unsigned serials;
    uint16_t parallel_port; /* 0: none */
    /* PCI. */
    uint64_t ecam_base; /* 0: none */
    unsigned ecam_buses;
    AcpiWindow window32, window64;
    bool acpi_pci_hotplug; /* the I/O ports of devices/acpi/pci-hotplug.h */
    /* Interrupts. */
    uint32_t ioapic_base, lapic_base;
    uint64_t lowmem; /* bytes of main memory below 4 GiB */
} AcpiBoard;

/* Everything, with the user's own tables (-acpitable) at the end. */
void acpi_build(AcpiBlob *blob, Machine *m, const AcpiBoard *board);

/* acpi-dsdt.c: the body of the DSDT. */
void acpi_build_dsdt(Aml *a, Machine *m, const AcpiBoard *board);

#endif
