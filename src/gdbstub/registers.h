/*
 * An x86 CPU's registers as gdb sees them: their description (GDB manual, appendix "Target
 * Descriptions", i386 Features), and their values. The CPU is stopped and its state synchronized.
 */
#ifndef GDBSTUB_REGISTERS_H
#define GDBSTUB_REGISTERS_H

#include <glib.h>

#include "base/compiler.h"
#include "cpu/x86/cpu.h"

#define GDB_REGISTER_BYTES_MAX 16

typedef struct GdbRegisters GdbRegisters;

/*
 * The registers to show of this CPU: the 64-bit set, or the 32-bit one of a CPU without long mode
 * or under a 32-bit system with paging. A debugger keeps the description it was given for the whole
 * connection, so the CPU is asked once.
 */
GdbRegisters *gdb_registers_new(const X86Cpu *cpu);
void gdb_registers_free(GdbRegisters *regs);
/* target.xml; borrowed */
const char *gdb_registers_xml(const GdbRegisters *regs, size_t *len);
unsigned gdb_registers_count(const GdbRegisters *regs);

/* In the target's byte order; returns the register's bytes, 0 if there is no such one. */
unsigned gdb_register_read(const GdbRegisters *regs, const X86Cpu *cpu, unsigned number,
                           uint8_t value[GDB_REGISTER_BYTES_MAX]);
/* len: of value. Bytes taken; 0: no such register, value too short, or it can't be written. */
unsigned gdb_register_write(const GdbRegisters *regs, X86Cpu *cpu, unsigned number,
                            const uint8_t *value, size_t len);
unsigned gdb_register_size(const GdbRegisters *regs, unsigned number);

#endif
