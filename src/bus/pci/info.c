/* What monitors show of the PCI buses, and the names of device classes. */
#include <inttypes.h>
#include <string.h>

#include "bus/pci/bridge.h"
#include "bus/pci/pci-internal.h"
#include "schema/pci.h"

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

/* --- query-pci --- */

static void query_bus_devices(PciBus *bus, PciDeviceInfoList *list);

static PciMemoryRange query_window(const PciDevice *dev, uint8_t type)
{
    return (PciMemoryRange){
        .base = (int64_t)pci_bridge_base(dev, type),
        .limit = (int64_t)pci_bridge_limit(dev, type),
    };
}

static PciBridgeInfo *query_bridge(PciDevice *dev)
{
    PciBridge *br = (PciBridge *)object_dynamic_cast(&dev->parent.parent, TYPE_PCI_BRIDGE_BASE);
    PciBridgeInfo *info = g_new0(PciBridgeInfo, 1);

    info->bus = (PciBusInfo){
        .number = dev->config[PCI_PRIMARY_BUS],
        .secondary = dev->config[PCI_SECONDARY_BUS],
        .subordinate = dev->config[PCI_SUBORDINATE_BUS],
        .io_range = query_window(dev, PCI_BASE_ADDRESS_SPACE_IO),
        .memory_range = query_window(dev, PCI_BASE_ADDRESS_SPACE_MEMORY),
        .prefetchable_range =
            query_window(dev, PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_PREFETCH),
    };
    if (br && br->windows_shown && dev->config[PCI_SECONDARY_BUS]) {
        query_bus_devices(&br->secondary, &info->devices);
    }
    return info;
}

static bool bar_is_io(const PciBar *bar, int n)
{
    return n != PCI_ROM_SLOT && (bar->type & PCI_BASE_ADDRESS_SPACE_IO);
}

static void query_regions(const PciDevice *dev, PciMemoryRegionList *list)
{
    list->items = g_new0(PciMemoryRegion, PCI_BAR_COUNT);
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        const PciBar *bar = &dev->bars[n];
        if (!bar->region) {
            continue;
        }
        bool io = bar_is_io(bar, n);
        list->items[list->len++] = (PciMemoryRegion){
            .bar = n,
            .type = g_strdup(io ? "io" : "memory"),
            .address = (int64_t)bar->addr,
            .size = (int64_t)bar->size,
            .has_prefetch = !io,
            .prefetch = bar->type & PCI_BASE_ADDRESS_MEM_PREFETCH,
            .has_mem_type_64 = !io,
            .mem_type_64 = bar->type & PCI_BASE_ADDRESS_MEM_TYPE_64,
        };
    }
}

static bool query_device(PciDevice *dev, void *opaque)
{
    PciDeviceInfoList *list = opaque;
    uint16_t class_id = pci_get_word(dev->config + PCI_CLASS_DEVICE);
    bool bridge = pci_device_class_of(dev)->is_bridge;

    list->items = g_renew(PciDeviceInfo, list->items, list->len + 1);
    PciDeviceInfo *info = &list->items[list->len++];
    *info = (PciDeviceInfo){
        .bus = pci_bus_number(pci_device_bus(dev)),
        .slot = PCI_SLOT(dev->devfn),
        .function = PCI_FUNC(dev->devfn),
        .class_info = { .desc = g_strdup(pci_class_description(class_id)), .class = class_id },
        .id = { .device = pci_get_word(dev->config + PCI_DEVICE_ID),
                .vendor = pci_get_word(dev->config + PCI_VENDOR_ID),
                .has_subsystem = !bridge,
                .subsystem = pci_get_word(dev->config + PCI_SUBSYSTEM_ID),
                .has_subsystem_vendor = !bridge,
                .subsystem_vendor = pci_get_word(dev->config + PCI_SUBSYSTEM_VENDOR_ID) },
        .has_irq = dev->config[PCI_INTERRUPT_PIN],
        .irq = dev->config[PCI_INTERRUPT_LINE],
        .irq_pin = dev->config[PCI_INTERRUPT_PIN],
        .qdev_id = g_strdup(dev->parent.id ? dev->parent.id : ""),
        .pci_bridge = bridge ? query_bridge(dev) : NULL,
    };
    query_regions(dev, &info->regions);
    return true;
}

static void query_bus_devices(PciBus *bus, PciDeviceInfoList *list)
{
    list->items = g_new0(PciDeviceInfo, 1); /* present, if empty */
    pci_bus_foreach(bus, query_device, list);
}

static bool query_root(PciBus *bus, void *opaque)
{
    PciInfoList *list = opaque;
    list->items = g_renew(PciInfo, list->items, list->len + 1);
    PciInfo *info = &list->items[list->len++];
    *info = (PciInfo){ .bus = pci_bus_number(bus) };
    query_bus_devices(bus, &info->devices);
    return true;
}

bool qmp_query_pci(PciInfoList *ret, Error **errp)
{
    pci_foreach_root_bus(query_root, ret);
    return true;
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
        bool io = bar_is_io(bar, n);
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
