/* The time-stamp counter. SDM volume 3 section 17.17. Compiled for general registers only. */
#include "cpu/x86/exception.h"
#include "cpu/x86/system.h"

#include <x86intrin.h>

bool x86_tsc_is_native(const X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    return !cpu->tsc_from_clock && !cpu->tsc_scale && (!x86_cpl(s) || !(s->cr4 & X86_CR4_TSD));
}

uint64_t x86_tsc_now(X86Cpu *cpu)
{
    if (UNLIKELY(cpu->tsc_from_clock)) {
        return x86_tsc_from_clock(cpu) + cpu->state.tsc_offset;
    }
    uint64_t host = __rdtsc();
    if (UNLIKELY(cpu->tsc_scale)) {
        host = (uint64_t)((unsigned __int128)host * cpu->tsc_scale >> 32);
    }
    return host + cpu->state.tsc_offset;
}

static void check_tsd(X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    if ((s->cr4 & X86_CR4_TSD) && x86_cpl(s)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

static void load_tsc(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    uint64_t tsc = x86_tsc_now(cpu);
    s->gpr[X86_RAX] = (uint32_t)tsc;
    s->gpr[X86_RDX] = tsc >> 32;
}

void x86_rdtsc(X86Cpu *cpu)
{
    check_tsd(cpu);
    load_tsc(cpu);
}

void x86_rdtscp(X86Cpu *cpu)
{
    if (!x86_has_feature(cpu, X86_CPUID_80000001_EDX, 27)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    check_tsd(cpu);
    load_tsc(cpu);
    cpu->state.gpr[X86_RCX] = (uint32_t)cpu->state.tsc_aux;
}

uint64_t x86_rdpid(X86Cpu *cpu)
{
    if (!x86_has_feature(cpu, X86_CPUID_7_0_ECX, 22)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    return cpu->state.tsc_aux;
}

/* There are no performance counters, so that every index is one that doesn't exist. */
void x86_rdpmc(X86Cpu *cpu)
{
    x86_raise_error(cpu, X86_EXC_GP, 0);
}
