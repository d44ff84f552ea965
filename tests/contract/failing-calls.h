/*
 * System calls that fail on demand: the nth one that the program makes from the test's thread, of
 * those that can fail for want of something. So every allocation of a descriptor, of a mapping or
 * of a file can fail, whether or not the code has a FAULT() beside it.
 */
#ifndef CONTRACT_FAILING_CALLS_H
#define CONTRACT_FAILING_CALLS_H

#include <stdbool.h>

/* Fail the nth call from now in this thread; 0: none. */
void failing_calls_arm(int nth);
/* No more failures. True if one has happened; *name: which call. */
bool failing_calls_disarm(const char **name);

#endif
