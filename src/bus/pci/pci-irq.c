/*
 * Interrupt pins: a device's pin leads through the bridges above it, swizzled at each, to one of
 * the root bus's lines, which several devices share. The root bus counts who asserts a line.
 */
#include "bus/pci/pci-internal.h"

/* Where a pin ends: the root bus and its line; false without a chipset that listens. */
static bool find_line(PciDevice *dev, int pin, PciBus **root, int *line)
{
    PciBus *bus = pci_device_bus(dev);

    while (bus->bridge) {
        pin = pci_swizzle(PCI_SLOT(dev->devfn), pin);
        dev = bus->bridge;
        bus = pci_device_bus(dev);
    }
    if (!bus->ops) {
        return false;
    }
    *root = bus;
    *line = bus->ops->map_irq(bus->ops_opaque, dev, pin);
    return *line >= 0 && *line < bus->ops->lines;
}

static void change_line(PciDevice *dev, int pin, int change, bool quiet)
{
    PciBus *root;
    int line;

    if (!find_line(dev, pin, &root, &line)) {
        return;
    }
    root->line_count[line] += change;
    assert(root->line_count[line] >= 0);
    if (!quiet) {
        root->ops->set_irq(root->ops_opaque, line, root->line_count[line] != 0);
    }
}

static bool intx_disabled(const PciDevice *dev)
{
    return pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
}

/* The root's counts follow the pins, whatever has changed about them. */
static void drive_lines(PciDevice *dev, bool quiet)
{
    uint8_t wanted = intx_disabled(dev) ? 0 : dev->irq_state, changed = wanted ^ dev->lines_up;

    dev->lines_up = wanted;
    for (int pin = 0; pin < PCI_PINS; pin++) {
        if (changed & 1u << pin) {
            change_line(dev, pin, wanted & 1u << pin ? 1 : -1, quiet);
        }
    }
}

static void set_pin(PciDevice *dev, int pin, bool level)
{
    uint8_t bit = (uint8_t)(1u << pin);

    if (!!(dev->irq_state & bit) == level) {
        return;
    }
    dev->irq_state ^= bit;
    /* The status bit shows the pin whether it is let through or not (PCI 3.0, 6.2.3). */
    uint16_t status = pci_get_word(dev->config + PCI_STATUS);
    pci_set_word(dev->config + PCI_STATUS,
                 dev->irq_state ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT);
    drive_lines(dev, false);
}

void pci_set_irq(PciDevice *dev, int level)
{
    int pin = pci_intx_pin(dev);
    if (pin >= 0) {
        set_pin(dev, pin, level != 0);
    }
}

static void line_handler(void *opaque, int n, int level)
{
    pci_set_irq(opaque, level);
}

Irq *pci_allocate_irq(PciDevice *dev)
{
    if (!dev->irq) {
        dev->irq = irq_new_array(line_handler, dev, 1);
    }
    return dev->irq;
}

void pci_device_deassert_intx(PciDevice *dev)
{
    for (int pin = 0; pin < PCI_PINS; pin++) {
        set_pin(dev, pin, false);
    }
}

void pci_intx_disable_changed(PciDevice *dev)
{
    drive_lines(dev, false);
}

void pci_intx_recount(PciDevice *dev)
{
    drive_lines(dev, true);
}

PciIntxRoute pci_device_route_intx(PciDevice *dev, int pin)
{
    PciBus *root;
    int line;

    if (!find_line(dev, pin, &root, &line) || !root->ops->route_irq) {
        return (PciIntxRoute){ .mode = PCI_INTX_DISABLED, .irq = -1 };
    }
    return root->ops->route_irq(root->ops_opaque, line);
}
