/* Timer devices on a host that is late: a guest that counts interrupts gets them all, one by one.
 */
#include <glib.h>

#include "base/bits.h"
#include "base/module.h"
#include "bus/device.h"
#include "devices/timer/hpet.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/loop.h"
#include "memory/memory.h"

#define HPET_REG(offset) (0xfed00000ull + (offset))
#define PERIOD_MS        4
#define LATE_PERIODS     10

static int64_t fake_now;

static int64_t fake_clock(void *opaque)
{
    return fake_now;
}

static unsigned edges;

static void count_edge(void *opaque, int n, int level)
{
    edges += level > 0;
}

static void store(hwaddr addr, uint64_t value)
{
    address_space_store(address_space_memory(), addr, 8, MEMTXATTRS_UNSPECIFIED, value);
}

/* Run what is due, then let some time pass, until nothing is due for `ns`. Returns the most edges
 * that came at one time. */
static unsigned run_for(int64_t ns)
{
    unsigned most = 0;
    for (int64_t end = fake_now + ns; fake_now <= end; fake_now += 50 * NS_PER_US) {
        unsigned before = edges;
        clock_run_timers(CLK_VIRTUAL);
        most = MAX(most, edges - before);
    }
    return most;
}

static void test_hpet(void)
{
    Device *hpet = device_new(TYPE_HPET);
    Irq *lines = irq_new_array(count_edge, NULL, 32);
    g_assert_true(object_set_int(&hpet->parent, "hpet-intcap", BIT64(2), &error_abort));
    g_assert_true(object_add_child(object_root(), "hpet", &hpet->parent, &error_abort));
    g_assert_true(device_realize(hpet, bus_system(), &error_abort));
    hpet_map(hpet, memory_root());
    device_connect_line_out(hpet, NULL, 2, &lines[2]);
    /* Timer 0: route 2, periodic, enabled. */
    store(HPET_REG(0x100), 2 << 9 | BIT64(6) | BIT64(3) | BIT64(2));
    store(HPET_REG(0x108), PERIOD_MS * NS_PER_MS / 10);
    store(HPET_REG(0x108), PERIOD_MS * NS_PER_MS / 10);
    store(HPET_REG(0x10), 1);
    edges = 0;
    run_for(10 * PERIOD_MS * NS_PER_MS + NS_PER_MS);
    g_assert_cmpuint(edges, ==, 10);
    fake_now += LATE_PERIODS * PERIOD_MS * NS_PER_MS;
    g_assert_cmpuint(run_for(3 * NS_PER_MS), ==, 1);
    g_assert_cmpuint(edges, >=, 10 + LATE_PERIODS);
    unsigned after = edges;
    run_for(10 * PERIOD_MS * NS_PER_MS);
    g_assert_cmpuint(edges, ==, after + 10);
    object_unparent(&hpet->parent);
    object_unref(&hpet->parent);
    irq_free_array(lines);
}

int main(int argc, char **argv)
{
    static const ClockSource source = { .now = fake_clock };
    g_test_init(&argc, &argv, NULL);
    clock_virtual_set_source(&source);
    module_call(MODULE_TYPES);
    fake_now = NS_PER_SECOND;
    if (!event_loop_main_init(NULL)) {
        return 1;
    }
    machine_lock();
    memory_init();
    clock_virtual_set_running(true);
    g_test_add_func("/late-timers/hpet", test_hpet);
    int r = g_test_run();
    memory_finish();
    machine_unlock();
    return r;
}
