/*
 * The x86-64 CPU object: what cpu/x86 offers to accelerators and machines.
 *
 * Functions that can raise a guest exception say so; they are called on the vCPU's thread with
 * state.rip at the instruction that causes it, and do not return when they raise: they leave
 * through x86_raise(), which fills the pending exception and calls cpu->raise (the accelerator's
 * way back to its loop).
 */
#ifndef CPU_X86_CPU_H
#define CPU_X86_CPU_H

#include "cpu/cpu.h"
#include "cpu/x86/state.h"

#define TYPE_X86_CPU "x86_64-cpu"

typedef struct X86Cpu X86Cpu;
typedef struct X86Apic X86Apic;

/* CPUID feature words, indexed as in features[]; see cpu/x86/features.h for the bits' names. */
enum {
    X86_CPUID_1_EDX,
    X86_CPUID_1_ECX,
    X86_CPUID_7_0_EBX,
    X86_CPUID_7_0_ECX,
    X86_CPUID_7_0_EDX,
    X86_CPUID_7_1_EAX,
    X86_CPUID_D_1_EAX,
    X86_CPUID_80000001_EDX,
    X86_CPUID_80000001_ECX,
    X86_CPUID_80000007_EDX,
    X86_CPUID_80000008_EBX,
    X86_CPUID_6_EAX,
    X86_CPUID_WORDS,
};

struct X86Cpu {
    Cpu parent;
    X86State state;
    X86Apic *apic;
    uint32_t apic_id;
    uint32_t features[X86_CPUID_WORDS];
    uint64_t tsc_hz;
    /* Leave the present instruction after an exception was recorded; set by the accelerator. */
    NORETURN void (*raise)(X86Cpu *cpu);
    /* The accelerator must forget translations: linear address range / all non-global / all. */
    void (*tlb_flush_page)(X86Cpu *cpu, uint64_t linear);
    void (*tlb_flush)(X86Cpu *cpu, bool global_too);
};

#endif
