/*
 * Read-copy-update through liburcu (memory-barrier flavour).
 *
 * Readers: any thread, registered or not; the wrapper registers a thread on its first read-side
 * section and unregisters it at exit. Read sections nest and must not block on the machine lock.
 */
#ifndef BASE_RCU_H
#define BASE_RCU_H

#include <urcu/urcu-memb.h>
#include <urcu/pointer.h>

#include "base/compiler.h"

/* Per thread, idempotent. */
void rcu_thread_enter(void);

void rcu_lock(void);
void rcu_unlock(void);

static inline void rcu_cleanup(int *unused)
{
    rcu_unlock();
}

/* RCU_SECTION(); at the top of a block: the section ends with the block. */
#define RCU_SECTION() \
    __attribute__((cleanup(rcu_cleanup))) int rcu_section_ UNUSED = (rcu_lock(), 0)

/* Run fn(head) when all readers of now are gone, on liburcu's thread (without the machine lock). */
#define rcu_defer(head, fn) urcu_memb_call_rcu((head), (fn))

/* Wait until all readers of now are gone and all deferred calls have run. Not with the machine lock
 * held. */
void rcu_drain(void);

#endif
