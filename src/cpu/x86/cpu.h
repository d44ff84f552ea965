/*
 * The x86-64 CPU object: what cpu/x86 offers to accelerators and machines.
 *
 * The architecture is in a few groups of functions, all called on the vCPU's thread:
 *
 *   mmu.h         page tables, linear memory for system accesses
 *   segment.h     segment registers, far transfers, task switches
 *   exception.h   raising and delivering exceptions and interrupts, debug events
 *   system.h      control and debug registers, MSRs, CPUID, system calls, ports
 *   apic.h        the local APIC
 *
 * Functions that can raise a guest exception say so ("raises"); they are called with state.rip at
 * the instruction that causes it, and do not return when they raise: they leave through x86_raise()
 * (exception.h), which records the exception and calls cpu->raise, the accelerator's way back to
 * its loop. Until the raise, nothing the guest could see has changed.
 *
 * Fast and slow. Translated code keeps the guest's x87 and vector state in host registers. The
 * functions in mmu.h, segment.h, exception.h, and those of system.h that say so, are compiled for
 * general registers only and can be called with that state live. Whenever they need ordinary code
 * they call x86_park_fpu() first, and so do all other functions here: any function of cpu/x86 may
 * be called with the guest's vector state live, and afterwards it may have been parked.
 */
#ifndef CPU_X86_CPU_H
#define CPU_X86_CPU_H

#include "cpu/cpu.h"
#include "cpu/x86/state.h"

#define TYPE_X86_CPU "x86_64-cpu"
/* A model's type is its name with this behind: "rhea64-x86_64-cpu". */
#define X86_CPU_TYPE_SUFFIX   "-x86_64-cpu"
#define X86_CPU_DEFAULT_MODEL "rhea64"

typedef struct X86Cpu X86Cpu;
typedef struct X86Apic X86Apic;
typedef struct X86CpuModel X86CpuModel;

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
    X86_CPUID_ARCH_CAPS, /* not a leaf: bits 31:0 of the MSR ARCH_CAPABILITIES */
    X86_CPUID_WORDS,
};

/* Where a CPU sits; counts of what is inside the next larger thing. */
typedef struct X86Topology {
    uint32_t sockets, dies, cores, threads;
} X86Topology;

/* Which translations an accelerator must forget. Any may be NULL (an accelerator without a software
 * TLB). Called on the vCPU's thread. */
typedef struct X86TlbHooks {
    /* One linear address: in the present address space, and global ones. */
    void (*flush_page)(X86Cpu *cpu, uint64_t linear);
    /* One linear address, not global, of an address space that may not be the present one. */
    void (*flush_page_pcid)(X86Cpu *cpu, uint64_t linear, unsigned pcid);
    /* All that is not global and has this PCID. */
    void (*flush_pcid)(X86Cpu *cpu, unsigned pcid);
    /* Every PCID; global ones too or not. */
    void (*flush_all)(X86Cpu *cpu, bool global_too);
    /* CR3 now names another address space (PCID in its low 12 bits if CR4.PCIDE); what is cached
     * of others may stay. Flushes of the new one, where due, came before. */
    void (*switch_space)(X86Cpu *cpu);
} X86TlbHooks;

struct X86Cpu {
    Cpu parent;
    X86State state;
    X86Apic *apic;               /* child of the CPU; NULL without the feature "apic" */
    struct X86ApicBus *apic_bus; /* of the machine; reference; set by realize */
    uint32_t apic_id;
    X86Topology topology;
    int32_t socket_id, die_id, core_id, thread_id, node_id; /* -1: not set */
    uint32_t features[X86_CPUID_WORDS];
    uint64_t tsc_hz; /* of the guest's TSC */

    /* --- What the accelerator hangs in before the CPU runs --- */

    /* Leave the present instruction after an exception was recorded. */
    NORETURN void (*raise)(X86Cpu *cpu);
    X86TlbHooks tlb;
    /* Store the guest's x87 and vector registers, if live, to state.xsave. NULL: never live. */
    void (*park_fpu)(X86Cpu *cpu);
    /* A host pointer to the byte at a linear address if the accelerator has it at hand (its TLB),
     * good for the access up to the end of its 4 KiB page; NULL sends the access the slow way.
     * access: X86_ACCESS_* of mmu.h. Must not raise. NULL: nothing at hand. */
    uint8_t *(*probe)(X86Cpu *cpu, uint64_t linear, unsigned access);

    /* --- Set once by realize from model and properties --- */
    const X86CpuModel *model;
    uint32_t cpuid_level, cpuid_xlevel; /* largest leaves */
    uint32_t family, cpu_model, stepping;
    bool is_amd;         /* vendor is AMD's or Hygon's: where the two architectures differ */
    char *vendor;        /* 12 characters */
    char *model_id;      /* at most 48 */
    uint32_t phys_bits;  /* width of physical addresses */
    bool kvm_visible;    /* property "kvm": a guest under KVM is told so */
    /* Under KVM with the local APIC in the kernel: halting and waking are the kernel's, the vCPU's
     * thread always has work. */
    bool waits_in_accel;
    bool check, enforce; /* features that can't be had: warn; refuse */
    bool migratable;
    uint32_t plus_features[X86_CPUID_WORDS];  /* asked for by the user */
    uint32_t minus_features[X86_CPUID_WORDS]; /* forbidden by the user */
    uint64_t tsc_frequency;                   /* Hz, asked for by the user; 0: the host's */
    bool host_phys_bits;
    uint32_t filtered[X86_CPUID_WORDS]; /* asked for, but not to be had here */

    /* A small cache of the physical pages that page walks read: mmu.c. */
    struct X86WalkCache *walk_cache;
    /* The guest's TSC is the host's times tsc_scale / 2^32 (0: times 1) plus state.tsc_offset; or
     * with tsc_from_clock (icount) it follows CLK_VIRTUAL. */
    uint64_t tsc_scale;
    bool tsc_from_clock;
    /* Machine lock: the TSC stands while the machine does. */
    bool tsc_stopped;
    uint64_t tsc_at_stop;
    struct VmStateHandler *vm_state_handler;
};

OBJECT_DECLARE(X86Cpu, x86_cpu, TYPE_X86_CPU)

static inline void x86_park_fpu(X86Cpu *cpu)
{
    if (cpu->park_fpu) {
        cpu->park_fpu(cpu);
    }
}

static inline unsigned x86_cpl(const X86State *s)
{
    return s->mode & X86_MODE_CPL;
}

/* Width of the host's physical addresses. */
uint32_t x86_host_phys_bits(void);

/*
 * What -cpu takes: "MODEL[,+feature][,-feature][,property=value][,property]". The model's type name
 * (g_free) and the properties as a new object of strings, for object_set_all() with
 * VALUE_MODE_TEXT. Errors suggest what is near.
 */
MUST_CHECK bool x86_cpu_parse_option(const char *text, char **type_name, json_t **properties,
                                     Error **errp);
/* -cpu help */
void x86_cpu_print_models(GString *out);
/* query-cpu-model-expansion: {"name": …, "props": {…}} of a model with properties (borrowed, NULL
 * allowed), new reference. full: every feature; else those that are on. */
json_t *x86_cpu_expand_model(const char *model, json_t *properties, bool full, Error **errp);

/* Recompute state.mode; after any change to CR0, CR4, EFER, XCR0, RFLAGS' system bits, CS, SS, DS,
 * ES or the debug registers. Functions of cpu/x86 do it themselves. Fast. */
void x86_update_mode(X86Cpu *cpu);

/* Power-on or RESET# state, SDM volume 3 table 9-1. init: INIT, which keeps the caches, FPU, MSRs.
 */
void x86_reset_state(X86Cpu *cpu, bool init);

/* Memory types as PC firmware leaves them, for kernels that are started without any. After reset.
 */
void x86_set_firmware_mtrrs(X86Cpu *cpu);

/* The bootstrap processor is the one whose APIC base MSR says so. */
bool x86_cpu_is_bsp(const X86Cpu *cpu);

static inline bool x86_has_feature(const X86Cpu *cpu, unsigned word, unsigned bit)
{
    return cpu->features[word] >> bit & 1;
}

#endif
