/* What `info registers` prints. */
#ifndef CPU_X86_DUMP_H
#define CPU_X86_DUMP_H

#include "cpu/x86/cpu.h"

/* vCPU stopped, or its own thread with the vector state parked. */
void x86_dump_registers(X86Cpu *cpu, GString *out);

#endif
