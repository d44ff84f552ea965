/* The XSAVE image: its layout (the host's) and what a CPU may enable. SDM volume 1 chapter 13. */
#ifndef CPU_X86_XSAVE_H
#define CPU_X86_XSAVE_H

#include "cpu/x86/cpu.h"

typedef struct X86XsaveComponent {
    uint32_t offset, size; /* in the standard format; size 0: the host doesn't have it */
    bool aligned;          /* to 64 bytes in the compacted format */
} X86XsaveComponent;

/* Components 2 and up. */
void x86_xsave_component(unsigned i, X86XsaveComponent *c);
/* Bytes of an area that holds these components. */
uint32_t x86_xsave_area_size(uint64_t components);
uint32_t x86_xsave_compacted_size(uint64_t components);

uint64_t x86_xcr0_supported(const X86Cpu *cpu);
bool x86_xcr0_valid(const X86Cpu *cpu, uint64_t value);
uint32_t x86_mxcsr_mask(void);
void x86_xsave_reset(X86State *s);

#endif
