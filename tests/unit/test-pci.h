/* A root bus with a configurable device to test PCI with. Included by the tests of bus/pci. */
#ifndef TESTS_UNIT_TEST_PCI_H
#define TESTS_UNIT_TEST_PCI_H

#include <glib.h>
#include <string.h>

#include "base/text.h"
#include "bus/pci/bridge.h"
#include "bus/pci/host.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci.h"
#include "bus/pci/pcie.h"
#include "event/lock.h"
#include "event/loop.h"
#include "memory/memory.h"
#include "object/property.h"

#define ATTRS     MEMTXATTRS_UNSPECIFIED
#define ECAM_BASE 0xb0000000u
#define MSI_BASE  0xfee00000u

/* --- The device --- */

typedef struct TestDevice {
    PciDevice parent;
    MemoryRegion bar0, bar1, bar2;
    uint32_t registers[16];
    unsigned resets, exits;
    bool fail, ethernet, express_caps;
    uint8_t msi_vectors, msix_vectors;
} TestDevice;

static unsigned test_devices_alive;

static uint64_t test_read(void *opaque, hwaddr addr, unsigned size)
{
    TestDevice *d = opaque;
    return d->registers[addr / 4 % 16];
}

static void test_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    TestDevice *d = opaque;
    d->registers[addr / 4 % 16] = (uint32_t)value;
}

static const MemoryRegionOps test_ops = { .read = test_read, .write = test_write };

static bool test_realize(PciDevice *dev, Error **errp)
{
    TestDevice *d = (TestDevice *)dev;
    Object *owner = &dev->parent.parent;

    dev->config[PCI_INTERRUPT_PIN] = 1;
    if (d->ethernet) {
        pci_set_word(dev->config + PCI_CLASS_DEVICE, PCI_CLASS_NETWORK_ETHERNET);
    }
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &d->bar0);
    pci_register_bar(dev, 1, PCI_BASE_ADDRESS_SPACE_IO, &d->bar1);
    pci_register_bar(dev, 2, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
                     &d->bar2);
    if (!pci_add_pm(dev, 0, errp)) {
        return false;
    }
    if (d->msi_vectors && !msi_init(dev, 0, d->msi_vectors, true, true, errp)) {
        return false;
    }
    if (d->msix_vectors && !msix_init_exclusive(dev, d->msix_vectors, 4, errp)) {
        return false;
    }
    if (d->express_caps && dev->is_express) {
        if (!pcie_add_endpoint_cap(dev, 0, errp) || !pcie_add_aer(dev, 0x100, true, errp) ||
            !pcie_add_ats(dev, 0, true, errp) || !pcie_add_dsn(dev, 0, 0x1122334455667788, errp)) {
            return false;
        }
        pcie_cap_add_device_errors(dev);
        pcie_cap_add_flr(dev);
    }
    if (d->fail) {
        error_set(errp, "%s fails as it was told", object_type_name(owner));
        return false;
    }
    return true;
}

static void test_exit(PciDevice *dev)
{
    ((TestDevice *)dev)->exits++;
}

static void test_reset(Device *dev)
{
    ((TestDevice *)dev)->resets++;
}

static void test_init(Object *obj)
{
    TestDevice *d = (TestDevice *)obj;
    test_devices_alive++;
    memory_region_init_io(&d->bar0, obj, &test_ops, d, "bar0", 0x1000);
    memory_region_init_io(&d->bar1, obj, &test_ops, d, "bar1", 0x20);
    memory_region_init_io(&d->bar2, obj, &test_ops, d, "bar2", 0x4000);
}

static void test_finalize(Object *obj)
{
    TestDevice *d = (TestDevice *)obj;
    memory_region_finish(&d->bar0);
    memory_region_finish(&d->bar1);
    memory_region_finish(&d->bar2);
    test_devices_alive--;
}

static const Field test_properties[] = { PROP_BOOL("fail", TestDevice, fail, false),
                                         PROP_BOOL("ethernet", TestDevice, ethernet, false),
                                         PROP_BOOL("express-caps", TestDevice, express_caps, false),
                                         PROP_UINT8("msi", TestDevice, msi_vectors, 0),
                                         PROP_UINT8("msix", TestDevice, msix_vectors, 0),
                                         {} };

static const VmState test_vmstate = {
    .name = "test-pci",
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, TestDevice, pci_device_vmstate), {} },
};

static void test_class_init(ObjectClass *klass, const void *data)
{
    PciDeviceClass *pc = pci_device_class_cast(klass);
    pc->realize = test_realize;
    pc->exit = test_exit;
    pc->vendor_id = 0x1234;
    pc->device_id = 0x5678;
    pc->revision = 0x9a;
    pc->class_id = PCI_CLASS_OTHERS;
    device_class_cast(klass)->reset = test_reset;
    device_class_cast(klass)->vmstate = &test_vmstate;
}

static const TypeInfo test_conventional_type = {
    .name = "test-pci",
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(TestDevice),
    .properties = test_properties,
    .instance_init = test_init,
    .instance_finalize = test_finalize,
    .class_init = test_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
static const TypeInfo test_express_type = {
    .name = "test-pcie",
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(TestDevice),
    .properties = test_properties,
    .instance_init = test_init,
    .instance_finalize = test_finalize,
    .class_init = test_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_EXPRESS, NULL },
};

/* --- The chipset --- */

typedef struct TestHost {
    PcieHost parent;
    int lines[4];
} TestHost;

static const TypeInfo test_host_type = {
    .name = "test-host",
    .parent = TYPE_PCIE_HOST,
    .instance_size = sizeof(TestHost),
};

static int host_map_irq(void *opaque, PciDevice *dev, int pin)
{
    return pci_swizzle(PCI_SLOT(dev->devfn), pin);
}

static void host_set_irq(void *opaque, int line, int level)
{
    TestHost *host = opaque;
    host->lines[line] = level;
}

static PciIntxRoute host_route_irq(void *opaque, int line)
{
    return (PciIntxRoute){ .mode = PCI_INTX_ENABLED, .irq = 16 + line };
}

static const PciRootOps host_ops = {
    .map_irq = host_map_irq,
    .set_irq = host_set_irq,
    .route_irq = host_route_irq,
    .lines = 4,
};

/* --- The bench: a machine of nothing but that --- */

typedef struct World {
    TestHost *host;
    PciBus *root;
    MemoryRegion msi, ram;
    GString *messages; /* "address=data " of MSIs */
} World;

static void world_msi_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    World *w = opaque;
    g_string_append_printf(w->messages, "%x=%x ", (unsigned)addr, (unsigned)value);
}

static const MemoryRegionOps world_msi_ops = { .write = world_msi_write };

static UNUSED void world_up(World *w, gconstpointer bus_type)
{
    machine_lock();
    memory_init();
    w->messages = g_string_new(NULL);
    memory_region_init_io(&w->msi, NULL, &world_msi_ops, w, "msi", 0x1000);
    memory_region_add(memory_root(), MSI_BASE, &w->msi);
    g_assert_true(memory_region_init_ram(&w->ram, NULL, "ram", 0x10000, &error_abort));
    memory_region_add(memory_root(), 0, &w->ram);

    Device *dev = device_new("test-host");
    w->host = (TestHost *)dev;
    g_assert_true(
        object_add_child(object_container("/machine"), "host", &dev->parent, &error_abort));
    PciHost *host = &w->host->parent.parent;
    host->bus =
        pci_root_bus_new(dev, bus_type == NULL ? "pcie.0" : "pci.0",
                         bus_type == NULL ? TYPE_PCIE_BUS : bus_type, memory_root(), io_root(), 0);
    pci_bus_set_irqs(host->bus, &host_ops, w->host);
    w->root = host->bus;
    memory_region_add(io_root(), 0xcf8, &host->config_address);
    memory_region_add(io_root(), 0xcfc, &host->config_data);
    pcie_host_set_ecam(&w->host->parent, memory_root(), true, ECAM_BASE, 16 * MiB);
    g_assert_true(device_realize_and_unref(dev, bus_system(), &error_abort));
}

static UNUSED void world_down(World *w, gconstpointer data)
{
    device_set_machine_ready(false);
    PciHost *host = &w->host->parent.parent;
    pcie_host_set_ecam(&w->host->parent, memory_root(), false, 0, 0);
    memory_region_del(io_root(), &host->config_address);
    memory_region_del(io_root(), &host->config_data);
    device_destroy(&host->parent);
    object_root_reset();
    memory_region_finish(&w->msi);
    memory_region_finish(&w->ram);
    memory_finish();
    machine_unlock();
    rcu_drain();
    g_assert_cmpuint(test_devices_alive, ==, 0);
    g_string_free(w->messages, true);
}

/* Properties as text: "addr=03.1,msi=4"; id= too. NULL on failure. */
static UNUSED PciDevice *world_try(PciBus *bus, const char *type, const char *options, Error **errp)
{
    Device *dev = device_new(type);
    g_auto(GStrv) parts = g_strsplit(options ? options : "", ",", -1);

    for (int i = 0; parts[i] && *parts[i]; i++) {
        g_auto(GStrv) pair = g_strsplit(parts[i], "=", 2);
        if (!strcmp(pair[0], "id")) {
            dev->id = g_strdup(pair[1]);
        } else if (!object_set_text(&dev->parent, pair[0], pair[1], errp)) {
            object_unref(&dev->parent);
            return NULL;
        }
    }
    return device_realize_and_unref(dev, &bus->parent, errp) ? (PciDevice *)dev : NULL;
}

static UNUSED PciDevice *world_add(PciBus *bus, const char *type, const char *options)
{
    PciDevice *dev = world_try(bus, type, options, &error_abort);
    g_assert_nonnull(dev);
    return dev;
}

static UNUSED void world_refuse(PciBus *bus, const char *type, const char *options,
                                const char *pattern)
{
    Error *err = NULL;
    unsigned alive = test_devices_alive, plugged = bus->parent.devices->len;

    g_assert_null(world_try(bus, type, options, &err));
    if (!g_pattern_match_simple(pattern, error_message(err))) {
        g_test_message("got '%s'", error_message(err));
        g_test_message("for '%s'", pattern);
        g_test_fail();
    }
    error_free(err);
    g_assert_cmpuint(bus->parent.devices->len, ==, plugged);
    machine_unlock(); /* views that are still read may keep it a little longer */
    rcu_drain();
    machine_lock();
    g_assert_cmpuint(test_devices_alive, ==, alive);
}

/* --- Guest accesses --- */

static UNUSED uint32_t port_in(uint16_t port, unsigned size)
{
    uint64_t value = 0;
    address_space_load(address_space_io(), port, size, ATTRS, &value);
    return (uint32_t)value;
}

static UNUSED void port_out(uint16_t port, unsigned size, uint32_t value)
{
    address_space_store(address_space_io(), port, size, ATTRS, value);
}

static UNUSED uint32_t config_in(int bus, int devfn, unsigned reg, unsigned size)
{
    port_out(0xcf8, 4, 0x80000000u | (unsigned)bus << 16 | (unsigned)devfn << 8 | (reg & 0xfc));
    return port_in((uint16_t)(0xcfc + (reg & 3)), size);
}

static UNUSED void config_out(int bus, int devfn, unsigned reg, unsigned size, uint32_t value)
{
    port_out(0xcf8, 4, 0x80000000u | (unsigned)bus << 16 | (unsigned)devfn << 8 | (reg & 0xfc));
    port_out((uint16_t)(0xcfc + (reg & 3)), size, value);
}

static UNUSED uint64_t memory_in(uint64_t addr, unsigned size)
{
    uint64_t value = 0;
    address_space_load(address_space_memory(), addr, size, ATTRS, &value);
    return value;
}

static UNUSED void memory_out(uint64_t addr, unsigned size, uint64_t value)
{
    address_space_store(address_space_memory(), addr, size, ATTRS, value);
}

static UNUSED uint64_t ecam(int bus, int devfn, unsigned reg)
{
    return ECAM_BASE + ((uint64_t)bus << 20) + ((uint64_t)devfn << 12) + reg;
}

static UNUSED void expect_messages(World *w, const char *expect)
{
    g_assert_cmpstr(w->messages->str, ==, expect);
    g_string_truncate(w->messages, 0);
}

static UNUSED void world_register_types(void)
{
    type_register(&test_conventional_type);
    type_register(&test_express_type);
    type_register(&test_host_type);
}

#endif
