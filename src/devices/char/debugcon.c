/*
 * isa-debugcon: an I/O port whose writes go to a chardev as they are. Firmware and test kernels
 * print through it; reading gives a constant that says it is there.
 */
#include "bus/isa.h"
#include "chardev/chardev.h"
#include "object/property.h"

#define TYPE_DEBUGCON "isa-debugcon"

typedef struct Debugcon {
    Device parent;
    MemoryRegion io;
    CharFrontend fe;
    char *chardev;
    uint32_t iobase, readback;
} Debugcon;

static Debugcon *debugcon_cast(void *obj)
{
    return (Debugcon *)object_cast((Object *)obj, TYPE_DEBUGCON);
}

static void debugcon_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Debugcon *s = opaque;
    uint8_t byte = value;
    bool sent;

    sent = char_frontend_write_all(&s->fe, &byte, 1, NULL);
    /* With a full queue text is lost rather than the guest stopped. */
    (void)sent;
}

static uint64_t debugcon_read(void *opaque, hwaddr addr, unsigned size)
{
    return ((Debugcon *)opaque)->readback;
}

static const MemoryRegionOps debugcon_ops = {
    .read = debugcon_read,
    .write = debugcon_write,
    .valid = { .min = 1, .max = 1 },
};

static bool debugcon_realize(Device *dev, Error **errp)
{
    Debugcon *s = debugcon_cast(dev);
    Chardev *chr;

    if (!s->chardev) {
        error_set(errp, "isa-debugcon: property 'chardev' is needed; give the id of a -chardev");
        return false;
    }
    if (s->iobase > 0xffff) {
        error_set(errp, "isa-debugcon: iobase 0x%x is not an I/O port", s->iobase);
        return false;
    }
    chr = chardev_find_or_error(s->chardev, errp);
    if (!chr || !char_frontend_init(&s->fe, chr, errp)) {
        return false;
    }
    char_frontend_set_handlers(&s->fe, NULL, s, NULL);
    isa_device_add_io(dev, &s->io, s->iobase);
    return true;
}

static void debugcon_unrealize(Device *dev)
{
    Debugcon *s = debugcon_cast(dev);

    isa_device_del_io(dev, &s->io);
    char_frontend_finish(&s->fe);
}

static void debugcon_init(Object *obj)
{
    Debugcon *s = debugcon_cast(obj);

    memory_region_init_io(&s->io, obj, &debugcon_ops, s, TYPE_DEBUGCON, 1);
}

static void debugcon_finalize(Object *obj)
{
    memory_region_finish(&debugcon_cast(obj)->io);
}

static const Field debugcon_properties[] = {
    PROP_STRING("chardev", Debugcon, chardev, NULL, .help = "id of the back end"),
    PROP_UINT32("iobase", Debugcon, iobase, 0xe9, .help = "I/O port"),
    PROP_UINT32("readback", Debugcon, readback, 0xe9, .help = "what reading the port gives"),
    {},
};

static void debugcon_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = debugcon_realize;
    dc->unrealize = debugcon_unrealize;
}

static const TypeInfo debugcon_info = {
    .name = TYPE_DEBUGCON,
    .parent = TYPE_ISA_DEVICE,
    .help = "Debug output port",
    .instance_size = sizeof(Debugcon),
    .properties = debugcon_properties,
    .instance_init = debugcon_init,
    .instance_finalize = debugcon_finalize,
    .class_init = debugcon_class_init,
};
OBJECT_TYPE(debugcon, debugcon_info)
