/*
 * PIIX3 (82371SB) function 0: PCI to ISA bridge, PIRQ routing, reset control.
 *
 * Intel 82371FB/82371SB data sheet (290550), section 2.2.
 */
#include "devices/chipset/southbridge-internal.h"

#define PIIX3_PIRQ_ROUTE 0x60 /* four registers */
#define PIIX3_PIRQS      4
/* The order of the two that firmware uses: PIRQ A and B on 10, C and D on 11. */
#define SETUP_IRQ(n) ((n) < 2 ? 10 : 11)
#define ELCR_2       0x4d1 /* interrupts 8 to 15 */

typedef struct Piix3 {
    PciDevice parent;
    PirqRouter router;
    ResetControl reset_control;
} Piix3;

static Piix3 *piix3_cast(void *obj)
{
    return (Piix3 *)object_cast((Object *)obj, TYPE_PIIX3);
}

/* The pins of the slots rotate over the lines; slot 1 is the PIIX3 itself. */
static int piix3_map_irq(void *opaque, PciDevice *dev, int pin)
{
    return (PCI_SLOT(dev->devfn) + pin + PIIX3_PIRQS - 1) % PIIX3_PIRQS;
}

static void piix3_set_irq(void *opaque, int line, int level)
{
    pirq_set_level(&((Piix3 *)opaque)->router, line, level);
}

static PciIntxRoute piix3_route_irq(void *opaque, int line)
{
    uint8_t route = ((Piix3 *)opaque)->router.routes[line];

    if (route & PIRQ_ROUTE_OFF) {
        return (PciIntxRoute){ .mode = PCI_INTX_DISABLED, .irq = -1 };
    }
    return (PciIntxRoute){ .mode = PCI_INTX_ENABLED, .irq = route & PIRQ_ROUTE_IRQ };
}

static const PciRootOps piix3_root_ops = {
    .map_irq = piix3_map_irq,
    .set_irq = piix3_set_irq,
    .route_irq = piix3_route_irq,
    .lines = PIIX3_PIRQS,
};

static void update_routes(Piix3 *s)
{
    for (unsigned i = 0; i < PIIX3_PIRQS; i++) {
        pirq_set_route(&s->router, i, s->parent.config[PIIX3_PIRQ_ROUTE + i]);
    }
}

static void piix3_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, PIIX3_PIRQ_ROUTE, PIIX3_PIRQS)) {
        update_routes(piix3_cast(dev));
    }
}

static void piix3_reset(Device *device)
{
    Piix3 *s = piix3_cast(device);
    PciDevice *dev = &s->parent;

    for (unsigned i = 0; i < PIIX3_PIRQS; i++) {
        dev->config[PIIX3_PIRQ_ROUTE + i] = PIRQ_ROUTE_OFF;
    }
    s->reset_control.value = 0;
    update_routes(s);
}

void piix3_setup(PciDevice *dev)
{
    for (unsigned i = 0; i < PIIX3_PIRQS; i++) {
        southbridge_config(dev, PIIX3_PIRQ_ROUTE + i, SETUP_IRQ(i), 1);
    }
    address_space_store(address_space_io(), ELCR_2, 1, MEMTXATTRS_UNSPECIFIED, 0x0c);
}

static bool piix3_realize(PciDevice *dev, Error **errp)
{
    Piix3 *s = piix3_cast(dev);
    IsaBus *isa = isa_bus_new(&dev->parent, io_root(), pci_device_bus(dev)->memory, "isa.0");

    isa_bus_set_irqs(isa, s->router.gsi);
    for (unsigned i = 0; i < PIIX3_PIRQS; i++) {
        dev->config_mask[PIIX3_PIRQ_ROUTE + i] = PIRQ_ROUTE_OFF | PIRQ_ROUTE_IRQ;
    }
    reset_control_map(&s->reset_control, pci_device_bus(dev));
    return true;
}

static void piix3_exit(PciDevice *dev)
{
    reset_control_unmap(&piix3_cast(dev)->reset_control);
}

static bool piix3_post_load(void *opaque, int version, Error **errp)
{
    Piix3 *s = opaque;

    for (unsigned i = 0; i < PIIX3_PIRQS; i++) {
        s->router.routes[i] = s->parent.config[PIIX3_PIRQ_ROUTE + i];
    }
    return true;
}

static const VmState piix3_vmstate = {
    .name = "PIIX3",
    .version = 1,
    .minimum_version = 1,
    .post_load = piix3_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT(parent, Piix3, pci_device_vmstate),
            VMSTATE_UINT8(router.levels, Piix3),
            VMSTATE_STRUCT(reset_control, Piix3, reset_control_vmstate),
            {},
        },
};

static void piix3_init(Object *obj)
{
    Piix3 *s = piix3_cast(obj);

    s->router.count = PIIX3_PIRQS;
    for (unsigned i = 0; i < PIIX3_PIRQS; i++) {
        s->router.routes[i] = PIRQ_ROUTE_OFF;
    }
    reset_control_init(&s->reset_control, obj);
}

static void piix3_finalize(Object *obj)
{
    memory_region_finish(&piix3_cast(obj)->reset_control.io);
}

PciDevice *piix3_new(PciBus *bus, Irq *gsi)
{
    PciDevice *dev = pci_device_new_multifunction(PCI_DEVFN(1, 0), TYPE_PIIX3);

    piix3_cast(dev)->router.gsi = gsi;
    pci_bus_set_irqs(bus, &piix3_root_ops, dev);
    return dev;
}

static void piix3_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    pc->realize = piix3_realize;
    pc->exit = piix3_exit;
    pc->config_write = piix3_config_write;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x7000;
    pc->class_id = PCI_CLASS_BRIDGE_ISA;
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->reset = piix3_reset;
    dc->vmstate = &piix3_vmstate;
    dc->user_creatable = false;
    dc->hotpluggable = false;
}

static const TypeInfo piix3_info = {
    .name = TYPE_PIIX3,
    .parent = TYPE_PCI_DEVICE,
    .help = "82371SB PCI to ISA bridge",
    .instance_size = sizeof(Piix3),
    .instance_init = piix3_init,
    .instance_finalize = piix3_finalize,
    .class_init = piix3_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(piix3, piix3_info)
