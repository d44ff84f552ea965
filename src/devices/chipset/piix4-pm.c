/*
 * PIIX4 (82371AB) function 3: power management. On the PC's board it stands beside the PIIX3.
 *
 * Intel 82371AB data sheet (290562), chapter 7.
 */
#include "devices/chipset/southbridge-internal.h"
#include "devices/acpi/pci-hotplug.h"
#include "devices/i2c/smbus-host.h"
#include "object/property.h"

#define PIIX4_PMBA       0x40
#define PIIX4_DEVACTB    0x58
#define PIIX4_PMREGMISC  0x80
#define PIIX4_SMBA       0x90 /* section 7.1: SMBus base, host configuration */
#define PIIX4_SMBHSTCFG  0xd2
#define SMBA_MASK        0xfff0u
#define SMBHSTCFG_ENABLE 0x01
#define SMBHSTCFG_KEPT   0x0f
#define PMBA_MASK        0xffc0u
#define PMBA_IO          0x1u
#define PMREGMISC_ENABLE 0x1u
/* Bit 25, in the last byte: SMIs by the APM control port count as enabled, so that firmware has
 * nothing left to set up for system management mode. */
#define DEVACTB_APMC 0x02u
#define APM_ENABLE   0xf1
#define APM_DISABLE  0xf0

typedef struct Piix4Pm {
    PciDevice parent;
    AcpiPm pm;
    PciHotplug hotplug;
    SmbusHost smbus;
} Piix4Pm;

static Piix4Pm *piix4_pm_cast(void *obj)
{
    return (Piix4Pm *)object_cast((Object *)obj, TYPE_PIIX4_PM);
}

AcpiPm *piix4_pm(PciDevice *dev)
{
    return &piix4_pm_cast(dev)->pm;
}

Bus *piix4_smbus_bus(PciDevice *dev)
{
    return piix4_pm_cast(dev)->smbus.bus;
}

/* The interrupt goes to SMI or to the SCI's line, neither of which drivers use: they poll. */
static void smbus_irq(void *opaque, bool level)
{
}

static bool plug(Object *handler, Device *dev, Error **errp)
{
    pci_hotplug_plugged(&piix4_pm_cast(handler)->hotplug, pci_device_cast(dev));
    return true;
}

static bool unplug_request(Object *handler, Device *dev, Error **errp)
{
    pci_hotplug_ask(&piix4_pm_cast(handler)->hotplug, pci_device_cast(dev));
    return true;
}

static void update_mapping(Piix4Pm *s)
{
    const uint8_t *config = s->parent.config;

    memory_begin();
    memory_region_set_enabled(&s->pm.io, config[PIIX4_PMREGMISC] & PMREGMISC_ENABLE);
    memory_region_set_address(&s->pm.io, ld16_le(&config[PIIX4_PMBA]) & PMBA_MASK);
    memory_region_set_enabled(&s->smbus.io, config[PIIX4_SMBHSTCFG] & SMBHSTCFG_ENABLE);
    memory_region_set_address(&s->smbus.io, ld16_le(&config[PIIX4_SMBA]) & SMBA_MASK);
    memory_commit();
}

static void piix4_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, PIIX4_PMBA, 4) ||
        pci_ranges_overlap(addr, len, PIIX4_PMREGMISC, 1) ||
        pci_ranges_overlap(addr, len, PIIX4_SMBA, 4) ||
        pci_ranges_overlap(addr, len, PIIX4_SMBHSTCFG, 1)) {
        update_mapping(piix4_pm_cast(dev));
    }
}

void piix4_setup(PciDevice *dev)
{
    southbridge_config(dev, PIIX4_PMBA, PM_IO_BASE | PMBA_IO, 4);
    southbridge_config(dev, PIIX4_PMREGMISC, PMREGMISC_ENABLE, 1);
}

static void piix4_reset(Device *device)
{
    Piix4Pm *s = piix4_pm_cast(device);

    st32_le(&s->parent.config[PIIX4_PMBA], PMBA_IO);
    s->parent.config[PIIX4_PMREGMISC] = 0;
    st32_le(&s->parent.config[PIIX4_SMBA], PMBA_IO);
    s->parent.config[PIIX4_SMBHSTCFG] = 0;
    smbus_host_reset(&s->smbus);
    pci_hotplug_reset(&s->hotplug);
    s->parent.config[PIIX4_DEVACTB + 3] = DEVACTB_APMC;
    acpi_pm_reset(&s->pm);
    update_mapping(s);
}

static bool piix4_realize(PciDevice *dev, Error **errp)
{
    Piix4Pm *s = piix4_pm_cast(dev);

    pci_set_byte(&dev->config[PCI_INTERRUPT_PIN], 1);
    st32_le(&dev->config_mask[PIIX4_PMBA], PMBA_MASK);
    dev->config_mask[PIIX4_PMREGMISC] = PMREGMISC_ENABLE;
    memory_region_set_enabled(&s->pm.io, false);
    memory_region_add(io_root(), 0, &s->pm.io);
    memory_region_add(io_root(), PIIX4_GPE_BASE, &s->pm.gpe_io);
    st32_le(&dev->config_mask[PIIX4_SMBA], SMBA_MASK);
    dev->config_mask[PIIX4_SMBHSTCFG] = SMBHSTCFG_KEPT;
    memory_region_set_enabled(&s->smbus.io, false);
    memory_region_add(io_root(), 0, &s->smbus.io);
    smbus_host_realize(&s->smbus, &dev->parent);
    pci_hotplug_realize(&s->hotplug, &dev->parent.parent, pci_device_bus(dev));
    acpi_pm_realize(&s->pm);
    return true;
}

static void piix4_exit(PciDevice *dev)
{
    Piix4Pm *s = piix4_pm_cast(dev);

    acpi_pm_unrealize(&s->pm);
    pci_hotplug_unrealize(&s->hotplug);
    memory_region_del(io_root(), &s->smbus.io);
    memory_region_del(io_root(), &s->pm.io);
    memory_region_del(io_root(), &s->pm.gpe_io);
}

static bool piix4_post_load(void *opaque, int version, Error **errp)
{
    update_mapping(opaque);
    return true;
}

static const VmState piix4_vmstate = {
    .name = "piix4_pm",
    .version = 1,
    .minimum_version = 1,
    .post_load = piix4_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT(parent, Piix4Pm, pci_device_vmstate),
            VMSTATE_STRUCT(pm, Piix4Pm, acpi_pm_vmstate),
            VMSTATE_STRUCT(hotplug, Piix4Pm, pci_hotplug_vmstate),
            VMSTATE_STRUCT(smbus, Piix4Pm, smbus_host_vmstate),
            {},
        },
};

static const Field piix4_properties[] = {
    PROP_UINT8("disable_s3", Piix4Pm, pm.disable_s3, 0, .help = "no suspend to memory"),
    PROP_UINT8("disable_s4", Piix4Pm, pm.disable_s4, 0, .help = "no suspend to disk"),
    PROP_UINT8("s4_val", Piix4Pm, pm.s4_val, ACPI_SLP_S4, .help = "sleep type of S4"),
    {},
};

static void piix4_init(Object *obj)
{
    static const AcpiPmConfig config = {
        .gpe_bytes = PIIX4_GPE_BYTES,
        .gpe_offset = UINT32_MAX,
        .apm_enable = APM_ENABLE,
        .apm_disable = APM_DISABLE,
    };
    Piix4Pm *s = piix4_pm_cast(obj);

    acpi_pm_init(&s->pm, &s->parent.parent, &config);
    pci_hotplug_init(&s->hotplug, obj, &s->pm);
    smbus_host_init(&s->smbus, obj, false, smbus_irq, s);
    device_init_lines_out(&s->parent.parent, NULL, &s->pm.sci, 1);
}

static void piix4_finalize(Object *obj)
{
    acpi_pm_finish(&piix4_pm_cast(obj)->pm);
    pci_hotplug_finish(&piix4_pm_cast(obj)->hotplug);
    smbus_host_finish(&piix4_pm_cast(obj)->smbus);
}

static void piix4_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    hotplug_handler_class_cast(klass)->plug = plug;
    hotplug_handler_class_cast(klass)->unplug_request = unplug_request;
    pc->realize = piix4_realize;
    pc->exit = piix4_exit;
    pc->config_write = piix4_config_write;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x7113;
    pc->revision = 0x03;
    pc->class_id = PCI_CLASS_BRIDGE_OTHER;
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->reset = piix4_reset;
    dc->vmstate = &piix4_vmstate;
    dc->user_creatable = false;
    dc->hotpluggable = false;
}

static const TypeInfo piix4_info = {
    .name = TYPE_PIIX4_PM,
    .parent = TYPE_PCI_DEVICE,
    .help = "82371AB power management",
    .instance_size = sizeof(Piix4Pm),
    .properties = piix4_properties,
    .instance_init = piix4_init,
    .instance_finalize = piix4_finalize,
    .class_init = piix4_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, TYPE_HOTPLUG_HANDLER, NULL },
};
OBJECT_TYPE(piix4, piix4_info)
