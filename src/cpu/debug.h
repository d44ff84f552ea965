/*
 * What a debugger wants of the CPUs: break- and watchpoints, single steps, and being told when one
 * of them stops. Independent of architecture and accelerator.
 *
 * Machine lock held throughout. Wishes change only while the CPU is stopped; the accelerator hears
 * of each through AccelClass.update_debug().
 */
#ifndef CPU_DEBUG_H
#define CPU_DEBUG_H

#include "cpu/cpu.h"

/* How many there may be of all kinds together on a CPU. */
#define CPU_BREAKPOINTS_MAX 1024

/* An error if there are too many, or a watchpoint's length isn't 1..4096 bytes. */
MUST_CHECK bool cpu_breakpoint_insert(Cpu *cpu, CpuBreakpointKind kind, uint64_t addr, uint64_t len,
                                      Error **errp);
/* False if there is no such one. */
bool cpu_breakpoint_remove(Cpu *cpu, CpuBreakpointKind kind, uint64_t addr, uint64_t len);
void cpu_breakpoints_clear(Cpu *cpu);

/* The break- or watchpoint that an access of these kinds (1 << CPU_WATCH_READ, ...) touches; NULL:
 * none. Compiled for general registers only: an accelerator asks while guest code runs. */
const CpuBreakpoint *cpu_breakpoint_find(const Cpu *cpu, uint64_t addr, uint64_t len,
                                         unsigned kinds);
#define CPU_BREAK_KINDS       (1u << CPU_BREAK_SOFTWARE | 1u << CPU_BREAK_HARDWARE)
#define CPU_WATCH_KINDS_READ  (1u << CPU_WATCH_READ | 1u << CPU_WATCH_ACCESS)
#define CPU_WATCH_KINDS_WRITE (1u << CPU_WATCH_WRITE | 1u << CPU_WATCH_ACCESS)
#define CPU_WATCH_KINDS       (CPU_WATCH_KINDS_READ | CPU_WATCH_KINDS_WRITE)

/* Stop after each instruction. no_irq: without taking interrupts meanwhile. */
void cpu_set_single_step(Cpu *cpu, bool on, bool no_irq);
/* Stay stopped when the others go on. */
void cpu_set_held(Cpu *cpu, bool held);

/* Somebody has changed the architectural state (after cpu_synchronize_state()). */
void cpu_state_changed(Cpu *cpu);

/* For the accelerator: cpu->debug_stop was filled in and the vCPU has left guest code. Called on
 * its thread; stops it, and tells the debugger, who will stop the machine. */
void cpu_debug_report(Cpu *cpu);

/* The debugger. fn is called on the vCPU's thread. NULL: nobody; CPUs that stop go on. */
typedef void CpuDebugFn(Cpu *cpu, void *opaque);
void cpu_set_debug_fn(CpuDebugFn *fn, void *opaque);

#endif
