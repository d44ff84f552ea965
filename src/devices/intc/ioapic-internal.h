/* The state of the I/O APIC, for the two that have it: the model here and the one in the kernel. */
#ifndef DEVICES_INTC_IOAPIC_INTERNAL_H
#define DEVICES_INTC_IOAPIC_INTERNAL_H

#include "cpu/x86/apic.h"
#include "devices/intc/ioapic.h"

typedef struct IoApic {
    Device parent;
    uint8_t id;
    uint8_t select;
    uint32_t lines; /* levels on the inputs */
    uint32_t irr;   /* requests not yet sent */
    uint64_t redir[IOAPIC_PINS];

    MemoryRegion mmio;
    X86ApicBus *bus;
    /* Vectors with a level-triggered message in service; atomic, read without the machine lock so
     * that the EOIs of everybody else's vectors cost nothing. */
    uint64_t in_service[4];
} IoApic;

typedef struct IoApicClass {
    DeviceClass parent;
    /* Where it is in the kernel: copy its state here, and back; a line changed. NULL: this is it.
     */
    void (*fetch)(IoApic *s);
    void (*store)(IoApic *s);
    void (*set_line)(IoApic *s, int pin, int level);
} IoApicClass;

OBJECT_DECLARE_CLASS(IoApicClass, ioapic, TYPE_IOAPIC)

#endif
