/* PCI buses: who sits where, numbers, paths, lines' owners. */
#include <inttypes.h>
#include <string.h>

#include "bus/pci/msi.h"
#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie.h"

bool pci_bus_is_root(const PciBus *bus)
{
    return !bus->bridge;
}

bool pci_bus_is_express(PciBus *bus)
{
    return object_dynamic_cast(&bus->parent.parent, TYPE_PCIE_BUS) != NULL;
}

int pci_bus_number(const PciBus *bus)
{
    return bus->bridge ? bus->bridge->config[PCI_SECONDARY_BUS] : bus->root_number;
}

PciBus *pci_bus_root(PciBus *bus)
{
    while (bus->bridge) {
        bus = pci_device_bus(bus->bridge);
    }
    return bus;
}

PciBus *pci_device_bus(const PciDevice *dev)
{
    return (PciBus *)dev->parent.parent_bus;
}

/* The secondary bus of a bridge; NULL for other devices and while it is being made. */
static PciBus *secondary_bus(const PciDevice *dev)
{
    const GPtrArray *buses = dev->parent.child_buses;
    if (!pci_device_class_of(dev)->is_bridge || !buses->len) {
        return NULL;
    }
    return (PciBus *)object_dynamic_cast(buses->pdata[0], TYPE_PCI_BUS);
}

PciBus *pci_bus_find_number(PciBus *bus, int number)
{
    if (pci_bus_number(bus) == number) {
        return bus;
    }
    for (unsigned i = 0; i < ARRAY_LEN(bus->devices); i++) {
        PciDevice *dev = bus->devices[i];
        PciBus *below = dev ? secondary_bus(dev) : NULL;
        if (!below || !dev->has_power || !dev->config[PCI_SECONDARY_BUS]) {
            continue; /* not numbered yet */
        }
        if (dev->config[PCI_SECONDARY_BUS] <= number &&
            number <= dev->config[PCI_SUBORDINATE_BUS]) {
            PciBus *found = pci_bus_find_number(below, number);
            if (found) {
                return found;
            }
        }
    }
    return NULL;
}

bool pci_bus_foreach(PciBus *bus, PciVisitor *visit, void *opaque)
{
    for (unsigned i = 0; i < ARRAY_LEN(bus->devices); i++) {
        if (bus->devices[i] && !visit(bus->devices[i], opaque)) {
            return false;
        }
    }
    return true;
}

bool pci_bus_foreach_recursive(PciBus *bus, PciVisitor *visit, void *opaque)
{
    for (unsigned i = 0; i < ARRAY_LEN(bus->devices); i++) {
        PciDevice *dev = bus->devices[i];
        if (!dev) {
            continue;
        }
        if (!visit(dev, opaque)) {
            return false;
        }
        PciBus *below = secondary_bus(dev);
        if (below && !pci_bus_foreach_recursive(below, visit, opaque)) {
            return false;
        }
    }
    return true;
}

typedef struct RootVisit {
    PciBusVisitor *visit;
    void *opaque;
} RootVisit;

static bool visit_object(Object *obj, void *opaque)
{
    RootVisit *v = opaque;
    PciBus *bus = (PciBus *)object_dynamic_cast(obj, TYPE_PCI_BUS);
    return !bus || bus->bridge || v->visit(bus, v->opaque);
}

bool pci_foreach_root_bus(PciBusVisitor *visit, void *opaque)
{
    RootVisit v = { visit, opaque };
    return object_foreach_descendant(object_root(), visit_object, &v);
}

PciBus *pci_root_bus_new(Device *host, const char *name, const char *type_name,
                         MemoryRegion *memory, MemoryRegion *io, uint8_t devfn_min)
{
    PciBus *bus = pci_bus_cast(bus_new(type_name, host, name));
    bus->memory = memory;
    bus->io = io;
    bus->devfn_min = devfn_min;
    return bus;
}

void pci_bus_set_irqs(PciBus *bus, const PciRootOps *ops, void *opaque)
{
    assert(!bus->bridge);
    bus->ops = ops;
    bus->ops_opaque = opaque;
    g_free(bus->line_count);
    bus->line_count = g_new0(int, MAX_OF(ops->lines, 1));
}

/* --- Addresses and paths --- */

uint16_t pci_device_bdf(const PciDevice *dev)
{
    return PCI_BDF(pci_bus_number(pci_device_bus(dev)), dev->devfn);
}

/* Slots from the root down: they don't depend on how the guest numbers the buses. */
static void append_path(const PciDevice *dev, GString *out)
{
    const PciBus *bus = pci_device_bus(dev);
    if (bus->bridge) {
        append_path(bus->bridge, out);
    } else {
        g_string_append_printf(out, "0000:%02x", bus->root_number);
    }
    g_string_append_printf(out, ":%02x.%x", PCI_SLOT(dev->devfn), PCI_FUNC(dev->devfn));
}

char *pci_device_path(const PciDevice *dev)
{
    GString *out = g_string_new(NULL);
    append_path(dev, out);
    return g_string_free(out, false);
}

static char *bus_device_path(Device *dev)
{
    return pci_device_path(pci_device_cast(dev));
}

/* What firmware paths call the root bus by: the port of its address register. */
#define PCI_FW_PORT 0x0cf8u

static char *bus_device_fw_path(Device *dev)
{
    PciDevice *pci = pci_device_cast(dev);
    const char *name = pci_class_fw_name(pci_get_word(pci->config + PCI_CLASS_DEVICE));
    GString *out = g_string_new(NULL);
    const PciBus *bus = pci_device_bus(pci);

    if (!bus->bridge) { /* behind configuration mechanism #1 */
        g_string_append_printf(out, "pci@i%04x/", PCI_FW_PORT + bus->root_number);
    }
    if (name) {
        g_string_append(out, name);
    } else {
        g_string_append_printf(out, "pci%04x,%04x", pci_get_word(pci->config + PCI_VENDOR_ID),
                               pci_get_word(pci->config + PCI_DEVICE_ID));
    }
    g_string_append_printf(out, "@%x", PCI_SLOT(pci->devfn));
    if (PCI_FUNC(pci->devfn)) {
        g_string_append_printf(out, ",%x", PCI_FUNC(pci->devfn));
    }
    return g_string_free(out, false);
}

static void bus_print_device(Device *dev, GString *out, int indent)
{
    PciDevice *pci = pci_device_cast(dev);
    const char *what = pci_class_description(pci_get_word(pci->config + PCI_CLASS_DEVICE));

    g_string_append_printf(
        out, "%*sclass %s, addr %02x:%02x.%x, pci id %04x:%04x (sub %04x:%04x)\n", indent, "",
        what ? what : "other", pci_bus_number(pci_device_bus(pci)), PCI_SLOT(pci->devfn),
        PCI_FUNC(pci->devfn), pci_get_word(pci->config + PCI_VENDOR_ID),
        pci_get_word(pci->config + PCI_DEVICE_ID),
        pci_get_word(pci->config + PCI_SUBSYSTEM_VENDOR_ID),
        pci_get_word(pci->config + PCI_SUBSYSTEM_ID));
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        const PciBar *bar = &pci->bars[n];
        if (bar->region) {
            bool io = n != PCI_ROM_SLOT && (bar->type & PCI_BASE_ADDRESS_SPACE_IO);
            g_string_append_printf(out, "%*sbar %d: %s at 0x%" PRIx64 " [0x%" PRIx64 "]\n", indent,
                                   "", n, io ? "i/o" : "mem", bar->addr, bar->addr + bar->size - 1);
        }
    }
}

/* --- Taking a place --- */

static bool slot_reserved(const PciBus *bus, int devfn)
{
    return bus->reserved_slots & 1u << PCI_SLOT(devfn);
}

static bool choose_devfn(PciBus *bus, PciDevice *dev, Error **errp)
{
    const char *name = object_type_name(&dev->parent.parent);
    int end = PCI_DEVFN(bus->slots_max ? bus->slots_max : PCI_SLOTS, 0);

    if (dev->devfn < 0) {
        for (int devfn = bus->devfn_min; devfn < end; devfn += PCI_FUNCTIONS) {
            if (!bus->devices[devfn] && !slot_reserved(bus, devfn)) {
                dev->devfn = devfn;
                return true;
            }
        }
        error_set(errp, "PCI: no slot is free on bus '%s' for '%s'; all are in use or reserved",
                  bus->parent.name, name);
        return false;
    }
    if (slot_reserved(bus, dev->devfn)) {
        error_set(errp, "PCI: slot %d function %d of bus '%s' is reserved, '%s' can't go there",
                  PCI_SLOT(dev->devfn), PCI_FUNC(dev->devfn), bus->parent.name, name);
        return false;
    }
    if (bus->devices[dev->devfn]) {
        PciDevice *other = bus->devices[dev->devfn];
        g_autofree char *who = device_describe(&other->parent);
        error_set(errp, "PCI: slot %d function %d not available for '%s', in use by %s",
                  PCI_SLOT(dev->devfn), PCI_FUNC(dev->devfn), name, who);
        return false;
    }
    return true;
}

/* PCI 3.0, 6.2.1 and 3.2.2.3.4: other functions are looked for if function 0 says so. */
static bool check_functions(PciBus *bus, PciDevice *dev, Error **errp)
{
    int slot = PCI_SLOT(dev->devfn);
    PciDevice *first = bus->devices[PCI_DEVFN(slot, 0)];

    if (PCI_FUNC(dev->devfn)) {
        if (device_machine_is_ready() && first) {
            g_autofree char *who = device_describe(&first->parent);
            error_set(errp,
                      "PCI: slot %d function 0 is occupied by %s already, the guest would not see "
                      "function %d; plug function 0 last",
                      slot, who, PCI_FUNC(dev->devfn));
            return false;
        }
        if (first && !first->multifunction) {
            error_set(errp,
                      "PCI: %x.0 is a single function device, %x.%x can't be populated; set "
                      "multifunction=on on %x.0",
                      slot, slot, PCI_FUNC(dev->devfn), slot);
            return false;
        }
        return true;
    }
    for (int f = 1; f < PCI_FUNCTIONS && !dev->multifunction; f++) {
        if (bus->devices[PCI_DEVFN(slot, f)]) {
            error_set(errp,
                      "PCI: %x.0 indicates single function, but %x.%x is already populated; set "
                      "multifunction=on on %x.0",
                      slot, slot, f, slot);
            return false;
        }
    }
    return true;
}

bool pci_bus_register(PciBus *bus, PciDevice *dev, Error **errp)
{
    bool automatic = dev->devfn < 0;
    PciBus *root = pci_bus_root(bus);

    if (!choose_devfn(bus, dev, errp)) {
        return false;
    }
    if (!check_functions(bus, dev, errp)) {
        dev->devfn = automatic ? -1 : dev->devfn;
        return false;
    }
    AddressSpace *dma = root->ops && root->ops->dma_space
                            ? root->ops->dma_space(root->ops_opaque, bus, dev->devfn)
                            : address_space_memory();
    pci_config_make(dev);
    if (dev->multifunction) {
        dev->config[PCI_HEADER_TYPE] |= PCI_HEADER_TYPE_MULTIFUNCTION;
    }
    Object *owner = &dev->parent.parent;
    memory_region_init(&dev->dma_container, owner, "bus master container", UINT64_MAX);
    memory_region_init_alias(&dev->dma_alias, owner, "bus master", dma->root, 0, UINT64_MAX);
    memory_region_set_enabled(&dev->dma_alias, false);
    memory_region_add(&dev->dma_container, 0, &dev->dma_alias);
    address_space_init(&dev->dma, &dev->dma_container, object_type_name(owner));
    dev->has_power = true;
    bus->devices[dev->devfn] = dev;
    return true;
}

void pci_bus_unregister(PciBus *bus, PciDevice *dev)
{
    pci_device_deassert_intx(dev);
    msi_finish(dev);
    msix_finish(dev);
    pcie_aer_finish(dev);
    pci_unmap_all(dev);
    bus->devices[dev->devfn] = NULL;
    address_space_finish(&dev->dma);
    memory_region_finish(&dev->dma_container);
    memory_region_finish(&dev->dma_alias);
    pci_config_free(dev);
}

static bool bus_check_address(Bus *obj, Device *dev, Error **errp)
{
    PciBus *bus = pci_bus_cast(obj);
    Object *o = &dev->parent;

    if (!pci_bus_is_express(bus) && !object_dynamic_cast(o, TYPE_PCI_CONVENTIONAL)) {
        error_set(errp,
                  "PCI: '%s' is a PCI Express device and can't go on the conventional bus '%s'",
                  object_type_name(o), obj->name);
        return false;
    }
    return true;
}

/* --- Types --- */

static void bus_finalize(Object *obj)
{
    PciBus *bus = (PciBus *)obj;
    g_free(bus->line_count);
    bus->line_count = NULL;
}

static void pci_bus_class_init(ObjectClass *klass, const void *data)
{
    BusClass *bc = (BusClass *)klass;
    bc->device_path = bus_device_path;
    bc->device_fw_path = bus_device_fw_path;
    bc->print_device = bus_print_device;
    bc->check_address = bus_check_address;
}

static const TypeInfo pci_bus_type = {
    .name = TYPE_PCI_BUS,
    .parent = TYPE_BUS,
    .instance_size = sizeof(PciBus),
    .class_size = sizeof(PciBusClass),
    .class_init = pci_bus_class_init,
    .instance_finalize = bus_finalize,
};
static const TypeInfo pcie_bus_type = { .name = TYPE_PCIE_BUS, .parent = TYPE_PCI_BUS };
static const TypeInfo conventional_type = {
    .name = TYPE_PCI_CONVENTIONAL,
    .parent = TYPE_INTERFACE,
    .class_size = sizeof(ObjectClass),
    .abstract = true,
};
static const TypeInfo express_type = {
    .name = TYPE_PCI_EXPRESS,
    .parent = TYPE_INTERFACE,
    .class_size = sizeof(ObjectClass),
    .abstract = true,
};
OBJECT_TYPE(pci_bus, pci_bus_type)
OBJECT_TYPE(pcie_bus, pcie_bus_type)
OBJECT_TYPE(pci_conventional, conventional_type)
OBJECT_TYPE(pci_express, express_type)
