/*
 * pc-testdev: what unit tests of processors and interrupt controllers expect of a PC.
 *
 *   E0h          four bytes of I/O that keep what is written
 *   E8h          the same, for byte accesses wider ones are split into
 *   2000h + n    system interrupt n: what is written is its level
 *   FF000000h    64 KiB of memory-mapped I/O that keep what is written
 *
 * (A port that makes the hypervisor forget a page, E4h, has no meaning here and isn't there.)
 */
#include <string.h>

#include "bus/isa.h"
#include "memory/memory.h"
#include "object/property.h"

#define TYPE_PC_TESTDEV "pc-testdev"
#define PORT_WORD       0xe0
#define PORT_BYTES      0xe8
#define PORT_SIZE       4
#define PORT_LINES      0x2000
#define LINES           ISA_IRQ_COUNT
#define IOMEM_BASE      0xff000000u
#define IOMEM_SIZE      0x10000

typedef struct PcTestdev {
    Device parent;
    uint8_t port[PORT_SIZE];
    uint8_t iomem[IOMEM_SIZE];
    MemoryRegion word_io, bytes_io, lines_io, memory_io;
} PcTestdev;

static PcTestdev *testdev_cast(void *obj)
{
    return (PcTestdev *)object_cast((Object *)obj, TYPE_PC_TESTDEV);
}

static uint64_t port_read(void *opaque, hwaddr addr, unsigned size)
{
    return ldn_le(((PcTestdev *)opaque)->port + addr, size);
}

static void port_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    stn_le(((PcTestdev *)opaque)->port + addr, size, value);
}

static uint64_t lines_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static void lines_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PcTestdev *s = opaque;

    irq_set(&isa_bus_of(&s->parent)->irqs[addr], value != 0);
}

static uint64_t iomem_read(void *opaque, hwaddr addr, unsigned size)
{
    return ldn_le(((PcTestdev *)opaque)->iomem + addr, size);
}

static void iomem_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    stn_le(((PcTestdev *)opaque)->iomem + addr, size, value);
}

static const MemoryRegionOps word_ops = {
    .read = port_read,
    .write = port_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};
static const MemoryRegionOps bytes_ops = {
    .read = port_read,
    .write = port_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 1 },
};
static const MemoryRegionOps lines_ops = {
    .read = lines_read,
    .write = lines_write,
    .valid = { .min = 1, .max = 1 },
};
static const MemoryRegionOps iomem_ops = {
    .read = iomem_read,
    .write = iomem_write,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 1, .max = 8 },
};

static bool testdev_realize(Device *dev, Error **errp)
{
    PcTestdev *s = testdev_cast(dev);

    isa_device_add_io(dev, &s->word_io, PORT_WORD);
    isa_device_add_io(dev, &s->bytes_io, PORT_BYTES);
    isa_device_add_io(dev, &s->lines_io, PORT_LINES);
    memory_region_add_overlap(isa_bus_of(dev)->memory, IOMEM_BASE, &s->memory_io, 1);
    return true;
}

static void testdev_unrealize(Device *dev)
{
    PcTestdev *s = testdev_cast(dev);

    isa_device_del_io(dev, &s->word_io);
    isa_device_del_io(dev, &s->bytes_io);
    isa_device_del_io(dev, &s->lines_io);
    memory_region_del(isa_bus_of(dev)->memory, &s->memory_io);
}

static void testdev_init(Object *obj)
{
    PcTestdev *s = testdev_cast(obj);

    memory_region_init_io(&s->word_io, obj, &word_ops, s, "pc-testdev-ioport", PORT_SIZE);
    memory_region_init_io(&s->bytes_io, obj, &bytes_ops, s, "pc-testdev-ioport-byte", PORT_SIZE);
    memory_region_init_io(&s->lines_io, obj, &lines_ops, s, "pc-testdev-irq-line", LINES);
    memory_region_init_io(&s->memory_io, obj, &iomem_ops, s, "pc-testdev-iomem", IOMEM_SIZE);
}

static void testdev_finalize(Object *obj)
{
    PcTestdev *s = testdev_cast(obj);

    memory_region_finish(&s->word_io);
    memory_region_finish(&s->bytes_io);
    memory_region_finish(&s->lines_io);
    memory_region_finish(&s->memory_io);
}

static const VmState testdev_vmstate = {
    .name = "pc-testdev",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_BUFFER(port, PcTestdev),
                                      VMSTATE_BUFFER(iomem, PcTestdev),
                                      {} },
};

static void testdev_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_MISC;
    dc->realize = testdev_realize;
    dc->unrealize = testdev_unrealize;
    dc->vmstate = &testdev_vmstate;
}

static const TypeInfo testdev_info = {
    .name = TYPE_PC_TESTDEV,
    .parent = TYPE_ISA_DEVICE,
    .help = "PC test device",
    .instance_size = sizeof(PcTestdev),
    .instance_init = testdev_init,
    .instance_finalize = testdev_finalize,
    .class_init = testdev_class_init,
};
OBJECT_TYPE(pc_testdev, testdev_info)
