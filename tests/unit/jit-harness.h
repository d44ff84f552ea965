/*
 * A translator with one CPU in flat 64-bit user mode over an area of memory, without machine,
 * thread or page tables. Guest memory lies at the same addresses as the host's.
 */
#ifndef TESTS_UNIT_JIT_HARNESS_H
#define TESTS_UNIT_JIT_HARNESS_H

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "accel/jit/jit-internal.h"
#include "base/bits.h"
#include "memory/ram.h"

#define AREA        UINT64_C(0x10000000)
#define AREA_BYTES  (256 * KiB)
#define CODE        (AREA + 0)
#define CODE_BYTES  (64 * KiB)
#define DATA        (AREA + 128 * KiB)
#define DATA_BYTES  (8 * KiB)
#define STACK       (AREA + 192 * KiB)
#define STACK_BYTES (8 * KiB)

typedef struct JitMachine {
    X86Cpu *cpu;
    Jit *jit;
    JitCpu *j;
    RamBlock *ram;
    uint32_t mode;
} JitMachine;

static inline JitMachine *jit_machine_new(void)
{
    JitMachine *m = g_new0(JitMachine, 1);
    void *area = mmap((void *)AREA, AREA_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    g_assert_true(area == (void *)AREA);
    RamBlockSpec spec = {
        .id = "area", .host = area, .size = AREA_BYTES, .page_size = 4096, .fd = -1, .shared = true
    };
    m->ram = ram_block_wrap(&spec, &error_abort);
    m->jit = jit_create(&error_abort);
    JitRam r = { .phys = AREA, .size = AREA_BYTES, .host = area, .block = m->ram };
    jit_add_ram(m->jit, &r);
    m->cpu = aligned_alloc(64, ALIGN_UP(sizeof(X86Cpu), 64));
    memset(m->cpu, 0, sizeof(X86Cpu));
    m->cpu->state.a20_mask = UINT64_MAX;
    m->mode = 3 | X86_MODE_PE | X86_MODE_LMA | X86_MODE_CS64 | X86_MODE_FLAT | X86_MODE_CS_BASE0 |
              X86_MODE_OSFXSR | X86_MODE_AVX;
    m->cpu->state.mode = m->mode;
    m->cpu->state.cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_NE;
    m->cpu->state.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_OSXMMEXCPT;
    m->cpu->state.xcr0 = 7;
    m->j = jit_cpu_create(m->jit, m->cpu, &error_abort);
    m->j->stop_at_exception = true;
    return m;
}

static inline void jit_machine_free(JitMachine *m)
{
    jit_cpu_destroy(m->j);
    jit_destroy(m->jit);
    ram_block_unref(m->ram);
    munmap((void *)AREA, AREA_BYTES);
    free(m->cpu);
    g_free(m);
}

#endif
