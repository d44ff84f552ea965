/* System control port A: IBM PS/2 technical reference; ICH9 section 13.7.3. */
#include "devices/misc/port92.h"

#include "bus/isa.h"
#include "object/lifecycle.h"

#define PORT92_PORT   0x92
#define PORT92_RESET  0x01u
#define PORT92_A20    0x02u
#define PORT92_STORED 0xfeu

typedef struct Port92 {
    Device parent;
    uint8_t value;
    Irq *a20;
    MemoryRegion io;
} Port92;

static Port92 *port92_cast(void *obj)
{
    return (Port92 *)object_cast((Object *)obj, TYPE_PORT92);
}

static void port92_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Port92 *s = opaque;
    bool reset = (value & PORT92_RESET) && !(s->value & PORT92_RESET);

    /* Bit 0 is kept too: only a rising edge resets. */
    s->value = value & (PORT92_STORED | PORT92_RESET);
    irq_set(s->a20, !!(value & PORT92_A20));
    if (reset) {
        lifecycle_request_reset(SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static uint64_t port92_read(void *opaque, hwaddr addr, unsigned size)
{
    return ((Port92 *)opaque)->value;
}

static const MemoryRegionOps port92_ops = {
    .read = port92_read,
    .write = port92_write,
    .impl = { .min = 1, .max = 1 },
};

static void port92_reset(Device *dev)
{
    Port92 *s = port92_cast(dev);

    s->value = PORT92_A20;
    irq_set(s->a20, 1);
}

static const VmState port92_vmstate = {
    .name = "port92",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(value, Port92), {} },
};

static bool port92_realize(Device *dev, Error **errp)
{
    isa_device_add_io(dev, &port92_cast(dev)->io, PORT92_PORT);
    return true;
}

static void port92_unrealize(Device *dev)
{
    isa_device_del_io(dev, &port92_cast(dev)->io);
}

static void port92_init(Object *obj)
{
    Port92 *s = port92_cast(obj);

    memory_region_init_io(&s->io, obj, &port92_ops, s, TYPE_PORT92, 1);
    device_init_lines_out(&s->parent, NULL, &s->a20, 1);
}

static void port92_finalize(Object *obj)
{
    memory_region_finish(&port92_cast(obj)->io);
}

static void port92_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = port92_realize;
    dc->unrealize = port92_unrealize;
    dc->reset = port92_reset;
    dc->vmstate = &port92_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo port92_info = {
    .name = TYPE_PORT92,
    .parent = TYPE_ISA_DEVICE,
    .help = "Fast A20 gate and reset",
    .instance_size = sizeof(Port92),
    .instance_init = port92_init,
    .instance_finalize = port92_finalize,
    .class_init = port92_class_init,
};
OBJECT_TYPE(port92, port92_info)
