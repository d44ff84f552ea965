/* Configuration space: registers, base addresses and where they map, capabilities, power states. */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie.h"

#define IO_SPACE_LAST 0xffff

/* --- Making it --- */

static void header_type_0(PciDevice *dev)
{
    PciDeviceClass *klass = pci_device_class_of(dev);
    uint16_t vendor = klass->subsystem_vendor_id, id = klass->subsystem_id;

    if (!vendor && !id) {
        vendor = PCI_SUBVENDOR_ID_DEFAULT;
        id = PCI_SUBDEVICE_ID_DEFAULT;
    }
    pci_set_word(dev->config + PCI_SUBSYSTEM_VENDOR_ID, vendor);
    pci_set_word(dev->config + PCI_SUBSYSTEM_ID, id);
}

/* Bridge 1.2, 3.2.5: the windows' registers, and what of them can't be written. */
static void header_type_1(PciDevice *dev)
{
    static const struct {
        uint8_t offset, len;
        uint32_t mask;
    } writable[] = {
        { PCI_PRIMARY_BUS, 4, 0xffffffff },
        { PCI_IO_BASE, 1, 0xf0 },
        { PCI_IO_LIMIT, 1, 0xf0 },
        { PCI_MEMORY_BASE, 2, PCI_MEMORY_RANGE_MASK },
        { PCI_MEMORY_LIMIT, 2, PCI_MEMORY_RANGE_MASK },
        { PCI_PREF_MEMORY_BASE, 2, PCI_MEMORY_RANGE_MASK },
        { PCI_PREF_MEMORY_LIMIT, 2, PCI_MEMORY_RANGE_MASK },
        { PCI_PREF_BASE_UPPER32, 4, 0xffffffff },
        { PCI_PREF_LIMIT_UPPER32, 4, 0xffffffff },
        { PCI_BRIDGE_CONTROL, 2, PCI_BRIDGE_CTL_WRITABLE },
    };
    for (size_t i = 0; i < ARRAY_LEN(writable); i++) {
        stn_le(dev->config_mask + writable[i].offset, writable[i].len, writable[i].mask);
    }
    /* 64-bit prefetchable window, 16-bit I/O addresses */
    dev->config[PCI_PREF_MEMORY_BASE] = PCI_PREF_RANGE_TYPE_64;
    dev->config[PCI_PREF_MEMORY_LIMIT] = PCI_PREF_RANGE_TYPE_64;
    pci_set_word(dev->config_w1c + PCI_SEC_STATUS, 0xf900);
    pci_set_word(dev->config_w1c + PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_DISCARD_STATUS);
    dev->config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_BRIDGE;
}

void pci_config_make(PciDevice *dev)
{
    PciDeviceClass *klass = pci_device_class_of(dev);

    dev->config_size = dev->is_express ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE;
    dev->config = g_malloc0(dev->config_size);
    dev->config_mask = g_malloc0(dev->config_size);
    dev->config_w1c = g_malloc0(dev->config_size);
    dev->config_check = g_malloc0(dev->config_size);
    dev->config_used = g_malloc0(dev->config_size);

    pci_set_word(dev->config + PCI_VENDOR_ID, klass->vendor_id);
    pci_set_word(dev->config + PCI_DEVICE_ID, klass->device_id);
    dev->config[PCI_REVISION_ID] = klass->revision;
    dev->config[PCI_CLASS_PROG] = klass->prog_if;
    pci_set_word(dev->config + PCI_CLASS_DEVICE, klass->class_id);

    memset(dev->config_used, 1, PCI_CONFIG_HEADER_SIZE);
    pci_set_word(dev->config_mask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
                                                     PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                                                     PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    pci_set_word(dev->config_w1c + PCI_STATUS,
                 PCI_STATUS_MASTER_PARITY | PCI_STATUS_SIG_TARGET_ABORT |
                     PCI_STATUS_REC_TARGET_ABORT | PCI_STATUS_REC_MASTER_ABORT |
                     PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY);
    dev->config_mask[PCI_CACHE_LINE_SIZE] = 0xff;
    dev->config_mask[PCI_INTERRUPT_LINE] = 0xff;

    /* What makes this device that device: must be equal on both sides of a migration. */
    pci_set_word(dev->config_check + PCI_VENDOR_ID, 0xffff);
    pci_set_word(dev->config_check + PCI_DEVICE_ID, 0xffff);
    pci_set_word(dev->config_check + PCI_STATUS, PCI_STATUS_CAP_LIST);
    dev->config_check[PCI_REVISION_ID] = 0xff;
    dev->config_check[PCI_CLASS_PROG] = 0xff;
    pci_set_word(dev->config_check + PCI_CLASS_DEVICE, 0xffff);
    dev->config_check[PCI_HEADER_TYPE] = 0xff;
    dev->config_check[PCI_CAPABILITY_LIST] = 0xff;

    if (klass->is_bridge) {
        header_type_1(dev);
    } else {
        header_type_0(dev);
    }
}

void pci_config_free(PciDevice *dev)
{
    g_clear_pointer(&dev->config, g_free);
    g_clear_pointer(&dev->config_mask, g_free);
    g_clear_pointer(&dev->config_w1c, g_free);
    g_clear_pointer(&dev->config_check, g_free);
    g_clear_pointer(&dev->config_used, g_free);
    dev->config_size = 0;
    dev->pm_cap = dev->msi_cap = dev->msix_cap = dev->exp_cap = 0;
    dev->aer_cap = dev->ari_cap = dev->acs_cap = dev->ats_cap = dev->dsn_cap = 0;
}

/* --- Base address registers --- */

uint8_t pci_bar_register(const PciDevice *dev, int n)
{
    if (n != PCI_ROM_SLOT) {
        return (uint8_t)(PCI_BASE_ADDRESS_0 + n * 4);
    }
    return (dev->config[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) == PCI_HEADER_TYPE_BRIDGE
               ? PCI_ROM_ADDRESS1
               : PCI_ROM_ADDRESS;
}

static bool bar_is_64(const PciBar *bar)
{
    return !(bar->type & PCI_BASE_ADDRESS_SPACE_IO) && (bar->type & PCI_BASE_ADDRESS_MEM_TYPE_64);
}

void pci_register_bar(PciDevice *dev, int n, uint8_t type, MemoryRegion *region)
{
    PciBus *bus = pci_device_bus(dev);
    uint64_t size = memory_region_size(region);
    PciBar *bar = &dev->bars[n];
    bool io = n != PCI_ROM_SLOT && (type & PCI_BASE_ADDRESS_SPACE_IO);

    assert(n >= 0 && n < PCI_BAR_COUNT && !bar->region);
    assert(is_power_of_two(size) && size >= (io ? 4 : 16));
    *bar = (PciBar){
        .region = region,
        .space = io ? bus->io : bus->memory,
        .size = size,
        .addr = PCI_UNMAPPED,
        .type = type,
    };
    uint8_t reg = pci_bar_register(dev, n);
    uint64_t mask = ~(size - 1);
    if (n == PCI_ROM_SLOT) {
        pci_set_long(dev->config + reg, 0);
        pci_set_long(dev->config_mask + reg, (uint32_t)mask | PCI_ROM_ADDRESS_ENABLE);
        pci_set_long(dev->config_check + reg, ~((uint32_t)mask | PCI_ROM_ADDRESS_ENABLE));
        return;
    }
    pci_set_long(dev->config + reg, type);
    if (bar_is_64(bar)) {
        assert(n < 5 && !dev->bars[n + 1].region);
        pci_set_quad(dev->config_mask + reg, mask);
        pci_set_quad(dev->config_check + reg, ~0ull);
    } else {
        assert(size <= 1ull << 31);
        pci_set_long(dev->config_mask + reg, (uint32_t)mask);
        pci_set_long(dev->config_check + reg, 0xffffffff);
    }
}

uint64_t pci_bar_address(const PciDevice *dev, int n)
{
    return dev->bars[n].region ? dev->bars[n].addr : PCI_UNMAPPED;
}

unsigned pci_power_state(const PciDevice *dev)
{
    return dev->pm_cap ? dev->config[dev->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE : 0;
}

/* PCI 3.0, 6.2.5: where the registers say that BAR n is. */
static uint64_t bar_target(const PciDevice *dev, int n)
{
    const PciBar *bar = &dev->bars[n];
    uint8_t reg = pci_bar_register(dev, n);
    uint16_t command = pci_get_word(dev->config + PCI_COMMAND);
    uint64_t addr, last, top;

    if (!dev->has_power || pci_power_state(dev) != 0) {
        return PCI_UNMAPPED;
    }
    if (n != PCI_ROM_SLOT && (bar->type & PCI_BASE_ADDRESS_SPACE_IO)) {
        if (!(command & PCI_COMMAND_IO)) {
            return PCI_UNMAPPED;
        }
        addr = pci_get_long(dev->config + reg) & ~(bar->size - 1);
        top = IO_SPACE_LAST;
    } else {
        uint32_t low = pci_get_long(dev->config + reg);
        if (!(command & PCI_COMMAND_MEMORY) ||
            (n == PCI_ROM_SLOT && !(low & PCI_ROM_ADDRESS_ENABLE))) {
            return PCI_UNMAPPED;
        }
        bool wide = n != PCI_ROM_SLOT && bar_is_64(bar);
        addr = (wide ? ld64_le(dev->config + reg) : low) & ~(bar->size - 1);
        top = wide ? UINT64_MAX - 1 : UINT32_MAX - 1; /* the last bytes are there while sizing */
    }
    last = addr + bar->size - 1;
    return addr && last > addr && last <= top ? addr : PCI_UNMAPPED;
}

void pci_update_mappings(PciDevice *dev)
{
    memory_begin();
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        PciBar *bar = &dev->bars[n];
        if (!bar->region) {
            continue;
        }
        uint64_t addr = bar_target(dev, n);
        if (addr == bar->addr) {
            continue;
        }
        if (bar->addr != PCI_UNMAPPED) {
            memory_region_del(bar->space, bar->region);
        }
        bar->addr = addr;
        if (addr != PCI_UNMAPPED) {
            memory_region_add_overlap(bar->space, addr, bar->region, 1);
        }
    }
    memory_commit();
}

void pci_unmap_all(PciDevice *dev)
{
    memory_begin();
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        PciBar *bar = &dev->bars[n];
        if (bar->region && bar->addr != PCI_UNMAPPED) {
            memory_region_del(bar->space, bar->region);
        }
        *bar = (PciBar){ .addr = PCI_UNMAPPED };
    }
    memory_commit();
}

/* --- Reads and writes --- */

uint32_t pci_default_config_read(PciDevice *dev, uint32_t addr, unsigned len)
{
    assert(addr < dev->config_size && len <= 4);
    return (uint32_t)ldn_le(dev->config + addr, MIN_OF(len, dev->config_size - addr));
}

/* Everything that follows the command register. */
void pci_command_changed(PciDevice *dev, uint16_t old)
{
    uint16_t now = pci_get_word(dev->config + PCI_COMMAND);

    if ((old ^ now) & PCI_COMMAND_INTX_DISABLE) {
        pci_intx_disable_changed(dev);
    }
    memory_region_set_enabled(&dev->dma_alias, (now & PCI_COMMAND_MASTER) && dev->has_power);
    pci_bridge_command_changed(dev);
}

/* PCI PM 1.2, 5.4: from D3hot to D0 the function starts anew, unless it says otherwise. */
static void power_changed(PciDevice *dev, unsigned old)
{
    unsigned now = pci_power_state(dev);
    uint8_t *ctrl = dev->config + dev->pm_cap + PCI_PM_CTRL;

    if (now == old) {
        return;
    }
    if (now == 1 || now == 2) { /* D1 and D2 aren't offered: the write is without effect */
        *ctrl = (uint8_t)((*ctrl & ~PCI_PM_CTRL_STATE) | old);
        return;
    }
    if (now == 0 && !(*ctrl & PCI_PM_CTRL_NO_SOFT_RST)) {
        pci_reset_function(dev);
    }
    pci_update_mappings(dev);
}

void pci_default_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    uint16_t old_command = pci_get_word(dev->config + PCI_COMMAND);
    unsigned old_power = pci_power_state(dev);

    assert(addr < dev->config_size && len <= 4);
    len = MIN_OF(len, dev->config_size - addr);
    memory_begin();
    for (unsigned i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i)), mask = dev->config_mask[addr + i];
        uint8_t *reg = &dev->config[addr + i];
        *reg = (uint8_t)((*reg & ~mask) | (byte & mask));
        *reg &= (uint8_t) ~(byte & dev->config_w1c[addr + i]);
    }
    if (pci_ranges_overlap(addr, len, PCI_COMMAND, 2)) {
        pci_command_changed(dev, old_command);
    }
    if (pci_ranges_overlap(addr, len, PCI_COMMAND, 2) ||
        pci_ranges_overlap(addr, len, PCI_BASE_ADDRESS_0, 24) ||
        pci_ranges_overlap(addr, len, pci_bar_register(dev, PCI_ROM_SLOT), 4)) {
        pci_update_mappings(dev);
    }
    memory_commit();
    /* What follows may reset or remove devices, which ends transactions and listeners of theirs. */
    if (dev->pm_cap && pci_ranges_overlap(addr, len, dev->pm_cap + PCI_PM_CTRL, 2)) {
        power_changed(dev, old_power);
    }
    msi_config_written(dev, addr, len);
    msix_config_written(dev, addr, len);
    pcie_config_written(dev, addr, value, len);
}

static PciDevice *host_find(PciBus *root, uint8_t number, uint8_t devfn)
{
    PciBus *bus = pci_bus_find_number(root, number);
    PciDevice *dev = bus ? bus->devices[devfn] : NULL;
    return dev && pci_device_is_visible(dev) ? dev : NULL;
}

static uint32_t all_ones(unsigned len)
{
    return UINT32_MAX >> (32 - 8 * len);
}

uint32_t pci_host_config_read(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t addr, unsigned len)
{
    PciDevice *dev = host_find(root, bus, devfn);
    if (!dev || addr >= dev->config_size) {
        return all_ones(len);
    }
    len = MIN_OF(len, dev->config_size - addr);
    PciDeviceClass *klass = pci_device_class_of(dev);
    uint32_t value = klass->config_read ? klass->config_read(dev, addr, len)
                                        : pci_default_config_read(dev, addr, len);
    return value & all_ones(len);
}

void pci_host_config_write(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t addr, uint32_t value,
                           unsigned len)
{
    PciDevice *dev = host_find(root, bus, devfn);
    if (!dev || addr >= dev->config_size) {
        return;
    }
    len = MIN_OF(len, dev->config_size - addr);
    PciDeviceClass *klass = pci_device_class_of(dev);
    if (klass->config_write) {
        klass->config_write(dev, addr, value, len);
    } else {
        pci_default_config_write(dev, addr, value, len);
    }
}

/* --- Capabilities --- */

static uint8_t find_room(const PciDevice *dev, uint8_t size)
{
    unsigned run = 0;
    for (unsigned i = PCI_CONFIG_HEADER_SIZE; i < PCI_CONFIG_SIZE; i++) {
        run = dev->config_used[i] ? 0 : run + 1;
        if (run >= size && (i - size + 1) % 4 == 0) {
            return (uint8_t)(i - size + 1);
        }
    }
    return 0;
}

uint8_t pci_find_capability(const PciDevice *dev, uint8_t id)
{
    if (!(pci_get_word(dev->config + PCI_STATUS) & PCI_STATUS_CAP_LIST)) {
        return 0;
    }
    uint8_t at = dev->config[PCI_CAPABILITY_LIST];
    for (int i = 0; at && i < PCI_CONFIG_SIZE / 4; i++) {
        if (dev->config[at + PCI_CAP_LIST_ID] == id) {
            return at;
        }
        at = dev->config[at + PCI_CAP_LIST_NEXT];
    }
    return 0;
}

/* Which capability holds a byte; 0: none. */
static uint8_t owner_of(const PciDevice *dev, unsigned at)
{
    uint8_t found = 0;
    for (uint8_t cap = dev->config[PCI_CAPABILITY_LIST]; cap;
         cap = dev->config[cap + PCI_CAP_LIST_NEXT]) {
        if (cap <= at && cap > found) {
            found = cap;
        }
    }
    return found;
}

uint8_t pci_add_capability(PciDevice *dev, uint8_t id, uint8_t offset, uint8_t size, Error **errp)
{
    if (!offset) {
        offset = find_room(dev, size);
        if (!offset) {
            error_set(errp, "PCI device '%s': no room for capability 0x%02x of %u bytes",
                      object_type_name(&dev->parent.parent), id, size);
            return 0;
        }
    }
    assert(offset >= PCI_CONFIG_HEADER_SIZE && offset % 4 == 0);
    assert(offset + size <= PCI_CONFIG_SIZE);
    for (unsigned i = offset; i < offset + size; i++) {
        if (dev->config_used[i]) {
            uint8_t other = owner_of(dev, i);
            error_set(errp,
                      "PCI device '%s': capability 0x%02x at 0x%02x overlaps capability 0x%02x "
                      "at 0x%02x",
                      object_type_name(&dev->parent.parent), id, offset,
                      other ? dev->config[other] : 0, other);
            return 0;
        }
    }
    memset(dev->config_used + offset, 1, size);
    memset(dev->config + offset, 0, size);
    memset(dev->config_mask + offset, 0, size);
    memset(dev->config_check + offset, 0xff, size);
    dev->config[offset + PCI_CAP_LIST_ID] = id;
    dev->config[offset + PCI_CAP_LIST_NEXT] = dev->config[PCI_CAPABILITY_LIST];
    dev->config[PCI_CAPABILITY_LIST] = offset;
    pci_set_word(dev->config + PCI_STATUS,
                 pci_get_word(dev->config + PCI_STATUS) | PCI_STATUS_CAP_LIST);
    return offset;
}

void pci_del_capability(PciDevice *dev, uint8_t id, uint8_t size)
{
    uint8_t offset = pci_find_capability(dev, id);
    uint8_t *link = &dev->config[PCI_CAPABILITY_LIST];

    if (!offset) {
        return;
    }
    while (*link != offset) {
        link = &dev->config[*link + PCI_CAP_LIST_NEXT];
    }
    *link = dev->config[offset + PCI_CAP_LIST_NEXT];
    memset(dev->config_used + offset, 0, size);
    memset(dev->config + offset, 0, size);
    memset(dev->config_mask + offset, 0, size);
    memset(dev->config_w1c + offset, 0, size);
    memset(dev->config_check + offset, 0, size);
    if (!dev->config[PCI_CAPABILITY_LIST]) {
        pci_set_word(dev->config + PCI_STATUS,
                     pci_get_word(dev->config + PCI_STATUS) & ~PCI_STATUS_CAP_LIST);
    }
}

uint8_t pci_add_pm(PciDevice *dev, uint8_t offset, Error **errp)
{
    offset = pci_add_capability(dev, PCI_CAP_ID_PM, offset, PCI_PM_SIZEOF, errp);
    if (!offset) {
        return 0;
    }
    dev->pm_cap = offset;
    pci_set_word(dev->config + offset + PCI_PM_PMC, PCI_PM_CAP_VERSION);
    pci_set_word(dev->config_mask + offset + PCI_PM_CTRL, PCI_PM_CTRL_STATE);
    pci_set_word(dev->config_check + offset + PCI_PM_CTRL, 0);
    return offset;
}
