/*
 * A bare X86Cpu over a little RAM, for tests of the system architecture: no object, no thread, no
 * accelerator. What raises comes back here instead of going to a loop.
 */
#ifndef TESTS_UNIT_X86_HARNESS_H
#define TESTS_UNIT_X86_HARNESS_H

#include <glib.h>
#include <setjmp.h>
#include <string.h>

#include "base/bits.h"
#include "base/rcu.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/features.h"
#include "cpu/x86/mmu-internal.h"
#include "cpu/x86/mmu.h"
#include "event/lock.h"
#include "event/loop.h"
#include "memory/memory.h"
#include "object/lifecycle.h"

#define HARNESS_RAM (16 * MiB)

typedef struct Harness {
    X86Cpu *cpu;
    X86State *s;
    MemoryRegion ram;
    uint8_t *mem; /* host address of RAM */
    jmp_buf way_back;
    unsigned flushes_all, flushes_pcid, flushes_page; /* TLB hooks called */
} Harness;

static Harness harness; /* tests run one after the other */

NORETURN static void harness_raise(X86Cpu *cpu)
{
    longjmp(harness.way_back, 1);
}

static void harness_flush_all(X86Cpu *cpu, bool global_too)
{
    harness.flushes_all++;
}

static void harness_flush_pcid(X86Cpu *cpu, unsigned pcid)
{
    harness.flushes_pcid++;
}

static void harness_flush_page(X86Cpu *cpu, uint64_t linear)
{
    harness.flushes_page++;
}

/* A CPU with every feature that is emulated, in its reset state. */
static inline X86Cpu *harness_cpu_new(void)
{
    X86Cpu *cpu = g_aligned_alloc0(1, sizeof(X86Cpu), 64);
    cpu->parent.memory = address_space_memory();
    cpu->parent.io = address_space_io();
    cpu->walk_cache = g_new(struct X86WalkCache, 1);
    x86_mmu_forget(cpu);
    cpu->raise = harness_raise;
    cpu->tlb = (X86TlbHooks){ .flush_all = harness_flush_all,
                              .flush_pcid = harness_flush_pcid,
                              .flush_page = harness_flush_page };
    cpu->vendor = g_strdup("GenuineIntel");
    cpu->model_id = g_strdup("test");
    cpu->phys_bits = 40;
    cpu->cpuid_level = 0x1f;
    cpu->cpuid_xlevel = 0x8000001e;
    cpu->tsc_hz = 1000000000;
    cpu->topology = (X86Topology){ 1, 1, 1, 1 };
    x86_features_supported(cpu->features, true);
    for (unsigned i = 0; i < x86_feature_count; i++) {
        if (x86_features[i].source == X86_FEATURE_EMULATED) {
            cpu->features[x86_features[i].word] |= 1u << x86_features[i].bit;
        }
    }
    x86_reset_state(cpu, false);
    return cpu;
}

static inline void harness_cpu_free(X86Cpu *cpu)
{
    g_free(cpu->walk_cache);
    g_free(cpu->vendor);
    g_free(cpu->model_id);
    g_aligned_free(cpu);
}

static inline void harness_start(void)
{
    machine_lock();
    memory_init();
    bool ok = memory_region_init_ram(&harness.ram, NULL, "ram", HARNESS_RAM, &error_abort);
    g_assert_true(ok);
    memory_region_add(memory_root(), 0, &harness.ram);
    harness.mem = memory_region_ram_ptr(&harness.ram);
    harness.cpu = harness_cpu_new();
    harness.s = &harness.cpu->state;
    harness.flushes_all = harness.flushes_pcid = harness.flushes_page = 0;
}

static inline void harness_stop(void)
{
    harness_cpu_free(harness.cpu);
    memory_region_del(memory_root(), &harness.ram);
    memory_region_finish(&harness.ram);
    memory_finish();
    machine_unlock();
    rcu_drain(); /* the RAM's name is free again */
}

/* Run a statement; true if it raised (exception_pending and exception_error say what). */
#define RAISES(...) (setjmp(harness.way_back) == 0 ? ((void)(__VA_ARGS__), false) : true)

/* It must raise this, and nothing may be pending afterwards. */
#define ASSERT_RAISES(vector, error, ...)                            \
    do {                                                             \
        harness.s->exception_pending = -1;                           \
        g_assert_true(RAISES(__VA_ARGS__));                          \
        g_assert_cmpint(harness.s->exception_pending, ==, (vector)); \
        g_assert_cmphex(harness.s->exception_error, ==, (error));    \
        harness.s->exception_pending = -1;                           \
    } while (0)

#define ASSERT_RUNS(...)                                                             \
    do {                                                                             \
        harness.s->exception_pending = -1;                                           \
        if (RAISES(__VA_ARGS__)) {                                                   \
            g_error("line %d raised %d(%x)", __LINE__, harness.s->exception_pending, \
                    harness.s->exception_error);                                     \
        }                                                                            \
    } while (0)

/* g_test_run() with a main loop there: timers and requests to the machine need one. */
static inline int harness_run(void)
{
    if (!event_loop_main_init(&error_abort)) {
        return 1;
    }
    int status = g_test_run();
    lifecycle_reset();
    event_loop_main_finish();
    return status;
}

static inline void harness_put(uint64_t addr, uint64_t value, unsigned size)
{
    g_assert_cmphex(addr + size, <=, HARNESS_RAM);
    stn_le(harness.mem + addr, size, value);
}

static inline uint64_t harness_get(uint64_t addr, unsigned size)
{
    return ldn_le(harness.mem + addr, size);
}

/* A segment descriptor in the table at `table`. access: P DPL S type; flags: G D/B L AVL. */
static inline void harness_descriptor(uint64_t table, unsigned index, uint32_t base, uint32_t limit,
                                      unsigned access, unsigned flags)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
                 (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
                 (uint64_t)(base >> 24) << 56;
    harness_put(table + 8 * index, d, 8);
}

#endif
