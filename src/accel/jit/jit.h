/* What the rest of the program sees of the translator. */
#ifndef ACCEL_JIT_JIT_H
#define ACCEL_JIT_JIT_H

#include <glib.h>

/* `info jit`: the counters of all vCPUs. Machine lock held. */
void jit_print_info(GString *out);

#endif
