/* ICH9 SMBus controller (function 1f.3). Intel ICH9 data sheet (316972), chapter 18. */
#include "bus/pci/pci.h"
#include "devices/chipset/southbridge.h"
#include "devices/i2c/smbus-host.h"
#include "object/property.h"

#define SMB_BAR    4
#define SMB_HOSTC  0x40
#define HOSTC_ON   0x01
#define HOSTC_KEPT 0x0d

typedef struct Ich9Smbus {
    PciDevice parent;
    SmbusHost host;
} Ich9Smbus;

static Ich9Smbus *ich9_smbus_cast(void *obj)
{
    return (Ich9Smbus *)object_cast((Object *)obj, TYPE_ICH9_SMBUS);
}

Bus *ich9_smbus_bus(PciDevice *dev)
{
    return ich9_smbus_cast(dev)->host.bus;
}

static void set_irq(void *opaque, bool level)
{
    pci_set_irq(opaque, level);
}

static void update(Ich9Smbus *s)
{
    memory_region_set_enabled(&s->host.io, s->parent.config[SMB_HOSTC] & HOSTC_ON);
}

static void smbus_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, SMB_HOSTC, 1)) {
        update(ich9_smbus_cast(dev));
    }
}

static void smbus_reset(Device *dev)
{
    Ich9Smbus *s = ich9_smbus_cast(dev);

    s->parent.config[SMB_HOSTC] = 0;
    smbus_host_reset(&s->host);
    update(s);
}

static bool smbus_realize(PciDevice *dev, Error **errp)
{
    Ich9Smbus *s = ich9_smbus_cast(dev);

    dev->config[PCI_INTERRUPT_PIN] = 1;
    dev->config_mask[SMB_HOSTC] = HOSTC_KEPT;
    pci_register_bar(dev, SMB_BAR, PCI_BASE_ADDRESS_SPACE_IO, &s->host.io);
    smbus_host_realize(&s->host, &dev->parent);
    return true;
}

static bool smbus_post_load(void *opaque, int version, Error **errp)
{
    update(opaque);
    return true;
}

static const VmState smbus_vmstate = {
    .name = "ich9-smb",
    .version = 1,
    .minimum_version = 1,
    .post_load = smbus_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, Ich9Smbus, pci_device_vmstate),
                                      VMSTATE_STRUCT(host, Ich9Smbus, smbus_host_vmstate),
                                      {} },
};

static void smbus_init(Object *obj)
{
    Ich9Smbus *s = ich9_smbus_cast(obj);

    smbus_host_init(&s->host, obj, true, set_irq, &s->parent);
}

static void smbus_finalize(Object *obj)
{
    smbus_host_finish(&ich9_smbus_cast(obj)->host);
}

static void smbus_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    pc->realize = smbus_realize;
    pc->config_write = smbus_config_write;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x2930;
    pc->revision = 0x02;
    pc->class_id = 0x0c05;
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->reset = smbus_reset;
    dc->vmstate = &smbus_vmstate;
    dc->user_creatable = false;
    dc->hotpluggable = false;
}

static const TypeInfo smbus_info = {
    .name = TYPE_ICH9_SMBUS,
    .parent = TYPE_PCI_DEVICE,
    .help = "ICH9 SMBus controller",
    .instance_size = sizeof(Ich9Smbus),
    .instance_init = smbus_init,
    .instance_finalize = smbus_finalize,
    .class_init = smbus_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(ich9_smbus, smbus_info)
