#include "base/fault.h"

/* Tests only; see the header. */
int fault_countdown;

bool fault_hit(const char *what, Error **errp)
{
    if (__atomic_sub_fetch(&fault_countdown, 1, __ATOMIC_RELAXED) != 0) {
        return false;
    }
    error_set(errp, "injected failure: %s", what);
    return true;
}

int fault_inject(int nth)
{
    return __atomic_exchange_n(&fault_countdown, nth, __ATOMIC_RELAXED);
}
