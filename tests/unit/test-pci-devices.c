/* The PCI devices that exist for tests: edu and pci-testdev. */
#include "test-pci.h"

#include "event/clock.h"
#include "event/loop.h"

#define DEVFN(slot) PCI_DEVFN(slot, 0)
#define BAR         0xe0000000u

static int64_t fake_now;

static int64_t fake_clock(void *opaque)
{
    return fake_now;
}

static PciDevice *open_device(World *w, const char *type, const char *options)
{
    PciDevice *dev = world_add(w->root, type, options);
    config_out(0, dev->devfn, 0x10, 4, BAR);
    config_out(0, dev->devfn, 0x14, 4, 0xc000);
    config_out(0, dev->devfn, PCI_COMMAND, 2, 7);
    return dev;
}

static void test_edu(World *w, gconstpointer data)
{
    PciDevice *dev = open_device(w, "edu", "addr=3");

    g_assert_cmphex(config_in(0, DEVFN(3), 0, 4), ==, 0x11e81234);
    g_assert_cmphex(memory_in(BAR, 4), ==, 0x010000ed);
    memory_out(BAR + 4, 4, 0x12345678);
    g_assert_cmphex(memory_in(BAR + 4, 4), ==, 0xedcba987);
    /* factorial: busy until the loop has turned; with an interrupt */
    memory_out(BAR + 0x20, 4, 0x80);
    memory_out(BAR + 8, 4, 10);
    g_assert_cmphex(memory_in(BAR + 0x20, 4), ==, 0x81);
    memory_out(BAR + 8, 4, 3); /* not now */
    while (memory_in(BAR + 0x20, 4) & 1) {
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpuint(memory_in(BAR + 8, 4), ==, 3628800);
    g_assert_cmphex(memory_in(BAR + 0x24, 4), ==, 1);
    g_assert_cmpint(w->host->lines[3], ==, 1);
    memory_out(BAR + 0x64, 4, 1);
    g_assert_cmpint(w->host->lines[3], ==, 0);
    memory_out(BAR + 8, 4, 0xffffffff); /* zero modulo 2^32, and done at once */
    event_loop_iterate(event_loop_main(), false);
    g_assert_cmpuint(memory_in(BAR + 8, 4), ==, 0);
    memory_out(BAR + 0x64, 4, 1);

    /* there and back again */
    memory_out(0x100, 8, 0x1122334455667788);
    memory_out(BAR + 0x80, 8, 0x100);
    memory_out(BAR + 0x88, 8, 0x40000);
    memory_out(BAR + 0x90, 8, 8);
    memory_out(BAR + 0x98, 8, 1);
    memory_out(BAR + 0x80, 8, 0x999); /* not while it runs */
    g_assert_cmphex(memory_in(BAR + 0x98, 8), ==, 1);
    fake_now += 100 * NS_PER_MS;
    clock_run_timers(CLK_VIRTUAL);
    g_assert_cmphex(memory_in(BAR + 0x98, 8), ==, 0);
    memory_out(BAR + 0x80, 8, 0x40000);
    memory_out(BAR + 0x88, 8, 0x200);
    memory_out(BAR + 0x98, 8, 7);
    fake_now += 100 * NS_PER_MS;
    clock_run_timers(CLK_VIRTUAL);
    g_assert_cmphex(memory_in(0x200, 8), ==, 0x1122334455667788);
    g_assert_cmphex(memory_in(BAR + 0x24, 4), ==, 0x100);
    memory_out(BAR + 0x64, 4, 0x100);
    /* out of the buffer, by one and by far: nothing moves, nothing breaks */
    memory_out(0x200, 8, 0);
    static const uint64_t bad[][2] = {
        { 0x40ff9, 8 },          { 0x3ffff, 8 },    { 0x40000, 4097 },
        { 0x40000, UINT64_MAX }, { UINT64_MAX, 8 }, { 0x41001, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        memory_out(BAR + 0x80, 8, bad[i][0]);
        memory_out(BAR + 0x90, 8, bad[i][1]);
        memory_out(BAR + 0x98, 8, 3);
        fake_now += 100 * NS_PER_MS;
        clock_run_timers(CLK_VIRTUAL);
    }
    g_assert_cmphex(memory_in(0x200, 8), ==, 0);
    uint64_t value;
    g_assert_cmpint(address_space_load(address_space_memory(), BAR, 1, ATTRS, &value), ==,
                    MEMTX_ERROR);
    /* a message instead of the pin */
    unsigned cap = dev->msi_cap;
    config_out(0, DEVFN(3), cap + 4, 4, MSI_BASE | 0x30);
    config_out(0, DEVFN(3), cap + 12, 2, 0x55);
    config_out(0, DEVFN(3), cap + 2, 2, 1);
    memory_out(BAR + 0x60, 4, 2);
    expect_messages(w, "30=55 ");
    memory_out(BAR + 0x98, 8, 3); /* gone while a transfer runs */
    device_destroy(&dev->parent);
}

static void run_tests(World *w, bool io)
{
    static const char *const names[] = { "no-eventfd", "wildcard-eventfd", "datamatch-eventfd" };

    for (unsigned t = 0; t < 4; t++) {
        char name[32] = { 0 };
        io ? port_out(0xc000, 1, t) : memory_out(BAR, 1, t);
        for (unsigned i = 0; i < sizeof(name); i++) {
            name[i] = (char)(io ? port_in((uint16_t)(0xc010 + i), 1) : memory_in(BAR + 16 + i, 1));
        }
        if (t == 3) { /* the end */
            g_assert_cmpstr(name, ==, "");
            return;
        }
        g_autofree char *expect = g_strdup_printf("%s-%s", io ? "portio" : "mmio", names[t]);
        g_assert_cmpstr(name, ==, expect);
        unsigned offset = io ? port_in(0xc004, 4) : (unsigned)memory_in(BAR + 4, 4);
        unsigned byte = io ? port_in(0xc008, 1) : (unsigned)memory_in(BAR + 8, 1);
        for (int n = 1; n <= 3; n++) {
            io ? port_out((uint16_t)(0xc000 + offset), 1, byte) : memory_out(BAR + offset, 1, byte);
            while (event_loop_iterate(event_loop_main(), false)) {
            }
            g_assert_cmpuint(io ? port_in(0xc00c, 4) : memory_in(BAR + 12, 4), ==, n);
        }
        if (t != 1) { /* other data doesn't count, except with the wildcard */
            memory_out(BAR + offset, 1, byte ^ 1);
            g_assert_false(event_loop_iterate(event_loop_main(), false));
        }
    }
}

static void test_testdev(World *w, gconstpointer data)
{
    PciDevice *dev = open_device(w, "pci-testdev", "addr=4,membar=1M,membar-backed=on");

    g_assert_cmphex(config_in(0, DEVFN(4), 0, 4), ==, 0x00051b36);
    run_tests(w, false);
    run_tests(w, true);
    config_out(0, DEVFN(4), 0x18, 4, 0xf0000000);
    memory_out(0xf00ffffc, 4, 0x77);
    g_assert_cmphex(memory_in(0xf00ffffc, 4), ==, 0x77);
    g_assert_true(ram_block_find("0000:00:04.0/pci-testdev-membar") != NULL);
    memory_out(BAR, 1, 1);
    bus_reset(&w->root->parent);
    world_refuse(w->root, "pci-testdev", "membar=3000", "pci-testdev: membar is 3000 bytes*");
    memory_out(BAR, 1, 2);
    device_destroy(&dev->parent);
}

#define ADD(name, fn) g_test_add("/pci/devices/" name, World, NULL, world_up, fn, world_down)

int main(int argc, char **argv)
{
    static const ClockSource source = { .now = fake_clock };

    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    world_register_types();
    machine_lock();
    g_assert_true(event_loop_main_init(&error_abort));
    clock_virtual_set_source(&source);
    clock_virtual_set_running(true);
    machine_unlock();
    ADD("edu", test_edu);
    ADD("pci-testdev", test_testdev);
    int status = g_test_run();
    machine_lock();
    clock_virtual_set_source(NULL);
    event_loop_main_finish();
    machine_unlock();
    return status;
}
