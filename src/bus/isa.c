#include "bus/isa.h"

#include <inttypes.h>

IsaBus *isa_bus_new(Device *owner, MemoryRegion *io, MemoryRegion *memory, const char *name)
{
    IsaBus *bus = (IsaBus *)bus_new(TYPE_ISA_BUS, owner, name);
    bus->io = io;
    bus->memory = memory;
    return bus;
}

void isa_bus_set_irqs(IsaBus *bus, Irq *irqs)
{
    bus->irqs = irqs;
}

IsaBus *isa_bus_of(Device *dev)
{
    return (IsaBus *)object_cast((Object *)dev->parent_bus, TYPE_ISA_BUS);
}

Irq *isa_device_irq(Device *dev, uint32_t irq, Error **errp)
{
    IsaBus *bus = isa_bus_of(dev);
    if (irq >= ISA_IRQ_COUNT) {
        error_set(errp, "ISA interrupt %u doesn't exist; the bus has lines 0 to %d", irq,
                  ISA_IRQ_COUNT - 1);
        return NULL;
    }
    if (!bus->irqs) {
        error_set(errp, "ISA bus '%s' has no interrupt lines", bus->parent.name);
        return NULL;
    }
    return &bus->irqs[irq];
}

void isa_device_add_io(Device *dev, MemoryRegion *mr, uint16_t port)
{
    memory_region_add(isa_bus_of(dev)->io, port, mr);
}

void isa_device_del_io(Device *dev, MemoryRegion *mr)
{
    if (mr->container) {
        memory_region_del(mr->container, mr);
    }
}

static void isa_print_device(Device *dev, GString *out, int indent)
{
    static const char *const names[] = { "iobase", "irq" };

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (object_has_property((Object *)dev, names[i])) {
            g_string_append_printf(out, "%*sisa %s = 0x%" PRIx64 "\n", indent, "", names[i],
                                   object_get_int((Object *)dev, names[i], NULL));
        }
    }
}

static void isa_bus_class_init(ObjectClass *klass, const void *data)
{
    BusClass *bc = bus_class_cast(klass);
    bc->print_device = isa_print_device;
}

static void isa_device_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->bus_type = TYPE_ISA_BUS;
    dc->hotpluggable = false;
}

static const TypeInfo isa_bus_info = {
    .name = TYPE_ISA_BUS,
    .parent = TYPE_BUS,
    .instance_size = sizeof(IsaBus),
    .class_init = isa_bus_class_init,
};
OBJECT_TYPE(isa_bus, isa_bus_info)

static const TypeInfo isa_device_info = {
    .name = TYPE_ISA_DEVICE,
    .parent = TYPE_DEVICE,
    .abstract = true,
    .class_init = isa_device_class_init,
};
OBJECT_TYPE(isa_device, isa_device_info)
