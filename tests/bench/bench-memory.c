/*
 * Cost of reaching guest memory: one lookup, one load, one commit, at 10, 100 and 1000 regions.
 * Prints one line a figure, "name value unit".
 */
#include <glib.h>
#include <stdio.h>
#include <time.h>

#include "event/lock.h"
#include "memory/memory.h"

#define ROUNDS  2000000
#define COMMITS 200
#define PAGE    0x1000

static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static uint64_t read_zero(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static const MemoryRegionOps ops = { .read = read_zero };

static void measure(unsigned count)
{
    MemoryRegion *regions = g_new0(MemoryRegion, count);
    AddressSpace *as = address_space_memory();
    MemoryRegion ram;
    uint64_t sum = 0, value;
    uint32_t random = 1;

    machine_lock();
    memory_begin();
    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", 2 * PAGE, &error_abort));
    memory_region_add(memory_root(), 0, &ram);
    for (unsigned i = 0; i < count - 1; i++) {
        memory_region_init_io(&regions[i], NULL, &ops, NULL, "io", PAGE);
        memory_region_add(memory_root(), (hwaddr)(i + 1) * 2 * PAGE, &regions[i]);
    }
    memory_commit();
    machine_unlock();

    double start = now_ns();
    rcu_lock();
    for (unsigned i = 0; i < ROUNDS; i++) {
        random = random * 1664525 + 1013904223;
        hwaddr addr = (hwaddr)((uint64_t)random * count >> 32) * 2 * PAGE;
        sum += address_space_translate(as, addr, 4, false, MEMTXATTRS_UNSPECIFIED).length;
    }
    rcu_unlock();
    printf("memory-lookup-%u %.1f ns\n", count, (now_ns() - start) / ROUNDS);

    start = now_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        address_space_load(as, i % 1024 * 8, 8, MEMTXATTRS_UNSPECIFIED, &value);
        sum += value;
    }
    printf("memory-load-ram-%u %.1f ns\n", count, (now_ns() - start) / ROUNDS);

    start = now_ns();
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        address_space_load(as, 2 * PAGE, 4, MEMTXATTRS_UNSPECIFIED, &value);
    }
    printf("memory-load-device-%u %.1f ns\n", count, (now_ns() - start) / (ROUNDS / 4));

    machine_lock();
    start = now_ns();
    for (unsigned i = 0; i < COMMITS; i++) {
        memory_region_set_enabled(&regions[count / 2], i & 1);
    }
    printf("memory-commit-%u %.1f us\n", count, (now_ns() - start) / COMMITS / 1000);
    for (unsigned i = 0; i < count - 1; i++) {
        memory_region_set_enabled(&regions[i], true);
    }
    memory_begin();
    for (unsigned i = 0; i < count - 1; i++) {
        memory_region_del(memory_root(), &regions[i]);
    }
    memory_commit();
    for (unsigned i = 0; i < count - 1; i++) {
        memory_region_finish(&regions[i]);
    }
    memory_region_finish(&ram);
    machine_unlock();
    rcu_drain();
    g_free(regions);
    g_assert_cmpuint(sum, >, 0);
}

int main(void)
{
    memory_init();
    measure(10);
    measure(100);
    measure(1000);
    memory_finish();
    rcu_drain();
    return 0;
}
