/*
 * isa-debug-exit: a write of `value` ends the process with status value << 1 | 1. For test kernels;
 * the low bit keeps the status apart from a success.
 */
#include <inttypes.h>

#include "bus/isa.h"
#include "object/lifecycle.h"
#include "object/property.h"

#define TYPE_DEBUG_EXIT "isa-debug-exit"

typedef struct DebugExit {
    Device parent;
    MemoryRegion io;
    uint32_t iobase, iosize;
} DebugExit;

static DebugExit *debug_exit_cast(void *obj)
{
    return (DebugExit *)object_cast((Object *)obj, TYPE_DEBUG_EXIT);
}

static void debug_exit_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    lifecycle_request_exit(SHUTDOWN_CAUSE_GUEST_SHUTDOWN, value << 1 | 1);
}

static uint64_t debug_exit_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static const MemoryRegionOps debug_exit_ops = {
    .read = debug_exit_read,
    .write = debug_exit_write,
    .valid = { .min = 1, .max = 4 },
};

static bool debug_exit_realize(Device *dev, Error **errp)
{
    DebugExit *s = debug_exit_cast(dev);

    if (s->iobase + (uint64_t)s->iosize > 0x10000) {
        error_set(errp, "isa-debug-exit: ports 0x%x to 0x%" PRIx64 " don't exist", s->iobase,
                  s->iobase + (uint64_t)s->iosize - 1);
        return false;
    }
    memory_region_init_io(&s->io, (Object *)s, &debug_exit_ops, s, TYPE_DEBUG_EXIT, s->iosize);
    isa_device_add_io(dev, &s->io, s->iobase);
    return true;
}

static void debug_exit_unrealize(Device *dev)
{
    DebugExit *s = debug_exit_cast(dev);

    isa_device_del_io(dev, &s->io);
    memory_region_finish(&s->io);
}

static const Field debug_exit_properties[] = {
    PROP_UINT32("iobase", DebugExit, iobase, 0x501, .help = "first I/O port"),
    PROP_UINT32("iosize", DebugExit, iosize, 0x02, PROP_RANGE(1, 0x100), .help = "ports"),
    {},
};

static void debug_exit_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = debug_exit_realize;
    dc->unrealize = debug_exit_unrealize;
}

static const TypeInfo debug_exit_info = {
    .name = TYPE_DEBUG_EXIT,
    .parent = TYPE_ISA_DEVICE,
    .help = "Ends the process when written to",
    .instance_size = sizeof(DebugExit),
    .properties = debug_exit_properties,
    .class_init = debug_exit_class_init,
};
OBJECT_TYPE(debug_exit, debug_exit_info)
