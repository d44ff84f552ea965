/* PCI-PCI bridges (bridge 1.2): the secondary bus and the windows through which it is seen. */
#include "bus/pci/bridge.h"

#include <string.h>

#include "base/log.h"
#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie-internal.h"

#define SSVID_SIZEOF 8
#define SSVID_VENDOR 4
#define SSVID_DEVICE 6

#define VGA_MEMORY_BASE  0xa0000
#define VGA_MEMORY_SIZE  0x20000
#define VGA_IO_LOW       0x3b0
#define VGA_IO_LOW_SIZE  0x0c
#define VGA_IO_HIGH      0x3c0
#define VGA_IO_HIGH_SIZE 0x20

/* --- Windows as the registers say --- */

static bool is_io(uint8_t type)
{
    return type & PCI_BASE_ADDRESS_SPACE_IO;
}

static bool is_prefetch(uint8_t type)
{
    return type & PCI_BASE_ADDRESS_MEM_PREFETCH;
}

static uint64_t io_address(const PciDevice *dev, uint8_t low, uint8_t upper)
{
    uint64_t addr = (uint64_t)(dev->config[low] & 0xf0) << 8;
    if ((dev->config[low] & PCI_IO_RANGE_TYPE_MASK) == PCI_IO_RANGE_TYPE_32) {
        addr |= (uint64_t)pci_get_word(dev->config + upper) << 16;
    }
    return addr;
}

static uint64_t memory_address(const PciDevice *dev, uint8_t low, uint8_t upper)
{
    uint16_t reg = pci_get_word(dev->config + low);
    uint64_t addr = (uint64_t)(reg & PCI_MEMORY_RANGE_MASK) << 16;
    if (upper && (reg & PCI_PREF_RANGE_TYPE_MASK) == PCI_PREF_RANGE_TYPE_64) {
        addr |= (uint64_t)pci_get_long(dev->config + upper) << 32;
    }
    return addr;
}

uint64_t pci_bridge_base(const PciDevice *dev, uint8_t type)
{
    if (is_io(type)) {
        return io_address(dev, PCI_IO_BASE, PCI_IO_BASE_UPPER16);
    }
    return is_prefetch(type) ? memory_address(dev, PCI_PREF_MEMORY_BASE, PCI_PREF_BASE_UPPER32)
                             : memory_address(dev, PCI_MEMORY_BASE, 0);
}

uint64_t pci_bridge_limit(const PciDevice *dev, uint8_t type)
{
    if (is_io(type)) { /* granularity 4 KiB, memory 1 MiB */
        return io_address(dev, PCI_IO_LIMIT, PCI_IO_LIMIT_UPPER16) | 0xfff;
    }
    return 0xfffff |
           (is_prefetch(type) ? memory_address(dev, PCI_PREF_MEMORY_LIMIT, PCI_PREF_LIMIT_UPPER32)
                              : memory_address(dev, PCI_MEMORY_LIMIT, 0));
}

/* Put an alias over [base, base + size) of the secondary side at the same place of the primary;
 * size 0: hide it. */
static void show_window(MemoryRegion *window, MemoryRegion *primary, uint64_t base, uint64_t size)
{
    if (size) {
        memory_region_set_size(window, size);
        memory_region_set_alias_offset(window, base);
    }
    memory_region_set_enabled(window, size != 0);
    if (size && window->container) {
        memory_region_set_address(window, base);
    } else if (size) {
        memory_region_add_overlap(primary, base, window, 1);
    }
}

static void show_range(MemoryRegion *window, MemoryRegion *primary, const PciDevice *dev,
                       uint8_t type, bool decoding)
{
    uint64_t base = pci_bridge_base(dev, type), limit = pci_bridge_limit(dev, type);
    show_window(window, primary, base, decoding && limit > base ? limit - base + 1 : 0);
}

static void update_windows(PciBridge *br)
{
    PciDevice *dev = &br->parent;
    PciBus *primary = pci_device_bus(dev);
    PciBridgeWindows *w = &br->windows;
    uint16_t command = pci_get_word(dev->config + PCI_COMMAND);
    uint16_t control = pci_get_word(dev->config + PCI_BRIDGE_CONTROL);
    bool memory = command & PCI_COMMAND_MEMORY, io = command & PCI_COMMAND_IO;
    bool vga = control & PCI_BRIDGE_CTL_VGA;

    memory_begin();
    show_range(&w->memory, primary->memory, dev, PCI_BASE_ADDRESS_SPACE_MEMORY, memory);
    show_range(&w->prefetch, primary->memory, dev,
               PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_PREFETCH, memory);
    show_range(&w->io, primary->io, dev, PCI_BASE_ADDRESS_SPACE_IO, io);
    show_window(&w->vga_memory, primary->memory, VGA_MEMORY_BASE,
                vga && memory ? VGA_MEMORY_SIZE : 0);
    show_window(&w->vga_io_low, primary->io, VGA_IO_LOW, vga && io ? VGA_IO_LOW_SIZE : 0);
    show_window(&w->vga_io_high, primary->io, VGA_IO_HIGH, vga && io ? VGA_IO_HIGH_SIZE : 0);
    memory_commit();
}

static MemoryRegion *window_at(PciBridge *br, int i)
{
    PciBridgeWindows *w = &br->windows;
    MemoryRegion *const all[] = { &w->memory,     &w->prefetch,   &w->io,
                                  &w->vga_memory, &w->vga_io_low, &w->vga_io_high };
    return i < (int)ARRAY_LEN(all) ? all[i] : NULL;
}

/* --- Life --- */

bool pci_bridge_init(PciBridge *br, const char *bus_type, Error **errp)
{
    static const char *const names[] = { "pci_bridge_mem",       "pci_bridge_pref_mem",
                                         "pci_bridge_io",        "pci_bridge_vga_mem",
                                         "pci_bridge_vga_io_lo", "pci_bridge_vga_io_hi" };
    PciDevice *dev = &br->parent;
    Object *owner = &dev->parent.parent;
    PciBus *sec = &br->secondary;
    const char *name = br->bus_name ? br->bus_name : dev->parent.id;

    if (name) {
        ERROR_AUTO none = NULL;
        if (bus_find(name, &none)) {
            error_set(errp, "Bus '%s' exists already; give the bridge another id", name);
            return false;
        }
    }
    bus_init(&sec->parent, bus_type, &dev->parent, name);
    sec->bridge = dev;
    memory_region_init(&br->memory, owner, "pci_bridge_pci", UINT64_MAX);
    memory_region_init(&br->io, owner, "pci_bridge_io", 0x10000);
    sec->memory = &br->memory;
    sec->io = &br->io;
    for (int i = 0; window_at(br, i); i++) {
        bool io = i == 2 || i > 3;
        memory_region_init_alias(window_at(br, i), owner, names[i], io ? &br->io : &br->memory, 0,
                                 1);
        memory_region_set_enabled(window_at(br, i), false);
    }
    br->windows_shown = true;
    update_windows(br);
    return true;
}

void pci_bridge_finish(PciBridge *br)
{
    if (!br->windows_shown) {
        return;
    }
    br->windows_shown = false;
    bus_finish(&br->secondary.parent); /* the devices on it go with it */
    memory_begin();
    for (int i = 0; window_at(br, i); i++) {
        memory_region_finish(window_at(br, i));
    }
    memory_region_finish(&br->memory);
    memory_region_finish(&br->io);
    memory_commit();
}

void pci_bridge_reset(PciBridge *br)
{
    PciDevice *dev = &br->parent;
    uint8_t *c = dev->config;

    memset(c + PCI_PRIMARY_BUS, 0, 4);
    c[PCI_IO_BASE] &= PCI_IO_RANGE_TYPE_MASK;
    c[PCI_IO_LIMIT] &= PCI_IO_RANGE_TYPE_MASK;
    pci_set_word(c + PCI_SEC_STATUS, pci_get_word(c + PCI_SEC_STATUS) &
                                         ~pci_get_word(dev->config_w1c + PCI_SEC_STATUS));
    pci_set_word(c + PCI_MEMORY_BASE, 0);
    pci_set_word(c + PCI_MEMORY_LIMIT, 0);
    pci_set_word(c + PCI_PREF_MEMORY_BASE, PCI_PREF_RANGE_TYPE_64);
    pci_set_word(c + PCI_PREF_MEMORY_LIMIT, PCI_PREF_RANGE_TYPE_64);
    pci_set_long(c + PCI_PREF_BASE_UPPER32, 0);
    pci_set_long(c + PCI_PREF_LIMIT_UPPER32, 0);
    pci_set_word(c + PCI_BRIDGE_CONTROL, 0);
    update_windows(br);
}

void pci_bridge_command_changed(PciDevice *dev)
{
    PciBridge *br = (PciBridge *)object_dynamic_cast(&dev->parent.parent, TYPE_PCI_BRIDGE_BASE);
    if (br && br->windows_shown) {
        update_windows(br);
    }
}

/* Bridge 1.2, 3.2.5.18: the secondary bus's reset, on the rising edge. */
static void reset_secondary(PciBridge *br, uint16_t before)
{
    uint16_t now = pci_get_word(br->parent.config + PCI_BRIDGE_CONTROL);
    if (~before & now & PCI_BRIDGE_CTL_BUS_RESET) {
        bus_reset(&br->secondary.parent);
    }
}

void pci_bridge_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    PciBridge *br = pci_bridge_cast(dev);
    uint16_t control = pci_get_word(dev->config + PCI_BRIDGE_CONTROL);

    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, PCI_COMMAND, 2) ||
        pci_ranges_overlap(addr, len, PCI_IO_BASE, PCI_SEC_STATUS - PCI_IO_BASE) ||
        pci_ranges_overlap(addr, len, PCI_MEMORY_BASE, PCI_CAPABILITY_LIST - PCI_MEMORY_BASE) ||
        pci_ranges_overlap(addr, len, PCI_BRIDGE_CONTROL, 2)) {
        update_windows(br);
    }
    if (pci_ranges_overlap(addr, len, PCI_BRIDGE_CONTROL, 2)) {
        reset_secondary(br, control);
    }
}

bool pci_bridge_add_ssvid(PciDevice *dev, uint8_t offset, uint16_t vendor, uint16_t subsystem,
                          Error **errp)
{
    offset = pci_add_capability(dev, PCI_CAP_ID_BRIDGE_SSVID, offset, SSVID_SIZEOF, errp);
    if (!offset) {
        return false;
    }
    pci_set_word(dev->config + offset + SSVID_VENDOR, vendor);
    pci_set_word(dev->config + offset + SSVID_DEVICE, subsystem);
    return true;
}

/* --- State: the registers are the device's; what follows from them is set up again --- */

static bool bridge_post_load(void *opaque, int version, Error **errp)
{
    update_windows(opaque);
    return true;
}

const VmState pci_bridge_vmstate = {
    .name = "pci_bridge",
    .version = 1,
    .minimum_version = 1,
    .post_load = bridge_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, PciBridge, pci_device_vmstate), {} },
};

/* --- The abstract type --- */

static void bridge_device_reset(Device *dev)
{
    pci_bridge_reset(pci_bridge_cast(dev));
}

static void bridge_exit(PciDevice *dev)
{
    pci_bridge_finish(pci_bridge_cast(dev));
}

static void bridge_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->reset = bridge_device_reset;
    dc->vmstate = &pci_bridge_vmstate;
    pc->config_write = pci_bridge_config_write;
    pc->exit = bridge_exit;
    pc->class_id = PCI_CLASS_BRIDGE_PCI;
    pc->is_bridge = true;
}

static const TypeInfo bridge_type = {
    .name = TYPE_PCI_BRIDGE_BASE,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(PciBridge),
    .abstract = true,
    .class_init = bridge_class_init,
};
OBJECT_TYPE(pci_bridge_base, bridge_type)
