/*
 * Read-copy-update through liburcu (memory-barrier flavour).
 *
 * Readers: any thread, registered or not; the wrapper registers a thread on its first read-side
 * section and unregisters it at exit. Read sections nest and must not block on the machine lock.
 */
#ifndef BASE_RCU_H
#define BASE_RCU_H

/* Its read-side functions are a few instructions each; liburcu offers them inline to everybody. */
#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-memb.h>
#include <urcu/pointer.h>

#include "base/compiler.h"

/* Per thread, idempotent. */
void rcu_thread_enter(void);

/* Private. depth: sections that this thread is in; liburcu learns of the outermost only, because
 * its own counting costs calls. They belong to the program itself, not to a library opened late. */
#define RCU_TLS __thread __attribute__((tls_model("initial-exec")))
extern RCU_TLS bool rcu_registered;
extern RCU_TLS unsigned rcu_depth;

/* A pointer that readers follow: published with what it points at, loaded in a read section. */
#define rcu_publish(slot, value) __atomic_store_n((slot), (value), __ATOMIC_RELEASE)
#define rcu_load(slot)           __atomic_load_n((slot), __ATOMIC_ACQUIRE)

/*
 * First line of a deferred function: tells the thread sanitizer, which can't see into liburcu, that
 * all read sections lie before.
 */
#ifdef __SANITIZE_THREAD__
extern int rcu_grace_period;
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define RCU_AFTER_READERS()  __tsan_acquire(&rcu_grace_period)
#define RCU_BEFORE_RECLAIM() __tsan_release(&rcu_grace_period)
#else
#define RCU_AFTER_READERS()  ((void)0)
#define RCU_BEFORE_RECLAIM() ((void)0)
#endif

static inline void rcu_lock(void)
{
    if (rcu_depth++) {
        return;
    }
    if (UNLIKELY(!rcu_registered)) {
        rcu_thread_enter();
    }
    urcu_memb_read_lock();
}

static inline void rcu_unlock(void)
{
    RCU_BEFORE_RECLAIM();
    if (!--rcu_depth) {
        urcu_memb_read_unlock();
    }
}

static inline void rcu_cleanup(int *unused)
{
    rcu_unlock();
}

/* RCU_SECTION(); at the top of a block: the section ends with the block. */
#define RCU_SECTION() \
    __attribute__((cleanup(rcu_cleanup))) int rcu_section_ UNUSED = (rcu_lock(), 0)

/* Run fn(head) when all readers of now are gone, on liburcu's thread (without the machine lock). */
#define rcu_defer(head, fn) (RCU_BEFORE_RECLAIM(), urcu_memb_call_rcu((head), (fn)))

/* Wait until all readers of now are gone and all deferred calls have run. Not with the machine lock
 * held. */
void rcu_drain(void);

#endif
