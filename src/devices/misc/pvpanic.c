/*
 * pvpanic: an I/O port through which the guest's kernel says that it has crashed (bit 0) or that
 * its crash kernel has been loaded and takes over (bit 1). Reading gives the events understood.
 */
#include "bus/isa.h"
#include "base/log.h"
#include "object/lifecycle.h"
#include "object/property.h"

#define TYPE_PVPANIC "pvpanic"

#define PVPANIC_PANICKED    0x01u
#define PVPANIC_CRASHLOADED 0x02u

typedef struct PvPanic {
    Device parent;
    MemoryRegion io;
    uint16_t port;
    uint8_t events;
} PvPanic;

static PvPanic *pvpanic_cast(void *obj)
{
    return (PvPanic *)object_cast((Object *)obj, TYPE_PVPANIC);
}

static void pvpanic_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PvPanic *s = opaque;

    if (value & ~(uint64_t)(PVPANIC_PANICKED | PVPANIC_CRASHLOADED)) {
        log_guest_error("pvpanic: unknown event 0x%x\n", (unsigned)value);
    }
    if (value & s->events & PVPANIC_PANICKED) {
        lifecycle_report_panic(GUEST_PANIC_CRASHED);
    } else if (value & s->events & PVPANIC_CRASHLOADED) {
        lifecycle_report_panic(GUEST_PANIC_CRASHLOADED);
    }
}

static uint64_t pvpanic_read(void *opaque, hwaddr addr, unsigned size)
{
    return ((PvPanic *)opaque)->events;
}

static const MemoryRegionOps pvpanic_ops = {
    .read = pvpanic_read,
    .write = pvpanic_write,
    .valid = { .min = 1, .max = 1 },
};

static bool pvpanic_realize(Device *dev, Error **errp)
{
    PvPanic *s = pvpanic_cast(dev);

    isa_device_add_io(dev, &s->io, s->port);
    return true;
}

static void pvpanic_unrealize(Device *dev)
{
    isa_device_del_io(dev, &pvpanic_cast(dev)->io);
}

static void pvpanic_init(Object *obj)
{
    PvPanic *s = pvpanic_cast(obj);

    memory_region_init_io(&s->io, obj, &pvpanic_ops, s, TYPE_PVPANIC, 1);
}

static void pvpanic_finalize(Object *obj)
{
    memory_region_finish(&pvpanic_cast(obj)->io);
}

static const Field pvpanic_properties[] = {
    PROP_UINT16("ioport", PvPanic, port, 0x505, .help = "I/O port"),
    PROP_UINT8("events", PvPanic, events, PVPANIC_PANICKED | PVPANIC_CRASHLOADED,
               .help = "events offered to the guest"),
    {},
};

static void pvpanic_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = pvpanic_realize;
    dc->unrealize = pvpanic_unrealize;
}

static const TypeInfo pvpanic_info = {
    .name = TYPE_PVPANIC,
    .parent = TYPE_ISA_DEVICE,
    .help = "Tells the host that the guest has crashed",
    .instance_size = sizeof(PvPanic),
    .properties = pvpanic_properties,
    .instance_init = pvpanic_init,
    .instance_finalize = pvpanic_finalize,
    .class_init = pvpanic_class_init,
};
OBJECT_TYPE(pvpanic, pvpanic_info)
