/*
 * Monitors: how people and programs watch and drive a running machine.
 *
 * A monitor sits on a character device and speaks either QMP (JSON, for programs) or lines (HMP,
 * for people). Each QMP monitor on a device that allows it runs its input and output in one shared
 * I/O thread, so that it answers out-of-band commands whatever the main thread does; ordinary
 * commands run in the main loop, in order, one at a time a monitor, with the machine lock held.
 *
 * Output to a client that does not read is bounded: then no further command is taken from it, and
 * events for it are dropped (and counted).
 *
 * Unless marked "any thread": main thread.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "chardev/chardev.h"
#include "config/config.h"
#include "schema/monitor.h"

typedef struct Monitor Monitor;

/* Hear events from now on; before the first monitor. Mirror: monitor_finish_all(). */
void monitor_init(void);
/* Disconnect and free all monitors. */
void monitor_finish_all(void);

/* id may be NULL. The monitor is at work when this returns. Borrowed result. */
Monitor *monitor_new(const char *id, Chardev *chr, MonitorMode mode, bool pretty, Error **errp);

/*
 * What -mon, -monitor, -qmp and -qmp-pretty say; chardevs made by these options are called
 * compat_monitor0 and so on. Chardevs of -chardev exist already.
 */
MUST_CHECK bool monitor_add_from_config(const Config *config, Error **errp);
/* One -monitor, -qmp or -qmp-pretty argument. */
MUST_CHECK bool monitor_add_from_text(const char *text, MonitorMode mode, bool pretty,
                                      Error **errp);
/* Any -mon, -monitor, -qmp… given, also "-monitor none". */
bool monitor_config_has_any(const Config *config);

/* Is anybody connected to a monitor of this kind (e.g. to keep a stopped machine)? */
bool monitor_any_connected(MonitorMode mode);

/* Send an event to all QMP clients; data is borrowed, NULL for none. Any thread. What emits events
 * calls the generated qmp_event_NAME() instead. */
void monitor_send_event(const QmpEvent *event, json_t *data);

/* Run one line of the human monitor; what it prints is returned (g_free). */
char *monitor_run_hmp(const char *line);

#endif
