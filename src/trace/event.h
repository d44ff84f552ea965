/*
 * Trace points: what the generated headers stand on.
 *
 * A folder declares its events in a file trace-events beside its code (docs/tracing.md has the
 * format), is named in src/trace/meson.build, and includes "trace/FOLDER-events.h" (slashes of the
 * folder become dashes). Each event is then a function:
 *
 *     trace_chardev_opened(chr->id, fd);
 *
 * While the event is off that is a load and a predicted branch. Any thread may call it, with or
 * without the machine lock. Binary trace files never make it wait for the disk, and a signal
 * handler that interrupts a traced event of its thread loses its own.
 *
 * trace_NAME_enabled() guards arguments that are costly to make.
 */
#ifndef TRACE_EVENT_H
#define TRACE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* One word tells whether anybody listens: written by trace_event_set_enabled() and, for USDT, by
 * the tracer that attaches to the process. */
typedef union TraceState {
    uint32_t any;
    struct {
        uint16_t semaphore; /* USDT tracers attached */
        uint16_t enabled;   /* 0 or 1 */
    };
} TraceState;

static inline bool trace_state_on(const TraceState *state)
{
    return UNLIKELY(__atomic_load_n(&state->any, __ATOMIC_RELAXED) != 0);
}

typedef enum TraceArgKind {
    TRACE_ARG_BOOL,
    TRACE_ARG_SIGNED,
    TRACE_ARG_UNSIGNED,
    TRACE_ARG_POINTER,
    TRACE_ARG_STRING,
} TraceArgKind;

typedef struct TraceArg {
    const char *name;
    TraceArgKind kind;
} TraceArg;

#define TRACE_MAX_ARGS 10

typedef struct TraceEvent {
    const char *name;
    const char *format; /* "{id} fd={fd}", as declared */
    const char *help;   /* one line */
    TraceState *state;
    const TraceArg *args; /* nargs of them */
    unsigned nargs;
    uint32_t id; /* in binary trace files; given when the table is added */
} TraceEvent;

/* One generated table; a shared module brings its own. */
typedef struct TraceTable {
    TraceEvent *events;
    size_t count;
    struct TraceTable *next; /* private to trace/control.c */
} TraceTable;

/* Only for generated code: called by a constructor, and the table must live for ever. */
void trace_table_append(TraceTable *table);

/* Round what an event does; false, and no trace_leave(), where this thread is in the middle of
 * another one. For generated code. */
bool trace_enter(void);
void trace_leave(void);

#endif
