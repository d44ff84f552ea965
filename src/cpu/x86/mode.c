/* The mode word. Compiled for general registers only. */
#include "cpu/x86/cpu.h"

/* Type bits of a data segment that reads and writes need no check of: writable, expands up. */
#define FLAT_DATA_MASK  (X86_SEG_P | X86_SEG_S | 0xeu)
#define FLAT_DATA_VALUE (X86_SEG_P | X86_SEG_S | 0x2u)

/* XCR0 states: SDM volume 1 section 13.3. */
#define XCR0_AVX    0x6u
#define XCR0_AVX512 0xe6u

static bool is_flat(const X86Segment *seg)
{
    return seg->base == 0 && seg->limit == 0xffffffffu && !seg->unusable &&
           (seg->access & FLAT_DATA_MASK) == FLAT_DATA_VALUE;
}

void x86_update_mode(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    const X86Segment *cs = &s->seg[X86_CS];
    uint32_t mode = 0;
    unsigned cpl = 0;

    if (s->cr0 & X86_CR0_PE) {
        mode |= X86_MODE_PE;
        if (s->rflags & X86_VM) {
            mode |= X86_MODE_VM86;
            cpl = 3;
        } else {
            /* The current privilege level is that of SS: SDM volume 3 section 24.4.1. */
            cpl = s->seg[X86_SS].access >> 5 & 3;
        }
    }
    mode |= cpl;
    if (s->cr0 & X86_CR0_PG) {
        mode |= X86_MODE_PAGING;
    }
    if (s->efer & X86_EFER_LMA) {
        mode |= X86_MODE_LMA;
    }
    if ((mode & X86_MODE_LMA) && (cs->access & X86_SEG_L)) {
        mode |= X86_MODE_CS64 | X86_MODE_FLAT | X86_MODE_CS_BASE0;
    } else {
        if (cs->access & X86_SEG_DB) {
            mode |= X86_MODE_CS32;
        }
        if (s->seg[X86_SS].access & X86_SEG_DB) {
            mode |= X86_MODE_SS32;
        }
        if (cs->base == 0) {
            mode |= X86_MODE_CS_BASE0;
        }
        if (is_flat(&s->seg[X86_SS]) && is_flat(&s->seg[X86_DS]) && is_flat(&s->seg[X86_ES])) {
            mode |= X86_MODE_FLAT;
        }
    }
    if (s->rflags & X86_TF) {
        mode |= X86_MODE_TF;
    }
    if (cpl < 3 && (s->cr4 & X86_CR4_SMAP) && !(s->rflags & X86_AC)) {
        mode |= X86_MODE_SMAP;
    }
    if (s->cr0 & (X86_CR0_EM | X86_CR0_TS)) {
        mode |= X86_MODE_FPU_TRAP;
    }
    if (s->cr4 & X86_CR4_OSFXSR) {
        mode |= X86_MODE_OSFXSR;
    }
    if (s->cr4 & X86_CR4_OSXSAVE) {
        mode |= (s->xcr0 & XCR0_AVX) == XCR0_AVX ? X86_MODE_AVX : 0;
        mode |= (s->xcr0 & XCR0_AVX512) == XCR0_AVX512 ? X86_MODE_AVX512 : 0;
    }
    if (s->cr4 & X86_CR4_UMIP) {
        mode |= X86_MODE_UMIP;
    }
    /* Any breakpoint: data breakpoints too are traps between two instructions. */
    if (UNLIKELY(s->dr[7] & 0xff) || cpu->parent.single_step) {
        mode |= X86_MODE_DEBUG;
    }
    mode |= (s->rflags & X86_IOPL) >> 12 << X86_MODE_IOPL_SHIFT;
    s->mode = mode;
}
