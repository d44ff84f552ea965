/*
 * Fault injection: every fallible step that a test can't make fail from outside passes through
 * here, so that tests can fail the Nth one, for every N, and see that nothing is left behind.
 *
 *     if (FAULT("eventfd", errp)) return false;
 *
 * Costs a load and a branch when off. Only tests switch it on.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include "base/compiler.h"
#include "base/error.h"

extern int fault_countdown; /* 0: off; n: the nth FAULT() from now fails */

#define FAULT(what, errp) (UNLIKELY(fault_countdown) && fault_hit((what), (errp)))

bool fault_hit(const char *what, Error **errp);

/* Fail the nth step from now (n >= 1); 0 switches off. Returns the steps left of an earlier call:
 * 0 when it has fired. */
int fault_inject(int nth);

#endif
