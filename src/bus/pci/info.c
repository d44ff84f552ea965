/* What monitors show of the PCI buses, and the names of device classes. */
#include <inttypes.h>
#include <string.h>

#include "bus/pci/bridge.h"
#include "bus/pci/pci-internal.h"

/* PCI Code and ID Assignment; the firmware names are those of IEEE 1275's PCI binding. */
static const struct {
    uint16_t class_id, mask;
    const char *description, *fw_name;
} classes[] = {
    { 0x0001, 0xffff, "VGA controller", "display" },
    { 0x0100, 0xffff, "SCSI controller", "scsi" },
    { 0x0101, 0xffff, "IDE controller", "ide" },
    { 0x0102, 0xffff, "Floppy controller", "fdc" },
    { 0x0104, 0xffff, "RAID controller", "raid" },
    { 0x0106, 0xffff, "SATA controller", NULL },
    { 0x0108, 0xffff, "NVMe controller", NULL },
    { 0x0180, 0xffff, "Storage controller", NULL },
    { 0x0200, 0xffff, "Ethernet controller", "ethernet" },
    { 0x0280, 0xffff, "Network controller", NULL },
    { 0x0300, 0xffff, "VGA controller", "display" },
    { 0x0302, 0xffff, "3D controller", NULL },
    { 0x0380, 0xffff, "Display controller", NULL },
    { 0x0400, 0xffff, "Video controller", "video" },
    { 0x0401, 0xffff, "Audio controller", "sound" },
    { 0x0403, 0xffff, "Audio controller", "sound" },
    { 0x0500, 0xffff, "RAM controller", "memory" },
    { 0x0501, 0xffff, "Flash controller", "flash" },
    { 0x0600, 0xffff, "Host bridge", "host" },
    { 0x0601, 0xffff, "ISA bridge", "isa" },
    { 0x0604, 0xffff, "PCI bridge", "pci-bridge" },
    { 0x0680, 0xffff, "Bridge", NULL },
    { 0x0700, 0xffff, "Serial port", "serial" },
    { 0x0701, 0xffff, "Parallel port", "parallel" },
    { 0x0780, 0xffff, "Communication controller", NULL },
    { 0x0880, 0xffff, "System peripheral", NULL },
    { 0x0900, 0xffff, "Keyboard", "keyboard" },
    { 0x0902, 0xffff, "Mouse", "mouse" },
    { 0x0980, 0xffff, "Input device", NULL },
    { 0x0c03, 0xffff, "USB controller", "usb" },
    { 0x0c04, 0xffff, "Fibre channel controller", "fibre-channel" },
    { 0x0c05, 0xffff, "SMBus", NULL },
};

const char *pci_class_fw_name(uint16_t class_id)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if ((class_id & classes[i].mask) == classes[i].class_id) {
            return classes[i].fw_name;
        }
    }
    return NULL;
}

const char *pci_class_description(uint16_t class_id)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if ((class_id & classes[i].mask) == classes[i].class_id) {
            return classes[i].description;
        }
    }
    return NULL;
}

/* --- query-pci: the shapes PciInfo, PciDeviceInfo, PciBridgeInfo, PciMemoryRegion --- */

static json_t *query_bus_devices(PciBus *bus);

static json_t *query_range(uint64_t base, uint64_t limit)
{
    return json_pack("{s:I, s:I}", "base", (json_int_t)base, "limit", (json_int_t)limit);
}

static json_t *query_bridge(PciDevice *dev)
{
    PciBridge *br = (PciBridge *)object_dynamic_cast(&dev->parent.parent, TYPE_PCI_BRIDGE_BASE);
    const uint8_t memory = PCI_BASE_ADDRESS_SPACE_MEMORY;
    json_t *bus = json_pack(
        "{s:i, s:i, s:i, s:o, s:o, s:o}", "number", dev->config[PCI_PRIMARY_BUS], "secondary",
        dev->config[PCI_SECONDARY_BUS], "subordinate", dev->config[PCI_SUBORDINATE_BUS], "io_range",
        query_range(pci_bridge_base(dev, PCI_BASE_ADDRESS_SPACE_IO),
                    pci_bridge_limit(dev, PCI_BASE_ADDRESS_SPACE_IO)),
        "memory_range", query_range(pci_bridge_base(dev, memory), pci_bridge_limit(dev, memory)),
        "prefetchable_range",
        query_range(pci_bridge_base(dev, memory | PCI_BASE_ADDRESS_MEM_PREFETCH),
                    pci_bridge_limit(dev, memory | PCI_BASE_ADDRESS_MEM_PREFETCH)));
    json_t *info = json_pack("{s:o}", "bus", bus);

    if (br && br->windows_shown && dev->config[PCI_SECONDARY_BUS]) {
        json_object_set_new(info, "devices", query_bus_devices(&br->secondary));
    }
    return info;
}

static json_t *query_regions(const PciDevice *dev)
{
    json_t *list = json_array();
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        const PciBar *bar = &dev->bars[n];
        if (!bar->region) {
            continue;
        }
        bool io = n != PCI_ROM_SLOT && (bar->type & PCI_BASE_ADDRESS_SPACE_IO);
        json_t *r = json_pack("{s:i, s:s, s:I, s:I}", "bar", n, "type", io ? "io" : "memory",
                              "address", (json_int_t)bar->addr, "size", (json_int_t)bar->size);
        if (!io) {
            json_object_set_new(r, "prefetch",
                                json_boolean(bar->type & PCI_BASE_ADDRESS_MEM_PREFETCH));
            json_object_set_new(r, "mem_type_64",
                                json_boolean(bar->type & PCI_BASE_ADDRESS_MEM_TYPE_64));
        }
        json_array_append_new(list, r);
    }
    return list;
}

static json_t *query_device(PciDevice *dev)
{
    uint16_t class_id = pci_get_word(dev->config + PCI_CLASS_DEVICE);
    const char *description = pci_class_description(class_id);
    bool bridge = pci_device_class_of(dev)->is_bridge;
    json_t *class_info = json_pack("{s:i}", "class", class_id);
    json_t *id = json_pack("{s:i, s:i}", "device", pci_get_word(dev->config + PCI_DEVICE_ID),
                           "vendor", pci_get_word(dev->config + PCI_VENDOR_ID));

    if (description) {
        json_object_set_new(class_info, "desc", json_string(description));
    }
    if (!bridge) {
        json_object_set_new(id, "subsystem",
                            json_integer(pci_get_word(dev->config + PCI_SUBSYSTEM_ID)));
        json_object_set_new(id, "subsystem-vendor",
                            json_integer(pci_get_word(dev->config + PCI_SUBSYSTEM_VENDOR_ID)));
    }
    json_t *info = json_pack("{s:i, s:i, s:i, s:o, s:o, s:s, s:o, s:i}", "bus",
                             pci_bus_number(pci_device_bus(dev)), "slot", PCI_SLOT(dev->devfn),
                             "function", PCI_FUNC(dev->devfn), "class_info", class_info, "id", id,
                             "qdev_id", dev->parent.id ? dev->parent.id : "", "regions",
                             query_regions(dev), "irq_pin", dev->config[PCI_INTERRUPT_PIN]);
    if (dev->config[PCI_INTERRUPT_PIN]) {
        json_object_set_new(info, "irq", json_integer(dev->config[PCI_INTERRUPT_LINE]));
    }
    if (bridge) {
        json_object_set_new(info, "pci_bridge", query_bridge(dev));
    }
    return info;
}

static bool append_device(PciDevice *dev, void *opaque)
{
    json_array_append_new(opaque, query_device(dev));
    return true;
}

static json_t *query_bus_devices(PciBus *bus)
{
    json_t *list = json_array();
    pci_bus_foreach(bus, append_device, list);
    return list;
}

static bool append_root(PciBus *bus, void *opaque)
{
    json_array_append_new(opaque, json_pack("{s:i, s:o}", "bus", pci_bus_number(bus), "devices",
                                            query_bus_devices(bus)));
    return true;
}

json_t *pci_query(void)
{
    json_t *list = json_array();
    pci_foreach_root_bus(append_root, list);
    return list;
}

/* --- info pci --- */

static bool print_device(PciDevice *dev, void *opaque)
{
    GString *out = opaque;
    uint16_t class_id = pci_get_word(dev->config + PCI_CLASS_DEVICE);
    const char *description = pci_class_description(class_id);

    g_string_append_printf(out, "  Bus %2d, device %3d, function %d:\n    ",
                           pci_bus_number(pci_device_bus(dev)), PCI_SLOT(dev->devfn),
                           PCI_FUNC(dev->devfn));
    if (description) {
        g_string_append(out, description);
    } else {
        g_string_append_printf(out, "Class %04x", class_id);
    }
    g_string_append_printf(out, ": PCI device %04x:%04x\n",
                           pci_get_word(dev->config + PCI_VENDOR_ID),
                           pci_get_word(dev->config + PCI_DEVICE_ID));
    bool bridge = pci_device_class_of(dev)->is_bridge;
    if (!bridge) {
        g_string_append_printf(out, "      PCI subsystem %04x:%04x\n",
                               pci_get_word(dev->config + PCI_SUBSYSTEM_VENDOR_ID),
                               pci_get_word(dev->config + PCI_SUBSYSTEM_ID));
    }
    if (dev->config[PCI_INTERRUPT_PIN]) {
        g_string_append_printf(out, "      IRQ %d, pin %c\n", dev->config[PCI_INTERRUPT_LINE],
                               'A' + dev->config[PCI_INTERRUPT_PIN] - 1);
    }
    if (bridge) {
        g_string_append_printf(
            out, "      BUS %d.\n      secondary bus %d.\n      subordinate bus %d.\n",
            dev->config[PCI_PRIMARY_BUS], dev->config[PCI_SECONDARY_BUS],
            dev->config[PCI_SUBORDINATE_BUS]);
        static const struct {
            const char *name;
            uint8_t type;
        } windows[] = {
            { "IO range", PCI_BASE_ADDRESS_SPACE_IO },
            { "memory range", PCI_BASE_ADDRESS_SPACE_MEMORY },
            { "prefetchable memory range",
              PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_PREFETCH },
        };
        for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
            g_string_append_printf(out, "      %s [0x%08" PRIx64 ", 0x%08" PRIx64 "]\n",
                                   windows[i].name, pci_bridge_base(dev, windows[i].type),
                                   pci_bridge_limit(dev, windows[i].type));
        }
    }
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        const PciBar *bar = &dev->bars[n];
        if (!bar->region) {
            continue;
        }
        bool io = n != PCI_ROM_SLOT && (bar->type & PCI_BASE_ADDRESS_SPACE_IO);
        if (io) {
            g_string_append_printf(out, "      BAR%d: I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n",
                                   n, bar->addr, bar->addr + bar->size - 1);
        } else {
            g_string_append_printf(
                out, "      BAR%d: %d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n", n,
                bar->type & PCI_BASE_ADDRESS_MEM_TYPE_64 ? 64 : 32,
                bar->type & PCI_BASE_ADDRESS_MEM_PREFETCH ? " prefetchable" : "", bar->addr,
                bar->addr + bar->size - 1);
        }
    }
    g_string_append_printf(out, "      id \"%s\"\n", dev->parent.id ? dev->parent.id : "");
    return true;
}

static bool print_root(PciBus *bus, void *opaque)
{
    return pci_bus_foreach_recursive(bus, print_device, opaque);
}

void pci_print_info(GString *out)
{
    pci_foreach_root_bus(print_root, out);
}
