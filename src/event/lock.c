#include "event/lock.h"

/* One per process by definition. */
static GMutex machine_mutex;
static __thread bool machine_mutex_held;

void machine_lock(void)
{
    assert(!machine_mutex_held);
    g_mutex_lock(&machine_mutex);
    machine_mutex_held = true;
}

void machine_unlock(void)
{
    assert(machine_mutex_held);
    machine_mutex_held = false;
    g_mutex_unlock(&machine_mutex);
}

void machine_cond_wait(GCond *cond)
{
    assert(machine_mutex_held);
    machine_mutex_held = false;
    g_cond_wait(cond, &machine_mutex);
    machine_mutex_held = true;
}

bool machine_locked(void)
{
    return machine_mutex_held;
}

bool machine_lock_if_needed(void)
{
    if (machine_mutex_held) {
        return false;
    }
    machine_lock();
    return true;
}
