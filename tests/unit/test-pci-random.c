/*
 * Guests that write anything anywhere: random configuration writes, accesses to whatever is mapped,
 * interrupts, resets, hot plug, over a tree of bridges, ports and devices. Nothing may break, leak
 * or stay asserted; after a reset the tree is as it was at the start.
 */
#include "test-pci.h"

#define STEPS       20000
#define RUNS        8
#define DEVFN(slot) PCI_DEVFN(slot, 0)

typedef struct Tree {
    World *w;
    GRand *rand;
    PciDevice *all[32];
    int count;
    PciDevice *hot_port;
    PciDevice *hot; /* comes and goes */
} Tree;

static int pick(Tree *t, int n)
{
    return g_rand_int_range(t->rand, 0, n);
}

static PciDevice *grow(Tree *t, PciBus *bus, const char *type, const char *options)
{
    PciDevice *dev = world_add(bus, type, options);
    t->all[t->count++] = dev;
    return dev;
}

static PciBus *below(PciDevice *bridge)
{
    return &pci_bridge_cast(bridge)->secondary;
}

static void make_tree(Tree *t)
{
    PciBus *root = t->w->root;

    grow(t, root, "test-pci", "addr=1,msi=8");
    grow(t, root, "test-pcie", "addr=2,msix=35,express-caps=on");
    PciDevice *rp = grow(t, root, TYPE_PCIE_ROOT_PORT, "addr=3,slot=1");
    PciDevice *up = grow(t, below(rp), TYPE_X3130_UPSTREAM, "addr=0");
    PciDevice *down = grow(t, below(up), TYPE_XIO3130_DOWNSTREAM, "addr=0,slot=2");
    grow(t, below(down), "test-pcie", "addr=0,msix=4,express-caps=on");
    PciDevice *br = grow(t, root, TYPE_PCIE_PCI_BRIDGE, "addr=4");
    PciDevice *inner = grow(t, below(br), TYPE_PCI_BRIDGE, "addr=1,chassis_nr=1");
    grow(t, below(inner), "test-pci", "addr=5,msi=1");
    grow(t, below(inner), "pci-testdev", "addr=6");
    grow(t, root, TYPE_IOH3420, "addr=5,slot=3");
    t->hot_port = grow(t, root, TYPE_PCIE_ROOT_PORT, "addr=6,slot=4");
}

/* Numbers that mean something to somebody, among others. */
static uint32_t pick_value(Tree *t)
{
    static const uint32_t special[] = {
        0,          0xffffffff, 0x00000007, 0x00000407, 0xe0000000,
        0xe0000001, 0x0000c000, 0x80008000, 0x03020100, 0x00ff0100,
        0x8000001f, 0xe000e000, 0x00000003, 0x04000000, 0xc0000000
    };
    return pick(t, 3) ? special[pick(t, ARRAY_LEN(special))] : g_rand_int(t->rand);
}

static void step(Tree *t)
{
    PciDevice *dev = t->all[pick(t, t->count)];
    unsigned len = 1u << pick(t, 3);
    uint32_t reg = (uint32_t)pick(t, pick(t, 3) ? 0x100 : (int)dev->config_size);

    reg = MIN(reg & ~(len - 1), dev->config_size - len);
    switch (pick(t, 12)) {
    default: { /* through the class, reachable by number or not */
        PciDeviceClass *klass = pci_device_class_of(dev);
        uint32_t value = pick_value(t);
        if (klass->config_write) {
            klass->config_write(dev, reg, value, len);
        } else {
            pci_default_config_write(dev, reg, value, len);
        }
        break;
    }
    case 0:
        config_out(pick(t, 8), pick(t, 256), (unsigned)pick(t, 256), 4, pick_value(t));
        break;
    case 1:
        memory_out(ecam(pick(t, 4), pick(t, 256), (unsigned)pick(t, 4096) & ~7u), 8, pick_value(t));
        break;
    case 2: { /* wherever a BAR is */
        uint64_t at = pci_bar_address(dev, pick(t, PCI_BAR_COUNT));
        if (at != PCI_UNMAPPED) {
            memory_out(at + (unsigned)pick(t, 4096), len, pick_value(t));
            memory_in(at + (unsigned)pick(t, 4096), len);
        }
        break;
    }
    case 3:
        pci_set_irq(dev, pick(t, 2));
        break;
    case 4:
        msix_notify(dev, (unsigned)pick(t, 64));
        msi_notify(dev, (unsigned)pick(t, 32));
        break;
    case 5:
        pci_device_reset_config(dev);
        break;
    case 6: {
        PcieError e = { .status = 1u << pick(t, 32), .correctable = pick(t, 2), .source = 0xffff };
        ERROR_AUTO err = NULL;
        if (!pcie_inject_error(dev, &e, &err)) {
            g_assert_nonnull(err);
        }
        break;
    }
    case 7: {
        uint8_t byte;
        pci_dma_read(dev, pick_value(t), &byte, 1);
        break;
    }
    }
    g_string_truncate(t->w->messages, 0);
}

static void hotplug(Tree *t)
{
    PciBus *bus = below(t->hot_port);
    ERROR_AUTO err = NULL;

    if (!bus->devices[0]) {
        /* refused while the guest has the interlock engaged */
        t->hot = world_try(bus, "test-pcie", "addr=0,msix=2,express-caps=on", &err);
        return;
    }
    HotplugHandlerClass *hc = hotplug_handler_class_of(t->hot_port);
    if (!t->hot->parent.unplug_pending &&
        !hc->unplug_request(&t->hot_port->parent.parent, &t->hot->parent, &err)) {
        g_assert_nonnull(err);
    }
}

static void expect_quiet(World *w)
{
    for (int i = 0; i < 4; i++) {
        g_assert_cmpint(w->root->line_count[i], ==, 0);
        g_assert_cmpint(w->host->lines[i], ==, 0);
    }
}

static guint32 seed = 40; /* another one each run */

static void test_random(World *w, gconstpointer data)
{
    Tree *t = g_new0(Tree, 1);

    t->w = w;
    t->rand = g_rand_new_with_seed(seed++);
    make_tree(t);
    device_set_machine_ready(true);
    machine_reset_all(RESET_COLD);
    uint8_t *fresh[ARRAY_LEN(t->all)] = { 0 };
    for (int i = 0; i < t->count; i++) {
        fresh[i] = g_memdup2(t->all[i]->config, t->all[i]->config_size);
    }
    for (int n = 0; n < STEPS; n++) {
        step(t);
        if (n % 97 == 0) {
            hotplug(t);
        }
        if (n % 499 == 0) {
            GString *out = g_string_new(NULL);
            pci_print_info(out);
            g_string_free(out, true);
        }
    }
    if (below(t->hot_port)->devices[0]) {
        device_destroy(&below(t->hot_port)->devices[0]->parent);
    }
    machine_reset_all(RESET_COLD);
    expect_quiet(w);
    for (int i = 0; i < t->count; i++) {
        g_test_message("%s", object_type_name(&t->all[i]->parent.parent));
        for (uint32_t at = 0; at < t->all[i]->config_size; at++) {
            if (fresh[i][at] != t->all[i]->config[at]) {
                g_test_message("register 0x%x: 0x%02x, was 0x%02x", at, t->all[i]->config[at],
                               fresh[i][at]);
                g_test_fail();
            }
        }
        g_free(fresh[i]);
        fresh[i] = NULL;
    }
    /* the whole tree goes */
    for (int slot = 0; slot < PCI_SLOTS; slot++) {
        if (w->root->devices[DEVFN(slot)]) {
            device_destroy(&w->root->devices[DEVFN(slot)]->parent);
        }
    }
    expect_quiet(w);
    g_rand_free(t->rand);
    g_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    world_register_types();
    machine_lock();
    g_assert_true(event_loop_main_init(&error_abort));
    machine_unlock();
    for (int i = 0; i < RUNS; i++) {
        g_autofree char *name = g_strdup_printf("/pci/random/%d", i);
        g_test_add(name, World, NULL, world_up, test_random, world_down);
    }
    int status = g_test_run();
    machine_lock();
    event_loop_main_finish();
    machine_unlock();
    return status;
}
