/*
 * System instructions: control and debug registers, flags, MSRs, CPUID, system calls, ports, cache
 * and TLB control, halting. SDM volumes 2 and 3.
 *
 * All of them raise what the instruction raises (privilege checks included), on the vCPU's thread;
 * (fast) ones are compiled for general registers only (cpu.h). After any of them state.mode may
 * have changed, and where said state.rip.
 */
#ifndef CPU_X86_SYSTEM_H
#define CPU_X86_SYSTEM_H

#include "cpu/x86/cpu.h"

/* --- Control and debug registers (fast) --- */
uint64_t x86_read_cr(X86Cpu *cpu, unsigned n);
void x86_write_cr(X86Cpu *cpu, unsigned n, uint64_t value); /* 0, 2, 3, 4, 8 */
uint64_t x86_read_dr(X86Cpu *cpu, unsigned n);
void x86_write_dr(X86Cpu *cpu, unsigned n, uint64_t value);
void x86_lmsw(X86Cpu *cpu, uint16_t value);
uint64_t x86_smsw(X86Cpu *cpu);
void x86_clts(X86Cpu *cpu);

/* --- Flags (fast). state.rflags holds the present arithmetic flags on entry and exit. --- */
void x86_cli(X86Cpu *cpu);
void x86_sti(X86Cpu *cpu); /* sets state.interrupt_shadow if IF was clear */
void x86_clac(X86Cpu *cpu);
void x86_stac(X86Cpu *cpu);
/* The image to push, and the popped image taken in; IOPL, VM86, VME rules. */
uint64_t x86_pushf_image(X86Cpu *cpu, unsigned opsize);
void x86_popf_image(X86Cpu *cpu, uint64_t image, unsigned opsize);

/* --- System calls (fast). Set state.rip. --- */
void x86_syscall(X86Cpu *cpu, uint64_t next_rip);
void x86_sysret(X86Cpu *cpu, unsigned opsize);
void x86_sysenter(X86Cpu *cpu);
void x86_sysexit(X86Cpu *cpu, unsigned opsize);
void x86_swapgs(X86Cpu *cpu);
/* RD/WR FS/GS BASE; seg X86_SEG_FS or _GS. The caller truncates or zero-extends 32-bit forms. */
uint64_t x86_rdsegbase(X86Cpu *cpu, unsigned seg);
void x86_wrsegbase(X86Cpu *cpu, unsigned seg, uint64_t base);

/* --- MSRs and CPUID: registers are those of the instruction --- */
void x86_rdmsr(X86Cpu *cpu); /* ECX -> EDX:EAX */
/* Fast for FS, GS and kernel GS base, and x2APIC EOI. */
void x86_wrmsr(X86Cpu *cpu);
void x86_wrmsr_slow(X86Cpu *cpu, uint32_t index, uint64_t value); /* all others */
const char *x86_msr_name(uint32_t index);                         /* NULL: unknown */
void x86_cpuid(X86Cpu *cpu);
void x86_xgetbv(X86Cpu *cpu);
void x86_xsetbv(X86Cpu *cpu);
void x86_rdpkru(X86Cpu *cpu);
void x86_wrpkru(X86Cpu *cpu);

/* For debuggers, migration, KVM: no privilege checks, nothing raised; false if there is no such
 * MSR (or value). */
MUST_CHECK bool x86_msr_get(X86Cpu *cpu, uint32_t index, uint64_t *value);
MUST_CHECK bool x86_msr_set(X86Cpu *cpu, uint32_t index, uint64_t value);
/* The register as another half of the CPU (the kernel's) has it: no check, no effect. Nothing if
 * there is no such MSR, or it isn't kept in X86State. */
void x86_msr_load(X86Cpu *cpu, uint32_t index, uint64_t value);
/* The APIC id of a place; each level has as many bits as it needs. Pure. */
uint32_t x86_topology_apic_id(const X86Topology *t, unsigned socket, unsigned die, unsigned core,
                              unsigned thread);
void x86_cpuid_get(X86Cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* --- Time (fast unless the TSC follows the virtual clock) --- */
void x86_rdtsc(X86Cpu *cpu);
void x86_rdtscp(X86Cpu *cpu);
uint64_t x86_rdpid(X86Cpu *cpu);
void x86_rdpmc(X86Cpu *cpu);
uint64_t x86_tsc_now(X86Cpu *cpu);
/* CLK_VIRTUAL in the TSC's unit; not fast. */
uint64_t x86_tsc_from_clock(X86Cpu *cpu);
/* Make the TSC read this from now on. */
void x86_tsc_set(X86Cpu *cpu, uint64_t tsc);
/* May translated code run RDTSC itself and add state.tsc_offset, at this CPL? */
bool x86_tsc_is_native(const X86Cpu *cpu);

/* --- TLB and caches (fast) --- */
void x86_invlpg(X86Cpu *cpu, uint64_t linear);
void x86_invpcid(X86Cpu *cpu, uint64_t type, uint64_t descriptor); /* descriptor's linear address */
void x86_wbinvd(X86Cpu *cpu);                                      /* also INVD */

/* --- Waiting. Return with cpu->parent.halted set, the accelerator leaves its loop; state.rip must
 * be set to next_rip by the function. --- */
void x86_hlt(X86Cpu *cpu, uint64_t next_rip);
void x86_monitor(X86Cpu *cpu, uint64_t linear);
void x86_mwait(X86Cpu *cpu, uint64_t next_rip);
/* Give way to another thread once; not fast. */
void x86_yield(X86Cpu *cpu);

/* --- Ports. size 1, 2, 4. Check IOPL and the TSS's bitmap; not fast. --- */
uint32_t x86_in(X86Cpu *cpu, unsigned port, unsigned size);
void x86_out(X86Cpu *cpu, unsigned port, unsigned size, uint32_t value);
/* The check alone (before a run of string I/O). */
void x86_check_io(X86Cpu *cpu, unsigned port, unsigned size);

/* --- XSAVE family, where translated code can't use the host's own: state.xsave is current.
 * area: linear address. mask: EDX:EAX. rex_w: the 64-bit form. --- */
typedef enum X86XsaveForm { X86_XSAVE, X86_XSAVEOPT, X86_XSAVEC, X86_XSAVES } X86XsaveForm;
void x86_xsave(X86Cpu *cpu, uint64_t area, uint64_t mask, X86XsaveForm form, bool rex_w);
void x86_xrstor(X86Cpu *cpu, uint64_t area, uint64_t mask, bool supervisor, bool rex_w);
void x86_fxsave(X86Cpu *cpu, uint64_t area, bool rex_w);
void x86_fxrstor(X86Cpu *cpu, uint64_t area, bool rex_w);

/* #NM, #UD as the mode says, before an x87/MMX, SSE or AVX instruction that translated code doesn't
 * run because of X86_MODE_FPU_TRAP and the like. */
typedef enum X86FpuKind {
    X86_FPU_X87,
    X86_FPU_WAIT,
    X86_FPU_MMX,
    X86_FPU_SSE,
    X86_FPU_AVX,
    X86_FPU_AVX512,
} X86FpuKind;
void x86_check_fpu(X86Cpu *cpu, X86FpuKind kind);

#endif
