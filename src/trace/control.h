/*
 * Switching trace events on and off, and where they go.
 *
 * -trace, the monitor's trace-event-get-state and trace-event-set-state, and tests come through
 * here. Thread-safe.
 */
#ifndef TRACE_CONTROL_H
#define TRACE_CONTROL_H

#include <stdio.h>

#include "base/error.h"
#include "trace/event.h"

/* All events in no particular order: index from 0, NULL past the end. */
const TraceEvent *trace_event_at(size_t index);
const TraceEvent *trace_event_find(const char *name); /* NULL if there is none */
bool trace_event_enabled(const TraceEvent *event);
void trace_event_set_enabled(const TraceEvent *event, bool enabled);

/* Does the event's name match? '*' and '?' stand for what they do in a shell. */
bool trace_event_matches(const TraceEvent *event, const char *pattern);

/*
 * Switch all events that match: "virtio_*", or "-virtio_*" to switch off. Returns how many matched.
 * A pattern without a match is a warning that suggests the nearest name, not a failure, so that one
 * command line serves builds with different devices.
 */
size_t trace_pattern_apply(const char *pattern);

/* A file of such patterns, one a line; '#' begins a comment. False with FILE:LINE if it can't be
 * read. */
MUST_CHECK bool trace_patterns_load(const char *path, Error **errp);

/* One name a line: what `-trace help` prints. */
void trace_print_names(FILE *stream);

/* The back ends in this build, "log,simple,usdt". */
extern const char trace_backends[];

/*
 * Write enabled events to a binary file from now on (back end "simple"; tools/rhea-trace-read reads
 * it); "%d" in the path becomes the process id. Starts a thread: after daemonizing. An open file is
 * closed first. Not thread-safe against itself.
 */
MUST_CHECK bool trace_file_open(const char *path, Error **errp);
bool trace_file_is_open(void);
/* Everything traced so far is in the file when this returns. */
void trace_file_flush(void);
void trace_file_close(void); /* does nothing if none is open */

/* All events off, file closed. */
void trace_finish(void);

#endif
