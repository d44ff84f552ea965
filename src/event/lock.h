/*
 * The machine lock: one coarse lock over device models and machine state.
 *
 * The main thread holds it while it dispatches and drops it while it polls. vCPU threads run guest
 * code without it and take it to reach a device that has no lock of its own. Functions that need it
 * held end in _locked or say so. Not recursive.
 */
#ifndef EVENT_LOCK_H
#define EVENT_LOCK_H

#include <glib.h>

#include "base/compiler.h"

void machine_lock(void);
void machine_unlock(void);
bool machine_locked(void); /* by the calling thread */

/* Wait for a condition of machine state; the lock is given up meanwhile. Wakes up spuriously. */
void machine_cond_wait(GCond *cond);

#define ASSERT_MACHINE_LOCKED() assert(machine_locked())

/* Take the lock unless this thread has it; true if it was taken and must be given back. */
bool machine_lock_if_needed(void);

static inline void machine_lock_cleanup(bool *taken)
{
    if (*taken) {
        machine_unlock();
    }
}

/* MACHINE_LOCKED(); at the top of a block: held until the block ends, nested or not. */
#define MACHINE_LOCKED()                                                             \
    __attribute__((cleanup(machine_lock_cleanup))) bool machine_lock_taken_ UNUSED = \
        machine_lock_if_needed()

#endif
