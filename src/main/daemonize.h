/*
 * -daemonize: a parent that answers for the start-up of its child.
 *
 * The parent returns only once the child is ready (monitor sockets listen, pidfile written) or is
 * gone. The child keeps the parent's standard error until it is ready, so its messages arrive by
 * themselves. Before threads exist; main thread.
 */
#ifndef MAIN_DAEMONIZE_H
#define MAIN_DAEMONIZE_H

#include "base/compiler.h"
#include "base/error.h"

typedef struct Daemonize {
    int ready_fd; /* the child's end of the pipe to its parent; -1: nobody waits */
    int null_fd;  /* /dev/null, opened while it can be reached; -1: nobody waits */
} Daemonize;

#define DAEMONIZE_NONE ((Daemonize){ .ready_fd = -1, .null_fd = -1 })

typedef enum DaemonizeSide {
    DAEMONIZE_ERROR,       /* no child: *errp says why */
    DAEMONIZE_CHILD,       /* go on starting up, then daemonize_ready() */
    DAEMONIZE_STARTED,     /* in the parent: exit with 0 */
    DAEMONIZE_NOT_STARTED, /* in the parent: exit with 1; the child said why */
} DaemonizeSide;

MUST_CHECK DaemonizeSide daemonize_fork(Daemonize *d, Error **errp);

/* In the child: leave the terminal and the working directory, tell the parent. Does nothing where
 * nobody waits. Works in another root directory, as another user and in the sandbox too, so that it
 * can be the last step. */
MUST_CHECK bool daemonize_ready(Daemonize *d, Error **errp);

/* Close what is open; a parent that still waits takes it as failure. */
void daemonize_finish(Daemonize *d);

#endif
