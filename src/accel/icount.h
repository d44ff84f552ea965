/*
 * icount: the guest's clock is the number of instructions it has run, so that a run without input
 * from outside is the same every time.
 *
 * CLK_VIRTUAL is bias + (instructions << shift). One vCPU runs at a time; their turns follow each
 * other in the order of their indices, each of a fixed number of instructions or until the next
 * timer is due. When all halt, the clock goes to the next timer: at once, or (sleep=on) after as
 * much host time.
 *
 * The accelerator counts: it runs a vCPU between icount_begin() and icount_end() for at most so
 * many instructions. Machine lock held unless said otherwise.
 */
#ifndef ACCEL_ICOUNT_H
#define ACCEL_ICOUNT_H

#include "cpu/cpu.h"

typedef struct IcountConfig {
    bool automatic; /* find the shift that keeps up with the host */
    unsigned shift; /* an instruction takes 2^shift ns */
    bool align;     /* don't run ahead of the host's clock */
    bool sleep;     /* halts last as long as they would */
} IcountConfig;

#define ICOUNT_SHIFT_MAX 10

/* Before the machine is made; takes CLK_VIRTUAL over. */
MUST_CHECK bool icount_enable(const IcountConfig *config, Error **errp);
/* Back to the host's time (the end of the machine). Harmless if not enabled. */
void icount_disable(void);
bool icount_enabled(void); /* any thread */

/* The accelerator's part: instructions of the vCPU's turn so far, on its own thread; and make the
 * turn end after `left` more, if that is sooner. */
typedef struct IcountHooks {
    uint64_t (*in_flight)(Cpu *cpu);
    void (*shorten)(Cpu *cpu, uint64_t left);
} IcountHooks;
void icount_set_hooks(const IcountHooks *hooks);

/* On the vCPU's thread: wait for its turn. The instructions it may run; 0: look for work again. */
uint64_t icount_begin(Cpu *cpu);
void icount_end(Cpu *cpu, uint64_t executed);
/* Cpu.before_idle */
void icount_idle(Cpu *cpu);

/* info icount: instructions of all vCPUs, clock, shift. */
void icount_print(GString *out);

#endif
