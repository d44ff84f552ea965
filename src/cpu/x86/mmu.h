/*
 * Memory management: page-table walks and the linear memory that system functions touch. SDM
 * volume 3 chapter 4.
 *
 * All functions here are fast (cpu.h).
 */
#ifndef CPU_X86_MMU_H
#define CPU_X86_MMU_H

#include "cpu/x86/cpu.h"

/* What an access is. */
enum {
    X86_ACCESS_READ = 0,
    X86_ACCESS_WRITE = 1 << 0,
    X86_ACCESS_FETCH = 1 << 1,
    X86_ACCESS_USER = 1 << 2,     /* made with CPL 3 (and not implicit) */
    X86_ACCESS_IMPLICIT = 1 << 3, /* to a system structure (GDT, IDT, TSS, ...): supervisor whatever
                                     CPL is, SMAP whatever EFLAGS.AC is */
};

/* The access bits of an explicit access at the present CPL. */
static inline unsigned x86_access_cpl(const X86State *s)
{
    return (s->mode & X86_MODE_CPL) == 3 ? X86_ACCESS_USER : 0;
}

/* Error code bits of #PF. */
#define X86_PF_P    0x1u
#define X86_PF_W    0x2u
#define X86_PF_U    0x4u
#define X86_PF_RSVD 0x8u
#define X86_PF_I    0x10u
#define X86_PF_PK   0x20u

/* What further accesses of the same kind (user or supervisor, SMAP as it was) may use the result
 * for. */
enum { X86_RIGHT_READ = 1, X86_RIGHT_WRITE = 2, X86_RIGHT_EXEC = 4 };

typedef struct X86Translation {
    uint64_t phys;       /* of the linear address itself, A20 applied */
    uint64_t page_size;  /* bytes: 4 KiB, 2 MiB, 4 MiB, 1 GiB; 4 GiB without paging */
    uint8_t rights;      /* X86_RIGHT_*; WRITE only once the dirty bit is set */
    bool user;           /* user mode may reach the page */
    bool writable;       /* R/W set on all levels (dirty or not) */
    bool global;         /* survives CR3 loads: G set and CR4.PGE */
    uint8_t memory_type; /* index into the PAT: PAT, PCD, PWT bits */
    uint8_t protection_key;
} X86Translation;

/*
 * Walk. True and *t filled, accessed bits set, and for a write the dirty bit; or false and *error
 * is the page fault's error code. Touches neither CR2 nor the exception state. linear must be
 * canonical; without LMA its upper half must be zero.
 */
MUST_CHECK bool x86_translate(X86Cpu *cpu, uint64_t linear, unsigned access, X86Translation *t,
                              uint32_t *error);
/* The same, for the TLB filler: raises the page fault. */
void x86_translate_or_raise(X86Cpu *cpu, uint64_t linear, unsigned access, X86Translation *t);
/* Without side effects and without access checks, any thread while the vCPU is stopped; for
 * debuggers. False if not mapped. t->rights is what the tables grant supervisors. */
MUST_CHECK bool x86_translate_debug(X86Cpu *cpu, uint64_t linear, X86Translation *t);

/*
 * Linear memory. Raise #PF (with CR2 set). An access that crosses a page checks both pages before
 * it changes anything. size: 1, 2, 4, 8.
 */
uint64_t x86_linear_load(X86Cpu *cpu, uint64_t linear, unsigned size, unsigned access);
void x86_linear_store(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size, unsigned access);
void x86_linear_read(X86Cpu *cpu, uint64_t linear, void *buf, unsigned len, unsigned access);
void x86_linear_write(X86Cpu *cpu, uint64_t linear, const void *buf, unsigned len, unsigned access);
/* Raise the #PF that the access would. */
void x86_linear_check(X86Cpu *cpu, uint64_t linear, unsigned len, unsigned access);
/* Set bits in a byte atomically (descriptor's accessed bit, TSS busy bit): as implicit writes. */
void x86_linear_set_bits(X86Cpu *cpu, uint64_t linear, uint8_t set, uint8_t clear);

/* Physical memory that the walk reads: little-endian, through a cache of host pointers. */
uint64_t x86_phys_load(X86Cpu *cpu, uint64_t phys, unsigned size);

/* PAE mode without long mode keeps the four top entries in the CPU, loaded with CR3: false if a
 * reserved bit is set (the caller raises #GP). */
MUST_CHECK bool x86_load_pdptes(X86Cpu *cpu, uint64_t cr3);

/* The machine's memory map changed: forget cached host pointers. The accelerator calls it where it
 * drops its own, on the vCPU's thread or while the vCPU is stopped. */
void x86_mmu_forget(X86Cpu *cpu);

static inline bool x86_is_canonical(const X86State *s, uint64_t linear)
{
    return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

/* The translation of an address that is not subject to paging. */
static inline uint64_t x86_apply_a20(const X86State *s, uint64_t phys)
{
    return phys & s->a20_mask;
}

#endif
