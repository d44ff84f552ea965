/*
 * Fast system calls, segment bases, TLB control, halting. SDM volume 2 (SYSCALL, SYSRET, SYSENTER,
 * SYSEXIT, SWAPGS, INVLPG, INVPCID, HLT, MONITOR, MWAIT), APM volume 3. Compiled for general
 * registers only.
 */
#include "cpu/x86/apic.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/system.h"

NORETURN static void general_protection(X86Cpu *cpu)
{
    x86_raise_error(cpu, X86_EXC_GP, 0);
}

static void require_cpl0(X86Cpu *cpu)
{
    if (x86_cpl(&cpu->state)) {
        general_protection(cpu);
    }
}

/* The flat segments that these instructions load without looking at a descriptor. */
typedef enum CodeSize { CODE32, CODE64 } CodeSize;

static void set_flat_code(X86State *s, uint16_t selector, unsigned dpl, CodeSize size)
{
    s->seg[X86_CS] = (X86Segment){
        .limit = 0xffffffffu,
        /* execute, read, accessed */
        .access = 0xbu | X86_SEG_S | dpl << 5 | X86_SEG_P | X86_SEG_G |
                  (size == CODE64 ? X86_SEG_L : X86_SEG_DB),
        .selector = selector,
    };
}

static void set_flat_stack(X86State *s, uint16_t selector, unsigned dpl)
{
    s->seg[X86_SS] = (X86Segment){
        .limit = 0xffffffffu,
        /* read, write, accessed */
        .access = 0x3u | X86_SEG_S | dpl << 5 | X86_SEG_P | X86_SEG_G | X86_SEG_DB,
        .selector = selector,
    };
}

/* Flags that SYSRET takes from R11: all but RF and VM. */
#define SYSRET_FLAGS 0x3c7fd7u

void x86_syscall(X86Cpu *cpu, uint64_t next_rip)
{
    X86State *s = &cpu->state;
    bool from64 = s->mode & X86_MODE_CS64;

    /* Intel knows it in 64-bit mode only. */
    if (!(s->efer & X86_EFER_SCE) || (!from64 && !cpu->is_amd)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    uint16_t selector = (uint16_t)(s->star >> 32) & 0xfffc;
    if (s->mode & X86_MODE_LMA) {
        s->gpr[X86_RCX] = from64 ? next_rip : (uint32_t)next_rip;
        s->gpr[11] = s->rflags & ~(uint64_t)X86_RF;
        s->rip = from64 ? s->lstar : s->cstar;
        s->rflags = (s->rflags & ~s->fmask & ~(uint64_t)X86_RF) | 2;
        set_flat_code(s, selector, 0, CODE64);
    } else {
        s->gpr[X86_RCX] = (uint32_t)next_rip;
        s->rip = (uint32_t)s->star;
        s->rflags &= ~(uint64_t)(X86_IF | X86_VM | X86_RF);
        set_flat_code(s, selector, 0, CODE32);
    }
    set_flat_stack(s, selector + 8, 0);
    x86_update_mode(cpu);
}

void x86_sysret(X86Cpu *cpu, unsigned opsize)
{
    X86State *s = &cpu->state;

    if (!(s->efer & X86_EFER_SCE) || (!(s->mode & X86_MODE_CS64) && !cpu->is_amd)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if (!(s->mode & X86_MODE_PE)) {
        general_protection(cpu);
    }
    require_cpl0(cpu);
    uint16_t selector = (uint16_t)(s->star >> 48) | 3;
    if (opsize == 8) {
        if (!x86_is_canonical(s, s->gpr[X86_RCX])) {
            general_protection(cpu);
        }
        s->rip = s->gpr[X86_RCX];
        set_flat_code(s, selector + 16, 3, CODE64);
    } else {
        s->rip = (uint32_t)s->gpr[X86_RCX];
        set_flat_code(s, selector, 3, CODE32);
    }
    if (s->mode & X86_MODE_CS64) {
        s->rflags = (s->gpr[11] & SYSRET_FLAGS) | 2;
    } else {
        s->rflags |= X86_IF;
    }
    set_flat_stack(s, selector + 8, 3);
    x86_update_mode(cpu);
}

/* AMD has them outside long mode only. */
static void check_sysenter(X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    if (cpu->is_amd && (s->mode & X86_MODE_LMA)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if (!(s->mode & X86_MODE_PE) || !(s->sysenter_cs & 0xfffc)) {
        general_protection(cpu);
    }
}

void x86_sysenter(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    bool long_mode = s->mode & X86_MODE_LMA;

    check_sysenter(cpu);
    uint16_t selector = (uint16_t)s->sysenter_cs & 0xfffc;
    s->rflags &= ~(uint64_t)(X86_VM | X86_IF | X86_RF);
    set_flat_code(s, selector, 0, long_mode ? CODE64 : CODE32);
    set_flat_stack(s, selector + 8, 0);
    s->gpr[X86_RSP] = long_mode ? s->sysenter_esp : (uint32_t)s->sysenter_esp;
    s->rip = long_mode ? s->sysenter_eip : (uint32_t)s->sysenter_eip;
    x86_update_mode(cpu);
}

void x86_sysexit(X86Cpu *cpu, unsigned opsize)
{
    X86State *s = &cpu->state;

    check_sysenter(cpu);
    require_cpl0(cpu);
    uint16_t selector = (uint16_t)s->sysenter_cs | 3;
    if (opsize == 8) {
        if (!x86_is_canonical(s, s->gpr[X86_RCX]) || !x86_is_canonical(s, s->gpr[X86_RDX])) {
            general_protection(cpu);
        }
        s->gpr[X86_RSP] = s->gpr[X86_RCX];
        s->rip = s->gpr[X86_RDX];
        set_flat_code(s, selector + 32, 3, CODE64);
        set_flat_stack(s, selector + 40, 3);
    } else {
        s->gpr[X86_RSP] = (uint32_t)s->gpr[X86_RCX];
        s->rip = (uint32_t)s->gpr[X86_RDX];
        set_flat_code(s, selector + 16, 3, CODE32);
        set_flat_stack(s, selector + 24, 3);
    }
    x86_update_mode(cpu);
}

/* --- FS and GS bases --- */

void x86_swapgs(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    if (!(s->mode & X86_MODE_CS64)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    require_cpl0(cpu);
    uint64_t base = s->seg[X86_GS].base;
    s->seg[X86_GS].base = s->kernel_gs_base;
    s->kernel_gs_base = base;
}

static void check_fsgsbase(X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    if (!(s->mode & X86_MODE_CS64) || !(s->cr4 & X86_CR4_FSGSBASE)) {
        x86_raise(cpu, X86_EXC_UD);
    }
}

uint64_t x86_rdsegbase(X86Cpu *cpu, unsigned seg)
{
    check_fsgsbase(cpu);
    return cpu->state.seg[seg].base;
}

void x86_wrsegbase(X86Cpu *cpu, unsigned seg, uint64_t base)
{
    check_fsgsbase(cpu);
    if (!x86_is_canonical(&cpu->state, base)) {
        general_protection(cpu);
    }
    cpu->state.seg[seg].base = base;
}

/* --- WRMSR: those that run on every context switch and timer interrupt --- */

#define MSR_X2APIC_EOI     0x80bu
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u

void x86_wrmsr(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    uint32_t index = (uint32_t)s->gpr[X86_RCX];
    uint64_t value = (uint32_t)s->gpr[X86_RAX] | s->gpr[X86_RDX] << 32;
    bool done = false;

    require_cpl0(cpu);
    if (index >= MSR_FS_BASE && index <= MSR_KERNEL_GS_BASE) {
        done = x86_is_canonical(s, value) && x86_has_feature(cpu, X86_CPUID_80000001_EDX, 29);
        if (done && index == MSR_KERNEL_GS_BASE) {
            s->kernel_gs_base = value;
        } else if (done) {
            s->seg[index == MSR_FS_BASE ? X86_FS : X86_GS].base = value;
        }
    } else if (index == MSR_X2APIC_EOI && cpu->apic && x86_has_feature(cpu, X86_CPUID_1_ECX, 21)) {
        done = x86_apic_msr_write(cpu->apic, index, value);
    }
    if (!done) {
        x86_wrmsr_slow(cpu, index, value);
    }
}

/* --- TLB and caches --- */

void x86_invlpg(X86Cpu *cpu, uint64_t linear)
{
    require_cpl0(cpu);
    if (!(cpu->state.mode & X86_MODE_LMA)) {
        linear = (uint32_t)linear;
    } else if (!x86_is_canonical(&cpu->state, linear)) {
        return; /* as a NOP */
    }
    if (cpu->tlb.flush_page) {
        cpu->tlb.flush_page(cpu, linear);
    }
}

/* Types of INVPCID. */
enum { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL_GLOBAL, INVPCID_ALL };

static void invpcid_address(X86Cpu *cpu, uint64_t linear, unsigned pcid)
{
    if (!x86_is_canonical(&cpu->state, linear)) {
        general_protection(cpu);
    }
    if (cpu->tlb.flush_page_pcid) {
        cpu->tlb.flush_page_pcid(cpu, linear, pcid);
    }
}

void x86_invpcid(X86Cpu *cpu, uint64_t type, uint64_t descriptor)
{
    const X86State *s = &cpu->state;
    uint64_t desc[2];

    if (!x86_has_feature(cpu, X86_CPUID_7_0_EBX, 10)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    require_cpl0(cpu);
    x86_linear_check(cpu, descriptor, sizeof(desc), 0);
    desc[0] = x86_linear_load(cpu, descriptor, 8, 0);
    desc[1] = x86_linear_load(cpu, descriptor + 8, 8, 0);
    unsigned pcid = desc[0] & 0xfff;
    bool names_pcid = type == INVPCID_ADDRESS || type == INVPCID_CONTEXT;
    if (type > INVPCID_ALL || desc[0] >> 12 || (names_pcid && pcid && !(s->cr4 & X86_CR4_PCIDE))) {
        general_protection(cpu);
    }
    switch (type) {
    case INVPCID_ADDRESS:
        invpcid_address(cpu, desc[1], pcid);
        break;
    case INVPCID_CONTEXT:
        if (cpu->tlb.flush_pcid) {
            cpu->tlb.flush_pcid(cpu, pcid);
        }
        break;
    default:
        if (cpu->tlb.flush_all) {
            cpu->tlb.flush_all(cpu, type == INVPCID_ALL_GLOBAL);
        }
        break;
    }
}

/* Caches are the host's, and coherent: nothing to write back. */
void x86_wbinvd(X86Cpu *cpu)
{
    require_cpl0(cpu);
}

/* --- Waiting --- */

static void halt(X86Cpu *cpu)
{
    __atomic_store_n(&cpu->parent.halted, true, __ATOMIC_SEQ_CST);
}

void x86_hlt(X86Cpu *cpu, uint64_t next_rip)
{
    require_cpl0(cpu);
    cpu->state.rip = next_rip;
    cpu->state.interrupt_shadow = 0; /* STI; HLT waits with interrupts open */
    halt(cpu);
}

static void check_monitor(X86Cpu *cpu)
{
    if (!x86_has_feature(cpu, X86_CPUID_1_ECX, 3) || x86_cpl(&cpu->state)) {
        x86_raise(cpu, X86_EXC_UD);
    }
}

void x86_monitor(X86Cpu *cpu, uint64_t linear)
{
    X86State *s = &cpu->state;
    check_monitor(cpu);
    if (s->gpr[X86_RCX] & 0xffffffffu) {
        general_protection(cpu); /* no extensions */
    }
    (void)x86_linear_load(cpu, linear, 1, x86_access_cpl(s));
    s->monitor_addr = linear;
    s->monitor_armed = true;
}

/* MWAIT may end at any time for any reason. Stores of other CPUs to the monitored line aren't seen,
 * so it doesn't wait for them: it gives way once and returns, unless nothing was monitored, which
 * is documented to be a NOP. */
void x86_mwait(X86Cpu *cpu, uint64_t next_rip)
{
    X86State *s = &cpu->state;
    check_monitor(cpu);
    /* ECX bit 0: interrupts end the wait even if masked. */
    if ((s->gpr[X86_RCX] & 0xffffffffu) > 1) {
        general_protection(cpu);
    }
    s->rip = next_rip;
    s->interrupt_shadow = 0;
    if (s->monitor_armed) {
        s->monitor_armed = false;
        x86_park_fpu(cpu);
        x86_yield(cpu);
    }
}
