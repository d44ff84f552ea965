/*
 * The gdb remote stub: debugging the guest with gdb over a character device. Threads are CPUs,
 * numbered from 1. GDB manual, appendix "Remote Serial Protocol". Main thread, machine lock held.
 */
#ifndef GDBSTUB_GDBSTUB_H
#define GDBSTUB_GDBSTUB_H

#include "base/compiler.h"
#include "base/error.h"
#include "config/config.h"

/* -gdb and -s, once the machine is ready. */
MUST_CHECK bool gdbstub_start_from_config(const Config *config, Error **errp);
/* Listen on a device as -gdb takes it; "none": no longer. Replaces an earlier one. */
MUST_CHECK bool gdbstub_start(const char *device, Error **errp);
/* Tell gdb that the program ends with this status, and go. */
void gdbstub_finish(int exit_status);

#endif
