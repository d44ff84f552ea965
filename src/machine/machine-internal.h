/* What the files of the generic machine share. */
#ifndef MACHINE_MACHINE_INTERNAL_H
#define MACHINE_MACHINE_INTERNAL_H

#include "machine/machine.h"

/* All of -numa is known: shares of memory, distances, and every CPU has a node. */
MUST_CHECK bool machine_numa_complete(Machine *m, Error **errp);
void machine_numa_free(Machine *m);

#endif
