/* What the rest of the program sees of the translator. */
#ifndef ACCEL_JIT_JIT_H
#define ACCEL_JIT_JIT_H

#include <glib.h>

#include "base/compiler.h"

/* `info jit`: the code cache and the counters of all vCPUs. Machine lock held. */
void jit_print_info(GString *out);

/* Each counter of a vCPU, or with -1 the sums over all, in a fixed order; name and help are static.
 * False, and nothing is visited, if the accelerator isn't jit or there is no such vCPU. Machine
 * lock held. */
typedef void JitCounterFn(const char *name, const char *help, uint64_t value, void *opaque);
bool jit_counters_visit(int cpu_index, JitCounterFn *fn, void *opaque);

#endif
