/*
 * ICH9 LPC bridge (function 1f.0): ISA bus, PIRQ routing, power management, chipset configuration.
 *
 * Intel I/O Controller Hub 9 data sheet (316972), chapters 10 and 13.
 */
#include <string.h>

#include "devices/chipset/southbridge-internal.h"
#include "object/property.h"

#define LPC_PMBASE    0x40
#define LPC_ACPI_CNTL 0x44
#define LPC_PIRQ_A    0x60 /* to D */
#define LPC_PIRQ_E    0x68 /* to H */
#define LPC_IO_DECODE 0x80 /* and LPC_EN: kept for software */
#define LPC_GEN_PMCON 0xa0
#define LPC_BIOS_CNTL 0xdc
#define LPC_RCBA      0xf0
#define PMBASE_MASK   0xff80u
#define PMBASE_IO     0x1u
#define ACPI_CNTL_EN  0x80u
#define RCBA_MASK     0xffffc000u
#define RCBA_ENABLE   0x1u
#define LPC_PIRQS     8
#define GSI_PIRQ_A    16
#define APM_ENABLE    0x02
#define APM_DISABLE   0x03
#define SETUP_IRQ(n)  (((n)&3) < 2 ? 10 : 11)
#define ELCR_2        0x4d1

/* Chipset configuration space, chapter 10. */
#define RCBA_SIZE      0x4000
#define RCBA_D31IR     0x3140 /* D30IR at 3142h … D25IR at 3150h: pins to PIRQ lines */
#define RCBA_DIR_COUNT 9
#define RCBA_DIR_RESET 0x3210u

/* Slots whose pins the chipset itself routes, by the reset values above. */
#define CHIPSET_SLOT_MIN 25

typedef struct Ich9Lpc {
    PciDevice parent;
    PirqRouter router;
    AcpiPm pm;
    ResetControl reset_control;
    uint8_t chip_config[RCBA_SIZE];
    MemoryRegion rcba;
} Ich9Lpc;

static Ich9Lpc *ich9_lpc_cast(void *obj)
{
    return (Ich9Lpc *)object_cast((Object *)obj, TYPE_ICH9_LPC);
}

AcpiPm *ich9_lpc_pm(PciDevice *dev)
{
    return &ich9_lpc_cast(dev)->pm;
}

/* --- PCI interrupts --- */

/* The routing registers of chapter 10 are fixed at their reset values, as the ACPI tables say. */
static int ich9_map_irq(void *opaque, PciDevice *dev, int pin)
{
    int slot = PCI_SLOT(dev->devfn);

    return slot < CHIPSET_SLOT_MIN ? 4 + (slot + pin) % 4 : pin;
}

static void ich9_set_irq(void *opaque, int line, int level)
{
    Ich9Lpc *s = opaque;

    pirq_set_level(&s->router, line, level);
    irq_set(&s->router.gsi[GSI_PIRQ_A + line], level);
}

static PciIntxRoute ich9_route_irq(void *opaque, int line)
{
    return (PciIntxRoute){ .mode = PCI_INTX_ENABLED, .irq = GSI_PIRQ_A + line };
}

static const PciRootOps ich9_root_ops = {
    .map_irq = ich9_map_irq,
    .set_irq = ich9_set_irq,
    .route_irq = ich9_route_irq,
    .lines = LPC_PIRQS,
};

static unsigned route_register(unsigned n)
{
    return n < 4 ? LPC_PIRQ_A + n : LPC_PIRQ_E + n - 4;
}

static void update_routes(Ich9Lpc *s)
{
    for (unsigned i = 0; i < LPC_PIRQS; i++) {
        pirq_set_route(&s->router, i, s->parent.config[route_register(i)]);
    }
}

/* --- Configuration --- */

static void update_mappings(Ich9Lpc *s)
{
    const uint8_t *config = s->parent.config;
    uint32_t rcba = ld32_le(&config[LPC_RCBA]);

    memory_begin();
    memory_region_set_enabled(&s->pm.io, config[LPC_ACPI_CNTL] & ACPI_CNTL_EN);
    memory_region_set_address(&s->pm.io, ld32_le(&config[LPC_PMBASE]) & PMBASE_MASK);
    memory_region_set_enabled(&s->rcba, rcba & RCBA_ENABLE);
    memory_region_set_address(&s->rcba, rcba & RCBA_MASK);
    memory_commit();
}

static void ich9_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    Ich9Lpc *s = ich9_lpc_cast(dev);

    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, LPC_PMBASE, 8) ||
        pci_ranges_overlap(addr, len, LPC_RCBA, 4)) {
        update_mappings(s);
    }
    if (pci_ranges_overlap(addr, len, LPC_PIRQ_A, 4) ||
        pci_ranges_overlap(addr, len, LPC_PIRQ_E, 4)) {
        update_routes(s);
    }
}

void ich9_lpc_setup(PciDevice *dev)
{
    southbridge_config(dev, LPC_PMBASE, PM_IO_BASE | PMBASE_IO, 4);
    southbridge_config(dev, LPC_ACPI_CNTL, ACPI_CNTL_EN, 1);
    for (unsigned i = 0; i < LPC_PIRQS; i++) {
        southbridge_config(dev, route_register(i), SETUP_IRQ(i), 1);
    }
    address_space_store(address_space_io(), ELCR_2, 1, MEMTXATTRS_UNSPECIFIED, 0x0c);
}

/* --- Chipset configuration registers --- */

static uint64_t rcba_read(void *opaque, hwaddr addr, unsigned size)
{
    return ldn_le(&((Ich9Lpc *)opaque)->chip_config[addr], size);
}

static void rcba_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Ich9Lpc *s = opaque;

    if (addr + size > RCBA_D31IR && addr < RCBA_D31IR + 2 * RCBA_DIR_COUNT) {
        return; /* routing is fixed */
    }
    stn_le(&s->chip_config[addr], size, value);
}

static const MemoryRegionOps rcba_ops = {
    .read = rcba_read,
    .write = rcba_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};

/* --- Life --- */

static void ich9_reset(Device *device)
{
    Ich9Lpc *s = ich9_lpc_cast(device);
    uint8_t *config = s->parent.config;

    st32_le(&config[LPC_PMBASE], PMBASE_IO);
    config[LPC_ACPI_CNTL] = 0;
    for (unsigned i = 0; i < LPC_PIRQS; i++) {
        config[route_register(i)] = PIRQ_ROUTE_OFF;
    }
    st32_le(&config[LPC_RCBA], 0);
    memset(s->chip_config, 0, sizeof(s->chip_config));
    for (unsigned i = 0; i < RCBA_DIR_COUNT; i++) {
        st16_le(&s->chip_config[RCBA_D31IR + 2 * i], RCBA_DIR_RESET);
    }
    s->reset_control.value = 0;
    acpi_pm_reset(&s->pm);
    update_routes(s);
    update_mappings(s);
}

static bool ich9_realize(PciDevice *dev, Error **errp)
{
    Ich9Lpc *s = ich9_lpc_cast(dev);
    IsaBus *isa = isa_bus_new(&dev->parent, io_root(), pci_device_bus(dev)->memory, "isa.0");

    isa_bus_set_irqs(isa, s->router.gsi);
    st32_le(&dev->config_mask[LPC_PMBASE], PMBASE_MASK);
    dev->config_mask[LPC_ACPI_CNTL] = ACPI_CNTL_EN | 0x07;
    for (unsigned i = 0; i < LPC_PIRQS; i++) {
        dev->config_mask[route_register(i)] = PIRQ_ROUTE_OFF | PIRQ_ROUTE_IRQ;
    }
    st32_le(&dev->config_mask[LPC_IO_DECODE], 0x3f0fu | 0x3f0f0000u);
    st32_le(&dev->config_mask[LPC_GEN_PMCON], 0xffffu);
    dev->config_mask[LPC_BIOS_CNTL] = 0x03;
    st32_le(&dev->config_mask[LPC_RCBA], RCBA_MASK | RCBA_ENABLE);
    memory_region_set_enabled(&s->pm.io, false);
    memory_region_set_enabled(&s->rcba, false);
    memory_region_add(io_root(), 0, &s->pm.io);
    memory_region_add_overlap(memory_root(), 0, &s->rcba, 1);
    reset_control_map(&s->reset_control, pci_device_bus(dev));
    acpi_pm_realize(&s->pm);
    return true;
}

static void ich9_exit(PciDevice *dev)
{
    Ich9Lpc *s = ich9_lpc_cast(dev);

    acpi_pm_unrealize(&s->pm);
    memory_region_del(io_root(), &s->pm.io);
    memory_region_del(memory_root(), &s->rcba);
    reset_control_unmap(&s->reset_control);
}

static bool ich9_post_load(void *opaque, int version, Error **errp)
{
    Ich9Lpc *s = opaque;

    for (unsigned i = 0; i < LPC_PIRQS; i++) {
        s->router.routes[i] = s->parent.config[route_register(i)];
    }
    update_mappings(s);
    return true;
}

static const VmState ich9_vmstate = {
    .name = "ICH9LPC",
    .version = 1,
    .minimum_version = 1,
    .post_load = ich9_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT(parent, Ich9Lpc, pci_device_vmstate),
            VMSTATE_UINT8(router.levels, Ich9Lpc),
            VMSTATE_STRUCT(pm, Ich9Lpc, acpi_pm_vmstate),
            VMSTATE_STRUCT(reset_control, Ich9Lpc, reset_control_vmstate),
            VMSTATE_BUFFER(chip_config, Ich9Lpc),
            {},
        },
};

static const Field ich9_properties[] = {
    PROP_UINT8("disable_s3", Ich9Lpc, pm.disable_s3, 0, .help = "no suspend to memory"),
    PROP_UINT8("disable_s4", Ich9Lpc, pm.disable_s4, 0, .help = "no suspend to disk"),
    PROP_UINT8("s4_val", Ich9Lpc, pm.s4_val, ACPI_SLP_S4, .help = "sleep type of S4"),
    {},
};

static void ich9_init(Object *obj)
{
    static const AcpiPmConfig config = {
        .gpe_bytes = ICH9_GPE_BYTES,
        .gpe_offset = ICH9_GPE_OFFSET,
        .apm_enable = APM_ENABLE,
        .apm_disable = APM_DISABLE,
    };
    Ich9Lpc *s = ich9_lpc_cast(obj);

    s->router.count = LPC_PIRQS;
    for (unsigned i = 0; i < LPC_PIRQS; i++) {
        s->router.routes[i] = PIRQ_ROUTE_OFF;
    }
    acpi_pm_init(&s->pm, &s->parent.parent, &config);
    reset_control_init(&s->reset_control, obj);
    memory_region_init_io(&s->rcba, obj, &rcba_ops, s, "lpc-rcrb-mmio", RCBA_SIZE);
    device_init_lines_out(&s->parent.parent, NULL, &s->pm.sci, 1);
}

static void ich9_finalize(Object *obj)
{
    Ich9Lpc *s = ich9_lpc_cast(obj);

    acpi_pm_finish(&s->pm);
    memory_region_finish(&s->reset_control.io);
    memory_region_finish(&s->rcba);
}

PciDevice *ich9_lpc_new(PciBus *bus, Irq *gsi)
{
    PciDevice *dev = pci_device_new_multifunction(PCI_DEVFN(31, 0), TYPE_ICH9_LPC);

    ich9_lpc_cast(dev)->router.gsi = gsi;
    pci_bus_set_irqs(bus, &ich9_root_ops, dev);
    return dev;
}

static void ich9_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    pc->realize = ich9_realize;
    pc->exit = ich9_exit;
    pc->config_write = ich9_config_write;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x2918;
    pc->revision = 0x02;
    pc->class_id = PCI_CLASS_BRIDGE_ISA;
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->reset = ich9_reset;
    dc->vmstate = &ich9_vmstate;
    dc->user_creatable = false;
    dc->hotpluggable = false;
}

static const TypeInfo ich9_info = {
    .name = TYPE_ICH9_LPC,
    .parent = TYPE_PCI_DEVICE,
    .help = "ICH9 LPC bridge",
    .instance_size = sizeof(Ich9Lpc),
    .properties = ich9_properties,
    .instance_init = ich9_init,
    .instance_finalize = ich9_finalize,
    .class_init = ich9_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(ich9, ich9_info)
