/* What `info registers` prints. */
#ifndef CPU_X86_DUMP_H
#define CPU_X86_DUMP_H

#include "cpu/x86/cpu.h"

/* vCPU stopped, or its own thread with the vector state parked. */
void x86_dump_registers(X86Cpu *cpu, GString *out);

/* dump-paging.c: what the page tables map, page by page, and as ranges. */
void x86_dump_tlb(X86Cpu *cpu, GString *out);
void x86_dump_mem(X86Cpu *cpu, GString *out);

#endif
