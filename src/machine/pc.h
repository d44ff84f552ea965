/*
 * The PC: what the boards pc (i440FX) and q35 share. Files: pc.c the board, pc-cpus.c processors,
 * pc-interrupts.c lines between the devices, pc-boot.c tables, firmware and kernels.
 */
#ifndef MACHINE_PC_H
#define MACHINE_PC_H

#include "bus/isa.h"
#include "bus/pci/pci.h"
#include "devices/chipset/northbridge.h"
#include "devices/chipset/southbridge.h"
#include "machine/direct-boot.h"
#include "machine/machine.h"

#define TYPE_PC_MACHINE "generic-pc" MACHINE_TYPE_SUFFIX

#define PC_FLASH_MAX 2 /* the upper one holds the reset vector */

typedef struct PcMachine {
    Machine parent;

    /* properties */
    OnOffAuto acpi, smm, vmport;
    char *pflash[PC_FLASH_MAX]; /* drives or nodes; NULL: none */
    bool hpet_enabled, pit_enabled, i8042_enabled;
    uint64_t max_ram_below_4g; /* bytes; 0: the board's choice */

    /* the board; devices are borrowed */
    Northbridge *nb;
    Device *host;
    PciBus *pci;
    PciDevice *bridge, *pm; /* the same device on q35 */
    IsaBus *isa;
    Device *ide; /* borrowed */
    Device *pic, *ioapic, *pit, *rtc, *hpet, *i8042, *port92, *fw_cfg;
    Irq *gsi;        /* GSI_COUNT lines, owned */
    Irq *a20, *intr; /* one line each, owned */
    Irq *pic_in[ISA_IRQ_COUNT], *ioapic_in[GSI_COUNT];
    bool kernel_lines; /* the accelerator takes GSIs: 8259s, I/O APIC and PIT are its own */

    GArray *e820; /* E820Entry, sorted */
    MemoryRegion bios, bios_low;
    uint64_t bios_size;          /* bytes; 0: none mapped */
    Device *flash[PC_FLASH_MAX]; /* borrowed */
    bool wants_firmware;         /* somebody would run it */
    bool booted_once;            /* the order of -boot once= has had its turn */
    bool boot_direct;            /* -kernel without firmware */
    DirectBoot *boot;            /* with boot_direct, from machine-ready on */
    hwaddr acpi_base;            /* where the tables lie; 0: none */
    GBytes *acpi_tables;         /* linked, for direct boot */
} PcMachine;

typedef struct PcMachineClass {
    MachineClass parent;
    bool q35;
} PcMachineClass;

static inline UNUSED PcMachine *pc_machine_cast(void *obj)
{
    return (PcMachine *)object_cast((Object *)obj, TYPE_PC_MACHINE);
}
OBJECT_DECLARE_CLASS(PcMachineClass, pc_machine, TYPE_PC_MACHINE)

/* pc-cpus.c: one CPU a slot that is present at start. */
MUST_CHECK bool pc_make_cpus(PcMachine *pc, Error **errp);
void pc_reset_cpus(PcMachine *pc);

/* pc-interrupts.c */
void pc_make_lines(PcMachine *pc);    /* before devices */
void pc_connect_lines(PcMachine *pc); /* after */
void pc_free_lines(PcMachine *pc);

/* pc-boot.c */
MUST_CHECK bool pc_make_firmware(PcMachine *pc, Error **errp); /* from board init */
MUST_CHECK bool pc_prepare_boot(PcMachine *pc, Error **errp);  /* machine-ready */
void pc_after_reset(PcMachine *pc);
void pc_free_boot(PcMachine *pc);

/* pc-memory.c: what lies where, and which of it is told to whom */
void pc_split_memory(PcMachine *pc, uint64_t *lowmem, uint64_t *highmem);
void pc_make_e820(PcMachine *pc, uint64_t acpi_size);

#endif
