#include "base/rcu.h"

#include <pthread.h>

/* Unregisters a thread from liburcu at its exit. */
static pthread_key_t rcu_exit_key;
static pthread_once_t rcu_once = PTHREAD_ONCE_INIT;
RCU_TLS bool rcu_registered;
RCU_TLS unsigned rcu_depth;

static void rcu_thread_exit(void *unused)
{
    urcu_memb_unregister_thread();
    rcu_registered = false;
}

static void rcu_init_once(void)
{
    pthread_key_create(&rcu_exit_key, rcu_thread_exit);
}

void rcu_thread_enter(void)
{
    if (LIKELY(rcu_registered)) {
        return;
    }
    pthread_once(&rcu_once, rcu_init_once);
    pthread_setspecific(rcu_exit_key, &rcu_registered);
    urcu_memb_register_thread();
    rcu_registered = true;
}

#ifdef __SANITIZE_THREAD__
int rcu_grace_period;
#endif

void rcu_drain(void)
{
    rcu_thread_enter();
    urcu_memb_barrier();
}
