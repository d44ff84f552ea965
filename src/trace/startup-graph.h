/*
 * What start-up did in this run, when, and for how long: --startup-graph FILE.
 *
 * main() begins; the phases, and what is worth seeing inside them, enter and leave; writing draws a
 * Graphviz digraph: phases as clusters, functions and modules as nodes, times on the edges. What
 * was entered and not left (a failing start) is drawn as such, so a graph can be written at any
 * time.
 *
 * Recording costs about a hundred nanoseconds an entry and is always on until it is finished, since
 * it begins before the command line is read. Main thread only; calls from others are ignored.
 */
#ifndef TRACE_STARTUP_GRAPH_H
#define TRACE_STARTUP_GRAPH_H

#include "base/error.h"

typedef enum StartupKind {
    STARTUP_PHASE,    /* a row of the table of phases */
    STARTUP_FUNCTION, /* a step inside a phase */
    STARTUP_MODULE,   /* a registered module, a device, a back end: something with a name of its own
                       */
    STARTUP_WAIT,     /* standing still for somebody else: a back end that is to connect */
} StartupKind;

/* From now on calls are recorded; what was recorded before is forgotten. */
void startup_graph_begin(void);

/* Enter and leave nest and pair up by kind and name; name is copied. A leave ends whatever is still
 * open inside. */
void startup_graph_enter(StartupKind kind, const char *name);
void startup_graph_leave(StartupKind kind, const char *name);

static inline void startup_graph_scope_end(const char **name)
{
    startup_graph_leave(STARTUP_FUNCTION, *name);
}

/* STARTUP_GRAPH_SCOPE(); at the top of a function: a node with its name. */
#define STARTUP_GRAPH_SCOPE()                                                             \
    __attribute__((cleanup(startup_graph_scope_end))) const char *startup_scope_ UNUSED = \
        (startup_graph_enter(STARTUP_FUNCTION, __func__), __func__)

/*
 * Write what was recorded so far. A path that ends in ".svg" is rendered by Graphviz's dot, which
 * is started and not waited for; where it can't be started the digraph itself goes to PATH.dot and
 * the error says so. failure: why start-up ended early, or NULL.
 */
MUST_CHECK bool startup_graph_write(const char *path, const char *failure, Error **errp);

/* Stop recording and free everything. */
void startup_graph_finish(void);

#endif
