/*
 * What gdb says and what it is answered: one conversation, whatever it runs over. Main thread,
 * machine lock held.
 */
#ifndef GDBSTUB_SESSION_H
#define GDBSTUB_SESSION_H

#include "cpu/debug.h"
#include "object/runstate.h"

typedef struct GdbSession GdbSession;

typedef void GdbSendFn(void *opaque, const char *data, size_t len);
GdbSession *gdb_session_new(GdbSendFn *send, void *opaque);
void gdb_session_free(GdbSession *s); /* breakpoints go; NULL allowed */

/* A gdb has come: the machine stops for it. Or it has gone: its breakpoints go too. */
void gdb_session_connected(GdbSession *s);
void gdb_session_disconnected(GdbSession *s);
void gdb_session_bytes(GdbSession *s, const uint8_t *bytes, size_t len);

/* A CPU has stopped for the debugger. */
void gdb_session_cpu_stopped(GdbSession *s, Cpu *cpu);
/* The machine has stopped, for whatever reason: tell gdb if it waits for that. */
void gdb_session_machine_stopped(GdbSession *s, RunState state);
/* The program ends. */
void gdb_session_exiting(GdbSession *s, int status);

#endif
