/*
 * PCI Express ports: root ports, and the ports of switches.
 *
 *   pcie-root-port       a root port of no particular maker
 *   ioh3420              Intel 5520/X58 root port
 *   x3130-upstream       TI XIO3130, upstream side of a switch
 *   xio3130-downstream   its downstream ports
 */
#include <string.h>

#include "bus/pci/bridge.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie-internal.h"
#include "object/property.h"

/* A port of any kind. */
typedef struct PciePort {
    PciBridge parent;
    uint8_t port; /* number in the link capabilities */
    int speed, width;
    /* ports that are slots */
    uint8_t chassis;
    uint16_t slot;
    bool hotplug, disable_acs;
    bool power_controller;
    OnOffAuto native_hotplug;
} PciePort;

/* Where each kind has its capabilities, and what it is. */
typedef struct PortKind {
    const char *name, *help;
    uint16_t vendor, device;
    uint8_t revision;
    uint8_t type; /* PCI_EXP_TYPE_* */
    uint8_t ssvid_offset, msi_offset, exp_offset, pm_offset;
    uint16_t subsystem_vendor, subsystem;
    unsigned vectors; /* of MSI, or of MSI-X when msi_offset is 0 */
    bool mask_bits, msi_64bit;
    uint16_t aer_offset, acs_offset;
    bool root, slot;
    PcieSpeed speed;
    PcieWidth width;
} PortKind;

static const PortKind kinds[] = {
    {
        .name = TYPE_PCIE_ROOT_PORT,
        .help = "PCI Express root port",
        .vendor = PCI_VENDOR_ID_REDHAT,
        .device = 0x000c,
        .type = PCI_EXP_TYPE_ROOT_PORT,
        .exp_offset = 0x54,
        .vectors = 1,
        .aer_offset = 0x100,
        .acs_offset = 0x148,
        .root = true,
        .slot = true,
        .speed = PCIE_SPEED_16,
        .width = PCIE_WIDTH_32,
    },
    {
        .name = TYPE_IOH3420,
        .help = "Intel IOH device id 3420 PCI Express root port",
        .vendor = PCI_VENDOR_ID_INTEL,
        .device = 0x3420,
        .revision = 0x02,
        .type = PCI_EXP_TYPE_ROOT_PORT,
        .ssvid_offset = 0x40,
        .subsystem_vendor = PCI_VENDOR_ID_INTEL,
        .msi_offset = 0x60,
        .exp_offset = 0x90,
        .vectors = 2,
        .mask_bits = true,
        .aer_offset = 0x100,
        .acs_offset = 0x148,
        .root = true,
        .slot = true,
        .speed = PCIE_SPEED_2_5,
        .width = PCIE_WIDTH_1,
    },
    {
        .name = TYPE_X3130_UPSTREAM,
        .help = "TI X3130 upstream port of a PCI Express switch",
        .vendor = PCI_VENDOR_ID_TI,
        .device = 0x8232,
        .revision = 0x02,
        .type = PCI_EXP_TYPE_UPSTREAM,
        .msi_offset = 0x70,
        .ssvid_offset = 0x80,
        .exp_offset = 0x90,
        .vectors = 1,
        .msi_64bit = true,
        .aer_offset = 0x100,
        .speed = PCIE_SPEED_2_5,
        .width = PCIE_WIDTH_1,
    },
    {
        .name = TYPE_XIO3130_DOWNSTREAM,
        .help = "TI X3130 downstream port of a PCI Express switch",
        .vendor = PCI_VENDOR_ID_TI,
        .device = 0x8233,
        .revision = 0x01,
        .type = PCI_EXP_TYPE_DOWNSTREAM,
        .msi_offset = 0x70,
        .ssvid_offset = 0x80,
        .exp_offset = 0x90,
        .vectors = 1,
        .msi_64bit = true,
        .aer_offset = 0x100,
        .acs_offset = 0x148,
        .slot = true,
        .speed = PCIE_SPEED_2_5,
        .width = PCIE_WIDTH_1,
    },
};

/* Vectors of errors and of slot events, where a port has more than one. */
#define VECTOR_SLOT         0
#define VECTOR_AER(vectors) ((vectors) > 1 ? 1 : 0)

static const PortKind *kind_of(PciDevice *dev)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (type_is_a(object_type_name(&dev->parent.parent), kinds[i].name)) {
            return &kinds[i];
        }
    }
    assert(false);
    return NULL;
}

static PciePort *port_of(PciDevice *dev)
{
    return (PciePort *)dev;
}

/* --- Realize --- */

/* 7.5.3.9: slot numbers are unique within a chassis; 0 and 0 mean nobody numbered them. */
typedef struct SlotSearch {
    const PciePort *self;
    bool taken;
} SlotSearch;

static bool same_slot(PciDevice *dev, void *opaque)
{
    SlotSearch *s = opaque;
    if (dev == &s->self->parent.parent ||
        !object_dynamic_cast(&dev->parent.parent, TYPE_PCIE_SLOT)) {
        return true;
    }
    const PciePort *other = port_of(dev);
    s->taken = other->chassis == s->self->chassis && other->slot == s->self->slot;
    return !s->taken;
}

static bool search_slots(PciBus *bus, void *opaque)
{
    return pci_bus_foreach_recursive(bus, same_slot, opaque);
}

static bool check_slot_number(const PciePort *port, Error **errp)
{
    SlotSearch search = { .self = port };
    if (port->chassis || port->slot) {
        pci_foreach_root_bus(search_slots, &search);
    }
    if (search.taken) {
        error_set(errp,
                  "Can't add chassis slot: chassis %u slot %u is taken; give another chassis= "
                  "or slot=",
                  port->chassis, port->slot);
        return false;
    }
    return true;
}

static bool check_place(PciDevice *dev, const PortKind *kind, Error **errp)
{
    PciBus *bus = pci_device_bus(dev);
    uint8_t above = bus->bridge && bus->bridge->exp_cap ? pcie_cap_type(bus->bridge) : 0xff;

    if (kind->root && !pci_bus_is_root(bus)) {
        error_set(errp, "'%s' is a root port and goes on the root bus, not on '%s'", kind->name,
                  bus->parent.name);
        return false;
    }
    if (kind->type == PCI_EXP_TYPE_DOWNSTREAM && above != PCI_EXP_TYPE_UPSTREAM) {
        error_set(errp,
                  "'%s' is a downstream port and goes on the bus of an upstream port, not on "
                  "'%s'",
                  kind->name, bus->parent.name);
        return false;
    }
    return true;
}

static bool add_interrupts(PciDevice *dev, const PortKind *kind, Error **errp)
{
    if (kind->msi_offset) {
        return msi_init(dev, kind->msi_offset, kind->vectors, kind->msi_64bit, kind->mask_bits,
                        errp);
    }
    if (!msix_init_exclusive(dev, kind->vectors, 0, errp)) {
        return false;
    }
    for (unsigned v = 0; v < kind->vectors; v++) {
        if (!msix_vector_use(dev, v, errp)) {
            return false;
        }
    }
    return true;
}

static bool add_express(PciDevice *dev, const PortKind *kind, Error **errp)
{
    PciePort *port = port_of(dev);

    if (!pcie_add_cap(dev, kind->exp_offset, kind->type, port->port, errp)) {
        return false;
    }
    dev->config[PCI_INTERRUPT_PIN] = 1;
    pcie_cap_set_link(dev, (PcieSpeed)port->speed, (PcieWidth)port->width);
    pcie_cap_add_device_errors(dev);
    uint8_t *cap = dev->config + dev->exp_cap;
    pci_set_long(cap + PCI_EXP_LNKCAP, pci_get_long(cap + PCI_EXP_LNKCAP) | PCI_EXP_LNKCAP_DLLLARC);
    if (kind->slot) {
        /* Functions behind the port may be numbered by ARI (7.5.3.16). */
        pci_set_long(cap + PCI_EXP_DEVCAP2,
                     pci_get_long(cap + PCI_EXP_DEVCAP2) | PCI_EXP_DEVCAP2_ARI);
        pci_set_word(dev->config_mask + dev->exp_cap + PCI_EXP_DEVCTL2,
                     pci_get_word(dev->config_mask + dev->exp_cap + PCI_EXP_DEVCTL2) |
                         PCI_EXP_DEVCTL2_ARI);
        PcieSlot slot = {
            .number = port->slot,
            .chassis = port->chassis,
            .hotplug = port->hotplug,
            .power_control = port->power_controller,
        };
        pcie_slot_add(dev, &slot);
    }
    return true;
}

static bool add_extended(PciDevice *dev, const PortKind *kind, Error **errp)
{
    if (!pcie_add_aer(dev, kind->aer_offset, true, errp)) {
        return false;
    }
    if (kind->root) {
        pcie_aer_add_root(dev);
        pcie_aer_set_root_vector(dev, (uint8_t)VECTOR_AER(kind->vectors));
    }
    return !kind->acs_offset || port_of(dev)->disable_acs ||
           pcie_add_acs(dev, kind->acs_offset, errp);
}

static bool port_realize(PciDevice *dev, Error **errp)
{
    const PortKind *kind = kind_of(dev);
    PciePort *port = port_of(dev);

    if (!check_place(dev, kind, errp) || (kind->slot && !check_slot_number(port, errp)) ||
        !pci_bridge_init(&port->parent, TYPE_PCIE_BUS, errp)) {
        return false;
    }
    if (kind->ssvid_offset && !pci_bridge_add_ssvid(dev, kind->ssvid_offset, kind->subsystem_vendor,
                                                    kind->subsystem, errp)) {
        goto finish;
    }
    if (!add_interrupts(dev, kind, errp) || !add_express(dev, kind, errp) ||
        !add_extended(dev, kind, errp)) {
        goto finish;
    }
    if (kind->slot) {
        port->parent.secondary.slots_max = 1;
        bus_set_hotplug_handler(&port->parent.secondary.parent, &dev->parent.parent);
        pcie_slot_reset(dev);
    }
    return true;

finish:
    pci_bridge_finish(&port->parent);
    return false;
}

static void port_reset(Device *obj)
{
    PciDevice *dev = pci_device_cast(obj);

    pci_bridge_reset(pci_bridge_cast(dev));
    if (kind_of(dev)->slot) {
        pcie_slot_reset(dev);
    }
}

/* --- Types --- */

/* clang-format off */
static const Field port_properties[] = {
    PROP_UINT8("port", PciePort, port, 0, .help = "port number in the link capabilities"),
    {}
};
static const Field slot_properties[] = {
    PROP_UINT8("chassis", PciePort, chassis, 0, .help = "number of the chassis"),
    PROP_UINT16("slot", PciePort, slot, 0, PROP_RANGE(0, 0x1fff),
                .help = "number of the slot, unique within the chassis"),
    PROP_BOOL("hotplug", PciePort, hotplug, true, .help = "devices can come and go"),
    PROP_BOOL("power_controller_present", PciePort, power_controller, true,
              .help = "the guest switches the slot's power"),
    {}
};
static const Field root_properties[] = {
    PROP_BOOL("disable-acs", PciePort, disable_acs, false, .help = "no access control services"),
    {}
};
static const Field speed_properties[] = {
    PROP_ENUM("x-speed", PciePort, speed, value_type_pcie_speed, PCIE_SPEED_16,
              .help = "link speed in GT/s"),
    PROP_ENUM("x-width", PciePort, width, value_type_pcie_width, PCIE_WIDTH_32,
              .help = "lanes of the link"),
    {}
};
/* clang-format on */

static const VmState port_vmstate = {
    .name = "pcie-port",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ { .name = "bridge",
                                        .kind = VMSTATE_KIND_STRUCT,
                                        .offset = 0,
                                        .size = sizeof(PciBridge),
                                        .state = &pci_bridge_vmstate },
                                      { .name = "msix",
                                        .kind = VMSTATE_KIND_STRUCT,
                                        .offset = 0,
                                        .size = sizeof(PciDevice),
                                        .state = &msix_vmstate },
                                      {} },
};

static void port_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->reset = port_reset;
    dc->vmstate = &port_vmstate;
    dc->hotpluggable = false;
    pci_device_class_cast(klass)->realize = port_realize;
}

static void slot_class_init(ObjectClass *klass, const void *data)
{
    pcie_slot_class_init(klass);
}

static void kind_class_init(ObjectClass *klass, const void *data)
{
    const PortKind *kind = data;
    PciDeviceClass *pc = pci_device_class_cast(klass);

    device_class_cast(klass)->desc = kind->help;
    pc->vendor_id = kind->vendor;
    pc->device_id = kind->device;
    pc->revision = kind->revision;
}

static void kind_instance_init(Object *obj)
{
    PciDevice *dev = (PciDevice *)obj;
    const PortKind *kind = kind_of(dev);
    if (!class_find_property(obj->klass, "x-speed")) {
        port_of(dev)->speed = (int)kind->speed;
        port_of(dev)->width = (int)kind->width;
    }
}

static const TypeInfo port_type = {
    .name = TYPE_PCIE_PORT,
    .parent = TYPE_PCI_BRIDGE_BASE,
    .instance_size = sizeof(PciePort),
    .abstract = true,
    .properties = port_properties,
    .class_init = port_class_init,
    .instance_init = kind_instance_init,
    .interfaces = (const char *const[]){ TYPE_PCI_EXPRESS, NULL },
};
static const TypeInfo slot_type = {
    .name = TYPE_PCIE_SLOT,
    .parent = TYPE_PCIE_PORT,
    .abstract = true,
    .properties = slot_properties,
    .class_init = slot_class_init,
    .interfaces = (const char *const[]){ TYPE_HOTPLUG_HANDLER, NULL },
};
static const TypeInfo root_base_type = {
    .name = TYPE_PCIE_ROOT_PORT_BASE,
    .parent = TYPE_PCIE_SLOT,
    .abstract = true,
    .properties = root_properties,
};
static const TypeInfo root_type = {
    .name = TYPE_PCIE_ROOT_PORT,
    .parent = TYPE_PCIE_ROOT_PORT_BASE,
    .help = "PCI Express root port",
    .properties = speed_properties,
    .class_init = kind_class_init,
    .class_data = &kinds[0],
};
static const TypeInfo ioh3420_type = {
    .name = TYPE_IOH3420,
    .parent = TYPE_PCIE_ROOT_PORT_BASE,
    .help = "Intel IOH device id 3420 PCI Express root port",
    .class_init = kind_class_init,
    .class_data = &kinds[1],
};
static const TypeInfo upstream_type = {
    .name = TYPE_X3130_UPSTREAM,
    .parent = TYPE_PCIE_PORT,
    .help = "TI X3130 upstream port of a PCI Express switch",
    .class_init = kind_class_init,
    .class_data = &kinds[2],
};
static const TypeInfo downstream_type = {
    .name = TYPE_XIO3130_DOWNSTREAM,
    .parent = TYPE_PCIE_SLOT,
    .help = "TI X3130 downstream port of a PCI Express switch",
    .class_init = kind_class_init,
    .class_data = &kinds[3],
};
OBJECT_TYPE(pcie_port, port_type)
OBJECT_TYPE(pcie_slot, slot_type)
OBJECT_TYPE(pcie_root_port_base, root_base_type)
OBJECT_TYPE(pcie_root_port, root_type)
OBJECT_TYPE(ioh3420, ioh3420_type)
OBJECT_TYPE(x3130_upstream, upstream_type)
OBJECT_TYPE(xio3130_downstream, downstream_type)
