/* 16550A serial port on the ISA bus: COM1 to COM4. */
#include "devices/char/serial-isa.h"

#include "bus/isa.h"
#include "devices/char/serial.h"
#include "object/property.h"

typedef struct SerialIsa {
    Device parent;
    Serial uart;
    char *chardev;
    uint32_t index, iobase, irq;
} SerialIsa;

/* By the number of the port. */
static const uint16_t default_port[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
static const uint8_t default_irq[] = { 4, 3, 4, 3 };

#define AUTOMATIC UINT32_MAX

static SerialIsa *serial_isa_cast(void *obj)
{
    return (SerialIsa *)object_cast((Object *)obj, TYPE_SERIAL_ISA);
}

typedef struct IndexSearch {
    const SerialIsa *self;
    uint32_t used; /* mask */
} IndexSearch;

static bool note_index(Device *dev, void *opaque)
{
    IndexSearch *search = opaque;

    if (object_dynamic_cast((Object *)dev, TYPE_SERIAL_ISA)) {
        SerialIsa *s = serial_isa_cast(dev);
        if (s != search->self && s->index < ARRAY_LEN(default_port)) {
            search->used |= BIT32(s->index);
        }
    }
    return true;
}

static bool choose_index(SerialIsa *s, Error **errp)
{
    IndexSearch search = { .self = s };

    bus_foreach_device(s->parent.parent_bus, note_index, &search);
    if (s->index == AUTOMATIC) {
        s->index = __builtin_ctz(~search.used);
    }
    if (s->index >= ARRAY_LEN(default_port)) {
        error_set(errp, "isa-serial: index %u is too high; a PC has serial ports 0 to %zu",
                  s->index, ARRAY_LEN(default_port) - 1);
        return false;
    }
    return true;
}

static bool serial_isa_realize(Device *dev, Error **errp)
{
    SerialIsa *s = serial_isa_cast(dev);
    Chardev *chr = NULL;

    if (!choose_index(s, errp)) {
        return false;
    }
    if (s->iobase == AUTOMATIC) {
        s->iobase = default_port[s->index];
    }
    if (s->iobase > 0xffff - SERIAL_PORTS + 1) {
        error_set(errp, "isa-serial: iobase 0x%x is not an I/O port", s->iobase);
        return false;
    }
    if (s->irq == AUTOMATIC) {
        s->irq = default_irq[s->index];
    }
    s->uart.irq = isa_device_irq(dev, s->irq, errp);
    if (!s->uart.irq) {
        return false;
    }
    if (s->chardev) {
        chr = chardev_find_or_error(s->chardev, errp);
        if (!chr) {
            return false;
        }
    }
    if (!char_frontend_init(&s->uart.fe, chr, errp)) {
        return false;
    }
    serial_realize(&s->uart);
    isa_device_add_io(dev, &s->uart.io, s->iobase);
    return true;
}

static void serial_isa_unrealize(Device *dev)
{
    SerialIsa *s = serial_isa_cast(dev);

    isa_device_del_io(dev, &s->uart.io);
    serial_unrealize(&s->uart);
}

static void serial_isa_reset(Device *dev)
{
    serial_reset(&serial_isa_cast(dev)->uart);
}

uint32_t serial_isa_port(Device *dev, uint32_t *irq)
{
    SerialIsa *s = serial_isa_cast(dev);

    *irq = s->irq;
    return s->iobase;
}

static void serial_isa_init(Object *obj)
{
    SerialIsa *s = serial_isa_cast(obj);

    serial_init(&s->uart, &s->parent, "serial");
}

static void serial_isa_finalize(Object *obj)
{
    serial_finish(&serial_isa_cast(obj)->uart);
}

static const VmState serial_isa_vmstate = {
    .name = "isa-serial",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT(uart, SerialIsa, serial_vmstate),
            {},
        },
};

static const Field serial_isa_properties[] = {
    PROP_STRING("chardev", SerialIsa, chardev, NULL, .help = "id of the back end"),
    PROP_UINT32("index", SerialIsa, index, AUTOMATIC,
                .help = "number of the port; gives the defaults of iobase and irq"),
    PROP_UINT32("iobase", SerialIsa, iobase, AUTOMATIC, .help = "first I/O port"),
    PROP_UINT32("irq", SerialIsa, irq, AUTOMATIC, .help = "ISA interrupt"),
    PROP_UINT32("baudbase", SerialIsa, uart.baudbase, 115200, PROP_RANGE(1, 4000000),
                .help = "baud of divisor 1"),
    {},
};

static void serial_isa_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_INPUT;
    dc->realize = serial_isa_realize;
    dc->unrealize = serial_isa_unrealize;
    dc->reset = serial_isa_reset;
    dc->vmstate = &serial_isa_vmstate;
}

static const TypeInfo serial_isa_info = {
    .name = TYPE_SERIAL_ISA,
    .parent = TYPE_ISA_DEVICE,
    .help = "16550A serial port",
    .instance_size = sizeof(SerialIsa),
    .properties = serial_isa_properties,
    .instance_init = serial_isa_init,
    .instance_finalize = serial_isa_finalize,
    .class_init = serial_isa_class_init,
};
OBJECT_TYPE(serial_isa, serial_isa_info)
