/*
 * The ISA bus: a name, sixteen interrupt lines, and the I/O and memory space its devices decode.
 * Machine lock held throughout.
 */
#ifndef BUS_ISA_H
#define BUS_ISA_H

#include "bus/device.h"
#include "memory/memory.h"

#define TYPE_ISA_BUS    "ISA"
#define TYPE_ISA_DEVICE "isa-device"

#define ISA_IRQ_COUNT 16

typedef struct IsaBus {
    Bus parent;
    Irq *irqs;            /* ISA_IRQ_COUNT lines; borrowed from the board */
    MemoryRegion *io;     /* borrowed */
    MemoryRegion *memory; /* borrowed */
} IsaBus;

/* "isa.0" below its bridge (owner). */
IsaBus *isa_bus_new(Device *owner, MemoryRegion *io, MemoryRegion *memory, const char *name);
void isa_bus_set_irqs(IsaBus *bus, Irq *irqs);

/* The bus a device sits on. */
IsaBus *isa_bus_of(Device *dev);
/* NULL with an error that names the device for a line the bus hasn't got. */
Irq *isa_device_irq(Device *dev, uint32_t irq, Error **errp);
/* Decode a region at an I/O port; isa_device_del_io() is safe when it never was. */
void isa_device_add_io(Device *dev, MemoryRegion *mr, uint16_t port);
void isa_device_del_io(Device *dev, MemoryRegion *mr);

#endif
