#include "devices/acpi/pci-hotplug.h"

#include "base/log.h"

/* What can be emptied: everything that may be unplugged, if nothing in its slot may not. */
static bool can_go(const PciHotplug *h, unsigned slot)
{
    bool any = false;

    for (unsigned f = 0; f < PCI_FUNCTIONS; f++) {
        PciDevice *dev = h->bus->devices[PCI_DEVFN(slot, f)];
        if (dev && (!device_class_of(dev)->hotpluggable || pci_device_class_of(dev)->is_bridge)) {
            return false;
        }
        any |= dev != NULL;
    }
    return any;
}

/* Highest function first: function 0 is what the guest looks at. */
static void empty_slot(PciHotplug *h, unsigned slot)
{
    h->down &= ~(1u << slot);
    if (!can_go(h, slot)) {
        log_guest_error("acpi: slot %u can't be emptied\n", slot);
        return;
    }
    for (int f = PCI_FUNCTIONS - 1; f >= 0; f--) {
        PciDevice *dev = h->bus->devices[PCI_DEVFN(slot, f)];
        if (dev) {
            device_destroy(&dev->parent);
        }
    }
}

static uint64_t hotplug_read(void *opaque, hwaddr addr, unsigned size)
{
    PciHotplug *h = opaque;
    bool root = h->selected_bus == 0;
    uint32_t value = 0;

    switch (addr) {
    case PCI_HOTPLUG_UP:
        value = root ? h->up : 0;
        h->up &= ~value;
        break;
    case PCI_HOTPLUG_DOWN:
        value = root ? h->down : 0;
        break;
    case PCI_HOTPLUG_EJECT:
        value = 0; /* no more than the above */
        break;
    case PCI_HOTPLUG_CAN_GO:
        for (unsigned slot = 0; root && slot < PCI_SLOTS; slot++) {
            value |= can_go(h, slot) ? 1u << slot : 0;
        }
        break;
    case PCI_HOTPLUG_BUS:
        value = h->selected_bus;
        break;
    case PCI_HOTPLUG_INDEX: {
        PciDevice *dev = root && h->selected_slot < PCI_SLOTS
                             ? h->bus->devices[PCI_DEVFN(h->selected_slot, 0)]
                             : NULL;
        value = dev ? dev->acpi_index : 0;
        break;
    }
    }
    return value;
}

static void hotplug_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PciHotplug *h = opaque;

    switch (addr) {
    case PCI_HOTPLUG_EJECT:
        for (unsigned slot = 0; h->selected_bus == 0 && slot < PCI_SLOTS; slot++) {
            if (value >> slot & 1) {
                empty_slot(h, slot);
            }
        }
        break;
    case PCI_HOTPLUG_BUS:
        h->selected_bus = (uint32_t)value;
        break;
    case PCI_HOTPLUG_INDEX:
        h->selected_slot = (uint32_t)value;
        break;
    }
}

static const MemoryRegionOps hotplug_ops = {
    .read = hotplug_read,
    .write = hotplug_write,
    .valid = { .min = 4, .max = 4 },
    .impl = { .min = 4, .max = 4 },
};

void pci_hotplug_plugged(PciHotplug *h, PciDevice *dev)
{
    /* Functions above 0 come with function 0. */
    if (dev->parent.hotplugged && PCI_FUNC(dev->devfn) == 0) {
        h->up |= 1u << PCI_SLOT(dev->devfn);
        acpi_pm_set_gpe(h->pm, PCI_HOTPLUG_GPE);
    }
}

void pci_hotplug_ask(PciHotplug *h, PciDevice *dev)
{
    dev->parent.unplug_pending = true;
    h->down |= 1u << PCI_SLOT(dev->devfn);
    acpi_pm_set_gpe(h->pm, PCI_HOTPLUG_GPE);
}

/* --- Life --- */

void pci_hotplug_reset(PciHotplug *h)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (h->down >> slot & 1) {
            empty_slot(h, slot);
        }
    }
    h->up = h->down = h->selected_bus = h->selected_slot = 0;
}

void pci_hotplug_init(PciHotplug *h, Object *owner, AcpiPm *pm)
{
    h->pm = pm;
    memory_region_init_io(&h->io, owner, &hotplug_ops, h, "acpi-pci-hotplug", PCI_HOTPLUG_SIZE);
}

void pci_hotplug_realize(PciHotplug *h, Object *owner, PciBus *bus)
{
    h->bus = bus;
    bus_set_hotplug_handler(&bus->parent, owner);
    memory_region_add(io_root(), PCI_HOTPLUG_BASE, &h->io);
}

void pci_hotplug_unrealize(PciHotplug *h)
{
    bus_set_hotplug_handler(&h->bus->parent, NULL);
    memory_region_del(io_root(), &h->io);
    h->bus = NULL;
}

void pci_hotplug_finish(PciHotplug *h)
{
    memory_region_finish(&h->io);
}

const VmState pci_hotplug_vmstate = {
    .name = "acpi-pci-hotplug",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT32(up, PciHotplug),
                                      VMSTATE_UINT32(down, PciHotplug),
                                      VMSTATE_UINT32(selected_bus, PciHotplug),
                                      VMSTATE_UINT32(selected_slot, PciHotplug),
                                      {} },
};
