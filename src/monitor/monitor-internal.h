/* What the files of the monitor share. */
#ifndef MONITOR_MONITOR_INTERNAL_H
#define MONITOR_MONITOR_INTERNAL_H

#include "base/schema.h"
#include "event/loop.h"
#include "monitor/json-framer.h"
#include "monitor/monitor.h"

/* A client's unread output above which nothing more is taken from it, and above which events for it
 * are dropped; bytes. */
#define MONITOR_OUT_PAUSE (64 * 1024)
#define MONITOR_OUT_MAX   (4 * 1024 * 1024)

/* Requests that wait for the main loop; as many in flight are promised to clients. */
#define MONITOR_MAX_REQUESTS 8

typedef struct Readline Readline;

/* One QMP request, or what was wrong with it. */
typedef struct QmpRequest {
    json_t *object; /* NULL: broken */
    Error *err;     /* why it is broken */
    int *fds;       /* that came with it; owned */
    unsigned nfds;
} QmpRequest;

struct Monitor {
    char *id;
    char *name;       /* for messages: id, or the chardev's */
    Chardev *chardev; /* borrowed: the front end holds it, so not after its end */
    MonitorMode mode;
    bool pretty;
    unsigned refs; /* atomic: the list, bottom halves under way, deferred replies */

    CharFrontend fe;
    EventLoop *loop;      /* where the handlers run */
    BottomHalf *flush_bh; /* loop's thread */

    /* lock */
    GMutex lock;
    GString *out; /* not yet handed to the chardev */
    bool connected;
    unsigned generation; /* counts connections: late answers to earlier ones are dropped */
    uint64_t dropped_events;
    bool closing; /* being freed: nothing more is started */

    /* loop's thread */
    GString *sending; /* being handed to the chardev */
    size_t sent;      /* bytes of it */
    size_t unsent;    /* atomic: out and sending together, bytes */

    /* QMP */
    JsonFramer framer; /* loop's thread */
    bool oob_offered;
    bool negotiated;         /* lock */
    bool oob;                /* lock */
    GQueue requests;         /* lock: QmpRequest */
    bool busy;               /* lock: a deferred command has not answered */
    BottomHalf *dispatch_bh; /* main loop */
    int *fds;                /* main thread: came with the request that runs; borrowed */
    unsigned nfds;
    int arrived[FD_PASS_MAX]; /* loop's thread: came with bytes, for the next whole request */
    unsigned arrived_fds;

    /* HMP; main loop */
    Readline *readline;
    GString *input; /* bytes not yet looked at */
    int cpu_index;  /* the CPU that commands are about */
    bool muxed_out; /* another front end of the mux has the focus */
    bool greeted;
};

/* --- monitor.c --- */

/* For messages: its id, or its chardev's. */
const char *monitor_name(const Monitor *mon);
Monitor *monitor_ref(Monitor *mon);
void monitor_unref(Monitor *mon);
/* Queue bytes for the client of this connection; any thread. */
void monitor_write(Monitor *mon, unsigned generation, const char *text, size_t len);
void monitor_printf(Monitor *mon, const char *fmt, ...) PRINTF_LIKE(2, 3);
void monitor_foreach(void (*fn)(Monitor *mon, void *opaque), void *opaque); /* any thread */
/* May this command run now? Before the machine is ready only those marked so. */
bool monitor_command_allowed(const QmpCommand *command, Error **errp);

/* What session handlers do at the beginning and the end of a connection, and when there is room for
 * output; loop's thread. */
void monitor_connection_begins(Monitor *mon);
void monitor_connection_ends(Monitor *mon);
void monitor_writable(void *opaque);
/* The first descriptor that came with the running request: the caller owns it. -1 with an error. */
int monitor_take_fd(Monitor *mon, Error **errp);

/* --- qmp-session.c --- */

void qmp_session_init(Monitor *mon);
void qmp_session_finish(Monitor *mon);
/* Called when there is room for output again; loop's thread. */
void qmp_session_output_drained(Monitor *mon);
extern const CharHandlers qmp_session_handlers;
/* {"event": …, "timestamp": …} */
json_t *qmp_event_object(const char *name, json_t *data);
/* To those that have ended their negotiation; any thread. */
void qmp_session_send_event(Monitor *mon, json_t *object);

/* --- qmp-events.c --- */

void qmp_events_init(void);
void qmp_events_finish(void);

/* --- hmp-session.c --- */

void hmp_session_init(Monitor *mon);
void hmp_session_finish(Monitor *mon);
void hmp_session_output_drained(Monitor *mon);
extern const CharHandlers hmp_session_handlers;

#endif
