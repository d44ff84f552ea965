/*
 * The type pci-device: properties, and realize in the order that users and guests see.
 */
#include <inttypes.h>
#include <string.h>

#include "base/report.h"
#include "base/text.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie.h"
#include "object/property.h"

/* --- addr=SLOT[.FUNCTION], both hexadecimal; as a JSON integer slot * 8 + function --- */

static bool parse_hex(const char *text, const char **end, unsigned max, unsigned *value)
{
    char *stop;
    if (!g_ascii_isxdigit(*text)) {
        return false;
    }
    unsigned long v = strtoul(text, &stop, 16);
    *end = stop;
    *value = (unsigned)v;
    return v <= max;
}

static bool addr_from_text(const char *text, int32_t *devfn)
{
    unsigned slot, function = 0;
    const char *end;

    if (!strcmp(text, "-1")) {
        *devfn = -1;
        return true;
    }
    if (!parse_hex(text, &end, PCI_SLOTS - 1, &slot)) {
        return false;
    }
    if (*end == '.' && !parse_hex(end + 1, &end, PCI_FUNCTIONS - 1, &function)) {
        return false;
    }
    *devfn = PCI_DEVFN((int)slot, (int)function);
    return !*end;
}

static bool addr_parse(void *owner, const Field *field, void *slot, json_t *json, ValueMode mode,
                       Error **errp)
{
    int32_t devfn = -1;
    bool ok = false;

    if (json_is_integer(json)) {
        json_int_t v = json_integer_value(json);
        ok = v >= -1 && v < PCI_SLOTS * PCI_FUNCTIONS;
        devfn = (int32_t)v;
    } else if (json_is_string(json)) {
        ok = addr_from_text(json_string_value(json), &devfn);
    }
    if (!ok) {
        g_autofree char *text = json_dumps(json, JSON_ENCODE_ANY);
        error_set(errp,
                  "Parameter '%s' expects SLOT or SLOT.FUNCTION in hexadecimal (slots 0 to 1f, "
                  "functions 0 to 7), got %s",
                  field->name, text);
        return false;
    }
    *(int32_t *)slot = devfn;
    return true;
}

static json_t *addr_print(const void *owner, const Field *field, const void *slot, Error **errp)
{
    return json_integer(*(const int32_t *)slot);
}

static const ValueCustom addr_custom = { .parse = addr_parse, .print = addr_print };
const ValueType value_type_pci_addr = {
    .kind = VALUE_CUSTOM,
    .name = "int32",
    .size = sizeof(int32_t),
    .custom = &addr_custom,
};

/* clang-format off */
static const Field pci_properties[] = {
    PROP_CUSTOM("addr", PciDevice, devfn, value_type_pci_addr,
                .help = "slot and function, as 06.0 or 06"),
    PROP_BOOL("multifunction", PciDevice, multifunction, false,
              .help = "the slot may have further functions"),
    PROP_STRING("romfile", PciDevice, romfile, NULL, .help = "file of the option ROM; empty: none"),
    PROP_UINT32("romsize", PciDevice, romsize, UINT32_MAX,
                .help = "size of the option ROM, a power of two"),
    PROP_INT32("rombar", PciDevice, rombar, -1, PROP_RANGE(-1, 1),
               .help = "show the option ROM to the guest (-1: if there is one)"),
    PROP_UINT32("acpi-index", PciDevice, acpi_index, 0,
                .help = "number of the network interface's onboard name (0: none)"),
    PROP_STRING("failover_pair_id", PciDevice, failover_pair_id, NULL,
                .help = "id of the standby network device that this one is the primary of"),
    PROP_BOOL("x-pcie-lnksta-dllla", PciDevice, lnksta_dllla, true,
              .help = "ports report an active data link"),
    PROP_BOOL("x-pcie-extcap-init", PciDevice, extcap_init, true,
              .help = "an empty extended capability list is well-formed"),
    PROP_BOOL("x-pcie-ari-nextfn-1", PciDevice, ari_nextfn_1, false,
              .help = "the ARI capability's next function is 1 instead of 0"),
    PROP_BOOL("x-pcie-err-unc-mask", PciDevice, err_unc_mask, true,
              .help = "uncorrectable internal errors are masked at reset"),
    {}
};
/* clang-format on */

/* --- Realize --- */

typedef struct IndexSearch {
    const PciDevice *self;
    bool found;
} IndexSearch;

static bool same_acpi_index(PciDevice *dev, void *opaque)
{
    IndexSearch *s = opaque;
    s->found = dev != s->self && dev->acpi_index == s->self->acpi_index;
    return !s->found;
}

static bool search_root_bus(PciBus *bus, void *opaque)
{
    return pci_bus_foreach_recursive(bus, same_acpi_index, opaque);
}

static bool check_acpi_index(const PciDevice *dev, Error **errp)
{
    IndexSearch search = { .self = dev };

    if (dev->acpi_index > PCI_ACPI_INDEX_MAX) {
        error_set(errp, "acpi-index should be less or equal to %d, got %u", PCI_ACPI_INDEX_MAX,
                  dev->acpi_index);
        return false;
    }
    if (dev->acpi_index) {
        pci_foreach_root_bus(search_root_bus, &search);
    }
    if (search.found) {
        error_set(errp, "a PCI device with acpi-index = %u already exists", dev->acpi_index);
        return false;
    }
    return true;
}

static bool check_romsize(const PciDevice *dev, Error **errp)
{
    if (dev->romsize != UINT32_MAX && !is_power_of_two(dev->romsize)) {
        error_set(errp, "ROM size %u is not a power of two", dev->romsize);
        return false;
    }
    return true;
}

/* PCIe 5.0, 7.3.1: behind a port only device 0 answers, unless functions are numbered by ARI. */
static void check_reachable(PciDevice *dev)
{
    if (PCI_SLOT(dev->devfn) && !dev->ari_cap && pcie_has_upstream_port(dev)) {
        g_autofree char *who = device_describe(&dev->parent);
        report_warning("PCI: slot %d is not valid for %s, the parent port only allows slot 0",
                       PCI_SLOT(dev->devfn), who);
    }
}

static bool check_failover(const PciDevice *dev, Error **errp)
{
    const PciBus *bus = pci_device_bus(dev);

    if (!dev->failover_pair_id) {
        return true;
    }
    if (!pci_bus_is_express((PciBus *)bus)) {
        error_set(errp, "failover primary device must be on a PCI Express bus");
        return false;
    }
    if (pci_get_word(dev->config + PCI_CLASS_DEVICE) != PCI_CLASS_NETWORK_ETHERNET) {
        error_set(errp, "failover primary device is not an Ethernet device");
        return false;
    }
    /* Unplugging the primary would take the other functions of the slot along. */
    bool alone = !dev->multifunction && !PCI_FUNC(dev->devfn);
    for (int f = 0; f < PCI_FUNCTIONS; f++) {
        const PciDevice *other = bus->devices[PCI_DEVFN(PCI_SLOT(dev->devfn), f)];
        alone &= !other || other == dev;
    }
    if (!alone) {
        error_set(errp, "failover: primary device must be in its own PCI slot, without other "
                        "functions");
        return false;
    }
    return true;
}

static bool wants_express(PciDevice *dev)
{
    PciDeviceClass *klass = pci_device_class_of(dev);
    Object *obj = &dev->parent.parent;

    if (!object_dynamic_cast(obj, TYPE_PCI_EXPRESS)) {
        return false;
    }
    if (klass->is_express) {
        return klass->is_express(dev);
    }
    return !object_dynamic_cast(obj, TYPE_PCI_CONVENTIONAL);
}

static void realize_undo(PciDevice *dev)
{
    pci_unmap_all(dev);
    PciDeviceClass *klass = pci_device_class_of(dev);
    if (klass->exit) {
        klass->exit(dev);
    }
}

static bool pci_realize(Device *obj, Error **errp)
{
    PciDevice *dev = pci_device_cast(obj);
    PciDeviceClass *klass = pci_device_class_of(dev);
    bool automatic = dev->devfn < 0;

    if (!check_acpi_index(dev, errp) || !check_romsize(dev, errp)) {
        return false;
    }
    dev->is_express = wants_express(dev);
    if (!pci_bus_register(pci_device_bus(dev), dev, errp)) {
        return false;
    }
    if (klass->realize && !klass->realize(dev, errp)) {
        goto unregister;
    }
    check_reachable(dev);
    if (!check_failover(dev, errp) || !pci_rom_add(dev, errp)) {
        realize_undo(dev);
        goto unregister;
    }
    pci_set_power(dev, true);
    return true;

unregister:
    pci_bus_unregister(pci_device_bus(dev), dev);
    if (automatic) {
        dev->devfn = -1;
    }
    return false;
}

static void pci_unrealize(Device *obj)
{
    PciDevice *dev = pci_device_cast(obj);
    realize_undo(dev);
    pci_bus_unregister(pci_device_bus(dev), dev);
}

/* --- Power and reset --- */

bool pci_device_is_visible(const PciDevice *dev)
{
    const PciBus *bus = pci_device_bus(dev);
    if (!dev->has_power) {
        return false;
    }
    /* A hot-plugged function waits for function 0, which the guest looks at first. */
    return !dev->parent.hotplugged || bus->devices[PCI_DEVFN(PCI_SLOT(dev->devfn), 0)];
}

void pci_set_power(PciDevice *dev, bool on)
{
    if (dev->has_power == on) {
        return;
    }
    dev->has_power = on;
    memory_begin();
    pci_update_mappings(dev);
    memory_region_set_enabled(&dev->dma_alias,
                              on && (pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER));
    memory_commit();
    if (!on) {
        pci_reset_function(dev);
    }
}

void pci_device_reset_config(PciDevice *dev)
{
    uint16_t command = pci_get_word(dev->config + PCI_COMMAND);

    memory_begin();
    pci_device_deassert_intx(dev);
    pci_set_word(dev->config + PCI_COMMAND,
                 command & ~pci_get_word(dev->config_mask + PCI_COMMAND));
    pci_set_word(dev->config + PCI_STATUS, pci_get_word(dev->config + PCI_STATUS) &
                                               ~pci_get_word(dev->config_w1c + PCI_STATUS));
    dev->config[PCI_CACHE_LINE_SIZE] = 0;
    dev->config[PCI_INTERRUPT_LINE] = 0;
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        const PciBar *bar = &dev->bars[n];
        if (!bar->region) {
            continue;
        }
        uint8_t *reg = dev->config + pci_bar_register(dev, n);
        if (n != PCI_ROM_SLOT && (bar->type & PCI_BASE_ADDRESS_MEM_TYPE_64) &&
            !(bar->type & PCI_BASE_ADDRESS_SPACE_IO)) {
            pci_set_quad(reg, bar->type);
        } else {
            pci_set_long(reg, n == PCI_ROM_SLOT ? 0 : bar->type);
        }
    }
    if (dev->pm_cap) {
        uint8_t *ctrl = dev->config + dev->pm_cap + PCI_PM_CTRL;
        pci_set_word(ctrl, pci_get_word(ctrl) & ~PCI_PM_CTRL_STATE);
    }
    pci_command_changed(dev, command);
    pci_update_mappings(dev);
    msi_reset(dev);
    msix_reset(dev);
    pcie_cap_reset(dev);
    if (!dev->flr_running) { /* recorded errors outlive a function's reset (PCIe 5.0, 7.4) */
        pcie_aer_reset(dev);
    }
    memory_commit();
}

/* Of one function, as FLR does it and a change of power. */
void pci_reset_function(PciDevice *dev)
{
    PciDeviceClass *klass = pci_device_class_of(dev);
    if (klass->reset_function) {
        klass->reset_function(dev);
        pci_device_reset_config(dev);
    } else {
        device_reset(&dev->parent);
    }
}

static void pci_hold(Object *obj, ResetType type)
{
    PciDevice *dev = pci_device_cast(obj);
    DeviceClass *klass = device_class_of(obj);

    if (klass->reset) {
        klass->reset(&dev->parent);
    }
    pci_device_reset_config(dev);
}

/* --- DMA --- */

MemTxAttrs pci_dma_attrs(const PciDevice *dev)
{
    return (MemTxAttrs){ .requester_id = pci_device_bdf(dev) };
}

MemTxResult pci_dma_read(PciDevice *dev, uint64_t addr, void *buf, uint64_t len)
{
    return address_space_read(&dev->dma, addr, pci_dma_attrs(dev), buf, len);
}

MemTxResult pci_dma_write(PciDevice *dev, uint64_t addr, const void *buf, uint64_t len)
{
    return address_space_write(&dev->dma, addr, pci_dma_attrs(dev), buf, len);
}

/* --- Making devices --- */

PciDevice *pci_device_new(int devfn, const char *type_name)
{
    PciDevice *dev = pci_device_cast(object_new(type_name));
    dev->devfn = devfn;
    return dev;
}

PciDevice *pci_device_new_multifunction(int devfn, const char *type_name)
{
    PciDevice *dev = pci_device_new(devfn, type_name);
    dev->multifunction = true;
    return dev;
}

bool pci_device_realize_and_unref(PciDevice *dev, PciBus *bus, Error **errp)
{
    return device_realize_and_unref(&dev->parent, &bus->parent, errp);
}

PciDevice *pci_device_create(PciBus *bus, int devfn, const char *type_name, Error **errp)
{
    PciDevice *dev = pci_device_new(devfn, type_name);
    return pci_device_realize_and_unref(dev, bus, errp) ? dev : NULL;
}

/* --- State --- */

static bool config_pre_load(void *opaque, Error **errp)
{
    PciDevice *dev = opaque;
    g_free(dev->config_before);
    dev->config_before = g_memdup2(dev->config, dev->config_size);
    return true;
}

static bool config_post_load(void *opaque, int version, Error **errp)
{
    PciDevice *dev = opaque;
    g_autofree uint8_t *before = g_steal_pointer(&dev->config_before);

    for (uint32_t i = 0; before && i < dev->config_size; i++) {
        uint8_t fixed =
            (uint8_t)(dev->config_check[i] & ~dev->config_mask[i] & ~dev->config_w1c[i]);
        if ((before[i] ^ dev->config[i]) & fixed) {
            g_autofree char *path = pci_device_path(dev);
            error_set(errp,
                      "PCI device %s at %s: configuration byte 0x%x is 0x%02x here and 0x%02x in "
                      "the stream; give the device the same options on both sides",
                      object_type_name(&dev->parent.parent), path, i, before[i], dev->config[i]);
            memcpy(dev->config, before, dev->config_size);
            dev->irq_state = dev->lines_up;
            return false;
        }
    }
    dev->irq_state &= (1u << PCI_PINS) - 1;
    pci_intx_recount(dev);
    memory_begin();
    memory_region_set_enabled(&dev->dma_alias,
                              pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER);
    pci_update_mappings(dev);
    memory_commit();
    return true;
}

const VmState pci_device_vmstate = {
    .name = "PCIDevice",
    .version = 2,
    .minimum_version = 2,
    .pre_load = config_pre_load,
    .post_load = config_post_load,
    .fields = (const VmStateField[]){ {
                                          .name = "config",
                                          .kind = VMSTATE_KIND_UINT,
                                          .offset = offsetof(PciDevice, config),
                                          .size = 1,
                                          .count = PCIE_CONFIG_SIZE,
                                          .count_offset = offsetof(PciDevice, config_size),
                                          .count_size = sizeof(uint32_t),
                                          .pointer = true,
                                      },
                                      VMSTATE_UINT8(irq_state, PciDevice),
                                      {} },
};

/* --- The type --- */

static void pci_instance_init(Object *obj)
{
    PciDevice *dev = (PciDevice *)obj;
    dev->devfn = -1;
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        dev->bars[n].addr = PCI_UNMAPPED;
    }
}

static void pci_finalize(Object *obj)
{
    PciDevice *dev = (PciDevice *)obj;
    memory_region_finish(&dev->rom);
    irq_free_array(dev->irq);
    g_free(dev->config_before);
}

static void pci_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->bus_type = TYPE_PCI_BUS;
    dc->realize = pci_realize;
    dc->unrealize = pci_unrealize;
    resettable_class_cast(klass)->hold = pci_hold;
}

static const TypeInfo pci_device_type = {
    .name = TYPE_PCI_DEVICE,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(PciDevice),
    .class_size = sizeof(PciDeviceClass),
    .abstract = true,
    .properties = pci_properties,
    .instance_init = pci_instance_init,
    .instance_finalize = pci_finalize,
    .class_init = pci_class_init,
};
OBJECT_TYPE(pci_device, pci_device_type)
