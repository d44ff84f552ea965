/* The I/O APIC. Machine lock held. */
#ifndef DEVICES_INTC_IOAPIC_H
#define DEVICES_INTC_IOAPIC_H

#include "bus/device.h"
#include "memory/memory.h"

#define TYPE_IOAPIC "ioapic"
/* The same in the kernel, with the accelerator kvm. */
#define TYPE_KVM_IOAPIC "kvm-ioapic"

#define IOAPIC_PINS         24
#define IOAPIC_DEFAULT_BASE 0xfec00000u

/* Inputs: IOAPIC_PINS unnamed lines. Messages go to the local APICs. */

/* Decode it at a physical address (before or after realize). */
void ioapic_map(Device *dev, MemoryRegion *memory, hwaddr base);
/* info ioapic */
void ioapic_print(Device *dev, GString *out);

#endif
