/* Messages (MSI, MSI-X), ports with native hot plug, switches, error reporting. */
#include "test-pci.h"

#define DEVFN(slot) PCI_DEVFN(slot, 0)

static unsigned cap_of(int bus, int devfn, uint8_t id)
{
    unsigned at = config_in(bus, devfn, PCI_CAPABILITY_LIST, 1);
    while (at && config_in(bus, devfn, at, 1) != id) {
        at = config_in(bus, devfn, at + 1, 1);
    }
    g_assert_cmpuint(at, !=, 0);
    return at;
}

/* --- MSI --- */

static void test_msi(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pci", "addr=3,msi=4");
    int fn = DEVFN(3);
    unsigned cap = cap_of(0, fn, PCI_CAP_ID_MSI);

    g_assert_cmphex(config_in(0, fn, cap + 2, 2), ==, 0x0184); /* 64 bits, masks, 4 vectors */
    msi_notify(dev, 0);
    expect_messages(w, ""); /* off */
    config_out(0, fn, cap + 4, 4, MSI_BASE | 0x10);
    config_out(0, fn, cap + 8, 4, 0);
    config_out(0, fn, cap + 12, 2, 0x4141);
    pci_set_irq(dev, 1);
    config_out(0, fn, cap + 2, 2, 0x21);       /* on, all four */
    g_assert_cmpint(w->host->lines[3], ==, 0); /* the pin isn't used with MSI */
    msi_notify(dev, 0);
    expect_messages(w, ""); /* no bus mastering: no memory writes */
    config_out(0, fn, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    msi_notify(dev, 0);
    msi_notify(dev, 3);
    expect_messages(w, "10=4140 10=4143 ");
    g_assert_cmpuint(msi_vectors_allocated(dev), ==, 4);
    /* the driver took fewer: they share the first */
    config_out(0, fn, cap + 2, 2, 0x11);
    msi_notify(dev, 1);
    msi_notify(dev, 3);
    expect_messages(w, "10=4141 10=4140 ");
    /* one that asks for more than there are gets what there is */
    config_out(0, fn, cap + 2, 2, 0x51);
    g_assert_cmpuint(msi_vectors_allocated(dev), ==, 4);
    /* masked: pending until unmasked */
    config_out(0, fn, cap + 16, 4, 0xffffffff);
    g_assert_cmphex(config_in(0, fn, cap + 16, 4), ==, 0xf);
    msi_notify(dev, 2);
    msi_notify(dev, 2);
    expect_messages(w, "");
    g_assert_cmphex(config_in(0, fn, cap + 20, 4), ==, 4);
    config_out(0, fn, cap + 16, 4, 0xb);
    expect_messages(w, "10=4142 ");
    g_assert_cmphex(config_in(0, fn, cap + 20, 4), ==, 0);
    bus_reset(&w->root->parent);
    g_assert_false(msi_enabled(dev));
}

/* --- MSI-X --- */

#define TABLE 0xe0000000u

static void set_entry(unsigned vector, uint32_t data, bool masked)
{
    memory_out(TABLE + vector * 16, 8, MSI_BASE | 0x20);
    memory_out(TABLE + vector * 16 + 8, 4, data);
    memory_out(TABLE + vector * 16 + 12, 4, masked);
}

static PciDevice *msix_device(World *w, unsigned *cap)
{
    PciDevice *dev = world_add(w->root, "test-pci", "addr=3,msix=40");
    int fn = DEVFN(3);

    *cap = cap_of(0, fn, PCI_CAP_ID_MSIX);
    config_out(0, fn, 0x20, 4, TABLE);
    config_out(0, fn, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
    for (unsigned v = 0; v < 39; v++) { /* the last stays unused */
        g_assert_true(msix_vector_use(dev, v, &error_abort));
    }
    return dev;
}

static void test_msix(World *w, gconstpointer data)
{
    unsigned cap;
    PciDevice *dev = msix_device(w, &cap);
    int fn = DEVFN(3);
    Error *err = NULL;

    g_assert_cmphex(config_in(0, fn, cap + 2, 2), ==, 39);
    g_assert_cmphex(config_in(0, fn, cap + 4, 4), ==, 4);
    g_assert_cmphex(config_in(0, fn, cap + 8, 4), ==, 0x804);
    g_assert_cmphex(memory_in(TABLE + 12, 4), ==, 1); /* masked at first */
    set_entry(2, 0x22, false);
    msix_notify(dev, 2);
    expect_messages(w, "");
    g_assert_cmphex(memory_in(TABLE + 0x800, 8), ==, 4); /* pending while off */
    config_out(0, fn, cap + 2, 2, PCI_MSIX_FLAGS_ENABLE);
    expect_messages(w, "20=22 ");
    g_assert_cmphex(memory_in(TABLE + 0x800, 8), ==, 0);
    msix_notify(dev, 2);
    msix_notify(dev, 39); /* unused */
    msix_notify(dev, 40); /* there is none */
    msix_notify(dev, 5000);
    expect_messages(w, "20=22 ");
    /* one vector masked, then the function */
    set_entry(33, 0x33, true);
    msix_notify(dev, 33);
    g_assert_cmphex(memory_in(TABLE + 0x804, 4), ==, 2);
    config_out(0, fn, cap + 2, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    set_entry(33, 0x34, false);
    msix_notify(dev, 2);
    expect_messages(w, "");
    config_out(0, fn, cap + 2, 2, PCI_MSIX_FLAGS_ENABLE);
    expect_messages(w, "20=22 20=34 ");
    /* accesses that the specification doesn't know */
    uint64_t value;
    g_assert_cmpint(address_space_load(address_space_memory(), TABLE, 2, ATTRS, &value), ==,
                    MEMTX_ERROR);
    memory_out(TABLE + 0x800, 4, 0xffffffff); /* pending bits are read-only */
    g_assert_cmphex(memory_in(TABLE + 0x800, 4), ==, 0);

    msix_vector_unuse(dev, 2);
    msix_notify(dev, 2);
    expect_messages(w, "");
    g_assert_false(msix_vector_use(dev, 40, &err));
    g_assert_cmpstr(error_message(err), ==,
                    "PCI device 'test-pci' has no MSI-X vector 40, there are 40");
    error_free(err);
    bus_reset(&w->root->parent);
    config_out(0, fn, 0x20, 4, TABLE);
    config_out(0, fn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    g_assert_cmphex(memory_in(TABLE + 33 * 16 + 8, 8), ==, 1ull << 32); /* data 0, masked */
}

static GString *notified;

static bool note_use(PciDevice *dev, unsigned vector, MsiMessage msg, Error **errp)
{
    g_string_append_printf(notified, "use%u:%x ", vector, msg.data);
    if (vector == 7) {
        error_set(errp, "no seven");
        return false;
    }
    return true;
}

static void note_release(PciDevice *dev, unsigned vector)
{
    g_string_append_printf(notified, "release%u ", vector);
}

static void note_poll(PciDevice *dev, unsigned first, unsigned end)
{
    g_string_append_printf(notified, "poll%u-%u ", first, end);
    if (first <= 3 && 3 < end) {
        msix_set_pending(dev, 3);
    }
}

static void expect_notified(const char *expect)
{
    g_assert_cmpstr(notified->str, ==, expect);
    g_string_truncate(notified, 0);
}

static void test_msix_notifiers(World *w, gconstpointer data)
{
    static const MsixNotifiers notifiers = { note_use, note_release, note_poll };
    unsigned cap;
    PciDevice *dev = msix_device(w, &cap);
    int fn = DEVFN(3);
    Error *err = NULL;

    notified = g_string_new(NULL);
    config_out(0, fn, cap + 2, 2, PCI_MSIX_FLAGS_ENABLE);
    set_entry(1, 0x11, false);
    g_assert_true(msix_set_notifiers(dev, &notifiers, &error_abort));
    expect_notified("use1:11 poll0-40 ");
    set_entry(3, 0x13, false);
    expect_notified("use3:13 ");
    expect_messages(w, "20=13 "); /* the poll found it pending */
    memory_out(TABLE + 3 * 16 + 12, 4, 1);
    expect_notified("release3 ");
    g_assert_cmphex(memory_in(TABLE + 0x800, 4), ==, 8);
    expect_notified("poll0-32 ");
    config_out(0, fn, cap + 2, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    expect_notified("release1 ");
    config_out(0, fn, cap + 2, 2, PCI_MSIX_FLAGS_ENABLE);
    expect_notified("use1:11 ");
    msix_unset_notifiers(dev);
    expect_notified("release1 ");
    /* one that fails undoes the others */
    set_entry(7, 0x17, false);
    expect_notified("");
    g_assert_false(msix_set_notifiers(dev, &notifiers, &err));
    g_assert_cmpstr(error_message(err), ==, "no seven");
    error_free(err);
    expect_notified("use1:11 use7:17 release1 ");
    memory_out(TABLE + 7 * 16 + 12, 4, 1);
    g_assert_true(msix_set_notifiers(dev, &notifiers, &error_abort));
    g_string_truncate(notified, 0);
    bus_reset(&w->root->parent);
    expect_notified("release1 ");
    g_string_free(notified, true);
}

/* --- Ports --- */

static PciDevice *port_add(World *w, const char *options, int secondary)
{
    PciDevice *port = world_add(w->root, TYPE_PCIE_ROOT_PORT, options);
    config_out(0, port->devfn, PCI_PRIMARY_BUS, 4, (uint32_t)(secondary << 16 | secondary << 8));
    return port;
}

static PciBus *bus_of(PciDevice *port)
{
    return &pci_bridge_cast(port)->secondary;
}

static void test_ports(World *w, gconstpointer data)
{
    PciDevice *port = port_add(w, "addr=1,id=rp,port=5,chassis=1,slot=3", 1);
    unsigned exp = cap_of(0, DEVFN(1), PCI_CAP_ID_EXPRESS);

    g_assert_cmphex(config_in(0, DEVFN(1), 0, 4), ==, 0x000c1b36);
    g_assert_cmphex(config_in(0, DEVFN(1), exp + PCI_EXP_FLAGS, 2), ==, 0x142);
    g_assert_cmphex(config_in(0, DEVFN(1), exp + PCI_EXP_LNKCAP + 3, 1), ==, 5);
    g_assert_cmphex(config_in(0, DEVFN(1), exp + PCI_EXP_LNKCAP, 2) & 0x3ff, ==, 0x204);
    g_assert_cmphex(config_in(0, DEVFN(1), exp + PCI_EXP_SLTCAP, 4), ==, 3u << 19 | 0x2007b);
    g_assert_cmphex(pcie_find_ext_capability(port, PCI_EXT_CAP_ID_AER), ==, 0x100);
    g_assert_cmphex(pcie_find_ext_capability(port, PCI_EXT_CAP_ID_ACS), ==, 0x148);
    g_assert_true(msix_present(port));

    world_refuse(w->root, TYPE_PCIE_ROOT_PORT, "chassis=1,slot=3",
                 "Can't add chassis slot: chassis 1 slot 3 is taken*");
    world_refuse(bus_of(port), TYPE_PCIE_ROOT_PORT, NULL,
                 "'pcie-root-port' is a root port and goes on the root bus, not on 'rp'");
    world_refuse(w->root, TYPE_XIO3130_DOWNSTREAM, "slot=9",
                 "'xio3130-downstream' is a downstream port*");
    world_refuse(w->root, TYPE_PCIE_ROOT_PORT, "x-speed=3", "*x-speed*");
    PciDevice *intel = world_add(w->root, TYPE_IOH3420, "addr=4,slot=4");
    g_assert_true(msi_present(intel));
    g_assert_cmphex(config_in(0, DEVFN(4), 0, 4), ==, 0x34208086);
    PciDevice *plain = world_add(w->root, TYPE_PCIE_ROOT_PORT, "addr=5,slot=5,disable-acs=on");
    g_assert_cmphex(pcie_find_ext_capability(plain, PCI_EXT_CAP_ID_ACS), ==, 0);
}

static void test_switch(World *w, gconstpointer data)
{
    PciDevice *root = port_add(w, "addr=1,slot=1", 1);
    config_out(0, DEVFN(1), PCI_SUBORDINATE_BUS, 1, 3);
    PciDevice *up = world_add(bus_of(root), TYPE_X3130_UPSTREAM, "addr=0");
    config_out(1, 0, PCI_PRIMARY_BUS, 4, 3 << 16 | 2 << 8 | 1);
    PciDevice *down = world_add(bus_of(up), TYPE_XIO3130_DOWNSTREAM, "addr=2,slot=2");
    config_out(2, DEVFN(2), PCI_PRIMARY_BUS, 4, 3 << 16 | 3 << 8 | 2);
    PciDevice *dev = world_add(bus_of(down), "test-pcie", "addr=0,express-caps=on");

    g_assert_cmphex(config_in(3, 0, 0, 4), ==, 0x56781234);
    g_assert_cmphex(memory_in(ecam(3, 0, 0x100), 2), ==, PCI_EXT_CAP_ID_AER);
    g_assert_cmphex(pcie_cap_type(up), ==, PCI_EXP_TYPE_UPSTREAM);
    g_assert_cmphex(pcie_cap_type(down), ==, PCI_EXP_TYPE_DOWNSTREAM);
    g_assert_cmphex(pcie_cap_type(dev), ==, PCI_EXP_TYPE_ENDPOINT);
    g_autofree char *path = pci_device_path(dev);
    g_assert_cmpstr(path, ==, "0000:00:01.0:00.0:02.0:00.0");

    PciDevice *bridge = world_add(w->root, TYPE_PCIE_PCI_BRIDGE, "addr=3");
    g_assert_false(pci_bus_is_express(bus_of(bridge)));
    g_assert_true(bridge->is_express);
    world_add(bus_of(bridge), "test-pci", "addr=1");
}

/* --- Native hot plug --- */

#define SLOT(field) (exp + PCI_EXP_##field)
#define GUEST_WANTS                                                                          \
    (PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_HPIE | \
     PCI_EXP_SLTCTL_DLLSCE)

static void test_hotplug(World *w, gconstpointer data)
{
    PciDevice *port = port_add(w, "addr=1,id=rp,slot=1", 1);
    unsigned exp = cap_of(0, DEVFN(1), PCI_CAP_ID_EXPRESS);
    int fn = DEVFN(1);

    device_set_machine_ready(true);
    bus_reset(&w->root->parent);
    port_add(w, "addr=2,slot=2", 2);
    config_out(0, fn, PCI_PRIMARY_BUS, 4, 1 << 16 | 1 << 8);
    /* empty: no power, indicator off, nothing present, no link */
    g_assert_cmphex(config_in(0, fn, SLOT(SLTCTL), 2), ==,
                    PCI_EXP_SLTCTL_AIC_OFF | PCI_EXP_SLTCTL_PIC_OFF | PCI_EXP_SLTCTL_PCC);
    g_assert_cmphex(config_in(0, fn, SLOT(SLTSTA), 2), ==, 0);
    g_assert_cmphex(config_in(0, fn, SLOT(LNKSTA), 2) & PCI_EXP_LNKSTA_DLLLA, ==, 0);
    config_out(0, fn, SLOT(SLTCTL), 2,
               GUEST_WANTS | PCI_EXP_SLTCTL_AIC_OFF | PCI_EXP_SLTCTL_PIC_OFF | PCI_EXP_SLTCTL_PCC);
    g_assert_cmphex(config_in(0, fn, SLOT(SLTSTA), 2), ==, PCI_EXP_SLTSTA_CC);
    g_assert_cmpint(w->host->lines[1], ==, 1); /* the command is complete */
    config_out(0, fn, SLOT(SLTSTA), 2, PCI_EXP_SLTSTA_CC);
    g_assert_cmpint(w->host->lines[1], ==, 0);

    PciDevice *dev = world_add(bus_of(port), "test-pcie", "id=hot,express-caps=on");
    g_assert_cmphex(config_in(0, fn, SLOT(SLTSTA), 2), ==,
                    PCI_EXP_SLTSTA_PDS | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_ABP |
                        PCI_EXP_SLTSTA_DLLSC);
    g_assert_cmpint(w->host->lines[1], ==, 1);
    g_assert_cmphex(config_in(1, 0, 0, 4), ==, 0xffffffff); /* no power yet */
    config_out(0, fn, SLOT(SLTSTA), 2, 0xffff);
    g_assert_cmpint(w->host->lines[1], ==, 0);
    config_out(0, fn, SLOT(SLTCTL), 2, GUEST_WANTS | PCI_EXP_SLTCTL_PIC_ON);
    g_assert_cmphex(config_in(1, 0, 0, 4), ==, 0x56781234);

    /* Unplug: button, blinking indicator, off; only then is it gone. */
    HotplugHandlerClass *hc = hotplug_handler_class_of(port);
    config_out(0, fn, SLOT(SLTSTA), 2, 0xffff);
    g_assert_true(hc->unplug_request(&port->parent.parent, &dev->parent, &error_abort));
    g_assert_true(dev->parent.unplug_pending);
    g_assert_cmphex(config_in(0, fn, SLOT(SLTSTA), 2), ==, PCI_EXP_SLTSTA_PDS | PCI_EXP_SLTSTA_ABP);
    config_out(0, fn, SLOT(SLTCTL), 2, GUEST_WANTS | PCI_EXP_SLTCTL_PIC_BLINK);
    Error *err = NULL;
    g_assert_false(hc->unplug_request(&port->parent.parent, &dev->parent, &err));
    g_assert_nonnull(strstr(error_message(err), "power indicator blinks"));
    error_free(err);
    err = NULL;
    g_assert_nonnull(bus_of(port)->devices[0]);
    config_out(0, fn, SLOT(SLTCTL), 2, GUEST_WANTS | PCI_EXP_SLTCTL_PIC_OFF | PCI_EXP_SLTCTL_PCC);
    g_assert_null(bus_of(port)->devices[0]);
    g_assert_cmphex(config_in(0, fn, SLOT(SLTSTA), 2) & PCI_EXP_SLTSTA_PDS, ==, 0);

    /* Power that the guest cycles on its own leaves the device where it is. */
    dev = world_add(bus_of(port), "test-pcie", "express-caps=on");
    config_out(0, fn, SLOT(SLTCTL), 2, PCI_EXP_SLTCTL_PIC_ON);
    config_out(1, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    config_out(0, fn, SLOT(SLTCTL), 2, PCI_EXP_SLTCTL_PIC_OFF | PCI_EXP_SLTCTL_PCC);
    g_assert_true(bus_of(port)->devices[0] == dev);
    config_out(0, fn, SLOT(SLTCTL), 2, PCI_EXP_SLTCTL_PIC_ON);
    g_assert_cmphex(config_in(1, 0, PCI_COMMAND, 2), ==, 0); /* it lost its state */

    /* Off for good: no guest to ask. */
    config_out(0, fn, SLOT(SLTCTL), 2, PCI_EXP_SLTCTL_PIC_OFF | PCI_EXP_SLTCTL_PCC);
    g_assert_true(hc->unplug_request(&port->parent.parent, &dev->parent, &error_abort));
    g_assert_null(bus_of(port)->devices[0]);
}

static void test_hotplug_off(World *w, gconstpointer data)
{
    PciDevice *port = port_add(w, "addr=1,id=rp,slot=1,hotplug=off", 1);
    PciDevice *dev = world_add(bus_of(port), "test-pcie", "id=cold");
    Error *err = NULL;

    bus_reset(&w->root->parent);
    config_out(0, DEVFN(1), PCI_PRIMARY_BUS, 4, 1 << 16 | 1 << 8);
    g_assert_cmphex(config_in(1, 0, 0, 4), ==, 0x56781234); /* cold: it has power */
    device_set_machine_ready(true);
    HotplugHandlerClass *hc = hotplug_handler_class_of(port);
    g_assert_false(hc->unplug_request(&port->parent.parent, &dev->parent, &err));
    g_assert_cmpstr(error_message(err), ==,
                    "device 'cold': hot plug is off for slot 'rp'; set hotplug=on for the port");
    error_free(err);
    device_destroy(&dev->parent);
    world_refuse(bus_of(port), "test-pcie", "id=hot",
                 "device 'hot': hot plug is off for slot 'rp'*");
}

/* --- Errors --- */

static void test_aer(World *w, gconstpointer data)
{
    PciDevice *port = port_add(w, "addr=1,slot=1", 1);
    PciDevice *dev = world_add(bus_of(port), "test-pcie", "express-caps=on");
    unsigned exp = cap_of(1, 0, PCI_CAP_ID_EXPRESS);
    uint64_t aer = ecam(1, 0, 0x100), root = ecam(0, DEVFN(1), 0x100);
    PcieError e = { .source = 0xffff, .has_header = true, .header = { 1, 2, 3, 4 } };
    Error *err = NULL;

    g_assert_true(pcie_error_by_name("poison_tlp", &e.status, &e.correctable));
    g_assert_false(pcie_error_by_name("poison", &e.status, &e.correctable));
    g_assert_true(pcie_inject_error(dev, &e, &error_abort));
    /* recorded; nobody is told yet */
    g_assert_cmphex(memory_in(aer + PCI_AER_UNCOR_STATUS, 4), ==, PCI_AER_UNC_POISON_TLP);
    g_assert_cmphex(memory_in(aer + PCI_AER_CAP, 4) & PCI_AER_CAP_FEP, ==, 12);
    g_assert_cmphex(memory_in(aer + PCI_AER_HEADER_LOG, 4), ==, 0x01000000);
    g_assert_cmphex(config_in(1, 0, exp + PCI_EXP_DEVSTA, 2), ==, PCI_EXP_DEVSTA_NFED);
    g_assert_cmphex(memory_in(root + PCI_AER_ROOT_STATUS, 4), ==, 0);

    /* with reporting on everywhere it climbs to the root port, which interrupts */
    config_out(1, 0, exp + PCI_EXP_DEVCTL, 2, 0xf);
    config_out(0, DEVFN(1), PCI_BRIDGE_CONTROL, 2, PCI_BRIDGE_CTL_SERR);
    memory_out(root + PCI_AER_ROOT_COMMAND, 4, 7);
    memory_out(aer + PCI_AER_UNCOR_STATUS, 4, 0xffffffff);
    g_assert_cmphex(memory_in(aer + PCI_AER_UNCOR_STATUS, 4), ==, 0);
    g_assert_true(pcie_inject_error(dev, &e, &error_abort));
    g_assert_cmphex(memory_in(root + PCI_AER_ROOT_STATUS, 4), ==,
                    PCI_AER_ROOT_UNCOR_RCV | PCI_AER_ROOT_NONFATAL_RCV);
    g_assert_cmphex(memory_in(root + PCI_AER_ERROR_SOURCE, 4), ==, 0x01000000); /* 01:00.0 */
    g_assert_cmpint(w->host->lines[1], ==, 1);
    /* a fatal one on top: more than one, but not the first */
    e.status = PCI_AER_UNC_MALF_TLP;
    g_assert_true(pcie_inject_error(dev, &e, &error_abort));
    g_assert_cmphex(memory_in(root + PCI_AER_ROOT_STATUS, 4), ==,
                    PCI_AER_ROOT_UNCOR_RCV | PCI_AER_ROOT_NONFATAL_RCV | PCI_AER_ROOT_FATAL_RCV |
                        PCI_AER_ROOT_MULTI_UNCOR_RCV);
    memory_out(root + PCI_AER_ROOT_STATUS, 4, 0xffffffff);
    g_assert_cmpint(w->host->lines[1], ==, 0);
    /* correctable, masked: recorded only */
    e = (PcieError){ .status = PCI_AER_COR_BAD_TLP, .correctable = true, .source = 0xffff };
    memory_out(aer + PCI_AER_COR_MASK, 4, PCI_AER_COR_BAD_TLP);
    g_assert_true(pcie_inject_error(dev, &e, &error_abort));
    g_assert_cmphex(memory_in(aer + PCI_AER_COR_STATUS, 4), ==, PCI_AER_COR_BAD_TLP);
    g_assert_cmphex(memory_in(root + PCI_AER_ROOT_STATUS, 4), ==, 0);

    e.status = 0x3;
    g_assert_false(pcie_inject_error(dev, &e, &err));
    g_assert_cmpstr(error_message(err), ==, "error status 0x3 is not one correctable error");
    error_free(err);
    err = NULL;
    PciDevice *old = world_add(w->root, "test-pci", "addr=9,id=old");
    g_assert_false(pcie_inject_error(old, &e, &err));
    g_assert_cmpstr(error_message(err), ==, "device 'old' is not a PCI Express device");
    error_free(err);
}

/* Headers of further errors wait until the first one's bit is cleared. */
static void test_aer_log(World *w, gconstpointer data)
{
    PciDevice *dev = world_add(w->root, "test-pcie", "addr=3,express-caps=on");
    uint64_t aer = ecam(0, DEVFN(3), 0x100);
    static const uint32_t errors[] = { PCI_AER_UNC_ECRC, PCI_AER_UNC_UNSUP, PCI_AER_UNC_DLP };

    memory_out(aer + PCI_AER_CAP, 4, PCI_AER_CAP_MHRE);
    for (unsigned i = 0; i < 3; i++) {
        PcieError e = { .status = errors[i], .source = 0xffff, .has_header = true };
        e.header[0] = i;
        g_assert_true(pcie_inject_error(dev, &e, &error_abort));
    }
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(memory_in(aer + PCI_AER_HEADER_LOG, 4), ==, i << 24);
        g_assert_cmphex(1u << (memory_in(aer + PCI_AER_CAP, 4) & PCI_AER_CAP_FEP), ==, errors[i]);
        memory_out(aer + PCI_AER_UNCOR_STATUS, 4, errors[i]);
    }
    /* more than the log holds */
    PcieError e = { .status = PCI_AER_UNC_ECRC, .source = 0xffff };
    for (int i = 0; i <= PCIE_AER_LOG_MAX + 1; i++) {
        g_assert_true(pcie_inject_error(dev, &e, &error_abort));
    }
    g_assert_cmphex(memory_in(aer + PCI_AER_COR_STATUS, 4), ==, PCI_AER_COR_HL_OVERFLOW);
}

#define ADD(name, fn) g_test_add("/pci/express/" name, World, NULL, world_up, fn, world_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    world_register_types();
    ADD("msi", test_msi);
    ADD("msix", test_msix);
    ADD("msix-notifiers", test_msix_notifiers);
    ADD("ports", test_ports);
    ADD("switch", test_switch);
    ADD("hotplug", test_hotplug);
    ADD("hotplug-off", test_hotplug_off);
    ADD("aer", test_aer);
    ADD("aer-log", test_aer_log);
    return g_test_run();
}
