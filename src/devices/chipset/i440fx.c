/*
 * 82441FX host bridge (i440FX): PCI root bus "pci.0", PAM and SMRAM.
 *
 * Intel 82441FX data sheet (order number 290549).
 */
#include "base/log.h"
#include "devices/chipset/northbridge-internal.h"
#include "object/property.h"

#define I440FX_PAM   0x59 /* seven registers */
#define I440FX_SMRAM 0x72
#define SMRAM_LOCK   0x10u
#define SMRAM_RESET  0x02u

typedef struct I440fx {
    PciDevice parent;
    Northbridge *nb; /* of the host */
} I440fx;

typedef struct I440fxHost {
    PciHost parent;
    Northbridge nb;
} I440fxHost;

static I440fx *i440fx_cast(void *obj)
{
    return (I440fx *)object_cast((Object *)obj, TYPE_I440FX);
}

static I440fxHost *i440fx_host_cast(void *obj)
{
    return (I440fxHost *)object_cast((Object *)obj, TYPE_I440FX_HOST);
}

Northbridge *i440fx_northbridge(Device *host)
{
    return &i440fx_host_cast(host)->nb;
}

/* --- The function 00.0 --- */

static void i440fx_update(I440fx *s)
{
    if (s->nb->mapped) {
        pam_update(&s->nb->pam, &s->parent.config[I440FX_PAM], s->parent.config[I440FX_SMRAM]);
    }
}

static void i440fx_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, I440FX_PAM, PAM_REGISTERS) ||
        pci_ranges_overlap(addr, len, I440FX_SMRAM, 1)) {
        i440fx_update(i440fx_cast(dev));
    }
}

static bool i440fx_realize(PciDevice *dev, Error **errp)
{
    I440fx *s = i440fx_cast(dev);

    s->nb = i440fx_northbridge(pci_device_bus(dev)->parent.owner);
    for (unsigned i = 0; i < PAM_REGISTERS; i++) {
        dev->config_mask[I440FX_PAM + i] = i == 0 ? 0x30 : 0x33;
    }
    dev->config_mask[I440FX_SMRAM] = 0x78;
    return true;
}

static void i440fx_reset(Device *device)
{
    PciDevice *dev = pci_device_cast(device);

    for (unsigned i = 0; i < PAM_REGISTERS; i++) {
        dev->config[I440FX_PAM + i] = 0;
    }
    dev->config[I440FX_SMRAM] = SMRAM_RESET;
    i440fx_update(i440fx_cast(dev));
}

static bool i440fx_post_load(void *opaque, int version, Error **errp)
{
    i440fx_update(opaque);
    return true;
}

static const VmState i440fx_vmstate = {
    .name = "I440FX",
    .version = 1,
    .minimum_version = 1,
    .post_load = i440fx_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, I440fx, pci_device_vmstate), {} },
};

static void i440fx_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    pc->realize = i440fx_realize;
    pc->config_write = i440fx_config_write;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x1237;
    pc->revision = 0x02;
    pc->class_id = PCI_CLASS_BRIDGE_HOST;
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->reset = i440fx_reset;
    dc->vmstate = &i440fx_vmstate;
    dc->user_creatable = false;
    dc->hotpluggable = false;
}

static const TypeInfo i440fx_info = {
    .name = TYPE_I440FX,
    .parent = TYPE_PCI_DEVICE,
    .help = "82441FX host bridge",
    .instance_size = sizeof(I440fx),
    .class_init = i440fx_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(i440fx, i440fx_info)

/* --- The host bridge --- */

static bool i440fx_host_realize(Device *dev, Error **errp)
{
    I440fxHost *s = i440fx_host_cast(dev);

    memory_region_add(io_root(), PCI_CONFIG_ADDRESS_PORT, &s->parent.config_address);
    memory_region_add(io_root(), PCI_CONFIG_DATA_PORT, &s->parent.config_data);
    northbridge_map(&s->nb, &dev->parent);
    s->parent.bus = pci_root_bus_new(dev, "pci.0", TYPE_PCI_BUS, &s->nb.pci_memory, io_root(), 0);
    return true;
}

static void i440fx_host_unrealize(Device *dev)
{
    I440fxHost *s = i440fx_host_cast(dev);

    memory_region_del(io_root(), &s->parent.config_address);
    memory_region_del(io_root(), &s->parent.config_data);
}

static void i440fx_host_init(Object *obj)
{
    northbridge_init(&i440fx_host_cast(obj)->nb, obj);
}

static void i440fx_host_finalize(Object *obj)
{
    northbridge_finish(&i440fx_host_cast(obj)->nb);
}

static const VmState i440fx_host_vmstate = {
    .name = "i440FX-pcihost",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, I440fxHost, pci_host_vmstate), {} },
};

static void i440fx_host_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciHostClass *hc = pci_host_class_cast(klass);

    hc->fw_name = "0000:00";
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->bus_type = TYPE_SYSTEM_BUS;
    dc->realize = i440fx_host_realize;
    dc->unrealize = i440fx_host_unrealize;
    dc->vmstate = &i440fx_host_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo i440fx_host_info = {
    .name = TYPE_I440FX_HOST,
    .parent = TYPE_PCI_HOST,
    .help = "i440FX PCI host bridge",
    .instance_size = sizeof(I440fxHost),
    .instance_init = i440fx_host_init,
    .instance_finalize = i440fx_host_finalize,
    .class_init = i440fx_host_class_init,
};
OBJECT_TYPE(i440fx_host, i440fx_host_info)
