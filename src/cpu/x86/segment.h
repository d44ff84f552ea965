/*
 * Segmentation: segment registers, descriptors, far control transfers, hardware task switches. SDM
 * volume 3 chapters 3, 5, 7 and 20.
 *
 * All functions here are fast (cpu.h) and raise, except where noted. opsize is the operand size in
 * bytes: 2, 4 or 8. Functions that transfer control set state.rip; next_rip is the address behind
 * the instruction, as an offset in CS.
 */
#ifndef CPU_X86_SEGMENT_H
#define CPU_X86_SEGMENT_H

#include "cpu/x86/cpu.h"

/* MOV Sreg, POP Sreg, LDS... Any mode. Not CS. A load of SS sets state.interrupt_shadow to 2. */
void x86_load_segment(X86Cpu *cpu, unsigned seg, uint16_t selector);

/*
 * The linear address of seg:offset for an access of size bytes, with limit, type and canonical
 * checks (#GP, #SS). access: X86_ACCESS_WRITE, X86_ACCESS_FETCH of mmu.h. Where mode has FLAT,
 * translated code needs no such check for ES, SS, DS outside 64-bit mode.
 */
uint64_t x86_linear_address(X86Cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
                            unsigned access);

void x86_far_jmp(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize,
                 uint64_t next_rip);
void x86_far_call(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize,
                  uint64_t next_rip);
/* RETF imm16: release more bytes after the pops. */
void x86_far_ret(X86Cpu *cpu, unsigned opsize, unsigned release);
void x86_iret(X86Cpu *cpu, unsigned opsize, uint64_t next_rip);

/* The value is in *result and ZF set, or ZF clear. They work on state.rflags (so flags must be in
 * it) and return ZF. #UD in real and v86 mode. */
bool x86_lar(X86Cpu *cpu, uint16_t selector, uint32_t *result);
bool x86_lsl(X86Cpu *cpu, uint16_t selector, uint32_t *result);
bool x86_verr(X86Cpu *cpu, uint16_t selector);
bool x86_verw(X86Cpu *cpu, uint16_t selector);
/* Returns the new destination; ZF in state.rflags. */
uint16_t x86_arpl(X86Cpu *cpu, uint16_t destination, uint16_t source);

void x86_lldt(X86Cpu *cpu, uint16_t selector);
void x86_ltr(X86Cpu *cpu, uint16_t selector);
uint16_t x86_sldt(X86Cpu *cpu); /* UMIP */
uint16_t x86_str(X86Cpu *cpu);

/* LGDT, LIDT: operand at linear address. SGDT, SIDT store it there. opsize: 2 takes 24 bits of the
 * base; 4; 8 in 64-bit mode. */
void x86_lgdt(X86Cpu *cpu, uint64_t linear, unsigned opsize);
void x86_lidt(X86Cpu *cpu, uint64_t linear, unsigned opsize);
void x86_sgdt(X86Cpu *cpu, uint64_t linear, unsigned opsize);
void x86_sidt(X86Cpu *cpu, uint64_t linear, unsigned opsize);

/* ENTER's and PUSHA's way to the stack is the translator's; these are what the far transfers use.
 */
void x86_push(X86Cpu *cpu, uint64_t value, unsigned opsize);
uint64_t x86_pop(X86Cpu *cpu, unsigned opsize);

#endif
