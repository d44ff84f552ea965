/*
 * The state of start-up: what the phases (phases.c) make and the end takes apart.
 */
#ifndef MAIN_STARTUP_H
#define MAIN_STARTUP_H

#include "config/config.h"
#include "event/clock.h"
#include "machine/machine.h"
#include "main/daemonize.h"
#include "main/pidfile.h"

typedef struct StartUp {
    int argc;
    char **argv;
    Config *config;
    Daemonize daemonize;
    Pidfile *pidfile;
    bool loop_made;
    Machine *machine;       /* borrowed: the tree has it */
    size_t next;            /* row of the table that comes next */
    bool preconfig;         /* wait for x-exit-preconfig before the board is built */
    Timer *reminder;        /* says what is awaited; NULL while nothing is */
    char *(*awaited)(void); /* what, while the reminder lives; the caller frees, NULL: nothing */
    int64_t wait_began;     /* ns, CLK_REALTIME */
    bool in_advance;
    int status; /* of the process, once it ends */
} StartUp;

typedef enum PhaseResult {
    PHASE_DONE,   /* go on with the next row */
    PHASE_WAIT,   /* come back to this row when something changed (startup_poke) */
    PHASE_END,    /* nothing more to do: exit with 0 (help, -dump-vmstate) */
    PHASE_FAILED, /* *errp says why */
} PhaseResult;

typedef struct PhaseRow {
    const char *name;
    PhaseResult (*run)(StartUp *s, Error **errp);
} PhaseRow;

/* The table, in order; ends with a NULL name. */
extern const PhaseRow startup_phases[];

typedef enum StartUpResult {
    STARTUP_RUN, /* the main loop's turn: the machine is up, or start-up waits for something */
    STARTUP_END, /* s->status is final */
} StartUpResult;

/* Run rows until one waits or all are done. */
StartUpResult startup_advance(StartUp *s);
/* Whatever start-up may wait for has changed: look again soon. Main thread. */
void startup_poke(void *startup);
/* Is the whole table done? */
bool startup_complete(const StartUp *s);
/* The row that waits stops waiting for good: x-exit-preconfig. */
void startup_exit_preconfig(StartUp *s);

/* Begin, and end in reverse order whatever was made. finish returns the process's status. */
void startup_begin(StartUp *s, int argc, char **argv);
int startup_finish(StartUp *s);

/* The process's start-up, for the monitor's x-exit-preconfig; NULL outside. */
StartUp *startup_current(void);

#endif
