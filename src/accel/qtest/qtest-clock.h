/* Virtual time under -accel qtest: stands still unless stepped. */
#ifndef ACCEL_QTEST_QTEST_CLOCK_H
#define ACCEL_QTEST_QTEST_CLOCK_H

#include "base/compiler.h"

/* Take CLK_VIRTUAL over, and give it back. Before timers exist. */
void qtest_clock_take(void);
void qtest_clock_release(void);
bool qtest_clock_taken(void);
/* Go to `target` ns, timers run in order on the way; never backwards. Returns the time reached.
 * Main thread, machine lock held. */
int64_t qtest_clock_advance(int64_t target);

#endif
