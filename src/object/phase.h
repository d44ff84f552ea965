/*
 * How far start-up has come: what may exist already. Code that needs something asserts it, so that
 * a wrong order is found at once and not by its consequences.
 */
#ifndef OBJECT_PHASE_H
#define OBJECT_PHASE_H

#include "base/compiler.h"

typedef enum Phase {
    PHASE_NONE,
    PHASE_TYPES,             /* object types and options are registered */
    PHASE_CONFIGURED,        /* all options are typed records and fit together */
    PHASE_LOOP,              /* main loop, clocks, memory core; the process has its final id */
    PHASE_MACHINE_CREATED,   /* the machine object; chardevs and early objects */
    PHASE_ACCEL_CREATED,     /* the accelerator; compat and global properties apply */
    PHASE_BACKENDS_CREATED,  /* net clients, block nodes, memory backends */
    PHASE_BOARD_INITIALIZED, /* CPUs, memory map, buses */
    PHASE_READY,             /* all devices of the command line; later ones are hot-plugged */
} Phase;

/* Forward only, except to PHASE_NONE. Main thread. */
void phase_advance(Phase phase);
bool phase_reached(Phase phase);
const char *phase_name(Phase phase);

#define ASSERT_PHASE(phase) assert(phase_reached(phase))

#endif
