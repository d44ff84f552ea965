/*
 * The PCI VGA: memory in BAR 0, registers in BAR 2 and at the traditional addresses.
 *
 * BAR 2, 4 KiB: 400h to 41Fh are the ports 3C0h to 3DFh, 500h on the DISPI registers (16 bits
 * each), 600h on how large that is and the byte order of the memory, which is always little.
 */
#include <inttypes.h>

#include "bus/pci/pci.h"
#include "devices/display/vga.h"
#include "object/property.h"

#define TYPE_VGA "VGA"

#define VRAM_MIB_DEFAULT 16
#define VRAM_MIB_MAX     256
#define MMIO_SIZE        0x1000
#define MMIO_PORTS       0x400
#define MMIO_VBE         0x500
#define MMIO_EXT         0x600
#define EXT_SIZE         8
#define EXT_LITTLE       0x1e1e1e1eu

typedef struct VgaPci {
    PciDevice parent;
    Vga vga;
    uint32_t vgamem_mb;
    MemoryRegion mmio;
} VgaPci;

static VgaPci *vga_pci_cast(void *obj)
{
    return (VgaPci *)object_cast((Object *)obj, TYPE_VGA);
}

/* --- BAR 2 --- */

static uint64_t mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    Vga *v = &((VgaPci *)opaque)->vga;

    if (addr >= MMIO_PORTS && addr < MMIO_PORTS + 0x20) {
        return size == 1 ? vga_port_read(v, (uint16_t)(0x3c0 + addr - MMIO_PORTS)) : UINT64_MAX;
    }
    if (addr >= MMIO_VBE && addr < MMIO_VBE + 2 * VBE_COUNT) {
        return size == 2 ? vga_vbe_read(v, (unsigned)(addr - MMIO_VBE) / 2) : UINT64_MAX;
    }
    switch (addr) {
    case MMIO_EXT:
        return EXT_SIZE;
    case MMIO_EXT + 4:
        return EXT_LITTLE;
    default:
        return UINT64_MAX;
    }
}

static void mmio_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Vga *v = &((VgaPci *)opaque)->vga;

    if (addr >= MMIO_PORTS && addr < MMIO_PORTS + 0x20 && size == 1) {
        vga_port_write(v, (uint16_t)(0x3c0 + addr - MMIO_PORTS), (uint8_t)value);
    } else if (addr >= MMIO_VBE && addr < MMIO_VBE + 2 * VBE_COUNT && size == 2) {
        vga_vbe_write(v, (unsigned)(addr - MMIO_VBE) / 2, (uint16_t)value);
    }
}

static const MemoryRegionOps mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};

/* --- Life --- */

static void vga_pci_reset(Device *dev)
{
    vga_reset(&vga_pci_cast(dev)->vga);
}

static bool vga_pci_realize(PciDevice *dev, Error **errp)
{
    VgaPci *s = vga_pci_cast(dev);
    PciBus *root = pci_bus_root(pci_device_bus(dev));

    if (!is_power_of_two(s->vgamem_mb) || s->vgamem_mb > VRAM_MIB_MAX) {
        error_set(errp, "vgamem_mb must be a power of two between 1 and %d, got %u", VRAM_MIB_MAX,
                  s->vgamem_mb);
        return false;
    }
    vga_finish(&s->vga); /* of an earlier realize */
    if (!vga_init(&s->vga, &dev->parent.parent, s->vgamem_mb * (uint32_t)MiB, errp)) {
        return false;
    }
    vga_reset(&s->vga);
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_MEM_PREFETCH, &s->vga.vram);
    pci_register_bar(dev, 2, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
    memory_begin();
    memory_region_add_overlap(root->memory, VGA_LEGACY_BASE, &s->vga.legacy, 1);
    memory_region_add_overlap(io_root(), VGA_PORT_BASE, &s->vga.ports, 1);
    memory_region_add_overlap(io_root(), VBE_PORT, &s->vga.vbe_io, 1);
    memory_commit();
    return true;
}

static void vga_pci_exit(PciDevice *dev)
{
    VgaPci *s = vga_pci_cast(dev);

    memory_begin();
    memory_region_del(pci_bus_root(pci_device_bus(dev))->memory, &s->vga.legacy);
    memory_region_del(io_root(), &s->vga.ports);
    memory_region_del(io_root(), &s->vga.vbe_io);
    memory_commit();
}

static void vga_pci_init(Object *obj)
{
    VgaPci *s = vga_pci_cast(obj);

    memory_region_init_io(&s->mmio, obj, &mmio_ops, s, "vga.mmio", MMIO_SIZE);
}

static void vga_pci_finalize(Object *obj)
{
    VgaPci *s = vga_pci_cast(obj);

    vga_finish(&s->vga);
    memory_region_finish(&s->mmio);
}

static void vga_pci_render(Object *obj, DisplayImage *image)
{
    vga_render(&vga_pci_cast(obj)->vga, image);
}

static const VmState vga_pci_vmstate = {
    .name = "vga-pci",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, VgaPci, pci_device_vmstate),
                                      VMSTATE_STRUCT(vga, VgaPci, vga_vmstate),
                                      {} },
};

static const Field vga_pci_properties[] = {
    PROP_UINT32("vgamem_mb", VgaPci, vgamem_mb, VRAM_MIB_DEFAULT, .help = "MiB of memory"), {}
};

static void vga_pci_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_DISPLAY;
    dc->reset = vga_pci_reset;
    dc->vmstate = &vga_pci_vmstate;
    dc->hotpluggable = false;
    pc->realize = vga_pci_realize;
    pc->exit = vga_pci_exit;
    pc->romfile = "vgabios-stdvga.bin";
    pc->vendor_id = 0x1234;
    pc->device_id = 0x1111;
    pc->revision = 0x02;
    pc->class_id = 0x0300;
    display_adapter_class_cast(klass)->render = vga_pci_render;
}

static const TypeInfo vga_pci_info = {
    .name = TYPE_VGA,
    .parent = TYPE_PCI_DEVICE,
    .help = "VGA with the linear modes of the Bochs display interface",
    .instance_size = sizeof(VgaPci),
    .properties = vga_pci_properties,
    .instance_init = vga_pci_init,
    .instance_finalize = vga_pci_finalize,
    .class_init = vga_pci_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, TYPE_DISPLAY_ADAPTER, NULL },
};
OBJECT_TYPE(vga_pci, vga_pci_info)
