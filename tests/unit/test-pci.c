/* PCI: configuration space, base addresses, capabilities, pins, bridges, the order of realize. */
#include "test-pci.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/report.h"
#include "schema/pci.h"

#define VENDOR_DEVICE 0x56781234u
#define DEVFN(slot)   PCI_DEVFN(slot, 0)

/* --- Configuration space --- */

static void test_header(World *w, gconstpointer data)
{
    world_add(w->root, "test-pci", "addr=03.0");
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_VENDOR_ID, 4), ==, VENDOR_DEVICE);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_DEVICE_ID, 2), ==, 0x5678);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_REVISION_ID, 1), ==, 0x9a);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_SUBSYSTEM_VENDOR_ID, 4), ==, 0x11001af4);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_STATUS, 2), ==, PCI_STATUS_CAP_LIST);
    g_assert_cmphex(config_in(0, DEVFN(4), PCI_VENDOR_ID, 4), ==, 0xffffffff);
    g_assert_cmphex(config_in(7, DEVFN(3), PCI_VENDOR_ID, 4), ==, 0xffffffff);
    /* the vendor can't be written, the interrupt line can, command in part */
    config_out(0, DEVFN(3), PCI_VENDOR_ID, 4, 0);
    config_out(0, DEVFN(3), PCI_INTERRUPT_LINE, 1, 0x0b);
    config_out(0, DEVFN(3), PCI_COMMAND, 2, 0xffff);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_VENDOR_ID, 4), ==, VENDOR_DEVICE);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_INTERRUPT_LINE, 1), ==, 0x0b);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_COMMAND, 2), ==, 0x0547);
    /* mechanism #1 off, or reached with less than 32 bits */
    port_out(0xcf8, 4, DEVFN(3) << 8);
    g_assert_cmphex(port_in(0xcfc, 4), ==, 0xffffffff);
    port_out(0xcf8, 2, 0x1234);
    g_assert_cmphex(port_in(0xcf8, 4), ==, DEVFN(3) << 8);
}

static void test_config_sizes(World *w, gconstpointer data)
{
    PciDevice *conventional = world_add(w->root, "test-pci", "addr=3");
    PciDevice *express = world_add(w->root, "test-pcie", "addr=4,express-caps=on");

    g_assert_cmpuint(conventional->config_size, ==, 256);
    g_assert_cmpuint(express->config_size, ==, 4096);
    g_assert_cmphex(memory_in(ecam(0, DEVFN(3), 0), 4), ==, VENDOR_DEVICE);
    g_assert_cmphex(memory_in(ecam(0, DEVFN(3), 0x100), 4), ==, 0xffffffff);
    g_assert_cmphex(memory_in(ecam(0, DEVFN(4), 0x100), 2), ==, PCI_EXT_CAP_ID_AER);
    /* over the end of what there is */
    g_assert_cmphex(memory_in(ecam(0, DEVFN(4), 0xffc), 4), ==, 0);
    memory_out(ecam(0, DEVFN(4), 0xffc), 4, 0xffffffff);
    memory_out(ecam(0, DEVFN(3), 0xfc), 8, UINT64_MAX);
    g_assert_cmphex(memory_in(ecam(0, DEVFN(4), 0xffc), 4), ==, 0);
    g_assert_cmphex(memory_in(ecam(9, 0, 0), 4), ==, 0xffffffff);
}

static void test_express_caps(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pcie", "addr=4,express-caps=on");

    g_assert_cmphex(pcie_cap_type(dev), ==, PCI_EXP_TYPE_RC_ENDPOINT); /* on the root bus */
    g_assert_cmphex(pcie_find_ext_capability(dev, PCI_EXT_CAP_ID_AER), ==, 0x100);
    g_assert_cmphex(pcie_find_ext_capability(dev, PCI_EXT_CAP_ID_ATS), ==, 0x148);
    g_assert_cmphex(pcie_find_ext_capability(dev, PCI_EXT_CAP_ID_DSN), ==, 0x150);
    g_assert_cmphex(pcie_find_ext_capability(dev, PCI_EXT_CAP_ID_ARI), ==, 0);
    g_assert_cmphex(memory_in(ecam(0, DEVFN(4), 0x154), 8), ==, 0x1122334455667788);
    g_assert_false(pcie_ats_enabled(dev));
    memory_out(ecam(0, DEVFN(4), 0x148 + PCI_ATS_CTRL), 2, 0xffff);
    g_assert_true(pcie_ats_enabled(dev));
    g_assert_cmphex(memory_in(ecam(0, DEVFN(4), 0x148 + PCI_ATS_CTRL), 2), ==, 0x8000);

    Error *err = NULL;
    g_assert_cmpint(pcie_add_ext_capability(dev, 0x77, 1, 0x140, 8, &err), ==, 0);
    g_assert_nonnull(strstr(error_message(err), "extended capability 0x0077 at 0x140 overlaps"));
    error_free(err);

    /* function level reset: as a reset, and the bit reads 0 */
    TestDevice *d = (TestDevice *)dev;
    config_out(0, DEVFN(4), PCI_COMMAND, 2, 6);
    unsigned resets = d->resets;
    uint16_t devctl = (uint16_t)(dev->exp_cap + PCI_EXP_DEVCTL);
    config_out(0, DEVFN(4), devctl, 2, PCI_EXP_DEVCTL_FLR);
    g_assert_cmpuint(d->resets, ==, resets + 1);
    g_assert_cmphex(config_in(0, DEVFN(4), PCI_COMMAND, 2), ==, 0);
    g_assert_cmphex(config_in(0, DEVFN(4), devctl, 2) & PCI_EXP_DEVCTL_FLR, ==, 0);
    /* an access that doesn't reach the bit doesn't reset */
    config_out(0, DEVFN(4), devctl, 1, 0x0f);
    g_assert_cmpuint(d->resets, ==, resets + 1);
}

static void test_bars(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pci", "addr=3");
    TestDevice *d = (TestDevice *)dev;
    int fn = DEVFN(3);

    /* sizing */
    config_out(0, fn, 0x10, 4, 0xffffffff);
    config_out(0, fn, 0x14, 4, 0xffffffff);
    config_out(0, fn, 0x18, 4, 0xffffffff);
    config_out(0, fn, 0x1c, 4, 0xffffffff);
    g_assert_cmphex(config_in(0, fn, 0x10, 4), ==, 0xfffff000);
    g_assert_cmphex(config_in(0, fn, 0x14, 4), ==, 0xffffffe1);
    g_assert_cmphex(config_in(0, fn, 0x18, 4), ==, 0xffffc00c);
    g_assert_cmphex(config_in(0, fn, 0x1c, 4), ==, 0xffffffff);
    config_out(0, fn, PCI_COMMAND, 2, 3); /* decoding while all ones: nowhere */
    for (int n = 0; n < 3; n++) {
        g_assert_true(pci_bar_address(dev, n) == PCI_UNMAPPED);
    }
    config_out(0, fn, PCI_COMMAND, 2, 0);
    config_out(0, fn, 0x10, 4, 0xe0000000);
    config_out(0, fn, 0x14, 4, 0xc000);
    config_out(0, fn, 0x18, 4, 0x10000000);
    config_out(0, fn, 0x1c, 4, 0x00000008); /* above 4 GiB */
    g_assert_true(pci_bar_address(dev, 0) == PCI_UNMAPPED);
    config_out(0, fn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    g_assert_cmphex(pci_bar_address(dev, 0), ==, 0xe0000000);
    g_assert_true(pci_bar_address(dev, 1) == PCI_UNMAPPED);
    g_assert_cmphex(pci_bar_address(dev, 2), ==, 0x810000000);
    memory_out(0xe0000004, 4, 42);
    g_assert_cmpuint(d->registers[1], ==, 42);
    g_assert_cmpuint(memory_in(0x810000004, 4), ==, 42);
    config_out(0, fn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    g_assert_cmpuint(port_in(0xc004, 4), ==, 42);
    /* moved while it decodes; then address 0, which is none */
    config_out(0, fn, 0x10, 4, 0xe0100000);
    g_assert_cmphex(memory_in(0xe0000004, 4), ==, 0xffffffff);
    g_assert_cmpuint(memory_in(0xe0100004, 4), ==, 42);
    config_out(0, fn, 0x10, 4, 0);
    g_assert_true(pci_bar_address(dev, 0) == PCI_UNMAPPED);
    /* I/O above the 64 KiB of the bus */
    config_out(0, fn, 0x14, 4, 0x1c000);
    g_assert_true(pci_bar_address(dev, 1) == PCI_UNMAPPED);
    config_out(0, fn, 0x10, 4, 0xe0000000);

    /* D3hot: gone; back to D0: a new start */
    uint8_t ctrl = (uint8_t)(dev->pm_cap + PCI_PM_CTRL);
    unsigned resets = d->resets;
    config_out(0, fn, ctrl, 2, 3);
    g_assert_true(pci_bar_address(dev, 0) == PCI_UNMAPPED);
    config_out(0, fn, ctrl, 2, 2); /* D2 isn't there: stays in D3 */
    g_assert_cmpuint(config_in(0, fn, ctrl, 2), ==, 3);
    config_out(0, fn, ctrl, 2, 0);
    g_assert_cmpuint(d->resets, ==, resets + 1);
    g_assert_cmphex(config_in(0, fn, 0x10, 4), ==, 0);
    g_assert_cmphex(config_in(0, fn, 0x18, 4), ==, 0x0c);
    g_assert_cmphex(config_in(0, fn, PCI_COMMAND, 2), ==, 0);
}

static void test_dma(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pci", "addr=3");
    uint32_t value = 0x12345678;

    g_assert_cmpint(pci_dma_write(dev, 0x100, &value, 4), ==, MEMTX_DECODE_ERROR);
    config_out(0, DEVFN(3), PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    g_assert_cmpint(pci_dma_write(dev, 0x100, &value, 4), ==, MEMTX_OK);
    g_assert_cmphex(memory_in(0x100, 4), ==, 0x12345678);
    g_assert_cmphex(pci_dma_attrs(dev).requester_id, ==, 0x18);
    g_assert_true(dev->dma.view == address_space_memory()->view);
    config_out(0, DEVFN(3), PCI_COMMAND, 2, 0);
    g_assert_cmpint(pci_dma_read(dev, 0x100, &value, 4), ==, MEMTX_DECODE_ERROR);
}

static void test_capabilities(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pci", "addr=3"); /* PM at 0x40 */
    Error *err = NULL;

    g_assert_cmphex(dev->pm_cap, ==, 0x40);
    uint8_t a = pci_add_capability(dev, PCI_CAP_ID_VENDOR, 0, 10, &error_abort);
    g_assert_cmphex(a, ==, 0x48);
    uint8_t b = pci_add_capability(dev, 0x33, 0, 4, &error_abort);
    g_assert_cmphex(b, ==, 0x54); /* aligned */
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_CAPABILITY_LIST, 1), ==, b);
    g_assert_cmphex(config_in(0, DEVFN(3), b, 2), ==, 0x4833);
    g_assert_cmpuint(pci_add_capability(dev, 0x44, 0x50, 8, &err), ==, 0);
    g_assert_cmpstr(error_message(err), ==,
                    "PCI device 'test-pci': capability 0x44 at 0x50 overlaps capability 0x09 at "
                    "0x48");
    error_free(err);
    err = NULL;
    pci_del_capability(dev, PCI_CAP_ID_VENDOR, 10);
    g_assert_cmphex(pci_find_capability(dev, PCI_CAP_ID_VENDOR), ==, 0);
    g_assert_cmphex(pci_find_capability(dev, PCI_CAP_ID_PM), ==, 0x40);
    g_assert_cmphex(pci_add_capability(dev, 0x44, 0x48, 8, &error_abort), ==, 0x48);
    while (pci_add_capability(dev, 0x55, 0, 16, &err)) {
    }
    g_assert_nonnull(strstr(error_message(err), "no room for capability 0x55 of 16 bytes"));
    error_free(err);
}

/* --- Pins --- */

static void test_intx(World *w, gconstpointer data)
{
    PciDevice *a = world_add(w->root, "test-pci", "addr=1");
    PciDevice *b = world_add(w->root, "test-pci", "addr=5"); /* shares line 1 */

    pci_set_irq(a, 1);
    g_assert_cmpint(w->host->lines[1], ==, 1);
    g_assert_cmphex(config_in(0, DEVFN(1), PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, !=, 0);
    pci_set_irq(b, 1);
    pci_set_irq(a, 0);
    g_assert_cmpint(w->host->lines[1], ==, 1);
    pci_set_irq(b, 0);
    g_assert_cmpint(w->host->lines[1], ==, 0);
    /* disabled: the pin is held back, the status bit shows it */
    pci_set_irq(a, 1);
    config_out(0, DEVFN(1), PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    g_assert_cmpint(w->host->lines[1], ==, 0);
    g_assert_cmphex(config_in(0, DEVFN(1), PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, !=, 0);
    config_out(0, DEVFN(1), PCI_COMMAND, 2, 0);
    g_assert_cmpint(w->host->lines[1], ==, 1);
    g_assert_cmpint(pci_device_route_intx(a, 0).irq, ==, 17);
    irq_raise(pci_allocate_irq(b));
    device_destroy(&a->parent);
    g_assert_cmpint(w->host->lines[1], ==, 1);
    device_destroy(&b->parent); /* one that goes takes its pin along */
    g_assert_cmpint(w->host->lines[1], ==, 0);
}

/* --- Bridges --- */

static void number_bridge(int fn, int secondary, int subordinate)
{
    config_out(0, fn, PCI_PRIMARY_BUS, 4, (uint32_t)(subordinate << 16 | secondary << 8 | 0));
}

static void test_bridge(World *w, gconstpointer data)
{
    PciDevice *br = world_add(w->root, TYPE_PCI_BRIDGE, "addr=2,chassis_nr=1,id=br");
    PciBus *bus = &pci_bridge_cast(br)->secondary;
    g_assert_cmpstr(bus->parent.name, ==, "br");
    PciDevice *dev = world_add(bus, "test-pci", "addr=3");
    TestDevice *d = (TestDevice *)dev;
    int fn = DEVFN(2);

    g_assert_cmphex(config_in(1, DEVFN(3), 0, 4), ==, 0xffffffff); /* not numbered */
    number_bridge(fn, 1, 1);
    g_assert_cmphex(config_in(1, DEVFN(3), 0, 4), ==, VENDOR_DEVICE);
    g_assert_cmphex(config_in(0, fn, PCI_HEADER_TYPE, 1), ==, PCI_HEADER_TYPE_BRIDGE);
    g_autofree char *path = pci_device_path(dev);
    g_assert_cmpstr(path, ==, "0000:00:02.0:03.0");
    g_assert_cmphex(pci_device_bdf(dev), ==, 0x118);

    /* through the windows, and only through them */
    config_out(1, DEVFN(3), 0x10, 4, 0xe0000000);
    config_out(1, DEVFN(3), 0x14, 4, 0xc000);
    config_out(1, DEVFN(3), 0x18, 4, 0x10000000);
    config_out(1, DEVFN(3), 0x1c, 4, 0x8);
    config_out(1, DEVFN(3), PCI_COMMAND, 2, 7);
    d->registers[0] = 0x77;
    g_assert_cmphex(memory_in(0xe0000000, 4), ==, 0xffffffff);
    config_out(0, fn, PCI_MEMORY_BASE, 4, 0xe000e000);
    config_out(0, fn, PCI_IO_BASE, 2, 0xc0c0);
    config_out(0, fn, PCI_PREF_MEMORY_BASE, 4, 0x10001000);
    config_out(0, fn, PCI_PREF_BASE_UPPER32, 4, 8);
    config_out(0, fn, PCI_PREF_LIMIT_UPPER32, 4, 8);
    g_assert_cmphex(memory_in(0xe0000000, 4), ==, 0xffffffff); /* closed: doesn't decode */
    config_out(0, fn, PCI_COMMAND, 2, 7);
    g_assert_cmphex(memory_in(0xe0000000, 4), ==, 0x77);
    g_assert_cmphex(port_in(0xc000, 4), ==, 0x77);
    g_assert_cmphex(memory_in(0x810000000, 4), ==, 0x77);
    g_assert_cmphex(pci_bridge_limit(br, PCI_BASE_ADDRESS_SPACE_MEMORY), ==, 0xe00fffff);
    config_out(0, fn, PCI_MEMORY_BASE, 4, 0xe000e010); /* base above limit: closed */
    g_assert_cmphex(memory_in(0xe0000000, 4), ==, 0xffffffff);
    config_out(0, fn, PCI_MEMORY_BASE, 4, 0xe000e000);

    /* swizzled pins: slot 3 pin A behind slot 2: pin 3 of slot 2, line (2 + 3) % 4 */
    pci_set_irq(dev, 1);
    g_assert_cmpint(w->host->lines[1], ==, 1);

    /* a reset of the secondary bus reaches what is on it */
    unsigned resets = d->resets;
    config_out(0, fn, PCI_BRIDGE_CONTROL, 2, PCI_BRIDGE_CTL_BUS_RESET);
    g_assert_cmpuint(d->resets, ==, resets + 1);
    g_assert_cmpint(w->host->lines[1], ==, 0);
    g_assert_cmphex(config_in(1, DEVFN(3), PCI_COMMAND, 2), ==, 0);
    config_out(0, fn, PCI_BRIDGE_CONTROL, 2, 0);
    g_assert_cmpuint(d->resets, ==, resets + 1);

    /* VGA ranges pass by bit */
    MemoryRegion vga;
    memory_region_init_io(&vga, NULL, &test_ops, d, "vga", 0x20000);
    memory_region_add(bus->memory, 0xa0000, &vga);
    g_assert_cmphex(memory_in(0xa0000, 4), ==, 0xffffffff);
    config_out(0, fn, PCI_BRIDGE_CONTROL, 2, PCI_BRIDGE_CTL_VGA);
    g_assert_cmphex(memory_in(0xa0000, 4), ==, 0x77);
    memory_region_finish(&vga);
    world_refuse(w->root, TYPE_PCI_BRIDGE, "", "chassis_nr is missing*");
    world_refuse(w->root, TYPE_PCI_BRIDGE, "chassis_nr=2,id=br", "Bus 'br' exists already*");
}

static void test_nested_bridges(World *w, gconstpointer data)
{
    PciBus *bus = w->root;
    for (int i = 0; i < 3; i++) {
        PciDevice *br = world_add(bus, TYPE_PCI_BRIDGE, "addr=1,chassis_nr=1");
        bus = &pci_bridge_cast(br)->secondary;
    }
    PciDevice *dev = world_add(bus, "test-pci", "addr=2");
    for (int i = 0; i < 3; i++) {
        config_out(i, DEVFN(1), PCI_PRIMARY_BUS, 4, (uint32_t)(3 << 16 | (i + 1) << 8 | i));
    }
    g_assert_cmphex(config_in(3, DEVFN(2), 0, 4), ==, VENDOR_DEVICE);
    pci_set_irq(dev, 1); /* 2 + 1 + 1 + 1 slots of swizzling, and 0 + 1 by the chipset */
    g_assert_cmpint(w->host->lines[(2 + 1 + 1 + 1) % 4], ==, 1);
    GString *out = g_string_new(NULL);
    pci_print_info(out);
    g_assert_nonnull(strstr(out->str,
                            "  Bus  3, device   2, function 0:\n    Class 00ff: PCI device "
                            "1234:5678\n      PCI subsystem 1af4:1100\n"));
    g_string_free(out, true);
    PciInfoList info = { 0 };
    g_assert_true(qmp_query_pci(&info, &error_abort));
    g_assert_cmpuint(info.len, ==, 1);
    PciDeviceInfo *found = &info.items[0].devices.items[0];
    for (int i = 0; i < 3; i++) {
        g_assert_cmpstr(found->class_info.desc, ==, "PCI bridge");
        g_assert_cmpint(found->pci_bridge->bus.secondary, ==, i + 1);
        found = &found->pci_bridge->devices.items[0];
    }
    g_assert_null(found->pci_bridge);
    g_assert_cmpint(found->slot, ==, 2);
    g_assert_cmpint(found->id.vendor, ==, 0x1234);
    g_assert_cmpuint(found->regions.len, ==, 3);
    g_assert_cmpstr(found->regions.items[1].type, ==, "io");
    g_assert_cmpint(found->regions.items[2].address, ==, -1);
    value_release(&value_type_pci_info_list, &info);
    /* the outermost goes and takes everything along */
    device_destroy(&w->root->devices[DEVFN(1)]->parent);
    machine_unlock();
    rcu_drain();
    machine_lock();
    g_assert_cmpuint(test_devices_alive, ==, 0);
}

/* --- Realize: each check, in order --- */

static void test_addresses(World *w, gconstpointer data)
{
    w->root->reserved_slots = 1u << 2;
    PciDevice *first = world_add(w->root, "test-pci", "id=first");
    g_assert_cmpint(first->devfn, ==, DEVFN(0));
    g_assert_cmpint(world_add(w->root, "test-pci", "addr=1f.0")->devfn, ==, 248);
    g_assert_cmpint(world_add(w->root, "test-pci", NULL)->devfn, ==, DEVFN(1));
    g_assert_cmpint(world_add(w->root, "test-pci", NULL)->devfn, ==, DEVFN(3)); /* 2 reserved */
    world_refuse(w->root, "test-pci", "addr=0",
                 "PCI: slot 0 function 0 not available for 'test-pci', in use by device 'first'");
    world_refuse(w->root, "test-pci", "addr=2",
                 "PCI: slot 2 function 0 of bus 'pcie.0' is reserved*");
    world_refuse(w->root, "test-pci", "addr=20", "*expects SLOT or SLOT.FUNCTION*got \"20\"");
    world_refuse(w->root, "test-pci", "addr=1.8", "*expects SLOT or SLOT.FUNCTION*");
    world_refuse(w->root, "test-pci", "addr=1.1x", "*expects SLOT or SLOT.FUNCTION*");
    world_refuse(w->root, "test-pci", "addr=", "*expects SLOT or SLOT.FUNCTION*");
    g_assert_cmpint(object_get_int(&first->parent.parent, "addr", &error_abort), ==, 0);
    for (int i = 0; i < PCI_SLOTS; i++) {
        if (!w->root->devices[DEVFN(i)] && i != 2) {
            g_assert_cmpint(world_add(w->root, "test-pci", NULL)->devfn, ==, DEVFN(i));
        }
    }
    world_refuse(w->root, "test-pci", NULL, "PCI: no slot is free on bus 'pcie.0' for 'test-pci'*");
}

static void test_functions(World *w, gconstpointer data)
{
    world_add(w->root, "test-pci", "addr=4.0,id=single");
    world_refuse(w->root, "test-pci", "addr=4.1", "PCI: 4.0 is a single function device, 4.1*");
    world_add(w->root, "test-pci", "addr=5.2");
    world_refuse(w->root, "test-pci", "addr=5.0",
                 "PCI: 5.0 indicates single function, but 5.2 is already populated*");
    PciDevice *multi = world_add(w->root, "test-pci", "addr=5.0,multifunction=on");
    g_assert_cmphex(multi->config[PCI_HEADER_TYPE], ==, PCI_HEADER_TYPE_MULTIFUNCTION);
    world_add(w->root, "test-pci", "addr=5.7");
    device_set_machine_ready(true);
    world_refuse(w->root, "test-pci", "addr=4.1",
                 "PCI: slot 4 function 0 is occupied by device 'single' already*");
    /* function 0 comes last: until then the guest sees nothing */
    PciDevice *f1 = world_add(w->root, "test-pci", "addr=6.1");
    g_assert_cmphex(config_in(0, f1->devfn, 0, 4), ==, 0xffffffff);
    world_add(w->root, "test-pci", "addr=6.0,multifunction=on");
    g_assert_cmphex(config_in(0, f1->devfn, 0, 4), ==, VENDOR_DEVICE);
}

static void test_acpi_index(World *w, gconstpointer data)
{
    PciDevice *br = world_add(w->root, TYPE_PCI_BRIDGE, "chassis_nr=1");
    world_add(&pci_bridge_cast(br)->secondary, "test-pci", "acpi-index=7");
    world_refuse(w->root, "test-pci", "acpi-index=16384",
                 "acpi-index should be less or equal to 16383, got 16384");
    world_refuse(w->root, "test-pci", "acpi-index=7",
                 "a PCI device with acpi-index = 7 already exists");
    world_add(w->root, "test-pci", "acpi-index=16383");
    /* checked before the ROM size, and that before the slot */
    world_refuse(w->root, "test-pci", "acpi-index=7,romsize=3000,addr=0", "*acpi-index = 7*");
    world_refuse(w->root, "test-pci", "romsize=3000,addr=0", "ROM size 3000 is not a power of two");
    world_refuse(w->root, "test-pci", "addr=0,fail=on", "PCI: slot 0 function 0 not available*");
    world_refuse(w->root, "test-pci", "fail=on,failover_pair_id=x",
                 "test-pci fails as it was told");
}

static void test_failover(World *w, gconstpointer data)
{
    world_refuse(w->root, "test-pci", "failover_pair_id=standby",
                 "failover primary device is not an Ethernet device");
    world_refuse(w->root, "test-pci", "failover_pair_id=standby,ethernet=on,multifunction=on",
                 "failover: primary device must be in its own PCI slot*");
    PciDevice *dev = world_add(w->root, "test-pci", "failover_pair_id=standby,ethernet=on");
    g_assert_cmpstr(dev->failover_pair_id, ==, "standby");
    PciDevice *br = world_add(w->root, TYPE_PCI_BRIDGE, "chassis_nr=1");
    world_refuse(&pci_bridge_cast(br)->secondary, "test-pci",
                 "failover_pair_id=standby,ethernet=on",
                 "failover primary device must be on a PCI Express bus");
}

static void test_conventional_bus(World *w, gconstpointer data)
{
    world_refuse(w->root, "test-pcie", NULL,
                 "PCI: 'test-pcie' is a PCI Express device and can't go on the conventional bus "
                 "'pci.0'");
    world_add(w->root, "test-pci", NULL);
}

static char *make_rom(size_t size)
{
    char *path = NULL;
    FD_AUTO fd = g_file_open_tmp("rhea-rom-XXXXXX", &path, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_autofree char *data = g_malloc0(size + 1);
    for (size_t i = 0; i < size; i++) {
        data[i] = (char)(i * 7);
    }
    g_assert_true(fd_write_all(fd, data, size, &error_abort));
    return path;
}

static void test_rom(World *w, gconstpointer data)
{
    g_autofree char *path = make_rom(3000), *empty = make_rom(0);
    g_autofree char *plain = g_strdup_printf("addr=3,romfile=%s", path);
    g_autofree char *small = g_strdup_printf("romfile=%s,romsize=2048", path);
    g_autofree char *hidden = g_strdup_printf("romfile=%s,rombar=0", path);
    g_autofree char *nothing = g_strdup_printf("romfile=%s", empty);

    PciDevice *dev = world_add(w->root, "test-pci", plain);
    g_assert_cmpuint(dev->bars[PCI_ROM_SLOT].size, ==, 4096);
    config_out(0, DEVFN(3), PCI_ROM_ADDRESS, 4, 0xffffffff);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_ROM_ADDRESS, 4), ==, 0xfffff001);
    config_out(0, DEVFN(3), PCI_ROM_ADDRESS, 4, 0xe1000000);
    config_out(0, DEVFN(3), PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    g_assert_cmphex(memory_in(0xe1000001, 1), ==, 0xff); /* the ROM's own enable bit */
    config_out(0, DEVFN(3), PCI_ROM_ADDRESS, 4, 0xe1000001);
    g_assert_cmphex(memory_in(0xe1000001, 1), ==, 7);
    memory_out(0xe1000001, 1, 99);
    g_assert_cmphex(memory_in(0xe1000001, 1), ==, 7);

    world_refuse(w->root, "test-pci", small,
                 "romfile '*' has 3000 bytes, that is too large for ROM "
                 "size 2048");
    world_refuse(w->root, "test-pci", nothing, "romfile '*' is empty");
    world_refuse(w->root, "test-pci", hidden, "romfile '*' needs rombar=1*");
    world_refuse(w->root, "test-pci", "romfile=/does/not/exist",
                 "can't read romfile '/does/not/exist': No such file or directory");
    /* a size without a file is an empty ROM; romfile= without a value is none */
    g_assert_true(world_add(w->root, "test-pci", "romsize=8192")->has_rom);
    g_assert_false(world_add(w->root, "test-pci", "romfile=")->has_rom);
    unlink(path);
    unlink(empty);
}

static void test_faults(World *w, gconstpointer data)
{
    g_autofree char *path = make_rom(100);
    g_autofree char *options =
        g_strdup_printf("addr=3,romfile=%s,express-caps=on,msix=4,msi=2", path);
    int n = 0;

    for (;;) {
        Error *err = NULL;
        fault_inject(++n);
        PciDevice *dev = world_try(w->root, "test-pcie", options, &err);
        int left = fault_inject(0);
        if (dev) {
            g_assert_cmpint(left, >, 0);
            break;
        }
        error_free(err);
        g_assert_null(w->root->devices[DEVFN(3)]);
        machine_unlock();
        rcu_drain();
        machine_lock();
        g_assert_cmpuint(test_devices_alive, ==, 0);
    }
    g_assert_cmpint(n, >, 4);
    unlink(path);
}

static void count_warning(const char *line, void *opaque)
{
    g_assert_nonnull(strstr(line, "slot 3 is not valid for"));
    *(unsigned *)opaque += 1;
}

static void test_unreachable_slot(World *w, gconstpointer data)
{
    PciDevice *port = world_add(w->root, TYPE_PCIE_ROOT_PORT, "id=rp");
    PciBus *bus = &pci_bridge_cast(port)->secondary;
    unsigned warnings = 0;

    report_set_sink(count_warning, &warnings);
    world_add(bus, "test-pcie", "addr=0,express-caps=on");
    g_assert_cmpuint(warnings, ==, 0);
    world_add(bus, "test-pcie", "addr=3,express-caps=on");
    report_set_sink(NULL, NULL);
    g_assert_cmpuint(warnings, ==, 1);
    world_refuse(bus, "test-pcie", NULL, "PCI: no slot is free on bus 'rp'*");
}

static void test_bus_reset(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pci", "addr=3");
    config_out(0, DEVFN(3), 0x10, 4, 0xe0000000);
    config_out(0, DEVFN(3), PCI_INTERRUPT_LINE, 1, 5);
    config_out(0, DEVFN(3), PCI_COMMAND, 2, 7);
    pci_set_irq(dev, 1);
    bus_reset(&w->root->parent);
    g_assert_cmpint(w->host->lines[3], ==, 0);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_COMMAND, 2), ==, 0);
    g_assert_cmphex(config_in(0, DEVFN(3), 0x10, 4), ==, 0);
    g_assert_cmphex(config_in(0, DEVFN(3), PCI_INTERRUPT_LINE, 1), ==, 0);
    g_assert_cmphex(memory_in(0xe0000000, 4), ==, 0xffffffff);
    g_assert_cmpuint(((TestDevice *)dev)->resets, ==, 1);
}

/* What a stream brings is taken over, or refused where it belongs to another device. */
static void test_load(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pci", "addr=3");
    const VmState *s = &pci_device_vmstate;
    Error *err = NULL;

    g_assert_true(s->pre_load(dev, &error_abort));
    pci_set_long(dev->config + 0x10, 0xe0000000);
    pci_set_word(dev->config + PCI_COMMAND, 6);
    dev->irq_state = 1;
    g_assert_true(s->post_load(dev, 2, &error_abort));
    g_assert_cmphex(pci_bar_address(dev, 0), ==, 0xe0000000);
    uint32_t value = 1;
    g_assert_cmpint(pci_dma_write(dev, 0, &value, 4), ==, MEMTX_OK);
    g_assert_cmpint(w->host->lines[3], ==, 0); /* the chipset's state has its own line */
    pci_set_irq(dev, 0);
    g_assert_cmpint(w->root->line_count[3], ==, 0);

    g_assert_true(s->pre_load(dev, &error_abort));
    pci_set_word(dev->config + PCI_DEVICE_ID, 0x9999);
    g_assert_false(s->post_load(dev, 2, &err));
    g_assert_nonnull(strstr(error_message(err), "configuration byte 0x2 is 0x78 here and 0x99 in"));
    error_free(err);
    g_assert_cmphex(config_in(0, DEVFN(3), 0, 4), ==, VENDOR_DEVICE);
}

#define ADD(name, fn) g_test_add("/pci/" name, World, NULL, world_up, fn, world_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    world_register_types();
    ADD("header", test_header);
    ADD("config-sizes", test_config_sizes);
    ADD("express-capabilities", test_express_caps);
    ADD("bars", test_bars);
    ADD("dma", test_dma);
    ADD("capabilities", test_capabilities);
    ADD("intx", test_intx);
    ADD("bridge", test_bridge);
    ADD("nested-bridges", test_nested_bridges);
    ADD("addresses", test_addresses);
    ADD("functions", test_functions);
    ADD("acpi-index", test_acpi_index);
    ADD("failover", test_failover);
    ADD("rom", test_rom);
    ADD("faults", test_faults);
    ADD("unreachable-slot", test_unreachable_slot);
    ADD("reset", test_bus_reset);
    ADD("load", test_load);
    g_test_add("/pci/conventional-bus", World, TYPE_PCI_BUS, world_up, test_conventional_bus,
               world_down);
    return g_test_run();
}
