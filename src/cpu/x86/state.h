/*
 * The architectural state of one x86-64 CPU. Intel SDM volumes 1 and 3, AMD APM volume 2.
 *
 * Owned by the vCPU's thread while it runs; others look at it while the vCPU is stopped. The
 * translator reaches the fields at the top through short displacements, so what guest code uses
 * most comes first.
 */
#ifndef CPU_X86_STATE_H
#define CPU_X86_STATE_H

#include "base/compiler.h"

enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI };
enum { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SEG_COUNT };

/* Exceptions, SDM volume 3 table 6-1. */
enum {
    X86_EXC_DE = 0,
    X86_EXC_DB = 1,
    X86_EXC_NMI = 2,
    X86_EXC_BP = 3,
    X86_EXC_OF = 4,
    X86_EXC_BR = 5,
    X86_EXC_UD = 6,
    X86_EXC_NM = 7,
    X86_EXC_DF = 8,
    X86_EXC_TS = 10,
    X86_EXC_NP = 11,
    X86_EXC_SS = 12,
    X86_EXC_GP = 13,
    X86_EXC_PF = 14,
    X86_EXC_MF = 16,
    X86_EXC_AC = 17,
    X86_EXC_MC = 18,
    X86_EXC_XM = 19,
};
/* Values of exception_pending and exception_delivering beyond the vectors. */
#define X86_TRIPLE_FAULT 0x100
#define X86_EVENT_BENIGN 0x200 /* an interrupt: faults in its delivery stand for themselves */

#define X86_CF   0x1u
#define X86_PF   0x4u
#define X86_AF   0x10u
#define X86_ZF   0x40u
#define X86_SF   0x80u
#define X86_TF   0x100u
#define X86_IF   0x200u
#define X86_DFL  0x400u
#define X86_OF   0x800u
#define X86_IOPL 0x3000u
#define X86_NT   0x4000u
#define X86_RF   0x10000u
#define X86_VM   0x20000u
#define X86_AC   0x40000u
#define X86_VIF  0x80000u
#define X86_VIP  0x100000u
#define X86_ID   0x200000u
/* All flags there are; bit 1 is always set. */
#define X86_ALL_FLAGS   0x3f7fd5u
#define X86_ARITH_FLAGS (X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF | X86_OF)

#define X86_CR0_PE 0x1u
#define X86_CR0_MP 0x2u
#define X86_CR0_EM 0x4u
#define X86_CR0_TS 0x8u
#define X86_CR0_ET 0x10u
#define X86_CR0_NE 0x20u
#define X86_CR0_WP 0x10000u
#define X86_CR0_AM 0x40000u
#define X86_CR0_NW 0x20000000u
#define X86_CR0_CD 0x40000000u
#define X86_CR0_PG 0x80000000u

#define X86_CR4_VME        0x1u
#define X86_CR4_PVI        0x2u
#define X86_CR4_TSD        0x4u
#define X86_CR4_DE         0x8u
#define X86_CR4_PSE        0x10u
#define X86_CR4_PAE        0x20u
#define X86_CR4_MCE        0x40u
#define X86_CR4_PGE        0x80u
#define X86_CR4_PCE        0x100u
#define X86_CR4_OSFXSR     0x200u
#define X86_CR4_OSXMMEXCPT 0x400u
#define X86_CR4_UMIP       0x800u
#define X86_CR4_LA57       0x1000u
#define X86_CR4_FSGSBASE   0x10000u
#define X86_CR4_PCIDE      0x20000u
#define X86_CR4_OSXSAVE    0x40000u
#define X86_CR4_SMEP       0x100000u
#define X86_CR4_SMAP       0x200000u
#define X86_CR4_PKE        0x400000u

#define X86_EFER_SCE   0x1u
#define X86_EFER_LME   0x100u
#define X86_EFER_LMA   0x400u
#define X86_EFER_NXE   0x800u
#define X86_EFER_FFXSR 0x4000u

/* A segment register with its hidden part. */
typedef struct X86Segment {
    uint64_t base;
    uint32_t limit;  /* bytes - 1, granularity applied */
    uint32_t access; /* descriptor bits 40-47 at 0-7 (type, S, DPL, P), 52-55 at 12-15 (AVL, L, D/B,
                        G) */
    uint16_t selector;
    bool unusable; /* a null selector was loaded */
} X86Segment;

#define X86_SEG_TYPE 0xfu
#define X86_SEG_S    0x10u
#define X86_SEG_DPL  0x60u
#define X86_SEG_P    0x80u
#define X86_SEG_AVL  0x1000u
#define X86_SEG_L    0x2000u
#define X86_SEG_DB   0x4000u
#define X86_SEG_G    0x8000u

typedef struct X86TableRegister {
    uint64_t base;
    uint16_t limit;
} X86TableRegister;

/* A variable-range MTRR. */
typedef struct X86Mtrr {
    uint64_t base, mask;
} X86Mtrr;

/*
 * The mode word: everything that decides how code is translated and how memory is checked, derived
 * from CR0, CR4, EFER, RFLAGS, CS, SS by x86_update_mode(). Blocks of translated code are keyed by
 * it.
 */
#define X86_MODE_CPL        0x3u
#define X86_MODE_CS64       0x4u  /* 64-bit code */
#define X86_MODE_CS32       0x8u  /* default operand and address size 32 */
#define X86_MODE_SS32       0x10u /* stack pointer is ESP */
#define X86_MODE_PE         0x20u
#define X86_MODE_VM86       0x40u
#define X86_MODE_LMA        0x80u
#define X86_MODE_FLAT       0x100u /* DS, ES, SS bases zero, limits 4 GiB, writable: no checks */
#define X86_MODE_TF         0x200u
#define X86_MODE_PAGING     0x400u
#define X86_MODE_SMAP       0x800u  /* CPL < 3, CR4.SMAP and not EFLAGS.AC: no user pages */
#define X86_MODE_FPU_TRAP   0x1000u /* CR0.EM or TS: x87/SSE raise #NM or #UD */
#define X86_MODE_OSFXSR     0x2000u
#define X86_MODE_AVX        0x4000u  /* CR4.OSXSAVE and XCR0 has SSE and AVX */
#define X86_MODE_IOPL_SHIFT 16       /* two bits */
#define X86_MODE_DEBUG      0x40000u /* breakpoints armed, or the debugger steps: one by one */
#define X86_MODE_UMIP       0x80000u
#define X86_MODE_CS_BASE0   0x100000u /* CS base is zero */
#define X86_MODE_AVX512     0x200000u /* as AVX, and XCR0 has the AVX-512 states */

/* XSAVE area, standard (non-compacted) format: SDM volume 1 chapter 13. Room for AVX-512 and PKRU.
 */
#define X86_XSAVE_SIZE 2816

typedef struct X86State {
    uint64_t gpr[16];
    uint64_t rip;
    uint64_t rflags; /* bit 1 set; arithmetic flags current outside translated code */
    uint32_t mode;   /* X86_MODE_* */
    /* Set for one instruction after STI (1) or a load of SS (2): no interrupts; (2) no #DB either.
     */
    uint8_t interrupt_shadow;
    bool nmi_blocked;

    X86Segment seg[X86_SEG_COUNT];
    X86Segment ldtr, tr;
    X86TableRegister gdtr, idtr;

    uint64_t cr0, cr2, cr3, cr4;
    uint64_t dr[8];
    uint64_t efer;
    uint64_t xcr0;
    uint32_t pkru;
    uint64_t a20_mask; /* ~0, or without bit 20 */

    /* MSRs */
    uint64_t star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t tsc_offset; /* guest TSC = host-derived TSC + offset */
    uint64_t tsc_adjust, tsc_aux;
    uint64_t pat, misc_enable, debugctl, xss, smi_count;
    uint64_t mtrr_def_type, mtrr_fixed[11];
    X86Mtrr mtrr_var[8];
    uint64_t mcg_status, mcg_ctl, mc_banks[40];
    uint64_t feature_control, spec_ctrl, hwcr, arch_capabilities;
    /* KVM's paravirtual MSRs, in the order of src/accel/kvm/kvm-msr.c; zero elsewhere. */
#define X86_KVM_MSRS 5
    uint64_t kvm_msrs[X86_KVM_MSRS];

    /* PAE paging outside long mode: the top level's four entries, loaded with CR3. */
    uint64_t pdpte[4];

    /* Events: exception.h. */
    int32_t exception_pending; /* recorded, to be delivered: vector, X86_TRIPLE_FAULT; -1 none */
    int32_t
        exception_delivering; /* whose delivery is under way: vector, X86_EVENT_BENIGN; -1 none */
    uint32_t exception_error;
    bool exception_has_error;
    bool
        exception_external; /* the delivery under way is of an external event: EXT in error codes */
    bool exception_trap;    /* the pending #DB is a trap: no RF in its frame */
    uint64_t dr6_pending;   /* data breakpoints hit by the instruction under way, DR6 bits */
    /* Under KVM: acknowledged, to be delivered before the next instruction: vector; -1 none. */
    int32_t interrupt_injected;
    bool interrupt_soft; /* it is an INT n */

    uint64_t monitor_addr; /* armed by MONITOR: linear address; mwait.c */
    bool monitor_armed;
    bool wait_for_sipi;  /* application processor after INIT */
    uint8_t sipi_vector; /* atomic; valid with CPU_REQUEST_SIPI */

    /* x87, SSE, AVX: the XSAVE image. Stale while translated code keeps it in host registers. */
    uint8_t xsave[X86_XSAVE_SIZE] __attribute__((aligned(64)));
} X86State;

#endif
