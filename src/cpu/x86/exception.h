/*
 * Exceptions, interrupts, debug events. SDM volume 3 chapters 6, 17 and 20.
 *
 * The life of an exception: x86_raise() combines it with one whose delivery is under way (double
 * and triple faults), records it in state.exception_*, and leaves through cpu->raise. The
 * accelerator's loop, finding state.exception_pending >= 0, calls x86_deliver_pending() with
 * state.rip and all registers at the faulting instruction. Delivery may raise in its turn.
 *
 * All functions here are fast (cpu.h).
 */
#ifndef CPU_X86_EXCEPTION_H
#define CPU_X86_EXCEPTION_H

#include "cpu/x86/cpu.h"

/* --- Raising. Faults: state.rip is the instruction. --- */

/* Error code 0 where the exception has one. */
NORETURN void x86_raise(X86Cpu *cpu, unsigned vector);
NORETURN void x86_raise_error(X86Cpu *cpu, unsigned vector, uint32_t error);
NORETURN void x86_raise_page_fault(X86Cpu *cpu, uint64_t linear, uint32_t error);
/* #DB, with these bits for DR6. Trap: state.rip is the next instruction already. Fault: clears
 * nothing in RFLAGS; the frame gets RF. */
NORETURN void x86_raise_debug(X86Cpu *cpu, uint64_t dr6_bits, bool fault);
/* Record an exception without leaving: for the accelerator's signal handlers (#DE, #XM, #MF, ...)
 * and loops. Combines as x86_raise() does. */
void x86_record_exception(X86Cpu *cpu, unsigned vector, bool has_error, uint32_t error);

/* --- INT n and friends: deliver at once; state.rip is the instruction, next_rip behind it.
 * Raise. --- */

void x86_int_n(X86Cpu *cpu, unsigned vector, uint64_t next_rip); /* CD n */
void x86_int3(X86Cpu *cpu, uint64_t next_rip);                   /* CC: no IOPL check in v86 mode */
void x86_into(X86Cpu *cpu, uint64_t next_rip);                   /* CE: if OF */
void x86_int1(X86Cpu *cpu, uint64_t next_rip);                   /* F1 */
/* BOUND's comparison; size 2 or 4; limits at linear address. Raises #BR. */
void x86_bound(X86Cpu *cpu, uint64_t value, uint64_t limits, unsigned size);

/* --- Delivering: from the accelerator's loop --- */

/* An external interrupt or NMI, now; whoever calls has checked that it may come. Raises. */
void x86_deliver_interrupt(X86Cpu *cpu, unsigned vector, bool nmi);

/* Deliver what is recorded: new CS:RIP, stack, flags. Raises. On a triple fault requests the
 * machine's reset and halts the CPU. */
void x86_deliver_pending(X86Cpu *cpu);

/* The shutdown state: halts the CPU and asks for the machine's reset. Not fast. */
void x86_triple_fault(X86Cpu *cpu);

/*
 * Between instructions, when cpu->requests is not empty: INIT, SIPI, SMI (not implemented:
 * dropped), NMI, external interrupts, as interrupt_shadow, IF, GIF-like blocks and priorities
 * allow. True if something changed the CPU's state (rip, halted). Raises (delivery may fault).
 * Clears the request bits it has dealt with. Not fast: parks the FPU state when it has work.
 */
bool x86_service_requests(X86Cpu *cpu);
/* The two parts of it that an accelerator with an interrupt delivery of its own (KVM) needs: INIT
 * or SIPI; and the vector of an external interrupt that may be taken now, acknowledged, -1 if there
 * is none. They raise nothing. */
void x86_take_resets(X86Cpu *cpu);
int x86_take_interrupt(X86Cpu *cpu);
/* Would x86_service_requests() do anything now, were the CPU halted? For CpuClass.has_work. */
bool x86_has_work(X86Cpu *cpu);

/* --- Debug events --- */

/* The instruction that began with TF set (began_with_tf), or hit a data breakpoint, has ended;
 * state.rip is the next. Raises #DB, or returns if there is nothing to report. Not to be called
 * where the instruction faulted; after INT n and the like, only if the handler's flags have TF. */
void x86_end_of_step(X86Cpu *cpu, bool began_with_tf);
/* mode has X86_MODE_DEBUG and an instruction is about to begin at state.rip: raises #DB if a code
 * breakpoint matches and RF is clear. Clears RF. */
void x86_check_code_breakpoint(X86Cpu *cpu);
/* Is any enabled data breakpoint in the 4 KiB page? The TLB then takes the slow way. */
static inline bool x86_data_is_watched(const X86Cpu *cpu)
{
    return UNLIKELY(cpu->parent.watching || (cpu->state.dr[7] & 0xff));
}
bool x86_page_has_breakpoint(const X86Cpu *cpu, uint64_t linear);
/* A data access was made: notes what it hits in state.dr6_pending. The accelerator ends the
 * instruction through x86_end_of_step() if that is not 0. */
void x86_note_data_access(X86Cpu *cpu, uint64_t linear, unsigned size, bool is_write);
void x86_note_io_access(X86Cpu *cpu, unsigned port, unsigned size);

#endif
